"""Ground, roofs and streets of a made city seen from above, pixel by pixel, before light falls on them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.hashing import draw, fold
from mmgr.synth.houses import HOUSES, LONG, LOT_SIZE, RIVER, SIDE, TWO_ROWS, kind_of_block, lot_at
from mmgr.synth.streets import (
    ARTERIAL,
    BOTTOM_STREET,
    HEIGHT,
    LEFT,
    LEFT_STREET,
    LOTS,
    MAIN,
    RIGHT_STREET,
    SIDEWALK,
    SIZE,
    TOP,
    TOP_STREET,
    WIDTH,
    Plan,
    block_at,
    into_district,
    nearest_district,
    river_distance,
)  # fmt: skip
from mmgr.synth.surfaces import (
    ASPHALT,
    GRASS,
    GRASS_DRY,
    GRASS_GREEN,
    GREEN,
    LINE,
    NOTHING,
    ROAD,
    SLABS,
    WALK,
    WATER_COLOUR,
    WATER_SURFACE,
    fill,
    paint_car,
    paint_lot,
    paint_open_block,
)  # fmt: skip

_KEPT = 1024
"""Lots remembered."""
_CAR_GAP, _CAR_LENGTH, _CAR_WIDTH = 6.2, 4.4, 1.9
_CURB = 0.3
_BORDER_SEEN = ARTERIAL + SIDEWALK
"""Metres from a district's border within which the border is seen."""
_TRUSTED = 6.0
"""Metres after which the nearest border is looked up again: one with a district beyond the next is not known of, but
is at least 17 m away."""


@compiled()
def paint(
    plan: Plan,
    green: float,
    sun: tuple[float, float],
    first: tuple[int, int],
    metres: float,
    colour: NDArray[np.float32],
    height: NDArray[np.float32],
    kind: NDArray[np.uint8],
) -> None:
    """Paint a window.

    Parameters
    ----------
    plan
        The plan around the window.
    green
        How green grass is, 0 to 1.
    sun
        Direction towards the sun on the ground, x to the east and y to the south, of length 1.
    first
        Column and row of the window's first pixel, counted from the city's corner; they may be negative.
    metres
        Edge of a pixel.
    colour
        Filled with red, green and blue, shape ``(rows, columns, 3)``.
    height
        Filled with metres above the ground, shape ``(rows, columns)``.
    kind
        Filled with what each pixel shows, shape ``(rows, columns)``.
    """
    block = np.empty(SIZE)
    lot_keys, lots = np.zeros(_KEPT, np.uint64), np.empty((_KEPT, LOT_SIZE))
    grass = GRASS_GREEN * green + GRASS_DRY * (1 - green)
    for i in range(colour.shape[0]):
        y = (first[1] + i + 0.5) * metres
        # what the last pixel knew, of use as long as this one is in the same district and block
        column, row, border, along, apart = 0, 0, -1.0, 0.0, np.inf
        has_block, block_key = False, np.uint64(0)
        for j in range(colour.shape[1]):
            x = (first[0] + j + 0.5) * metres
            apart += metres
            if border - apart < _BORDER_SEEN + 1 or apart > _TRUSTED:
                last_column, last_row = column, row
                column, row, border, along = nearest_district(plan, x, y)
                apart = 0.0
                has_block = has_block and column == last_column and row == last_row
            height[i, j] = 0.0
            if border - apart < _BORDER_SEEN:
                kind[i, j] = _paint_arterial(border, along, grass, colour[i, j])
                continue
            u, v = into_district(plan.districts[row, column], x, y)
            if not (has_block and _is_around(block, u - block[LEFT], v - block[TOP])):
                block_key = block_at(plan, column, row, u, v, block)
                has_block = True
            p, q = u - block[LEFT], v - block[TOP]
            pixel, above = colour[i, j], height[i : i + 1, j]
            shown = _paint_river(plan, x, y, block, p, q, grass, pixel) if plan.has_river else NOTHING
            if shown == NOTHING:
                shown = _paint_street(block_key, block, p, q, pixel)
            if shown == NOTHING:
                block_kind = kind_of_block(block_key, block[WIDTH], block[HEIGHT])
                if block_kind != HOUSES:
                    shown = paint_open_block(block_key, block_kind, block, p, q, grass, pixel, above)
                else:
                    shown = _paint_houses(
                        plan, (column, row), block_key, block, p, q, sun, grass, lot_keys, lots, pixel, above
                    )
            kind[i, j] = shown


@compiled()
def _paint_houses(
    plan: Plan,
    district: tuple[int, int],
    key: np.uint64,
    block: NDArray[np.float64],
    p: float,
    q: float,
    sun: tuple[float, float],
    grass: NDArray[np.float64],
    lot_keys: NDArray[np.uint64],
    lots: NDArray[np.float64],
    pixel: NDArray[np.float32],
    height: NDArray[np.float32],
) -> int:
    """Paint a place in a block of houses; lots are described once and kept for the rows of pixels to come."""
    along_u = block[WIDTH] >= block[HEIGHT]
    length, across = max(block[WIDTH], block[HEIGHT]), min(block[WIDTH], block[HEIGHT])
    s, t = (p, q) if along_u else (q, p)
    count = block[LOTS]
    second = across > TWO_ROWS and t > across / 2
    number = min(int(s * count / length), int(count) - 1)
    own = fold(key, number, 1 if second else 0)
    place = int(own % np.uint64(_KEPT))
    lot = lots[place]
    if lot_keys[place] != own:
        lot_at(plan, district, own, block, number, second, lot)
        lot_keys[place] = own
    s -= number * lot[LONG]
    t = across - t if second else t
    site = plan.districts[district[1], district[0]]
    return paint_lot(site[6], lot, s, t, _facing(site, along_u, lot[SIDE], sun), grass, pixel, height)


@compiled()
def _is_around(block: NDArray[np.float64], p: float, q: float) -> bool:
    """Say whether a place is in a block or on its half of the streets around it."""
    return bool(
        p >= -block[LEFT_STREET] - SIDEWALK
        and q >= -block[TOP_STREET] - SIDEWALK
        and p < block[WIDTH] + block[RIGHT_STREET] + SIDEWALK
        and q < block[HEIGHT] + block[BOTTOM_STREET] + SIDEWALK
    )


@compiled()
def _widest_street(block: NDArray[np.float64], p: float, q: float) -> float:
    """Return half the width of the widest street that a place beside a block lies on."""
    widest = 0.0
    if p < -SIDEWALK:
        widest = max(widest, block[LEFT_STREET])
    if p > block[WIDTH] + SIDEWALK:
        widest = max(widest, block[RIGHT_STREET])
    if q < -SIDEWALK:
        widest = max(widest, block[TOP_STREET])
    if q > block[HEIGHT] + SIDEWALK:
        widest = max(widest, block[BOTTOM_STREET])
    return widest


@compiled()
def _paint_arterial(border: float, along: float, grass: NDArray[np.float64], pixel: NDArray[np.float32]) -> int:
    if border < 1.1:
        fill(pixel, grass, 1.0)
        return GRASS
    if border > ARTERIAL:
        fill(pixel, SLABS, 1.0)
        return WALK
    lane = abs(border - 5.0) < 0.22 and along % 8.0 < 4.0
    if lane:
        fill(pixel, LINE, 1.0)
    else:
        fill(pixel, ASPHALT, 0.94)
    return ROAD


@compiled()
def _paint_river(
    plan: Plan,
    x: float,
    y: float,
    block: NDArray[np.float64],
    p: float,
    q: float,
    grass: NDArray[np.float64],
    pixel: NDArray[np.float32],
) -> int:
    """Paint water and banks, if there are any; main streets cross them on bridges."""
    distance = river_distance(plan, x, y)
    if distance >= RIVER + 5 or _widest_street(block, p, q) == MAIN:
        return NOTHING
    if distance < RIVER:
        fill(pixel, WATER_COLOUR, 1.0 + 0.12 * min(1.0, distance / RIVER))
        return WATER_SURFACE
    fill(pixel, grass, 0.9)
    return GREEN


@compiled()
def _paint_street(key: np.uint64, block: NDArray[np.float64], p: float, q: float, pixel: NDArray[np.float32]) -> int:
    """Paint the streets and sidewalks around a block; leave what is inside."""
    beside_u, beside_v = max(-p, p - block[WIDTH]) - SIDEWALK, max(-q, q - block[HEIGHT]) - SIDEWALK
    if beside_u <= -SIDEWALK and beside_v <= -SIDEWALK:
        return NOTHING
    if beside_u <= 0 and beside_v <= 0:
        fill(pixel, SLABS, 1.0)
        return WALK
    if beside_u > 0 and beside_v > 0:
        fill(pixel, ASPHALT, 1.0)
        return ROAD
    if beside_u > 0:
        side, from_curb, along = (0 if p < 0 else 1), beside_u, q
        half = block[LEFT_STREET] if p < 0 else block[RIGHT_STREET]
    else:
        side, from_curb, along = (2 if q < 0 else 3), beside_v, p
        half = block[TOP_STREET] if q < 0 else block[BOTTOM_STREET]
    if half == MAIN and half - from_curb < 0.22 and along % 7.0 < 3.5:
        fill(pixel, LINE, 0.95)
        return ROAD
    slot = np.floor(along / _CAR_GAP)
    if _CURB < from_curb < _CURB + _CAR_WIDTH and along - slot * _CAR_GAP < _CAR_LENGTH:
        car = fold(key, int(slot), side)
        if draw(car, 0) < 0.24:
            paint_car(car, along - slot * _CAR_GAP, pixel)
            return ROAD
    fill(pixel, ASPHALT, 1.0 if half == MAIN else 1.12)
    return ROAD


@compiled()
def _facing(
    district: NDArray[np.float64],
    along_u: bool,  # noqa: FBT001 - compiled functions take no keywords
    side: float,
    sun: tuple[float, float],
) -> tuple[float, float]:
    """Return how much the directions along a lot's street and away from it point to the sun, -1 to 1."""
    of_u = district[2] * sun[0] + district[3] * sun[1]
    of_v = district[2] * sun[1] - district[3] * sun[0]
    return (of_u, of_v * side) if along_u else (of_v, of_u * side)
