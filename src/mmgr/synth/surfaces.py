"""What the surfaces of a made city look like: roofs, yards, parks, halls and car parks, cars."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.hashing import draw, fold
from mmgr.synth.houses import (
    DEEP,
    DRIVE,
    FLAT,
    GROUND_KIND,
    HALL,
    HOUSE_BACK,
    HOUSE_FRONT,
    HOUSE_LEFT,
    HOUSE_RIGHT,
    LAWN,
    LONG,
    PARK,
    PAVED,
    ROOF_HEIGHT,
    SHED,
    TONE,
)  # fmt: skip
from mmgr.synth.streets import HEIGHT, WIDTH

ROAD, WALK, ROOF, WATER_SURFACE, GRASS, SOIL, PAVING, GREEN, NOTHING = range(9)
"""What a pixel shows; a park is green, a yard is grass, soil or paving."""
ASPHALT, SLABS, LINE = np.array([88.0, 89.0, 93.0]), np.array([156.0, 152.0, 146.0]), np.array([212.0, 210.0, 204.0])
_PAVING, _SOIL = np.array([142.0, 139.0, 133.0]), np.array([154.0, 134.0, 108.0])
WATER_COLOUR, _SHED = np.array([48.0, 70.0, 80.0]), np.array([118.0, 108.0, 98.0])
GRASS_GREEN, GRASS_DRY = np.array([92.0, 122.0, 62.0]), np.array([150.0, 137.0, 94.0])
_CARS = np.array([[228, 228, 228], [40, 42, 46], [150, 153, 158], [150, 36, 34], [40, 62, 112], [196, 190, 176.0]])
_TILES = np.array([[172, 98, 72], [128, 100, 82], [104, 109, 120], [156, 84, 74], [178, 154, 124.0]])
_FLAT_ROOFS = np.array([[150, 150, 152], [186, 184, 180], [214, 213, 209], [112, 113, 118], [168, 160, 150.0]])


@compiled()
def fill(pixel: NDArray[np.float32], colour: NDArray[np.float64], tone: float) -> None:
    """Give a pixel a colour times a tone."""
    pixel[0], pixel[1], pixel[2] = colour[0] * tone, colour[1] * tone, colour[2] * tone


@compiled()
def paint_car(key: np.uint64, along: float, pixel: NDArray[np.float32]) -> None:
    """Paint a place in a parked car, some metres from its end."""
    paint_number = int(draw(key, 1) * len(_CARS))
    # the windscreen is darker
    tone = 0.5 if 1.0 < along < 1.6 else 1.0
    fill(pixel, _CARS[paint_number], tone)


@compiled()
def paint_open_block(
    key: np.uint64,
    block_kind: int,
    block: NDArray[np.float64],
    p: float,
    q: float,
    grass: NDArray[np.float64],
    pixel: NDArray[np.float32],
    height: NDArray[np.float32],
) -> int:
    """Paint a place in a park, a car park or a block with one hall, in metres from the block's corner."""
    width, depth = block[WIDTH], block[HEIGHT]
    if block_kind == PARK:
        side = q - depth * (p / width if draw(key, 3) < 0.5 else 1 - p / width)
        bow = 6.0 * np.sin(6.0 * p / width)
        pond = ((p - 0.68 * width) / (0.2 * width)) ** 2 + ((q - 0.3 * depth) / (0.22 * depth)) ** 2
        if pond < 1 and draw(key, 4) < 0.4:
            fill(pixel, WATER_COLOUR, 1.1)
            return WATER_SURFACE
        if abs(side + bow) < 1.5:
            fill(pixel, _SOIL, 1.1)
            return WALK
        fill(pixel, grass, 1.0)
        return GREEN
    if block_kind == HALL:
        edge = min(p, q, width - p, depth - q) - 6.0
        if edge > 0:
            flat = _FLAT_ROOFS[int(draw(key, 5) * len(_FLAT_ROOFS))]
            seam = 0.9 if min(p, q) % 6.0 < 0.5 else 1.0
            fill(pixel, flat, 0.8 if edge < 0.6 else seam)
            height[0] = 8.0
            return ROOF
        fill(pixel, _PAVING, 0.9)
        return PAVING
    return _paint_bays(key, p, q, pixel)


@compiled()
def _paint_bays(key: np.uint64, p: float, q: float, pixel: NDArray[np.float32]) -> int:
    """Paint a car park: two rows of bays and a lane between them, again and again."""
    bay, inside = np.floor(p / 2.7), p % 2.7
    deep = q % 16.0
    if 5.0 <= deep < 11.0:
        fill(pixel, ASPHALT, 1.2)
        return ROAD
    deep = deep if deep < 5.0 else deep - 11.0
    car = fold(key, int(bay), 1000 + int(q / 16.0) * 2 + (1 if q % 16.0 >= 11.0 else 0))
    if draw(car, 0) < 0.6 and 0.4 < inside < 2.3 and 0.4 < deep < 4.7:
        paint_car(car, deep - 0.4, pixel)
    elif inside < 0.25:
        fill(pixel, LINE, 0.95)
    else:
        fill(pixel, ASPHALT, 1.2)
    return ROAD


@compiled()
def paint_lot(
    hue: float,
    lot: NDArray[np.float64],
    s: float,
    t: float,
    facing: tuple[float, float],
    grass: NDArray[np.float64],
    pixel: NDArray[np.float32],
    height: NDArray[np.float32],
) -> int:
    """Paint a place in a lot, ``s`` metres along its street and ``t`` away from it."""
    if lot[HOUSE_LEFT] <= s < lot[HOUSE_RIGHT] and lot[HOUSE_FRONT] <= t < lot[HOUSE_BACK]:
        height[0] = lot[ROOF_HEIGHT]
        _paint_roof(hue, lot, s - lot[HOUSE_LEFT], t - lot[HOUSE_FRONT], facing, pixel)
        return ROOF
    if lot[SHED] > 0 and 1.0 < s < 4.6 and lot[DEEP] - 4.2 < t < lot[DEEP] - 1.0:
        height[0] = 2.5
        fill(pixel, _SHED, 1.0)
        return ROOF
    if lot[DRIVE] > 0 and abs(s - 0.86 * lot[LONG]) < 1.4 and t < lot[HOUSE_BACK]:
        fill(pixel, _PAVING, 1.0)
        return PAVING
    if lot[GROUND_KIND] == LAWN:
        fill(pixel, grass, (0.72 if s < 0.45 else 1.0) + 0.08 * lot[TONE])
        return GRASS
    if lot[GROUND_KIND] == PAVED:
        fill(pixel, _PAVING, 1.0 + 0.1 * lot[TONE])
        return PAVING
    fill(pixel, _SOIL, 1.0 + 0.08 * lot[TONE])
    return SOIL


@compiled()
def _paint_roof(
    hue: float,
    lot: NDArray[np.float64],
    s: float,
    t: float,
    facing: tuple[float, float],
    pixel: NDArray[np.float32],
) -> None:
    wide, deep = lot[HOUSE_RIGHT] - lot[HOUSE_LEFT], lot[HOUSE_BACK] - lot[HOUSE_FRONT]
    tone = 1.0 + 0.14 * lot[TONE]
    odd = abs(lot[TONE]) > 0.7
    number = (hue + (0.37 if odd else 0.0) + (0.2 if lot[TONE] > 0.3 else 0.0)) % 1.0
    if lot[FLAT] > 0:
        roof = _FLAT_ROOFS[int(number * len(_FLAT_ROOFS))]
        edge = min(s, t, wide - s, deep - t)
        box = 0.25 + 0.3 * abs(lot[TONE])
        if edge < 0.5:
            tone *= 1.12
        elif wide * deep > 90 and abs(s - box * wide) < 1.6 and abs(t - box * deep) < 1.6:
            tone *= 0.62
        elif edge < 1.2:
            tone *= 0.9
    else:
        roof = _TILES[int(number * len(_TILES))]
        # the ridge runs along the longer side; the half that faces the sun is lighter
        along = wide >= deep
        far = t > deep / 2 if along else s > wide / 2
        tone *= 1.0 + 0.26 * (facing[1] if along else facing[0]) * (1.0 if far else -1.0)
        if abs((t - deep / 2) if along else (s - wide / 2)) < 0.35:
            tone *= 1.15
    if s < 0.3:
        tone *= 0.75
    fill(pixel, roof, tone)
