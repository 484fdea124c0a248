"""The plan of a made city: districts, main streets, blocks; where a place lies in it.

Districts are the cells of a Voronoi diagram of jittered sites, with an arterial road along each border. A district has
a grid of main streets of its own, turned towards the city's centre or any way; what lies between main streets is cut
into blocks by local streets, the more of them, the more central the place is (the factor `shared`). All is a
function of coordinates in metres from the city's north-west corner, x to the east and y to the south.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.fields import Fields
from mmgr.synth.hashing import draw, fold, normal

BUILT, HUMAN, SHARED, GROUND, WATER, LIGHT = range(6)
"""Numbers of the fields; those of light follow one another, date by date."""
DISTRICT = 500.0
"""Metres between the sites of districts."""
ARTERIAL, MAIN, LOCAL = 8.0, 5.0, 3.2
"""Half the widths of streets in metres, house to house without the sidewalks."""
SIDEWALK = 2.0
LOT = 11.0
"""Width of a lot in metres where `built` is 0."""
_JITTER = 0.3
_RADIAL = 0.3
"""Part of the city, from its centre out, where streets lead to the centre."""
_MARGIN = 120.0
"""Metres beyond a window within which the blocks and houses that reach into it are centred."""
_RIVER_SEEN = 40.0
_KEY_OF_DISTRICTS = 11


class Plan(NamedTuple):
    """What is known of the surroundings of a window."""

    key: np.uint64
    """The city's."""
    step: float
    column: int
    row: int
    """Lattice of the fields: metres between nodes, and the first node."""
    fields: NDArray[np.float64]
    """Shape ``(F, rows, columns)``."""
    first: NDArray[np.int64]
    """Column and row of the first district."""
    districts: NDArray[np.float64]
    """Of each: x and y of its site, cosine and sine of its turn, gaps between main streets, colour of its roofs;
    shape ``(rows, columns, 7)``."""
    has_river: bool
    """Whether a river can be near."""


def plan_around(
    fields: Fields, key: np.uint64, size: tuple[float, float], bounds: tuple[float, float, float, float]
) -> Plan:
    """Tabulate fields and districts around a window.

    Parameters
    ----------
    fields
        The city's.
    key
        The city's.
    size
        Width and height of the city in metres, which say where its centre is.
    bounds
        Left, top, right and bottom of the window in metres.
    """
    low, high = np.array(bounds[:2]) - _MARGIN, np.array(bounds[2:]) + _MARGIN
    column, row = np.floor(low / fields.step).astype(int) - 1
    columns, rows = np.ceil(high / fields.step).astype(int) + 2 - (column, row)
    values = fields.lattice(int(column), int(row), int(columns), int(rows))
    first = np.floor(low / DISTRICT).astype(np.int64) - 2
    count = np.floor(high / DISTRICT).astype(np.int64) + 3 - first
    districts = np.empty((int(count[1]), int(count[0]), 7))
    _lay_out_districts(key, first, np.array(size) / 2, _RADIAL * min(size), districts)
    return Plan(
        key, fields.step, int(column), int(row), values, first, districts, _has_river(values[WATER], fields.step)
    )


def _has_river(water: NDArray[np.float64], step: float) -> bool:
    """Say whether a place within the lattice can be less than 40 m from the zero line, by the steepest slope."""
    steepest = np.hypot(*(np.abs(np.diff(water, axis=axis)).max() / step for axis in (0, 1)))
    return bool(np.abs(water).min() < _RIVER_SEEN * steepest)


@compiled()
def _lay_out_districts(
    key: np.uint64, first: NDArray[np.int64], centre: NDArray[np.float64], radial: float, districts: NDArray[np.float64]
) -> None:
    for row in range(districts.shape[0]):
        for column in range(districts.shape[1]):
            own = fold(fold(key, _KEY_OF_DISTRICTS, 0), first[0] + column, first[1] + row)
            x = (first[0] + column + 0.5 + _JITTER * (2 * draw(own, 0) - 1)) * DISTRICT
            y = (first[1] + row + 0.5 + _JITTER * (2 * draw(own, 1) - 1)) * DISTRICT
            near = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radial**2
            turn = np.arctan2(y - centre[1], x - centre[0]) if near else draw(own, 2) * np.pi / 2
            district = districts[row, column]
            district[0], district[1] = x, y
            district[2], district[3] = np.cos(turn), np.sin(turn)
            district[4], district[5] = 92 + 40 * draw(own, 3), 80 + 32 * draw(own, 4)
            district[6] = draw(own, 5)


@compiled()
def value_at(plan: Plan, field: int, x: float, y: float) -> float:
    """Return a field at a place, linear between the nodes of the lattice."""
    column, row = x / plan.step - plan.column, y / plan.step - plan.row
    left, top = int(np.floor(column)), int(np.floor(row))
    right_part, lower_part = column - left, row - top
    values = plan.fields[field]
    upper = values[top, left] * (1 - right_part) + values[top, left + 1] * right_part
    lower = values[top + 1, left] * (1 - right_part) + values[top + 1, left + 1] * right_part
    return float(upper * (1 - lower_part) + lower * lower_part)


@compiled()
def nearest_district(plan: Plan, x: float, y: float) -> tuple[int, int, float, float]:
    """Return column and row of a place's district, metres to its border, and metres along that border."""
    here_column, here_row = int(np.floor(x / DISTRICT) - plan.first[0]), int(np.floor(y / DISTRICT) - plan.first[1])
    best, column, row = np.inf, here_column, here_row
    for j in range(here_row - 1, here_row + 2):
        for i in range(here_column - 1, here_column + 2):
            distance = (plan.districts[j, i, 0] - x) ** 2 + (plan.districts[j, i, 1] - y) ** 2
            if distance < best:
                best, column, row = distance, i, j
    site_x, site_y = plan.districts[row, column, 0], plan.districts[row, column, 1]
    border, along = np.inf, 0.0
    for j in range(here_row - 1, here_row + 2):
        for i in range(here_column - 1, here_column + 2):
            if i == column and j == row:
                continue
            dx, dy = plan.districts[j, i, 0] - site_x, plan.districts[j, i, 1] - site_y
            length = np.sqrt(dx * dx + dy * dy)
            distance = ((plan.districts[j, i, 0] - x) ** 2 + (plan.districts[j, i, 1] - y) ** 2 - best) / (2 * length)
            if distance < border:
                # both sides of a border measure along it in one direction
                sign = 1.0 if dx > 0 or (dx == 0 and dy > 0) else -1.0
                border, along = distance, sign * (x * dy - y * dx) / length
    return column, row, border, along


@compiled()
def into_district(district: NDArray[np.float64], x: float, y: float) -> tuple[float, float]:
    """Bring a place into the frame of a district: metres from its site, along its two directions of streets."""
    dx, dy = x - district[0], y - district[1]
    return district[2] * dx + district[3] * dy, district[2] * dy - district[3] * dx


@compiled()
def out_of_district(district: NDArray[np.float64], u: float, v: float) -> tuple[float, float]:
    """Bring a place from the frame of a district back into the city's."""
    return district[0] + district[2] * u - district[3] * v, district[1] + district[3] * u + district[2] * v


@compiled()
def river_distance(plan: Plan, x: float, y: float) -> float:
    """Return metres to the middle of the nearest river: the zero line of a very smooth field, to first order."""
    value = value_at(plan, WATER, x, y)
    across = (value_at(plan, WATER, x + plan.step, y) - value_at(plan, WATER, x - plan.step, y)) / (2 * plan.step)
    along = (value_at(plan, WATER, x, y + plan.step) - value_at(plan, WATER, x, y - plan.step)) / (2 * plan.step)
    return float(abs(value) / (np.sqrt(across * across + along * along) + 1e-6))


# numbers in a block's record, all in metres in the frame of its district
(
    LEFT, TOP, WIDTH, HEIGHT,  # without the streets around it
    LEFT_STREET, TOP_STREET, RIGHT_STREET, BOTTOM_STREET,  # half the widths of these
    LOTS,  # along the longer side
    SIZE,
) = range(10)  # fmt: skip


@compiled()
def block_at(plan: Plan, column: int, row: int, u: float, v: float, record: NDArray[np.float64]) -> np.uint64:
    """Describe the block around a place in its district's frame, up to the middle of its streets; return its key.

    Parameters
    ----------
    plan
        The plan.
    column, row
        The district, counted within the plan.
    u, v
        Metres from the district's site, turned as it is.
    record
        Filled with the block's numbers, shape ``(SIZE,)``.
    """
    district = plan.districts[row, column]
    gap_u, gap_v = district[4], district[5]
    big_u, big_v = np.floor(u / gap_u), np.floor(v / gap_v)
    own = fold(fold(plan.key, int(plan.first[0]) + column, int(plan.first[1]) + row), int(big_u), int(big_v))
    middle_u, middle_v = (big_u + 0.5) * gap_u, (big_v + 0.5) * gap_v
    x, y = out_of_district(district, middle_u, middle_v)
    central = value_at(plan, SHARED, x, y) + 0.35 * normal(own, 0)
    parts_u = 1 if central < -0.1 else 2
    parts_v = 1 if central < -0.9 else (2 if central < 0.7 else 3)
    part_u = int((u / gap_u - big_u) * parts_u)
    part_v = int((v / gap_v - big_v) * parts_v)
    record[LEFT_STREET] = MAIN if part_u == 0 else LOCAL
    record[RIGHT_STREET] = MAIN if part_u == parts_u - 1 else LOCAL
    record[TOP_STREET] = MAIN if part_v == 0 else LOCAL
    record[BOTTOM_STREET] = MAIN if part_v == parts_v - 1 else LOCAL
    record[LEFT] = (big_u + part_u / parts_u) * gap_u + record[LEFT_STREET] + SIDEWALK
    record[TOP] = (big_v + part_v / parts_v) * gap_v + record[TOP_STREET] + SIDEWALK
    record[WIDTH] = gap_u / parts_u - record[LEFT_STREET] - record[RIGHT_STREET] - 2 * SIDEWALK
    record[HEIGHT] = gap_v / parts_v - record[TOP_STREET] - record[BOTTOM_STREET] - 2 * SIDEWALK
    key = fold(own, part_u, part_v)
    x, y = out_of_district(district, record[LEFT] + record[WIDTH] / 2, record[TOP] + record[HEIGHT] / 2)
    # the more is built, the wider are lots
    wish = LOT * np.exp(0.42 * value_at(plan, BUILT, x, y) + 0.18 * normal(key, 1))
    length = max(record[WIDTH], record[HEIGHT])
    record[LOTS] = max(1.0, np.round(length / min(max(wish, 6.5), 34.0)))
    return key
