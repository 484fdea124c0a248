"""What stands in a block of a made city: houses on lots, a park, a car park, a hall.

The factor `built` sets how much of a lot is covered, how high houses are and how wide lots are; `shared`, how central
a place is, whether houses stand side by side and have flat roofs. What a lot's open ground is (`ground`), the
colour of a district's roofs, and which blocks are parks, tell nothing of any label.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.hashing import draw, normal
from mmgr.synth.streets import (
    ARTERIAL,
    BUILT,
    GROUND,
    HEIGHT,
    LEFT,
    LOTS,
    SHARED,
    TOP,
    WIDTH,
    Plan,
    nearest_district,
    out_of_district,
    river_distance,
    value_at,
)  # fmt: skip

HOUSES, PARK, CAR_PARK, HALL = range(4)
"""Kinds of blocks."""
LAWN, PAVED, BARE = range(3)
"""Kinds of open ground."""
TALLEST = 21.0
"""Metres: no house is higher."""
RIVER = 20.0
"""Half the width of a river in metres."""
_STOREY = 3.0
TWO_ROWS = 26.0
"""Metres: a block that is narrower has one row of lots."""

# numbers in a lot's record; lengths in metres, along the street from the lot's corner and away from the street
(
    LONG, DEEP,  # its size
    HOUSE_LEFT, HOUSE_FRONT, HOUSE_RIGHT, HOUSE_BACK,  # empty where left is not less than right
    ROOF_HEIGHT, FLAT, TONE, SHED, GROUND_KIND, DRIVE,
    SIDE,  # 1 if away from the street is along the axis, -1 if against it
    LOT_SIZE,
) = range(14)  # fmt: skip


@compiled()
def kind_of_block(key: np.uint64, width: float, height: float) -> int:
    """Return what a block is; one in six is not for houses, wherever it lies."""
    chance = draw(key, 0)
    small = min(width, height) < 18
    if chance < 0.06:
        return PARK
    if chance < 0.10:
        return CAR_PARK
    return HALL if chance < 0.15 and not small else HOUSES


@compiled()
def lot_at(
    plan: Plan,
    district: tuple[int, int],
    key: np.uint64,
    block: NDArray[np.float64],
    number: int,
    second_row: bool,  # noqa: FBT001 - compiled functions take no keywords
    record: NDArray[np.float64],
) -> None:
    """Describe a lot and its house.

    Parameters
    ----------
    plan
        The plan.
    district
        Column and row, counted within the plan.
    key
        The lot's.
    block
        The block, as of :func:`mmgr.synth.streets.block_at`; its lots stand in one row, or two back to back, along
        its longer side.
    number
        The lot's place in its row.
    second_row
        Whether that is the second row.
    record
        Filled with the lot's numbers, shape ``(LOT_SIZE,)``.
    """
    length, across = max(block[WIDTH], block[HEIGHT]), min(block[WIDTH], block[HEIGHT])
    record[LONG] = length / block[LOTS]
    record[DEEP] = across / 2 if across > TWO_ROWS else across
    record[SIDE] = -1.0 if second_row else 1.0
    own = plan.districts[district[1], district[0]]
    centre = _place(own, block, record, number, record[LONG] / 2, record[DEEP] / 2)
    built = value_at(plan, BUILT, centre[0], centre[1])
    shared = value_at(plan, SHARED, centre[0], centre[1])
    _choose_house(key, built, shared, record)
    record[TONE] = 2 * draw(key, 6) - 1
    ground = value_at(plan, GROUND, centre[0], centre[1]) + 0.6 * normal(key, 4)
    record[GROUND_KIND] = LAWN if ground > -0.2 else (PAVED if ground > -1.0 else BARE)
    # no house is cut by an arterial road or a river
    for corner in range(4):
        p = record[HOUSE_LEFT] if corner % 2 else record[HOUSE_RIGHT]
        q = record[HOUSE_FRONT] if corner < 2 else record[HOUSE_BACK]
        x, y = _place(own, block, record, number, p, q)
        column, row, border, _ = nearest_district(plan, x, y)
        cut = column != district[0] or row != district[1] or border < ARTERIAL + 2
        if cut or (plan.has_river and river_distance(plan, x, y) < RIVER + 6):
            record[HOUSE_RIGHT] = record[HOUSE_LEFT]
            record[SHED] = 0.0


@compiled()
def _choose_house(key: np.uint64, built: float, shared: float, record: NDArray[np.float64]) -> None:
    cover = 0.10 + 0.58 / (1 + np.exp(-1.2 * built))
    cover *= 0.85 + 0.3 * draw(key, 0)
    attached = draw(key, 1) < 1 / (1 + np.exp(-2.2 * shared))
    long_part = 1.0 if attached else min(np.sqrt(cover) * (0.9 + 0.2 * draw(key, 2)), 0.94)
    deep_part = min(cover / long_part, 0.95)
    front = min(1.0 if attached else 2.0 + 3.0 * draw(key, 3), record[DEEP] * (1 - deep_part))
    left = record[LONG] * (1 - long_part) * (0.3 + 0.4 * draw(key, 4))
    vacant = draw(key, 5) < 0.06
    record[HOUSE_LEFT], record[HOUSE_FRONT] = left, front
    record[HOUSE_RIGHT] = left if vacant else left + record[LONG] * long_part
    record[HOUSE_BACK] = front + record[DEEP] * deep_part
    storeys = max(1.0, np.round(2.3 * np.exp(0.5 * built + 0.22 * normal(key, 5))))
    record[ROOF_HEIGHT] = min(_STOREY * storeys, TALLEST)
    record[FLAT] = 1.0 if draw(key, 7) < 1 / (1 + np.exp(-2.0 * shared)) else 0.0
    record[SHED] = 1.0 if not attached and draw(key, 12) < 0.4 and record[DEEP] - record[HOUSE_BACK] > 5 else 0.0
    record[DRIVE] = 0.0 if attached else 1.0


@compiled()
def _place(
    district: NDArray[np.float64],
    block: NDArray[np.float64],
    record: NDArray[np.float64],
    number: int,
    p: float,
    q: float,
) -> tuple[float, float]:
    """Return the city's coordinates of a place in a lot: ``p`` along its street and ``q`` away from it."""
    along = number * record[LONG] + p
    away = q if record[SIDE] > 0 else min(block[WIDTH], block[HEIGHT]) - q
    if block[WIDTH] >= block[HEIGHT]:
        return out_of_district(district, block[LEFT] + along, block[TOP] + away)
    return out_of_district(district, block[LEFT] + away, block[TOP] + along)
