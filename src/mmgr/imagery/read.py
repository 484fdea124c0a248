"""Read one file's part of a patch: whole pixels as they are, others by area or bilinearly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import rasterio.crs
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, MaskFlags, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.sparse import csr_array

from mmgr.imagery.interleave import Room, bands_last
from mmgr.imagery.stretch import always_valid, validity
from mmgr.imagery.windows import PixelBox

_STRIP = 2**22
"""Pixels read at a time where a patch is made of many."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one file gives to a patch of edge ``p``."""

    values: NDArray[Any]
    """Raw values, shape ``(p, p, bands)``."""
    weight: NDArray[np.float32] | None
    """Share of each pixel that the file covers with image, shape ``(p, p)``; None if all of each."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file, and what of it is read."""

    raster: Any
    bands: Sequence[int]
    nodata: float | None
    """Value for no image in a file that does not name one."""
    always_valid: bool
    """Whether every pixel is image."""
    alpha: int | None
    """The band, counted from 1, that is 0 where there is no image."""

    @classmethod
    def of(cls, raster: Any, bands: Sequence[int], nodata: float | None) -> Source:
        """Look at how the file says where it has no image."""
        kinds = raster.colorinterp
        alpha = kinds.index(ColorInterp.alpha) + 1 if ColorInterp.alpha in kinds else None
        return cls(raster, bands, nodata, always_valid(raster, bands, nodata), alpha)

    def read(self, columns: tuple[int, int], rows: tuple[int, int]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Return values, shape ``(bands, H, W)``, and which are image (None if all)."""
        window = Window(columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0])
        if self.alpha is not None:
            data = self.raster.read([*self.bands, self.alpha], window=window)
            return data[:-1], _finite(data[:-1]) & (data[-1] > 0)
        data = self.raster.read(list(self.bands), window=window)
        valid = None if self.always_valid else validity(self.raster, data, self.bands, window, self.nodata)
        return data, valid


def _finite(data: NDArray[Any]) -> NDArray[np.bool_]:
    """Say which pixels hold numbers in all bands."""
    return np.isfinite(data).all(axis=0) if data.dtype.kind == "f" else np.ones(data.shape[1:], bool)


def read_box(source: Source, box: PixelBox, pixels: int, room: Room | None = None) -> Piece | None:
    """Read the box as a patch of ``pixels``, in ``room`` where it is bytes; None where it misses the file."""
    return _read_whole(source, box, pixels, room) if box.is_whole(pixels) else _read_resampled(source, box, pixels)


def _read_whole(source: Source, box: PixelBox, pixels: int, room: Room | None) -> Piece | None:
    left, top = int(box.left), int(box.top)
    columns = max(left, 0), min(left + pixels, source.raster.width)
    rows = max(top, 0), min(top + pixels, source.raster.height)
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return None
    data, valid = source.read(columns, rows)
    if valid is None and data.shape[1:] == (pixels, pixels):
        return Piece(bands_last(data, room.take() if room and data.dtype == np.uint8 else None), None)
    values = bands_last(data)
    place = slice(rows[0] - top, rows[1] - top), slice(columns[0] - left, columns[1] - left)
    whole = np.zeros((pixels, pixels, values.shape[2]), values.dtype)
    weight = np.zeros((pixels, pixels), np.float32)
    weight[place] = 1 if valid is None else valid
    whole[place] = values if valid is None else np.where(valid[:, :, None], values, 0)
    return Piece(whole, weight)


def _read_resampled(source: Source, box: PixelBox, pixels: int) -> Piece | None:
    columns = source_range(box.left, box.right, pixels, source.raster.width)
    rows = source_range(box.top, box.bottom, pixels, source.raster.height)
    if columns[0] >= columns[1] or rows[0] >= rows[1]:
        return None
    across = _sparse_weights(box.left - columns[0], box.right - columns[0], pixels, columns[1] - columns[0])
    down = _sparse_weights(box.top - rows[0], box.bottom - rows[0], pixels, rows[1] - rows[0])
    total = np.zeros((pixels, pixels, len(source.bands)), np.float32)
    weight = np.zeros((pixels, pixels, 1), np.float32)
    height = max(1, _STRIP // (columns[1] - columns[0]))
    for first in range(rows[0], rows[1], height):
        last = min(first + height, rows[1])
        data, valid = source.read(columns, (first, last))
        strip = down[:, first - rows[0] : last - rows[0]]
        if valid is None:
            weight[:, :, 0] += np.outer(strip.sum(axis=1), across.sum(axis=1))
        else:
            data = np.where(valid, data, 0)
            weight += _resample(valid[None], strip, across)
        total += _resample(data, strip, across)
    mean = total / np.where(weight > 0, weight, 1)
    return Piece(mean, np.minimum(weight[:, :, 0], 1))


def _resample(data: NDArray[Any], down: csr_array, across: csr_array) -> NDArray[np.float32]:
    """Weigh the rows and columns of ``data``, shape ``(bands, h, w)``, into ``(p, p, bands)``."""
    bands, height, width = data.shape
    pixels = across.shape[0]
    # sparse products of flat tables: few weights are not 0, and no threads are woken for them
    tall = down @ bands_last(data.astype(np.float32)).reshape(height, width * bands)
    wide = across @ tall.reshape(pixels, width, bands).swapaxes(0, 1).reshape(width, pixels * bands)
    return np.asarray(wide.reshape(pixels, pixels, bands).swapaxes(0, 1), np.float32)


def source_range(start: float, stop: float, pixels: int, length: int) -> tuple[int, int]:
    """Return the first and last + 1 source pixel that an axis of ``pixels`` from start to stop needs."""
    margin = 0 if stop - start >= pixels else 1  # bilinear looks at the next pixel too
    return max(math.floor(start) - margin, 0), min(math.ceil(stop) + margin, length)


@lru_cache(maxsize=256)
def _sparse_weights(start: float, stop: float, pixels: int, length: int) -> csr_array:
    return csr_array(axis_weights(start, stop, pixels, (0, length)))


def axis_weights(start: float, stop: float, pixels: int, source: tuple[int, int]) -> NDArray[np.float32]:
    """Return how much each source pixel counts in each of ``pixels`` from start to stop.

    The overlap's share where the axis shrinks, the bilinear weight where it grows; rows sum to 1
    where ``source``, the first and last + 1 pixel that there are, covers them.

    Returns
    -------
    Weights, shape ``(pixels, source[1] - source[0])``.
    """
    step = (stop - start) / pixels
    low = start + step * np.arange(pixels)[:, None]
    there = np.arange(*source)[None, :]
    if step >= 1:
        overlap = np.minimum(low + step, there + 1) - np.maximum(low, there)
        return np.asarray(np.maximum(overlap, 0) / step, np.float32)
    return np.asarray(np.maximum(1 - np.abs(low + step / 2 - 0.5 - there), 0), np.float32)


def warped(raster: Any, crs: rasterio.crs.CRS, *, band: int, nodata: float | None) -> WarpedVRT:
    """Return a view of the raster in another CRS, at about its own resolution, with an alpha band.

    ``nodata`` is the value for no image in a raster that does not name one.
    """
    own = raster.nodatavals[band - 1]
    if own is None and MaskFlags.all_valid in raster.mask_flag_enums[band - 1]:
        is_float = raster.dtypes[band - 1].startswith("float")
        own = float("nan") if nodata is None and is_float else nodata
    # at its own resolution the scale is 1: GDAL need not measure it anew for each window (4 times faster)
    return WarpedVRT(
        raster,
        XSCALE=1,
        YSCALE=1,
        crs=crs,
        resampling=Resampling.bilinear,
        add_alpha=ColorInterp.alpha not in raster.colorinterp,
        **({} if own is None else {"src_nodata": own}),
    )
