"""The POIs around the regions of a run, points and counts of polygons alike, and those inside, at all levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from mmgr.components import MOST_ROWS, evenly
from mmgr.contexts.counted import count_field
from mmgr.contexts.estimators import FLOOR, ContextVectors
from mmgr.contexts.groups import groups_of_levels
from mmgr.contexts.scales import context_scales, counted_scales
from mmgr.contexts.squashed import SquashedComponents
from mmgr.pois import PoiTables
from mmgr.pois.bags import PolygonCover, points_known
from mmgr.regions import centres_of, region_edge
from mmgr.store import PoiBags
from mmgr.taxonomy import Taxonomy

Scales = Literal["auto"] | Sequence[float]
"""Standard deviations in metres, or `auto`."""
Vectors = NDArray[np.float32]
COUNTED_DIMENSIONS = 128
"""Principal components of the counts around regions."""
PART = 4096
"""Regions whose whole table is in memory at a time."""


@dataclass(frozen=True, slots=True)
class Around:
    """What lies around ``n`` regions, of points or of counts."""

    vectors: Vectors
    """Components in columns of equal weight (:func:`mmgr.components.evenly`), shape ``(n, d)``; the mean of the others
    where a region's are unknown, and no column where all but one are."""
    known: NDArray[np.bool_]
    """Whether they are known, shape ``(n,)``."""
    metres: tuple[float, ...]
    """Scales at which they were seen; none without a column."""


def points_around(tables: PoiTables, regions: gpd.GeoDataFrame, scales: Scales) -> Around:
    """Describe regions by the points in and around them, at several scales and levels of detail.

    They are seen as :class:`mmgr.contexts.ContextVectors` sees them, and known where a source's area holds a region's
    centre, as in the region store.

    Parameters
    ----------
    tables
        The clean POIs.
    regions
        The regions, in the POIs' CRS.
    scales
        Standard deviations in metres of the weights by distance; `auto` chooses them by
        :func:`mmgr.contexts.scales.context_scales`.
    """
    known = points_known(tables, regions)
    chosen: Sequence[float]
    if scales == "auto":
        places = tables.points.geometry.get_coordinates().to_numpy()
        there = regions[known]
        chosen = context_scales(places, centres_of(there), there["group"], edge=region_edge(regions))
    else:
        chosen = tuple(scales)
    if known.sum() < 2 or not chosen:
        return _nothing(regions)
    category = tables.points["category"].to_numpy()
    points = tables.points.assign(
        first_level=np.array(tables.taxonomy.first, object)[category],
        second_level=np.array(tables.taxonomy.second, object)[category],
    )
    found = evenly(np.asarray(ContextVectors(points, scales=chosen).fit_transform(regions[known]), np.float32))
    return Around(_placed(found, known), known, tuple(float(scale) for scale in chosen))


def counts_around(tables: PoiTables, regions: gpd.GeoDataFrame, scales: Scales) -> Around:
    """Describe regions by the counts of the polygons in and around which they lie; the parameters are those of points.

    It goes as with points, but for the densities, which are those of :class:`mmgr.contexts.counted.CountField`.
    Counts are known where their polygons cover half of a region, as in the region store. `auto` chooses scales by
    :func:`mmgr.contexts.scales.counted_scales`.
    """
    cover = PolygonCover.of(tables, regions)
    known, centres = cover.known, centres_of(regions[cover.known])
    chosen: Sequence[float]
    if scales == "auto":
        widths = np.sqrt(shapely.area(tables.counts.geometry.to_numpy()[np.unique(cover.polygon)]))
        chosen = counted_scales(widths, centres, regions["group"][known], edge=region_edge(regions))
    else:
        chosen = tuple(float(scale) for scale in scales)
    if known.sum() < 2 or not chosen:
        return _nothing(regions)
    groups, field = groups_of_levels(tables.taxonomy), count_field(tables, centres, chosen)

    def table(rows: Any) -> Vectors:
        densities = groups.total(np.nan_to_num(field.densities(centres[rows])))
        return np.asarray(np.log(np.float32(FLOOR) + densities).reshape(len(densities), -1), np.float32)

    squash = SquashedComponents.of(table(_sample(len(centres))), COUNTED_DIMENSIONS)
    parts = [squash(table(slice(start, start + PART))) for start in range(0, len(centres), PART)]
    return Around(_placed(evenly(np.concatenate(parts)), known), known, field.scales)


def log_densities(bags: PoiBags, taxonomy: Taxonomy) -> Vectors:
    """Return ``log(0.1 + POIs per km2)`` inside ``n`` regions, of each category, each first level and all.

    Shape ``(n, groups)``; NaN where they are unknown.
    """
    densities = bags.densities(len(taxonomy))
    return np.log(np.float32(FLOOR) + groups_of_levels(taxonomy).total(densities)) if len(taxonomy) else densities


def squashed_vectors(table: Vectors, known: NDArray[np.bool_], dimensions: int) -> Vectors:
    """Describe regions by the squashed components of a table, in columns of equal weight.

    Parameters
    ----------
    table
        Shape ``(n, d)``; rows that are not known may hold anything.
    known
        Shape ``(n,)``.
    dimensions
        Most components.

    Returns
    -------
    Shape ``(n, k)``; the mean of the known ones where a row is not; no column where fewer than two are known.
    """
    if known.sum() < 2 or not table.shape[1]:
        return np.zeros((len(table), 0), np.float32)
    rows = table[known]
    return _placed(evenly(SquashedComponents.of(rows[_sample(len(rows))], dimensions)(rows)), known)


def _sample(count: int) -> NDArray[np.int64]:
    """Return evenly spread rows that tell the components of all: with more, only memory and time grow."""
    return np.unique(np.linspace(0, count - 1, min(MOST_ROWS, count)).round().astype(np.int64))


def _nothing(regions: gpd.GeoDataFrame) -> Around:
    return Around(np.zeros((len(regions), 0), np.float32), np.zeros(len(regions), bool), ())


def _placed(vectors: Vectors, known: NDArray[np.bool_]) -> Vectors:
    """Return the vectors of all regions; the mean of the known ones where a region is not."""
    placed = np.tile(vectors.mean(axis=0, dtype=np.float64).astype(np.float32), (len(known), 1))
    placed[known] = vectors
    return placed
