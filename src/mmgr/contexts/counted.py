"""POIs around a place where they are not points but counts of polygons, such as census tracts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from mmgr.gaussian import gaussian_weights
from mmgr.pois.tables import PoiTables

CUTOFF = 4.0
"""Standard deviations beyond which a Gaussian is taken as 0."""
STEP = 0.5
"""A polygon is seen as places this part of a standard deviation apart, or less."""
PART = 4096
"""Places that are looked at together."""
MOST_PLACES = 65_536
"""A polygon of more places than these is looked at near the regions alone."""


@dataclass(frozen=True, slots=True)
class _Places:
    """Places that stand for polygons at one scale."""

    tree: cKDTree
    """Of the ``q`` places, in metres."""
    polygon: csr_array
    """Square metres of which polygon each stands for, shape ``(q, P)``."""


@dataclass(frozen=True, slots=True)
class CountField:
    """Counts of ``P`` polygons made ready to be averaged around places; build it with :func:`count_field`.

    Every place is looked at by itself, so places may be handed in parts.
    """

    scales: tuple[float, ...]
    """Standard deviations in metres."""
    per_km2: NDArray[np.float64]
    """POIs per km2 of each polygon and category, shape ``(P, K)``."""
    source: csr_array
    """Which source each polygon is of, shape ``(P, sources)``."""
    counted: NDArray[np.float64]
    """1 where a source counts a category, shape ``(sources, K)``."""
    places: tuple[_Places, ...]
    """At each scale."""

    def densities(self, centres: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the mean density of POIs around places, by scale and category.

        Parameters
        ----------
        centres
            Some of the places, in metres, for which the field was made, shape ``(n, 2)``.

        Returns
        -------
        POIs per km2, shape ``(n, S, K)``; NaN where no polygon lies within :data:`CUTOFF` standard deviations.
        """
        found = np.full((len(centres), len(self.scales), self.per_km2.shape[1]), np.nan, np.float32)
        for start in range(0, len(centres), PART):
            rows = slice(start, start + PART)
            for scale, (metres, places) in enumerate(zip(self.scales, self.places, strict=True)):
                found[rows, scale] = self._mean(centres[rows], metres, places)
        return found

    def _mean(self, centres: NDArray[np.float64], metres: float, places: _Places) -> NDArray[np.float64]:
        weight = gaussian_weights(centres, places.tree, scale=metres, cutoff=CUTOFF)
        of_polygon = weight @ places.polygon  # (n, P): the Gaussian's integral over each, but for a factor
        of_source = (of_polygon @ self.source).toarray()
        cover = of_source @ self.counted  # (n, K)
        mean = np.divide(of_polygon @ self.per_km2, cover, out=np.zeros_like(cover), where=cover > 0)
        return np.where(of_source.any(axis=1, keepdims=True), mean, np.nan)


def count_field(tables: PoiTables, centres: NDArray[np.float64], scales: Sequence[float]) -> CountField:
    """Make the counts of polygons ready to be averaged around places.

    A polygon's POIs lie anywhere in it, so that its density is taken as even. The mean of the densities is weighted
    by a Gaussian of the distance, over what polygons cover: beyond the last polygon nothing is known, which is not to
    say that there is nothing. Of several sources, only those that count a category weigh in its mean.

    Parameters
    ----------
    tables
        POIs, of which the counts are looked at.
    centres
        All places in metres, in the CRS of the tables, shape ``(n, 2)``; what is far from all of them is left out.
    scales
        ``S`` standard deviations in metres.
    """
    polygons = tables.counts.geometry.to_numpy()
    source = tables.counts["source"].to_numpy()
    ones = (np.ones(len(source)), (np.arange(len(source)), source))
    return CountField(
        scales=tuple(float(scale) for scale in scales),
        per_km2=tables.count_matrix / tables.counts["area_km2"].to_numpy(float)[:, None],
        source=csr_array(ones, shape=(len(source), len(tables.sources))),
        counted=tables.counted.astype(float),
        places=tuple(_places(polygons, centres, step=STEP * scale, reach=CUTOFF * scale) for scale in scales),
    )


def _places(polygons: NDArray[np.object_], centres: NDArray[np.float64], *, step: float, reach: float) -> _Places:
    """Return the places that stand for the polygons within reach of any centre."""
    xy, number, area = [np.zeros((0, 2))], [np.zeros(0, np.int64)], [np.zeros(0)]
    # squares of the reach stand for the centres in them, which may be millions
    low = reach * (np.unique(np.floor(centres / reach), axis=0) - 1)
    high = low + 3 * reach
    square, near = shapely.STRtree(polygons).query(shapely.box(*low.T, *high.T), predicate="intersects")
    order = np.argsort(near, kind="stable")
    square, near = square[order], near[order]
    first = np.searchsorted(near, np.arange(len(polygons) + 1))
    for polygon in np.unique(near):
        own = square[first[polygon] : first[polygon + 1]]
        places, each = _lattice(polygons[polygon], step, low[own].min(axis=0), high[own].max(axis=0))
        xy.append(places)
        number.append(np.full(len(places), polygon))
        area.append(np.full(len(places), each))
    places = np.concatenate(xy)
    stands_for = (np.concatenate(area), (np.arange(len(places)), np.concatenate(number)))
    return _Places(cKDTree(places), csr_array(stands_for, shape=(len(places), len(polygons))))


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
