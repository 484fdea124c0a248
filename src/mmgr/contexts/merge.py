"""Many POIs as fewer weighted points, sorted so that near ones are found without a search of all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.contexts.kernels import Rows

MOST_ROWS = 1_000_000
"""POIs that lie oceans apart get higher rows instead of more."""

Points = tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]
"""Places in metres ``(m, 2)``, groups ``(m,)`` and weights ``(m,)``."""


def merge_points(
    xy: NDArray[np.float64], group: NDArray[np.int32], weight: NDArray[np.float64], *, edge: float
) -> Points:
    """Merge the POIs of one group that lie in one square bin into one at their weighted mean.

    Parameters
    ----------
    xy, group, weight
        Places in metres ``(m, 2)``, groups ``(m,)`` and positive weights ``(m,)``.
    edge
        Edge of a bin in metres; 0 merges only what coincides. Bins start at the CRS's origin: a
        POI elsewhere does not move them.
    """
    if not len(xy):
        return xy, group, weight
    bins = np.floor(xy / edge) if edge else xy
    order = np.lexsort((group, bins[:, 0], bins[:, 1]))
    keys = np.column_stack([bins[order], group[order]])
    starts = np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)]))
    first = order[starts]
    total = np.add.reduceat(weight[order], starts)
    mean = np.add.reduceat((xy * weight[:, None])[order], starts) / total[:, None]
    # one alone, or several that coincide, keep their place to the bit
    alone = (np.diff(np.append(starts, len(xy))) == 1)[:, None] | (edge == 0)
    return np.where(alone, xy[first], mean), group[first], total


def rows_of_points(
    xy: NDArray[np.float64], group: NDArray[np.int32], weight: NDArray[np.float64], *, height: float
) -> Rows:
    """Sort points into rows of about ``height`` metres, and from west to east within a row."""
    bottom, top = (float(xy[:, 1].min()), float(xy[:, 1].max())) if len(xy) else (0.0, 0.0)
    height = max(height, (top - bottom) / MOST_ROWS)
    row = ((xy[:, 1] - bottom) / height).astype(np.int64)
    order = np.lexsort((xy[:, 0], row))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=1))]).astype(np.int64)
    x, y = np.ascontiguousarray(xy[order].T)
    return Rows(starts, bottom, height, x, y, weight[order], group[order])
