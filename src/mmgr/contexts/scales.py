"""Which scales a context is seen at: from the distance between POIs up to a part of the city."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from mmgr.console import log

NEIGHBOURS = 5
"""The smallest scale is the median distance from a POI to the place of its fifth nearest: it sees a few."""
LARGEST = 16
"""No scale is larger than this part of the extent: larger ones tell which city or quarter it is, not what is there."""
FINEST = 0.25
"""Where POIs are counts, the smallest scale is at least this part of a polygon's width."""
MOST = 4
"""Scales at most; each is twice the one before."""


def context_scales(xy: ArrayLike, centres: ArrayLike, group: ArrayLike, *, edge: float) -> tuple[float, ...]:
    """Choose the scales of a context, in metres.

    They start where POIs begin to be near each other, or at half a region, and double: four at most, none larger than
    a sixteenth of the extent of a group of regions. A context at the scale of the extent is the same all over a city.
    It tells cities apart and nothing else, and a probe that was fitted in one city then errs in another.

    Parameters
    ----------
    xy
        POIs in metres, shape ``(m, 2)``.
    centres
        Of the regions, in metres, shape ``(n, 2)``.
    group
        Group of each region, such as its city, shape ``(n,)``.
    edge
        Edge of a region in metres.

    Returns
    -------
    Standard deviations, the smallest first; at least one, unless there is no POI or no region.
    """
    places = np.unique(np.asarray(xy, np.float64).reshape(-1, 2), axis=0)
    regions = np.asarray(centres, np.float64)
    if not len(places) or not len(regions):
        return ()
    smallest = 0.5 * edge
    if len(places) > NEIGHBOURS:
        distance, _ = cKDTree(places).query(places, k=[NEIGHBOURS + 1])  # the nearest is the POI itself
        smallest = max(smallest, float(np.median(distance)))
    chosen = doubled(smallest, regions, group, edge=edge)
    log.info("context of POIs at %s m", ", ".join(f"{scale:.0f}" for scale in chosen))
    return chosen


def counted_scales(widths: ArrayLike, centres: ArrayLike, group: ArrayLike, *, edge: float) -> tuple[float, ...]:
    """Choose the scales at which counts of polygons are seen, in metres.

    They start at a quarter of the polygons' width, since nobody knows where in its polygon a POI lies, and double as
    those of points do.

    Parameters
    ----------
    widths
        Edges of squares as large as the polygons, shape ``(p,)``.
    centres, group, edge
        As of :func:`context_scales`.

    Returns
    -------
    Standard deviations, the smallest first; none where there is no polygon or no region.
    """
    width, regions = np.asarray(widths, np.float64), np.asarray(centres, np.float64)
    if not len(width) or not len(regions):
        return ()
    chosen = doubled(max(0.5 * edge, FINEST * float(np.median(width))), regions, group, edge=edge)
    log.info("context of counted POIs at %s m", ", ".join(f"{scale:.0f}" for scale in chosen))
    return chosen


def doubled(smallest: float, centres: NDArray[np.float64], group: ArrayLike, *, edge: float) -> tuple[float, ...]:
    """Return scales from the smallest on, each twice the one before, none too large for the extent of a group."""
    largest = _extent(centres, np.asarray(group, str)) / LARGEST
    scales = [smallest * 2**step for step in range(MOST)]
    return tuple(scale for scale in scales if scale <= largest) or (max(min(smallest, largest), 0.5 * edge),)


def _extent(centres: NDArray[np.float64], group: NDArray[np.str_]) -> float:
    """Return the median over groups of the edge of a square as large as the box around a group's regions."""
    boxes = [np.ptp(centres[group == name], axis=0) for name in np.unique(group)]
    return float(np.median([np.sqrt(width * height) for width, height in boxes]))
