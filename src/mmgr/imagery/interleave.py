"""From bands one after the other, as files are read, to bands side by side, as patches are kept."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_PIECE = 2**23


def bands_last(data: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
    """Bring ``(bands, H, W)`` into ``(H, W, bands)``: a new array, or ``out``, in one piece and of the same type.

    Three bands of bytes, the usual case, take a loop that the compiler turns into shuffles of whole registers: 5
    times faster than copying band by band, which is 5 times faster than all at once.
    """
    values = np.empty((*data.shape[1:], len(data)), data.dtype) if out is None else out
    if len(data) == 3 and data.dtype == np.uint8:
        # in one piece, or the compiler cannot know that neighbours lie side by side
        _interleave_three(np.ascontiguousarray(data).reshape(3, -1), values.reshape(-1))
        return values
    for band, layer in enumerate(data):
        values[:, :, band] = layer
    return values


class Room:
    """Memory for patches, asked for in large pieces.

    The first touch of fresh memory costs more than filling it, unless it comes in huge pages, which NumPy asks
    the system for from 4 MB on. A patch keeps the piece that it lies in.
    """

    def __init__(self, pixels: int, bands: int) -> None:
        self._shape = max(1, _PIECE // (pixels * pixels * bands)), pixels, pixels, bands
        self._piece = np.empty((0, *self._shape[1:]), np.uint8)

    def take(self) -> NDArray[np.uint8]:
        """Return room for one patch, shape ``(pixels, pixels, bands)``, with any content."""
        if not len(self._piece):
            self._piece = np.empty(self._shape, np.uint8)
        patch: NDArray[np.uint8] = self._piece[0]
        self._piece = self._piece[1:]
        return patch


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def _interleave_three(data: NDArray[np.uint8], values: NDArray[np.uint8]) -> None:
    for pixel in range(data.shape[1]):
        values[3 * pixel] = data[0, pixel]
        values[3 * pixel + 1] = data[1, pixel]
        values[3 * pixel + 2] = data[2, pixel]
