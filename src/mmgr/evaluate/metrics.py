"""Metrics of a regression, on plain arrays of one shape."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def r2(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of variance explained, ``1 - SSE / SST``; NaN where the observed do not vary."""
    y, p = _pair(observed, predicted)
    total = float(np.sum((y - y.mean()) ** 2))
    return 1.0 - float(np.sum((y - p) ** 2)) / total if len(y) > 1 and total > 0 else float("nan")


def rmse(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the root of the mean squared error."""
    y, p = _pair(observed, predicted)
    return float(np.sqrt(np.mean((y - p) ** 2)))


def mae(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute error."""
    y, p = _pair(observed, predicted)
    return float(np.mean(np.abs(y - p)))


def _pair(observed: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = np.asarray(observed, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape or y.ndim != 1 or not y.size:
        raise ValueError(f"observed {y.shape} and predicted {p.shape} are not two filled vectors of one length")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        unusable = int((~np.isfinite(y) | ~np.isfinite(p)).sum())
        raise ValueError(f"{unusable} of {y.size} pairs are NaN or infinite")
    return y, p
