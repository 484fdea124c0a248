"""Colours and texture of patches as plain statistics: what an image tells without any learning."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (5, 25, 50, 75, 95)
"""Of each band's values."""
ORIENTATIONS = 8
"""Bins of the direction of gradients, over half a turn: a roof's edge has no front."""
PATTERNS = 10
"""Local binary patterns of eight neighbours: nine that are uniform, by how many are brighter, and all others."""

_AROUND = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))


def describe_patch(patch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Describe one image by its statistics.

    Each band's mean, standard deviation and percentiles; the mean and standard deviation of the gradient's length; the
    directions of gradients, weighted by length (Dalal and Triggs 2005, one cell); rotation-invariant uniform local
    binary patterns (Ojala, Pietikäinen, Mäenpää 2002, eq. 9, P = 8, R = 1 on the square grid).

    Parameters
    ----------
    patch
        Shape ``(H, W, C)``, at least 3 x 3 pixels.

    Returns
    -------
    Shape ``(7 C + 20,)``: values are parts of the full range, histograms sum to 1.
    """
    values = patch.astype(np.float32) / 255  # (H, W, C)
    flat = values.reshape(-1, values.shape[-1])
    colours = [flat.mean(0), flat.std(0), *np.percentile(flat, PERCENTILES, axis=0)]
    grey = values.mean(-1)  # (H, W)
    return np.concatenate([*colours, *_gradients(grey), _patterns(grey)]).astype(np.float32)


def dimensions(bands: int) -> int:
    """Return the length of :func:`describe_patch` for images of so many bands."""
    return bands * (2 + len(PERCENTILES)) + 2 + ORIENTATIONS + PATTERNS


def _gradients(grey: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    down, right = np.gradient(grey)
    length = np.hypot(down, right)
    # a full half turn is the first bin again
    bins = np.floor(np.mod(np.arctan2(down, right), np.pi) / np.pi * ORIENTATIONS).astype(np.int64) % ORIENTATIONS
    directions = np.bincount(bins.ravel(), weights=length.ravel(), minlength=ORIENTATIONS)
    return np.array([length.mean(), length.std()], np.float32), directions / max(directions.sum(), 1e-12)


def _patterns(grey: NDArray[np.float32]) -> NDArray[np.float64]:
    height, width = grey.shape
    centre = grey[1:-1, 1:-1]
    brighter = np.stack(
        [grey[1 + y : height - 1 + y, 1 + x : width - 1 + x] >= centre for y, x in _AROUND]
    )  # (8, H - 2, W - 2)
    changes = (brighter != np.roll(brighter, 1, axis=0)).sum(0)
    pattern = np.where(changes <= 2, brighter.sum(0), PATTERNS - 1)
    return np.bincount(pattern.ravel(), minlength=PATTERNS) / pattern.size
