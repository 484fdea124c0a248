"""Export: embeddings in the forms that other people's evaluators read."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmgr.console import log
from mmgr.embeddings import read_embeddings
from mmgr.errors import ArtefactError, RegionError
from mmgr.files import write_aside
from mmgr.layout import Layout
from mmgr.maps.rasters import write_vectors

Format = Literal["geotiff", "parquet", "csv"]
Part = Literal["embeddings", "image", "poi", "random"]


def export(
    layout: Layout,
    folder: Path,
    *,
    form: Format = "geotiff",
    part: Part = "embeddings",
    resolution: float | None = None,
) -> list[Path]:
    """Write the embeddings of a run as images, one a group (city), or as one table.

    Parameters
    ----------
    layout
        Of the run.
    folder
        Where the files are written.
    form
        ``geotiff``: a band a dimension, see :func:`mmgr.maps.rasters.write_vectors`; ``parquet`` and ``csv``: a row
        a region, with its id, group, the longitude and latitude of its centre, and a column a dimension.
    part
        Which vectors: the embeddings, one part of them, or those of the untrained encoder.
    resolution
        Edge of a cell in metres, for images of regions that form no grid.

    Returns
    -------
    The files.

    Raises
    ------
    ArtefactError
        If the run has no such part.
    RegionError
        If there is no image of these regions.
    """
    source = layout.embeddings / f"{part}.parquet"
    if not source.is_file():
        there = ", ".join(sorted(path.stem for path in layout.embeddings.glob("*.parquet")))
        raise ArtefactError(f"this run has no vectors called {part}; it has {there}.")
    if resolution is not None and resolution <= 0:
        raise RegionError(f"a resolution must be positive metres, got {resolution:g}.")
    regions = gpd.read_parquet(source, columns=["group", "geometry"])
    vectors = read_embeddings(source)
    facts = _provenance(source)
    names = dimension_names(facts, part, vectors.shape[1])
    if form == "geotiff" and regions.crs is None:
        raise RegionError("these regions have no place, and an image needs one; write a table, `--format csv`.")
    if form == "geotiff":
        return _images(folder, regions, vectors, names, facts, part, resolution)
    return [_table(folder / f"{part}.{form}", regions, vectors, names, facts)]


def dimension_names(facts: Mapping[str, Any], part: Part, count: int) -> list[str]:
    """Name each dimension by the part that it belongs to: ``image_000``, ..., ``poi_000``, ..."""
    lengths: dict[str, int]
    if part != "embeddings":
        lengths = {part: count}
    else:
        lengths = {name: int(facts.get(f"{name}_dimensions", 0)) for name in ("image", "poi")}
        if sum(lengths.values()) != count:
            lengths = {"embedding": count}
    digits = max(3, len(str(count - 1)))
    return [f"{name}_{number:0{digits}}" for name, length in lengths.items() for number in range(length)]


def _provenance(path: Path) -> dict[str, Any]:
    return dict(json.loads((pq.read_schema(path).metadata or {}).get(b"mmgr", b"{}")))


def _images(
    folder: Path,
    regions: gpd.GeoDataFrame,
    vectors: NDArray[np.float32],
    names: list[str],
    facts: Mapping[str, Any],
    part: str,
    resolution: float | None,
) -> list[Path]:
    groups = regions["group"].astype(str).to_numpy()
    tags = {
        "SOFTWARE": f"MMGR {version('mmgr')}",
        "SEED": str(facts.get("seed", "")),
        "PART": part,
        "RECIPE": str(facts.get("recipe", "")),
    }
    written = []
    for group in dict.fromkeys(groups):
        rows = np.flatnonzero(groups == group)
        path = folder / f"{_file_name(group or str(facts.get('name', 'city')))}_{part}.tif"
        if path in written:
            raise RegionError(
                f"two groups would both be written to {path.name}; rename one, or use `--format parquet`."
            )
        lost = write_vectors(
            path, regions.iloc[rows], vectors[rows], names=names, resolution=resolution, tags={**tags, "GROUP": group}
        )
        if lost:
            log.warning(
                "%s: %d of %d regions have no cell, being narrower than %g m; give a smaller --resolution",
                path.name,
                lost,
                len(rows),
                resolution,
            )
        written.append(path)
    return written


def _file_name(group: str) -> str:
    """Return a group's name as every file system takes it."""
    return re.sub(r"[^\w-]+", "_", group).strip("_") or "city"


def _table(
    path: Path, regions: gpd.GeoDataFrame, vectors: NDArray[np.float32], names: list[str], facts: Mapping[str, Any]
) -> Path:
    # regions without a place have none in degrees either
    centres = regions.geometry if regions.crs is None else regions.geometry.centroid.to_crs(4326)
    table = pd.DataFrame(
        {
            "region_id": regions.index.astype(str),
            "group": regions["group"].astype(str).to_numpy(),
            "longitude": centres.x.to_numpy(),
            "latitude": centres.y.to_numpy(),
        }
    )
    table = pd.concat([table, pd.DataFrame(vectors, columns=names)], axis=1)
    with write_aside(path) as aside:
        if path.suffix == ".csv":
            # nine digits give back every float32, and a degree to a tenth of a millimetre
            table.to_csv(aside, index=False, float_format="%.9g")
        else:
            arrow = pa.Table.from_pandas(table, preserve_index=False)
            note = json.dumps(dict(facts), default=str)
            pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"mmgr": note}), aside)
    return path
