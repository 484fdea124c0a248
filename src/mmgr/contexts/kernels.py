"""Sums of kernels as machine code: one file, since Numba's cache notices changes within a file only."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled

BLOCK = 64
"""Regions that a thread takes at a time."""
SLACK = 1e-6
"""Part of a row by which its bounds are widened, so that rounding loses no point that lies on one."""


class Rows(NamedTuple):
    """Weighted points in horizontal rows of one height; within a row they stand from west to east."""

    starts: NDArray[np.int64]
    """First point of each row, and the end of the last, shape ``(rows + 1,)``."""
    bottom: float
    """Lower edge of the first row in metres."""
    height: float
    """Of a row in metres."""
    x: NDArray[np.float64]
    """Metres, shape ``(points,)``."""
    y: NDArray[np.float64]
    """Metres, shape ``(points,)``."""
    weight: NDArray[np.float64]
    """Shape ``(points,)``."""
    group: NDArray[np.int32]
    """Shape ``(points,)``."""


@compiled(parallel=True)
def add_kernels(
    centres: NDArray[np.float64], rows: Rows, table: NDArray[np.float32], reach: float, out: NDArray[np.float32]
) -> None:
    """Write the sum of ``weight * kernel(distance)`` of the points within ``reach`` of each centre, by group.

    ``table`` holds the kernel at even steps of the squared distance, from 0 to ``reach ** 2``, and once
    more its last value; between them it is taken as straight. ``out`` has shape ``(n, groups)``. Each
    region is summed by one thread in one order: the bits do not depend on the number of threads.
    """
    # taken out of their tuple once: to take one counts its users, in which threads wait for each other
    starts, bottom, height, x, y, weight, group = rows
    blocks = -(-len(centres) // BLOCK)
    for block in numba.prange(blocks):
        total = np.zeros(out.shape[1])
        # every blocks-th region: a dense centre is shared out among the threads
        for region in range(block, len(centres), blocks):
            total[:] = 0.0
            east, north = centres[region, 0], centres[region, 1]
            lowest = _row(north - reach, bottom, height, len(starts) - 1)
            highest = _row(north + reach, bottom, height, len(starts) - 1)
            for row in range(lowest, highest + 1):
                half = _half_chord(north - bottom - row * height, height, reach)
                first = _first(x, starts[row], starts[row + 1], east - half)
                _add_row(first, starts[row + 1], east + half, east, north, x, y, weight, group, table, reach**2, total)
            for number in range(len(total)):
                out[region, number] = total[number]


@compiled()
def _row(y: float, bottom: float, height: float, rows: int) -> int:
    """Return the row that holds ``y``, or the nearest; compared as floats, since far ones overflow."""
    return int(min(max(np.floor((y - bottom) / height), 0.0), rows - 1.0))


@compiled()
def _half_chord(above: float, height: float, reach: float) -> float:
    """Return how far west and east a row can hold points within reach of a centre ``above`` its lower edge."""
    gap = max(max(-above, above - height) - SLACK * height, 0.0)
    return float(np.sqrt(max(reach**2 - gap**2, 0.0))) + SLACK * height


@compiled()
def _first(x: NDArray[np.float64], start: int, stop: int, least: float) -> int:
    """Return the first place from ``start`` on where ``x`` is at least ``least``."""
    while start < stop:
        middle = (start + stop) // 2
        if x[middle] < least:
            start = middle + 1
        else:
            stop = middle
    return start


@compiled()
def _add_row(
    start: int,
    stop: int,
    last: float,
    east: float,
    north: float,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weight: NDArray[np.float64],
    group: NDArray[np.int32],
    table: NDArray[np.float32],
    reach2: float,
    total: NDArray[np.float64],
) -> None:
    """Add the points of one row up to the easting ``last``."""
    steps = (len(table) - 2) / reach2
    for point in range(start, stop):
        if x[point] > last:
            break
        distance2 = (x[point] - east) ** 2 + (y[point] - north) ** 2
        if distance2 <= reach2:
            place = distance2 * steps
            below = int(place)
            value = table[below] + (place - below) * (table[below + 1] - table[below])
            total[group[point]] += weight[point] * value
