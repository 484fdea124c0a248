"""A polygon of the whole area among those of its parts: the row of the total."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

LEAST_OTHERS = 5
"""Fewer polygons beside it do not say what is a total."""
HELD = 0.5
"""Part of the others' area that a total holds, at least."""


def find_totals(polygons: NDArray[np.object_]) -> dict[int, float]:
    """Find the polygons that hold more than :data:`HELD` of the area of all others.

    Parameters
    ----------
    polygons
        Valid ones, in metres, shape ``(p,)``.

    Returns
    -------
    The part of the others' area that each holds, by its row; nothing where it has fewer than :data:`LEAST_OTHERS`
    others.
    """
    if len(polygons) <= LEAST_OTHERS:
        return {}
    area = shapely.area(polygons)
    others = area.sum() - area
    found = {}
    # a total is as large as its parts together, or half as large where it is there twice
    for row in np.flatnonzero(2 * area > HELD * others):
        shapely.prepare(polygons[row])
        beside = np.delete(np.arange(len(polygons)), row)
        within = shapely.covers(polygons[row], polygons[beside])
        crossed = beside[~within & shapely.intersects(polygons[row], polygons[beside])]
        crossed_area = shapely.area(shapely.intersection(polygons[row], polygons[crossed])).sum()
        part = float((area[beside[within]].sum() + crossed_area) / others[row])
        if part > HELD:
            found[int(row)] = part
    return found
