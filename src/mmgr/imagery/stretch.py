"""How values of any type become 8 bit: a linear stretch between two values of each band."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import MaskFlags
from rasterio.windows import Window

from mmgr.console import log
from mmgr.errors import ImageryError
from mmgr.imagery.files import ImageFile, SetAside
from mmgr.imagery.gaps import Gap, Sample, find_gaps, warn_of_gaps, without_far
from mmgr.imagery.gdal import READ_ERRORS, gdal, open_raster, reason_of

PERCENTILES = (2, 98)
"""Percentiles of the sample that become 0 and 255."""
SAMPLE_FILES = 32
SAMPLE_WINDOWS = 256
"""Windows in a sample, shared by its files."""
WINDOW_EDGE = 64

Stretch = Mapping[str, NDArray[np.float32]]
"""Per data type: the values of each band that become 0 and 255, shape ``(bands, 2)``.
A type that is not there stays as it is."""


def apply_stretch(values: NDArray[Any], limits: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Bring values, shape ``(H, W, bands)``, to 0 .. 255."""
    values = values.astype(np.float32)
    if limits is None:
        return values
    low, high = limits[:, 0], limits[:, 1]
    return np.asarray(np.clip((values - low) * (255 / (high - low)), 0, 255), np.float32)


def find_stretch(
    files: Sequence[ImageFile], *, bands: Sequence[int], fixed: tuple[float, float] | None, nodata: float | None
) -> tuple[Stretch, list[SetAside], list[Gap]]:
    """Choose the stretch of each data type, list the files that failed on the way, and values that look like no image.

    ``fixed`` holds for every type; without it 8-bit images stay as they are, and others run from
    the 2nd to the 98th percentile of evenly spread windows of evenly spread files, nodata apart, and values apart that
    look like it and lie far outside all others. A warning names what looks like it.

    Raises
    ------
    ImageryError
        If ``fixed`` does not rise, or a sample holds no value.
    """
    if fixed is not None and not fixed[0] < fixed[1]:
        raise ImageryError(f"images.stretch: {fixed[0]:g} is not below {fixed[1]:g}; write [low, high].")
    stretch: dict[str, NDArray[np.float32]] = {}
    aside: list[SetAside] = []
    gaps: list[Gap] = []
    for dtype in sorted({file.dtype for file in files}):
        mine = [file for file in files if file.dtype == dtype]
        samples, failed = _sample(mine, bands, nodata)
        found = find_gaps(samples, dtype)
        warn_of_gaps(found, len(bands), nodata)
        gaps += found
        if fixed is not None:
            stretch[dtype] = np.tile(np.array(fixed, np.float32), (len(bands), 1))
        elif dtype != "uint8":
            aside += failed
            if len(failed) == len(mine):
                continue
            parts = [without_far(sample.values, found) for sample in samples]
            values = np.concatenate(parts) if parts else np.zeros((0, len(bands)), np.float32)
            stretch[dtype] = _limits(values, mine[0])
            shown = ", ".join(f"{low:g} to {high:g}" for low, high in stretch[dtype])
            log.info("images: %s is stretched, band by band, from %s to 0 to 255", dtype, shown)
    return stretch, aside, gaps


def _limits(values: NDArray[np.float32], example: ImageFile) -> NDArray[np.float32]:
    if not len(values):
        raise ImageryError(
            f"images: a sample of the {example.dtype} files, such as {example.path}, holds no valid value; "
            "set `images.stretch`, and look whether `images.nodata` is right."
        )
    limits = np.percentile(values, PERCENTILES, axis=0).T.astype(np.float32)
    flat = limits[:, 1] <= limits[:, 0]
    limits[flat, 1] = limits[flat, 0] + 1
    return limits


def _sample(
    files: Sequence[ImageFile], bands: Sequence[int], nodata: float | None
) -> tuple[list[Sample], list[SetAside]]:
    """Read evenly spread windows of evenly spread files, and list those that cannot be read."""
    chosen = [files[i] for i in np.unique(np.linspace(0, len(files) - 1, SAMPLE_FILES).round().astype(int))]
    per_edge = max(2, int((SAMPLE_WINDOWS / len(chosen)) ** 0.5))
    samples: list[Sample] = []
    aside: list[SetAside] = []
    with gdal():
        for file in chosen:
            parts: list[NDArray[np.float32]] = []
            masked = False
            try:
                with open_raster(file.path) as raster:
                    masked = _has_mask(raster, bands)
                    for window in _windows(file, per_edge):
                        data = raster.read(list(bands), window=window)
                        parts.append(data[:, validity(raster, data, bands, window, nodata)].T.astype(np.float32))
            except READ_ERRORS as error:
                aside.append(SetAside(file.path, f"cannot be read: {reason_of(error)}"))
            if parts:
                samples.append(Sample(file, np.concatenate(parts), masked))
    return samples, aside


def _windows(file: ImageFile, per_edge: int) -> list[Window]:
    def starts(length: int) -> NDArray[np.int64]:
        return np.unique(np.linspace(0, max(length - WINDOW_EDGE, 0), per_edge).astype(np.int64))

    return [
        Window(column, row, min(WINDOW_EDGE, file.width), min(WINDOW_EDGE, file.height))
        for row in starts(file.height)
        for column in starts(file.width)
    ]


def validity(
    raster: Any, data: NDArray[Any], bands: Sequence[int], window: Window, nodata: float | None
) -> NDArray[np.bool_]:
    """Say which pixels of ``data``, shape ``(bands, H, W)``, are image, shape ``(H, W)``.

    A mask or alpha band of the file decides; else its own nodata value; else ``nodata``. A pixel is
    empty if all its bands are. Numbers that are not finite are never image.
    """
    valid: NDArray[np.bool_]
    if _has_mask(raster, bands):
        valid = raster.read_masks(bands[0], window=window) > 0
    else:
        own = [raster.nodatavals[band - 1] for band in bands]
        empty = [nodata if value is None else value for value in own]
        valid = np.ones(data.shape[1:], bool)
        if None not in empty:
            valid = (data != np.array(empty, np.float64)[:, None, None]).any(axis=0)
    if data.dtype.kind == "f":
        valid = valid & np.isfinite(data).all(axis=0)
    return valid


def _has_mask(raster: Any, bands: Sequence[int]) -> bool:
    flags = raster.mask_flag_enums[bands[0] - 1]
    return MaskFlags.per_dataset in flags or MaskFlags.alpha in flags


def always_valid(raster: Any, bands: Sequence[int], nodata: float | None) -> bool:
    """Say whether every pixel of a file is image, whatever its values."""
    plain = MaskFlags.all_valid in raster.mask_flag_enums[bands[0] - 1]
    return plain and nodata is None and not raster.dtypes[bands[0] - 1].startswith("float")
