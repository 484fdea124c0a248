"""Kernel ridge regression: what places that are much alike have in common, without a direction that holds everywhere.

A linear head asks one question of all places, trees one column at a time. This one compares whole vectors, and has
one number to choose, for which a few hundred labels suffice. Its optimum is exact: nothing stops early.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.metrics.pairwise import euclidean_distances

from mmgr.evaluate.linear import ridge_path
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.tuning import Inner, inner_folds

Matrix = NDArray[np.float64]

LANDMARKS = 1000
"""Training units up to this number are compared with each other; of more, so many stand for all."""
WIDTH = 2.0
"""Exponent of the kernel at the mean squared distance between units; more is a narrower kernel."""
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""What is chosen from, on kernels that are 1 where two units are alike."""
_LEAST = 1e-9
"""Share of the largest eigenvalue of the landmarks' kernel below which an axis is rounding."""


class KernelHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Ridge regression in the space of a Gaussian kernel, ``exp(-width |x - x'|^2 / m)``, with a free intercept.

    ``m`` is the mean squared distance between training units. The penalty has the least squared error on inner folds.
    More than :data:`LANDMARKS` units are compared with so many of them alone, which are drawn at random (the method of
    Nyström: Williams and Seeger 2001, NeurIPS 13). Shares and classes are regressed all at once, what is below 0 is
    taken as 0, and the rest divided by its sum (Sugiyama 2010, IEICE Transactions E93-D(10)).

    Parameters
    ----------
    width
        As above. It is not chosen: with a few hundred units, choosing it as well did worse.
    penalties
        To choose from.
    landmarks
        As above.
    random_state
        Of the draw of landmarks.

    Attributes
    ----------
    penalty_ : float
        What was chosen.
    """

    def __init__(
        self,
        *,
        width: float = WIDTH,
        penalties: tuple[float, ...] = PENALTIES,
        landmarks: int = LANDMARKS,
        random_state: int = 0,
    ) -> None:
        self.width = width
        self.penalties = penalties
        self.landmarks = landmarks
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> KernelHead:
        """Fit ``y``, shape ``(n,)`` or ``(n, k)`` for shares, on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X, np.float64), np.asarray(y, np.float64)
        self._shares = target.ndim == 2
        target = target.reshape(len(target), -1)
        parts = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        with one_thread():
            self._compare_with(features)
            seen = self._seen(features)
            self.penalty_ = self._choose(seen, target, parts)
            self._level, self._mean = target.mean(axis=0), seen.mean(axis=0)
            centred = seen - self._mean
            gram = centred.T @ centred
            gram[np.diag_indices_from(gram)] += self.penalty_
            self._weights = np.linalg.solve(gram, centred.T @ (target - self._level))
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        with one_thread():
            predicted = (self._seen(np.asarray(X, np.float64)) - self._mean) @ self._weights + self._level
        if not self._shares:
            return np.asarray(predicted[:, 0])
        predicted = np.maximum(predicted, 0.0)
        # labels sum to 1, and so do predictions before they are cut off: one of them is above 0
        return np.asarray(predicted / predicted.sum(axis=1, keepdims=True))

    def _compare_with(self, features: Matrix) -> None:
        """Keep the landmarks, and the inverse root of their kernel."""
        rows = np.arange(len(features))
        if len(rows) > self.landmarks:
            rows = np.sort(np.random.default_rng(self.random_state).choice(rows, self.landmarks, replace=False))
        self._landmarks = features[rows]
        distances = euclidean_distances(self._landmarks, squared=True)
        # units that are all alike have a kernel of 1, whatever it is scaled by
        self._scale = float(distances.mean()) or 1.0
        values, vectors = np.linalg.eigh(np.exp(-self.width / self._scale * distances))
        kept = values > _LEAST * values[-1]
        self._axes = vectors[:, kept] / np.sqrt(values[kept])  # (landmarks, axes)

    def _seen(self, features: Matrix) -> Matrix:
        """Return features whose products are the kernel between units, shape ``(n, axes)``."""
        apart = euclidean_distances(features, self._landmarks, squared=True)
        apart *= -self.width / self._scale
        return np.asarray(np.exp(apart, out=apart) @ self._axes)

    def _choose(self, seen: Matrix, target: Matrix, parts: Inner) -> float:
        """Return the penalty with the least squared error on inner folds; without folds 1, if it is one of them."""
        if not len(parts) or len(self.penalties) == 1:
            return float(min(self.penalties, key=lambda penalty: abs(np.log(penalty))))
        errors = np.zeros(len(self.penalties))
        for fit, held in parts:
            path = ridge_path(seen[fit], target[fit], seen[held], self.penalties)
            errors += ((path - target[held, :, None]) ** 2).sum(axis=(0, 1))
        return float(self.penalties[int(errors.argmin())])
