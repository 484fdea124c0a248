"""Weigh the parts of vectors, such as images and POIs, against each other before a small model sees them.

One penalty for all columns treats them alike: where POIs say next to nothing of a label, their columns still cost as
much of what images tell as they would earn elsewhere. Banded ridge regression has a penalty for each part
(Nunez-Elizalde et al. 2019, NeuroImage 197, 482-492; Dupré la Tour et al. 2022, NeuroImage 264, 119728). To penalise a
part ``w^-2`` times as much is to multiply its columns by ``w``, which serves other models than ridge, too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin

from mmgr.components import principal_axes
from mmgr.evaluate.linear import ALPHAS, ridge_path
from mmgr.evaluate.tuning import Inner, inner_folds

Widths = tuple[int, ...]
"""Numbers of columns of the parts, from the left; none where vectors are one part."""

WEIGHTS = (1.0, 0.5, 0.25, 0.1, 0.0)
MOST_COMPONENTS = 64
"""A part of more columns is weighed by as many of its principal components."""


class PartWeights(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Multiply each part's columns by a weight, under which ridge regression has the least error on inner folds.

    All parts begin with weight 1; then each in turn takes the one that is best beside the others'. With equal errors
    the larger weight is taken. Labels of classes and shares are regressed all at once.

    Parameters
    ----------
    widths
        Columns of each part, in order.
    weights
        To choose from, in falling order.

    Attributes
    ----------
    weights_ : tuple of float
        One a part; the largest is 1.
    """

    def __init__(self, widths: Widths, weights: tuple[float, ...] = WEIGHTS) -> None:
        self.widths = widths
        self.weights = weights

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> PartWeights:
        """Choose the weights.

        Parameters
        ----------
        X
            Columns of comparable size, shape ``(n, sum(widths))``.
        y
            Labels, shape ``(n,)`` or ``(n, k)``.
        inner
            Rows to fit on and rows to choose by; by default random fifths.
        """
        features, target = np.asarray(X, np.float64), np.asarray(y, np.float64)
        if features.shape[1] != sum(self.widths):
            raise ValueError(f"parts of {self.widths} columns, but X has {features.shape[1]}")
        target = target.reshape(len(target), -1)
        folds = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        parts = [_fewer(part) for part in split_parts(features, self.widths)]
        chosen = (1.0,) * len(parts)
        if folds and len(parts) > 1:
            known: dict[tuple[float, ...], float] = {}
            for part in range(len(parts)):
                tried = [(*chosen[:part], weight, *chosen[part + 1 :]) for weight in self.weights]
                tried = [weights for weights in tried if any(weights)]
                for weights in tried:
                    if weights not in known:
                        known[weights] = _error(parts, weights, target, folds)
                chosen = min(tried, key=known.__getitem__)
        top = max(chosen)
        self.weights_ = tuple(weight / top for weight in chosen)
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return ``X`` with its parts weighed, of the same shape."""
        return np.asarray(np.asarray(X, np.float64) * np.repeat(self.weights_, self.widths))


def split_parts(X: NDArray[np.float64], widths: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return the columns of each part."""
    return np.split(X, np.cumsum(widths)[:-1], axis=1)


def _fewer(part: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a wide part's first principal components, which are what a strong penalty leaves of it."""
    if part.shape[1] <= MOST_COMPONENTS:
        return part
    centred = part - part.mean(axis=0)
    _, axes = principal_axes(centred)
    return np.asarray(centred @ axes[:, -MOST_COMPONENTS:])


def _error(
    parts: Sequence[NDArray[np.float64]], weights: Sequence[float], target: NDArray[np.float64], folds: Inner
) -> float:
    """Return the squared error over all inner folds with the penalty that makes it least."""
    features = np.hstack([part * weight for part, weight in zip(parts, weights, strict=True) if weight])
    errors = np.zeros(len(ALPHAS))
    for fit, held in folds:
        path = ridge_path(features[fit], target[fit], features[held], ALPHAS)
        errors += ((path - target[held, :, None]) ** 2).sum(axis=(0, 1))
    return float(errors.min())
