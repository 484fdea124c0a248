"""Linear heads: ridge regression of numbers, softmax regression of classes and shares.

Both have a penalty on their weights, chosen on inner folds; the intercept is free.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.base import BaseEstimator

from mmgr.evaluate.tuning import Inner, inner_folds

Matrix = NDArray[np.float64]

ALPHAS = tuple(np.logspace(-2, 6, 17))
"""Penalties that ridge regression chooses from."""
_PATIENCE = 2
"""Of softmax regression, weaker penalties that may do no better before no weaker one is tried."""


class BlockRidge(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Ridge regression whose penalty has the least squared error on inner folds.

    Parameters
    ----------
    alphas
        Penalties to choose from, as of ``sklearn.linear_model.Ridge``.
    """

    def __init__(self, alphas: tuple[float, ...] = ALPHAS) -> None:
        self.alphas = alphas

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> BlockRidge:
        """Fit ``y``, shape ``(n,)``, on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X, np.float64), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        errors = np.zeros(len(self.alphas))
        for fit, held in parts:
            path = ridge_path(features[fit], target[fit, None], features[held], self.alphas)[:, 0]
            errors += ((path - target[held, None]) ** 2).sum(axis=0)
        self.alpha_ = float(self.alphas[int(errors.argmin())] if len(parts) else np.median(self.alphas))
        self._mean, self._target = features.mean(axis=0), float(target.mean())
        centred = features - self._mean
        if len(centred) < centred.shape[1]:
            kernel = centred @ centred.T + self.alpha_ * np.eye(len(centred))
            self.coef_ = centred.T @ np.linalg.solve(kernel, target - self._target)
        else:
            gram = centred.T @ centred + self.alpha_ * np.eye(centred.shape[1])
            self.coef_ = np.linalg.solve(gram, centred.T @ (target - self._target))
        return self

    @property
    def intercept_(self) -> float:
        """What is predicted where all features are 0."""
        return float(self._target - self._mean @ self.coef_)

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict, shape ``(n,)``."""
        return np.asarray((np.asarray(X, np.float64) - self._mean) @ self.coef_ + self._target)


def ridge_path(X: Matrix, y: Matrix, held: Matrix, alphas: Sequence[float]) -> Matrix:
    """Predict held-out rows with every penalty from one decomposition.

    Parameters
    ----------
    X, y
        Features, shape ``(n, d)``, and labels, shape ``(n, k)``.
    held
        Features of ``m`` rows.
    alphas
        ``a`` penalties.

    Returns
    -------
    Shape ``(m, k, a)``.
    """
    mean, level = X.mean(axis=0), y.mean(axis=0)
    X, held = X - mean, held - mean
    wide = X.shape[1] > X.shape[0]
    values, vectors = np.linalg.eigh(X @ X.T if wide else X.T @ X)
    # (r, k) what each axis says of y, and (m, r) where the held units lie on it
    known = vectors.T @ (y - level if wide else X.T @ (y - level))
    places = held @ X.T @ vectors if wide else held @ vectors
    shrunk = known[:, :, None] / (np.maximum(values, 0.0)[:, None, None] + np.asarray(alphas))
    return np.asarray(np.einsum("mr,rka->mka", places, shrunk, optimize=True) + level[:, None])


class SoftmaxRegression(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Linear scores through a softmax, fitted by the Kullback-Leibler divergence from shares of classes.

    With shares that are 0 or 1 this is multinomial logistic regression, with ``alpha = 1 / C`` of scikit-learn's.
    The penalty has the least divergence on inner folds.

    Parameters
    ----------
    alphas
        Penalties to choose from: ``sum_i KL_i + alpha / 2 * |W|^2`` is minimised.
    """

    def __init__(self, alphas: tuple[float, ...] = tuple(np.logspace(4, -2, 7))) -> None:
        self.alphas = alphas

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> SoftmaxRegression:
        """Fit shares ``y``, shape ``(n, k)``, on ``X``, shape ``(n, d)``."""
        features, shares = np.asarray(X, np.float64), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        self.alpha_ = self._choose(features, shares, parts) if len(parts) else float(np.median(self.alphas))
        start = None
        for alpha in sorted((a for a in self.alphas if a >= self.alpha_), reverse=True):
            start = _fit_softmax(features, shares, alpha, start)
        self.weights_ = np.asarray(start)
        return self

    @property
    def coef_(self) -> Matrix:
        """Weights without the intercept, shape ``(d, k)``."""
        return self.weights_[:-1]

    @property
    def intercept_(self) -> Matrix:
        """Score of each class where all features are 0, shape ``(k,)``."""
        return np.asarray(self.weights_[-1])

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict shares, shape ``(n, k)``; each row sums to 1."""
        return np.asarray(softmax(_scores(np.asarray(X, np.float64), self.weights_), axis=1))

    def _choose(self, X: Matrix, y: Matrix, parts: Inner) -> float:
        """Return the penalty with the least cross-entropy on inner folds, tried from the strongest on.

        Weak ones take the longest to fit. They are not tried any more once :data:`_PATIENCE` have done no better.
        """
        best, least, since = float(max(self.alphas)), np.inf, 0
        starts: list[Matrix | None] = [None] * len(parts)
        for alpha in sorted(self.alphas, reverse=True):
            error = 0.0
            for number, (fit, held) in enumerate(parts):
                weights = _fit_softmax(X[fit], y[fit], alpha, starts[number], tolerance=1e-4)
                error -= float((y[held] * log_softmax(_scores(X[held], weights), axis=1)).sum())
                starts[number] = weights
            if error < least:
                best, least, since = float(alpha), error, 0
            else:
                since += 1
            if since == _PATIENCE:
                break
        return best


def _scores(X: Matrix, weights: Matrix) -> Matrix:
    """Return ``X W + b``, shape ``(n, k)``; the last row of the weights is ``b``."""
    return np.asarray(X @ weights[:-1] + weights[-1])


def _fit_softmax(X: Matrix, y: Matrix, alpha: float, start: Matrix | None, *, tolerance: float = 1e-5) -> Matrix:
    shape = (X.shape[1] + 1, y.shape[1])
    if start is None:
        start = np.zeros(shape)
        # classes that are never met get a score from which exp does not vanish
        start[-1] = np.log(np.maximum(y.mean(axis=0), 1e-6))

    def loss(flat: Matrix) -> tuple[float, Matrix]:
        weights = flat.reshape(shape)
        logs = log_softmax(_scores(X, weights), axis=1)
        wrong = np.exp(logs) - y  # (n, k)
        gradient = np.vstack([X.T @ wrong + alpha * weights[:-1], wrong.sum(axis=0)])
        value = -(y * logs).sum() + alpha / 2 * (weights[:-1] ** 2).sum()
        return float(value) / len(X), gradient.ravel() / len(X)

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 200, "gtol": tolerance})
    return np.asarray(found.x.reshape(shape))
