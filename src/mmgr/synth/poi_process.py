"""POIs of a made city: a Poisson process whose rate and mix follow what people do there, along the streets.

A cell of 40 m expects ``rate * exp(0.9 h + 0.25 s + c)`` points a km2, where ``c`` is the cell's own chance (a mall, an
empty yard), of mean 1 once exponentiated. A point's first level has chances softmax-linear in ``h`` and ``s``;
within it second levels have Zipf's frequencies ``1 / rank``. The factor `built` tells nothing of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.city import City
from mmgr.synth.hashing import draw, fold, normal
from mmgr.synth.streets import (
    HEIGHT,
    HUMAN,
    LEFT,
    SHARED,
    SIZE,
    TOP,
    WIDTH,
    Plan,
    block_at,
    into_district,
    nearest_district,
    out_of_district,
    plan_around,
    value_at,
)  # fmt: skip

RATE = 250.0
"""Points a km2 where human and shared are 0."""
BY_HUMAN, BY_SHARED, BY_CHANCE = 0.9, 0.25, 1.0
"""Weights of the factors in the logarithm of the rate, and the standard deviation of a cell's own chance."""
CATEGORIES: dict[str, tuple[str, ...]] = {
    "food": ("restaurant", "cafe", "fast_food", "bar", "bakery", "ice_cream", "pub", "food_court"),
    "shop": ("clothes", "supermarket", "convenience", "hairdresser", "electronics", "books", "florist", "mall"),
    "office": ("company", "bank", "lawyer", "insurance", "estate_agent", "consulting", "travel_agency", "notary"),
    "public": (
        "school",
        "kindergarten",
        "place_of_worship",
        "library",
        "town_hall",
        "police",
        "post_office",
        "college",
    ),
    "health": ("pharmacy", "doctor", "dentist", "clinic", "veterinary", "hospital", "optician", "nursing_home"),
    "leisure": ("playground", "gym", "park", "pitch", "cinema", "museum", "theatre", "swimming_pool"),
    "transport": ("bus_stop", "parking", "fuel", "bicycle_parking", "tram_stop", "taxi", "car_rental", "station"),
    "industry": ("workshop", "warehouse", "car_repair", "builder", "factory", "recycling", "storage", "depot"),
}
"""Second levels by first level, the most frequent first."""
MIX = np.array(
    [[0.3, 0.7, 0.6], [0.5, 0.5, 0.2], [-0.3, 0.7, 0.7], [0.0, -0.3, 0.0],
     [-0.5, 0.0, 0.0], [-0.1, -0.5, 0.1], [0.6, -0.4, -0.3], [-0.4, -0.2, -1.0]]
)  # fmt: skip
"""Logit of each first level: constant, and weights of human and shared; shape ``(8, 3)``."""
FIRST_LEVELS = tuple(CATEGORIES)
SECOND_LEVELS = np.array(list(CATEGORIES.values()), object)
"""Shape ``(8, 8)``."""
_CELL = 40.0
_TILE = 24
"""Cells in a row of a tile, of which POIs are made at a time."""
_MOST = 80
"""Points a cell."""
_AT_STREETS = 0.85
"""Part of the points that stand at the edge of their block."""
_KEY_OF_POIS = 41
_ZIPF = np.cumsum(1 / np.arange(1, 9)) / np.sum(1 / np.arange(1, 9))


@dataclass(frozen=True, slots=True)
class Points:
    """Points of one city."""

    xy: NDArray[np.float64]
    """Metres from the city's north-west corner, x to the east and y to the south, shape ``(n, 2)``."""
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    """Numbers of the levels, shape ``(n,)``."""


def expected_rate(factors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the POIs a km2 that places expect, from built, human and shared, shape ``(n, 3)``."""
    return np.asarray(RATE * np.exp(BY_HUMAN * factors[:, 1] + BY_SHARED * factors[:, 2]))


def make_points(city: City) -> Iterator[Points]:
    """Make the POIs of a city tile by tile; memory does not grow with the city."""
    columns, rows = (int(np.ceil(length / _CELL)) for length in city.size)
    for row in range(0, rows, _TILE):
        for column in range(0, columns, _TILE):
            yield _points_of_tile(city, column, row, min(_TILE, columns - column), min(_TILE, rows - row))


def _points_of_tile(city: City, column: int, row: int, columns: int, rows: int) -> Points:
    bounds = (column * _CELL, row * _CELL, (column + columns) * _CELL, (row + rows) * _CELL)
    plan = plan_around(city.fields, city.key, city.size, bounds)
    points = np.empty((columns * rows * _MOST, 4))
    count = _scatter(plan, column, row, columns, rows, points)
    points = points[:count]
    inside = np.all((points[:, :2] >= 0) & (points[:, :2] < city.size), axis=1)
    points = points[inside]
    return Points(points[:, :2].copy(), points[:, 2].astype(np.int64), points[:, 3].astype(np.int64))


@compiled()
def _scatter(plan: Plan, column: int, row: int, columns: int, rows: int, points: NDArray[np.float64]) -> int:
    """Fill rows of ``points`` with x, y, first and second level; return how many."""
    key = fold(plan.key, _KEY_OF_POIS, 0)
    count = 0
    block = np.empty(SIZE)
    chances = np.empty(len(MIX))
    for j in range(row, row + rows):
        for i in range(column, column + columns):
            own = fold(key, i, j)
            human = value_at(plan, HUMAN, (i + 0.5) * _CELL, (j + 0.5) * _CELL)
            shared = value_at(plan, SHARED, (i + 0.5) * _CELL, (j + 0.5) * _CELL)
            own_chance = BY_CHANCE * normal(own, 100) - 0.5 * BY_CHANCE**2
            mean = RATE * (_CELL * _CELL / 1e6) * np.exp(BY_HUMAN * human + BY_SHARED * shared + own_chance)
            number = _poisson(mean, draw(own, 0))
            _mix(human, shared, chances)
            for point in range(number):
                poi = fold(own, point, 1)
                x, y = (i + draw(poi, 0)) * _CELL, (j + draw(poi, 1)) * _CELL
                if draw(poi, 2) < _AT_STREETS:
                    x, y = _to_street(plan, x, y, block)
                points[count, 0], points[count, 1] = x, y
                points[count, 2] = np.searchsorted(chances, draw(poi, 3), side="right")
                points[count, 3] = np.searchsorted(_ZIPF, draw(poi, 4), side="right")
                count += 1
    return count


@compiled()
def _poisson(mean: float, chance: float) -> int:
    """Return the Poisson number of a mean at an even chance, by adding up probabilities."""
    term = np.exp(-mean)
    total, number = term, 0
    while chance >= total and number < _MOST:
        number += 1
        term *= mean / number
        total += term
    return number


@compiled()
def _mix(human: float, shared: float, chances: NDArray[np.float64]) -> None:
    """Fill in the running sum of the chances of first levels."""
    total = 0.0
    for level in range(len(MIX)):
        total += np.exp(MIX[level, 0] + MIX[level, 1] * human + MIX[level, 2] * shared)
        chances[level] = total
    for level in range(len(MIX)):
        chances[level] /= total
    chances[-1] = 1.0


@compiled()
def _to_street(plan: Plan, x: float, y: float, block: NDArray[np.float64]) -> tuple[float, float]:
    """Move a place to the nearest edge of its block, to the doors of the houses there."""
    column, row, _, _ = nearest_district(plan, x, y)
    district = plan.districts[row, column]
    u, v = into_district(district, x, y)
    block_at(plan, column, row, u, v, block)
    p, q = u - block[LEFT], v - block[TOP]
    gaps = (abs(p), abs(block[WIDTH] - p), abs(q), abs(block[HEIGHT] - q))
    nearest = min(gaps)
    if nearest == gaps[0]:
        p = 1.0
    elif nearest == gaps[1]:
        p = block[WIDTH] - 1.0
    elif nearest == gaps[2]:
        q = 1.0
    else:
        q = block[HEIGHT] - 1.0
    return out_of_district(district, block[LEFT] + p, block[TOP] + q)
