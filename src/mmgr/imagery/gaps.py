"""Values that look like "no image here", of files that do not say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.console import log
from mmgr.imagery.files import ImageFile

USUAL = (-999, -9999, -99999, -32767, -32768, -(2**31), float(np.finfo(np.float32).min), float(np.finfo(float).min))
"""Values that files hold where they have none, whatever their type."""
MOST_ORDINARY = 0.1
"""Black and white are colours, too: 0 and the highest value of a type are told of where they are a larger share of a
file. Water, shadow and saturated roofs or clouds are hardly ever exactly that in all bands of so many pixels."""
MOST_FAR = 0.01
"""Beyond 8 bits they are told of from this share on where they lie far outside all other values, as no light does."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What was read of a file: the pixels that are image, as far as the file and the settings say."""

    file: ImageFile
    values: NDArray[np.float32]
    """Shape ``(n, bands)``."""
    masked: bool
    """Whether a mask or a band of opacity of the file says where the image is."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A value that looks like no image."""

    value: float
    share: float
    """Part of the sampled pixels of ``file`` that are exactly that in all bands."""
    file: ImageFile
    """Where it is the largest part."""
    files: int
    """How many of the sampled files have it."""
    is_far: bool
    """Whether it lies farther outside all other values than these are apart."""


def find_gaps(samples: Sequence[Sample], dtype: str) -> list[Gap]:
    """Return the values that look like no image, of files of one data type.

    These are the :data:`USUAL` ones, and 0 and the type's highest where they are more than :data:`MOST_ORDINARY` of a
    file, or :data:`MOST_FAR` and far outside all others. Files with a mask are believed.
    """
    open_ones = [sample for sample in samples if not sample.masked and len(sample.values)]
    if not open_ones:
        return []
    usual, extremes = _candidates(np.dtype(dtype))
    held = {value: [_is(sample.values, value) for sample in open_ones] for value in (*usual, *extremes)}
    marks = [np.logical_or.reduce(marks) for marks in zip(*held.values(), strict=True)]
    others = np.concatenate([s.values[~mark] for s, mark in zip(open_ones, marks, strict=True)]).astype(np.float64)
    low, high = (float(others.min()), float(others.max())) if others.size else (0.0, 0.0)
    found = []
    for value, of_files in held.items():
        shares = np.array([mark.mean() for mark in of_files])
        is_far = 0 < high - low < max(low - value, value - high)
        least = 0.0 if value in usual else MOST_FAR if is_far and dtype != "uint8" else MOST_ORDINARY
        if (shares > least).any():
            worst = int(shares.argmax())
            found.append(Gap(value, float(shares[worst]), open_ones[worst].file, int((shares > least).sum()), is_far))
    return found


def warn_of_gaps(gaps: Sequence[Gap], bands: int, nodata: float | None) -> None:
    """Say which values look like no image, and what to do about it."""
    for gap in gaps:
        others = f" and {gap.files - 1} more" if gap.files > 1 else ""
        declared = nodata if gap.file.nodata is None else gap.file.nodata
        value = written(gap.value)
        remedy = f"if that is no data, set `images.nodata: {value}`"
        if declared is not None:
            known = written(declared)
            remedy = f"if that is no data as {known} is, write {known} in its place, with gdal_calc.py for instance"
        log.warning(
            "images: %s %% of the sampled pixels of %s%s are exactly %s%s; %s",
            percent(gap), gap.file.path, others, value, " in all bands" if bands > 1 else "", remedy,
        )  # fmt: skip


def without_far(values: NDArray[np.float32], gaps: Sequence[Gap]) -> NDArray[np.float32]:
    """Leave out pixels that look like no image and lie far outside all others, which would decide a stretch alone."""
    for gap in gaps:
        if gap.is_far:
            values = values[~_is(values, gap.value)]
    return values


def written(value: float) -> str:
    """Write a value so that it is read as the same."""
    return f"{value:g}" if float(f"{value:g}") == value else repr(float(value))


def percent(gap: Gap) -> str:
    """Write a gap's share."""
    return f"{100 * gap.share:.2g}" if gap.share < 0.995 else "100"


def _candidates(dtype: np.dtype) -> tuple[list[float], list[float]]:
    """Return the usual values that a type can hold, and its 0 and highest."""
    info = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    lowest = max(float(info.min), float(np.finfo(np.float32).min))  # samples are float32
    return [float(value) for value in USUAL if value >= lowest], [0.0] if dtype.kind == "f" else [0.0, float(info.max)]


def _is(values: NDArray[np.float32], value: float) -> NDArray[np.bool_]:
    return np.asarray((values == np.float32(value)).all(axis=1))
