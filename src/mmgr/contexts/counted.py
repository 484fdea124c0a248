"""POIs around a place where they are not points but counts of polygons, such as census tracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mmgr.pois.tables import PoiTables

CUTOFF = 4.0
"""Standard deviations beyond which a Gaussian is taken as 0."""
STEP = 0.5
"""A polygon is seen as places this part of a standard deviation apart, or less."""
MOST_PLACES = 65_536
"""A polygon of more places than these is looked at near the regions alone."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Places that stand for polygons at one scale."""

    xy: NDArray[np.float64]
    """Metres, shape ``(q, 2)``."""
    polygon: NDArray[np.int64]
    """Row of the polygon that each stands for, shape ``(q,)``."""
    area: NDArray[np.float64]
    """Square metres that each stands for, shape ``(q,)``."""


def counted_around(tables: PoiTables, centres: NDArray[np.float64], scales: Sequence[float]) -> NDArray[np.float32]:
    """Return the mean density of POIs around places, by category and scale, where polygons count them.

    A polygon's POIs lie anywhere in it, so that its density is taken as even. The mean of the densities is weighted
    by a Gaussian of the distance, over what polygons cover: beyond the last polygon nothing is known, which is not to
    say that there is nothing. Of several sources, only those that count a category weigh in its mean.

    Parameters
    ----------
    tables
        POIs, of which the counts are looked at.
    centres
        ``n`` places in metres, in the CRS of the tables, shape ``(n, 2)``.
    scales
        ``S`` standard deviations in metres.

    Returns
    -------
    POIs per km2, shape ``(n, S, categories)``; NaN where no polygon lies within :data:`CUTOFF` standard deviations.
    """
    polygons = tables.counts.geometry.to_numpy()
    source = tables.counts["source"].to_numpy()
    densities = tables.count_matrix / tables.counts["area_km2"].to_numpy(float)[:, None]  # (P, K)
    counted = np.zeros((len(tables.sources), len(tables.taxonomy)))
    for number in np.unique(source):
        counted[number] = tables.count_matrix[source == number].any(axis=0)
    found = np.full((len(centres), len(scales), len(tables.taxonomy)), np.nan, np.float32)
    for scale, metres in enumerate(scales):
        weight = _weights(polygons, centres, metres)  # (n, P)
        by_source = np.stack([weight[:, source == number].sum(axis=1) for number in range(len(tables.sources))], axis=1)
        cover = by_source @ counted  # (n, K)
        found[:, scale] = np.divide(weight @ densities, cover, out=np.zeros_like(cover), where=cover > 0)
        found[by_source.sum(axis=1) == 0, scale] = np.nan
    return found


def _weights(polygons: NDArray[np.object_], centres: NDArray[np.float64], metres: float) -> csr_array:
    """Return the integral of the Gaussian around each centre over each polygon, but for a factor, shape ``(n, P)``."""
    reach = CUTOFF * metres
    places = _places(polygons, centres, step=STEP * metres, reach=reach)
    # distances of the pairs within reach alone, as a sparse matrix
    weight = csr_array(cKDTree(centres).sparse_distance_matrix(cKDTree(places.xy), reach).tocsr())
    weight.sort_indices()  # one order of summation
    weight.data = np.exp(-0.5 * np.square(weight.data / metres))
    stands_for = (places.area, (np.arange(len(places.xy)), places.polygon))
    return csr_array(weight @ csr_array(stands_for, shape=(len(places.xy), len(polygons))))


def _places(polygons: NDArray[np.object_], centres: NDArray[np.float64], *, step: float, reach: float) -> _Places:
    """Return the places that stand for the polygons within reach of any centre."""
    xy, number, area = [np.zeros((0, 2))], [np.zeros(0, np.int64)], [np.zeros(0)]
    centre, near = shapely.STRtree(polygons).query(shapely.points(centres), predicate="dwithin", distance=reach)
    order = np.argsort(near, kind="stable")
    centre, near = centre[order], near[order]
    first = np.searchsorted(near, np.arange(len(polygons) + 1))
    for polygon in np.unique(near):
        own = centres[centre[first[polygon] : first[polygon + 1]]]
        places, each = _lattice(polygons[polygon], step, own.min(axis=0) - reach, own.max(axis=0) + reach)
        xy.append(places)
        number.append(np.full(len(places), polygon))
        area.append(np.full(len(places), each))
    return _Places(np.concatenate(xy), np.concatenate(number), np.concatenate(area))


def _lattice(
    shape: shapely.Geometry, step: float, low: NDArray[np.float64], high: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Return the places of an even lattice inside a shape and a box, and the area that each stands for.

    The lattice is the shape's own, whatever the box. A shape without any is seen as one place in it.
    """
    bounds = np.reshape(shapely.bounds(shape), (2, 2))
    cells = np.maximum(np.ceil((bounds[1] - bounds[0]) / step), 1)
    size = (bounds[1] - bounds[0]) / cells
    whole = cells.prod() <= MOST_PLACES  # of a desert county, what lies near regions alone is looked at
    first, last = np.zeros(2), cells
    if not whole:
        first = np.clip(np.floor((low - bounds[0]) / size), 0, cells)
        last = np.clip(np.ceil((high - bounds[0]) / size), 0, cells)
    x, y = (bounds[0, axis] + (np.arange(first[axis], last[axis]) + 0.5) * size[axis] for axis in (0, 1))
    lattice = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    shapely.prepare(shape)
    inside = lattice[shapely.contains_xy(shape, *lattice.T)]
    if not whole:
        return inside, float(size.prod())
    if not len(inside):
        inside = shapely.get_coordinates(shapely.point_on_surface(shape))
    return inside, float(shapely.area(shape)) / len(inside)
