"""Look at POIs and propose the section `regions` of a run without images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import shapely
import yaml

from mmgr.config import Pois
from mmgr.console import quiet
from mmgr.pois import known_shapes, poi_crs, read_pois
from mmgr.propose.images import nice_edge, short_crs
from mmgr.propose.pois import placed_pois_section

POIS_A_CELL = 5
"""A cell with about this many POIs on average says something of a place, and most cells have some."""


def regions_over_pois(path: Path) -> list[str]:
    """Read the POIs as the run will, and write the lines of `regions`: a grid over them.

    Raises
    ------
    InputError
        If the POIs cannot be read, or reach too far for one CRS.
    """
    section = yaml.safe_load("\n".join(placed_pois_section(path, json.dumps(str(path.resolve())))))
    settings = Pois.model_validate(section["pois"])
    crs = poi_crs(settings, None)
    with quiet():  # the check of the whole configuration tells it all
        tables = read_pois(settings, crs=crs)
    area = float(shapely.union_all(known_shapes(tables)).area)
    pois = len(tables.points) + float(tables.count_matrix.sum())
    cell = nice_edge(np.sqrt(area * min(POIS_A_CELL / max(pois, 1.0), 1 / 200)))
    return [
        f"# No images: square cells of {cell:g} m over the POIs, some {max(area / cell**2, 1):,.0f} regions.",
        "# Polygons of your own may be better: {kind: polygons, path: tracts.gpkg, id: tract}",
        "regions:",
        "  kind: grid",
        f"  size: {cell:g}",
        f"  crs: {short_crs(crs)}           # all distances are measured here",
    ]
