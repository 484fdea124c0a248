"""Trees, shadows, and what a camera makes of the scene: the last steps of an image of a made city."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.synth.hashing import draw, fold
from mmgr.synth.houses import TALLEST
from mmgr.synth.streets import LIGHT, Plan, value_at

CROWN = 3.6
"""Metres: the largest radius of a tree."""
_TREE_GAP = 5.0
_TREES = np.array([0.0, 0.12, 0.0, 0.0, 0.24, 0.09, 0.05, 0.42])
"""Chance of a tree a cell of 5 m, by what its ground is: see :data:`mmgr.synth.surfaces.ROAD` and those after it."""
_LEAVES, _AUTUMN = np.array([60.0, 88.0, 46.0]), np.array([124.0, 102.0, 56.0])
_SHADE = np.array([0.46, 0.50, 0.58])
"""What a shadow leaves of red, green and blue: sky light is blue."""
_LIGHT_SPREAD = 0.10
_KEY_OF_TREES, _KEY_OF_GRAIN = 21, 22
_MOST_STEPS = 256
_TEXTURE = 0.045
"""Standard deviation of the grain of all surfaces, as a part of their brightness."""
_BITS, _S21, _S43 = np.uint64(0x1FFFFF), np.uint64(21), np.uint64(43)


class Look(NamedTuple):
    """How the images of one date differ from those of others; none of it tells of a label."""

    date: int
    """Which of the dates, from 0."""
    green: float
    """How green grass and leaves are, 0 to 1."""
    sun: tuple[float, float]
    """Direction towards the sun on the ground, x to the east and y to the south."""
    shadow: float
    """Metres of shadow a metre of height."""
    gain: tuple[float, float, float]
    """Factor of red, green and blue."""
    haze: float
    """Added to all, out of 255."""
    lift: float
    """How much dark parts are lifted: weight of the curve of a gamma of 2."""
    blur: float
    """Weight of the neighbours in the camera's blur, 0 to 1."""
    grain: float
    """Standard deviation of the sensor's noise, out of 255."""


def margins(look: Look, metres: float) -> tuple[int, int, int, int]:
    """Return the pixels left, above, right and below a window that can throw a shadow or a crown into it."""
    reach = TALLEST * look.shadow / metres
    crown = int(np.ceil(CROWN / metres)) + 2
    x, y = look.sun[0] * reach, look.sun[1] * reach
    return (
        crown + int(np.ceil(max(-x, 0))), crown + int(np.ceil(max(-y, 0))),
        crown + int(np.ceil(max(x, 0))), crown + int(np.ceil(max(y, 0))),
    )  # fmt: skip


@compiled()
def plant(
    plan: Plan,
    look: Look,
    first: tuple[int, int],
    metres: float,
    colour: NDArray[np.float32],
    height: NDArray[np.float32],
    kind: NDArray[np.uint8],
) -> None:
    """Let trees grow in a painted window; where two meet, the higher is seen, whichever came first."""
    key = fold(plan.key, _KEY_OF_TREES, 0)
    rows, columns = height.shape
    for row in range(int(np.floor(first[1] * metres / _TREE_GAP)), int((first[1] + rows) * metres / _TREE_GAP) + 1):
        for column in range(
            int(np.floor(first[0] * metres / _TREE_GAP)), int((first[0] + columns) * metres / _TREE_GAP) + 1
        ):
            tree = fold(key, column, row)
            x, y = (column + 0.15 + 0.7 * draw(tree, 0)) * _TREE_GAP, (row + 0.15 + 0.7 * draw(tree, 1)) * _TREE_GAP
            i, j = int(np.floor(y / metres)) - first[1], int(np.floor(x / metres)) - first[0]
            if not (0 <= i < rows and 0 <= j < columns) or draw(tree, 2) >= _TREES[kind[i, j]]:
                continue
            _grow(tree, look, x - first[0] * metres, y - first[1] * metres, metres, colour, height)


@compiled()
def _grow(
    tree: np.uint64,
    look: Look,
    x: float,
    y: float,
    metres: float,
    colour: NDArray[np.float32],
    height: NDArray[np.float32],
) -> None:
    radius = 1.3 + (CROWN - 1.3) * draw(tree, 3) ** 1.5
    top = 2.5 + 1.6 * radius
    autumn = min(1.0, max(0.0, (1 - look.green) * 1.6 - 0.9 * draw(tree, 4)))
    tone = 0.85 + 0.3 * draw(tree, 5)
    rows, columns = height.shape
    for i in range(max(0, int((y - radius) / metres)), min(rows, int((y + radius) / metres) + 1)):
        for j in range(max(0, int((x - radius) / metres)), min(columns, int((x + radius) / metres) + 1)):
            dx, dy = ((j + 0.5) * metres - x) / radius, ((i + 0.5) * metres - y) / radius
            square = dx * dx + dy * dy
            level = np.float32(top * (1 - 0.5 * square))
            if square < 1 and level > height[i, j]:
                height[i, j] = level
                lit = tone * (1.0 + 0.35 * (dx * look.sun[0] + dy * look.sun[1]))
                for band in range(3):
                    colour[i, j, band] = lit * (_LEAVES[band] * (1 - autumn) + _AUTUMN[band] * autumn)


@compiled()
def expose(
    plan: Plan,
    look: Look,
    first: tuple[int, int],
    metres: float,
    inset: tuple[int, int],
    colour: NDArray[np.float32],
    height: NDArray[np.float32],
    image: NDArray[np.uint8],
) -> None:
    """Light a painted window and take its picture.

    Parameters
    ----------
    plan, look
        The plan around the window, and the date's look.
    first
        Column and row of the picture's first pixel, counted from the city's corner.
    metres
        Edge of a pixel.
    inset
        Where the picture begins in the painted window: columns and rows, at least 1.
    colour, height
        The painted window; it reaches as far around the picture as :func:`margins` says.
    image
        Filled with the picture, shape ``(rows, columns, 3)``.
    """
    rows, columns = image.shape[:2]
    steps = min(int(np.ceil(TALLEST * look.shadow / metres)), _MOST_STEPS)
    across, along = np.empty(steps, np.int64), np.empty(steps, np.int64)
    for step in range(steps):
        across[step] = int(np.round((step + 1) * look.sun[0]))
        along[step] = int(np.round((step + 1) * look.sun[1]))
    rise = metres / look.shadow
    grain = fold(plan.key, _KEY_OF_GRAIN, 0)
    noise = fold(plan.key, _KEY_OF_GRAIN, 1 + look.date)
    lit = np.empty((rows + 2, columns + 2, 3), np.float32)
    for i in range(rows + 2):
        for j in range(columns + 2):
            a, b = inset[1] - 1 + i, inset[0] - 1 + j
            shaded = False
            for step in range(steps):
                if height[a + along[step], b + across[step]] > height[a, b] + rise * (step + 1):
                    shaded = True
                    break
            texture = 1 + _TEXTURE * _bell(fold(grain, first[0] + j - 1, first[1] + i - 1))
            for band in range(3):
                lit[i, j, band] = colour[a, b, band] * texture * (_SHADE[band] if shaded else 1.0)
    side, corner = 0.125 * look.blur, 0.0625 * look.blur
    middle = 1 - 4 * side - 4 * corner
    for i in range(rows):
        for j in range(columns):
            x, y = (first[0] + j + 0.5) * metres, (first[1] + i + 0.5) * metres
            light = 1 + _LIGHT_SPREAD * value_at(plan, LIGHT + look.date, x, y)
            wobble = look.grain * _bell(fold(noise, first[0] + j, first[1] + i))
            for band in range(3):
                value = middle * lit[i + 1, j + 1, band]
                value += side * (lit[i, j + 1, band] + lit[i + 2, j + 1, band])
                value += side * (lit[i + 1, j, band] + lit[i + 1, j + 2, band])
                value += corner * (
                    lit[i, j, band] + lit[i, j + 2, band] + lit[i + 2, j, band] + lit[i + 2, j + 2, band]
                )
                value = value * look.gain[band] * max(light, 0.4) + look.haze
                # a curve between a straight line and that of a gamma of 2
                value += look.lift * (np.sqrt(255.0 * max(value, 0.0)) - value) + wobble
                image[i, j, band] = np.uint8(min(max(np.round(value), 1.0), 255.0))


@compiled()
def _bell(key: np.uint64) -> float:
    """Return a key's own chance with mean 0 and variance 1, a sum of three even ones of 21 bits."""
    total = (key & _BITS) + ((key >> _S21) & _BITS) + (key >> _S43)
    return float(total) * (2.0 / 2097152.0) - 3.0
