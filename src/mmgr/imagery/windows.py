"""Where a patch lies among an image's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SNAP = 0.25
"""A window whose edges lie within this part of a pixel from whole pixels is read as whole pixels."""
_SQUARE = 0.01
"""Share by which the sides of a region may differ where it is read as a square of another CRS."""


@dataclass(frozen=True, slots=True)
class PixelBox:
    """A rectangle in columns and rows of an image, which may reach beyond it."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Columns."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Rows."""
        return self.bottom - self.top

    def snapped(self) -> PixelBox:
        """Return the box on whole pixels, if its edges are nearly there."""
        left, top, right, bottom = round(self.left), round(self.top), round(self.right), round(self.bottom)
        # written out, since it is done for each patch
        near = (
            abs(self.left - left) <= SNAP
            and abs(self.top - top) <= SNAP
            and abs(self.right - right) <= SNAP
            and abs(self.bottom - bottom) <= SNAP
        )
        if not near or right <= left or bottom <= top:
            return self
        return PixelBox(float(left), float(top), float(right), float(bottom))

    def is_whole(self, pixels: int) -> bool:
        """Say whether the box is exactly ``pixels`` whole columns and rows."""
        return self.left % 1 == 0 == self.top % 1 and self.width == pixels == self.height

    def share_within(self, width: int, height: int) -> float:
        """Return the share of the box that lies on an image of this size."""
        across = min(self.right, width) - max(self.left, 0)
        down = min(self.bottom, height) - max(self.top, 0)
        return max(across, 0) * max(down, 0) / (self.width * self.height)

    def scaled(self, x: float, y: float) -> PixelBox:
        """Return the box in the pixels of a smaller version of the image."""
        return PixelBox(self.left * x, self.top * y, self.right * x, self.bottom * y)


def box_of_ring(ring: NDArray[np.float64], pixels: int) -> PixelBox | None:
    """Return the upright rectangle that a ring nearly is, within half a pixel of the image or patch.

    Parameters
    ----------
    ring
        Closed ring of columns and rows, shape ``(n, 2)``.
    pixels
        Edge of the patch.
    """
    if not np.isfinite(ring).all():
        return None
    low, high = ring.min(axis=0), ring.max(axis=0)
    size = high - low
    # about the corner, or the products lose the last digits
    x, y = (ring - low).T
    area = abs(float(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1]))) / 2
    share = area / float(size.prod()) if size.all() else 0.0
    # a square of edge n turned by half a pixel on each side covers 1 - 2 / n of its bounding box
    if share < 1 - 2 / min(float(size.min()), pixels):
        return None
    half = size / 2 * share**0.5
    (left, top), (right, bottom) = (low + high) / 2 - half, (low + high) / 2 + half
    return PixelBox(float(left), float(top), float(right), float(bottom))


def is_square(box: PixelBox, pixel_size: tuple[float, float]) -> bool:
    """Say whether a box is a square on the ground, given the width and height of a pixel."""
    width, height = box.width * pixel_size[0], box.height * pixel_size[1]
    return abs(width - height) <= max(_SQUARE * width, *pixel_size)
