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
_ROUGH, _FINE = 1e-4, 1e-5
"""Largest gradient of softmax regression, in steps by which the divergence bends by 1: to choose, and to keep."""


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
        path = _SoftmaxPath(features, shares)
        for alpha in sorted((a for a in self.alphas if a > self.alpha_), reverse=True):
            path.follow(alpha, tolerance=_ROUGH)
        path.follow(self.alpha_, tolerance=_FINE)
        self.weights_ = path.weights()
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
        paths = [_SoftmaxPath(X[fit], y[fit]) for fit, _ in parts]
        for alpha in sorted(self.alphas, reverse=True):
            error = 0.0
            for path, (_, held) in zip(paths, parts, strict=True):
                path.follow(alpha, tolerance=_ROUGH)
                error -= float((y[held] * log_softmax(_scores(X[held], path.weights()), axis=1)).sum())
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


class _SoftmaxPath:
    """Softmax regression of the same units under one penalty after another, each begun where the last one ended.

    Scores are sought along the principal axes of the features, of which there are no more than units, and in steps
    that count as much as the divergence there bends: fewer are needed than in the features' own columns.
    """

    def __init__(self, X: Matrix, y: Matrix) -> None:
        self._y, self._mean, level = y, X.mean(axis=0), y.mean(axis=0)
        centred = X - self._mean
        if len(X) < X.shape[1]:
            values, vectors = np.linalg.eigh(centred @ centred.T)
            kept = values > values[-1] * 1e-12
            lengths = np.sqrt(values[kept])
            self._places, self._axes = vectors[:, kept] * lengths, centred.T @ vectors[:, kept] / lengths
        else:
            values, self._axes = np.linalg.eigh(centred.T @ centred)
            self._places, kept = centred @ self._axes, np.ones(len(values), bool)
        self._sizes = np.maximum(values[kept], 0)[:, None]
        bend = np.maximum(level, 1e-3)
        self._bend = bend * (1 - bend) + 1e-6
        # one row an axis, and the intercept; classes that are never met get a score from which exp does not vanish
        self._found = np.zeros((len(self._sizes) + 1, y.shape[1]))
        self._found[-1] = np.log(np.maximum(level, 1e-6))

    def follow(self, alpha: float, *, tolerance: float) -> None:
        """Go on to the least ``sum_i KL_i + alpha / 2 * |W|^2``, until no step promises more than the tolerance."""
        places, y, units = self._places, self._y, len(self._y)
        # the loss of a unit bends by about 1 along each step: what remains is half the square of its gradient
        bends = np.maximum(alpha + self._sizes * self._bend, 1e-12) / units
        steps = np.vstack([np.sqrt(bends), np.sqrt(self._bend)])

        def loss(flat: Matrix) -> tuple[float, Matrix]:
            weights = flat.reshape(steps.shape) / steps
            logs = log_softmax(_scores(places, weights), axis=1)
            wrong = np.exp(logs) - y  # (n, k)
            gradient = np.vstack([places.T @ wrong + alpha * weights[:-1], wrong.sum(axis=0)]) / steps
            value = -(y * logs).sum() + alpha / 2 * (weights[:-1] ** 2).sum()
            return float(value) / units, gradient.ravel() / units

        start = (self._found * steps).ravel()
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200, "gtol": tolerance})
        self._found = found.x.reshape(steps.shape) / steps

    def weights(self) -> Matrix:
        """Return weights of the features, shape ``(d + 1, k)``; the last row is the intercept."""
        weights = self._axes @ self._found[:-1]
        return np.vstack([weights, self._found[-1] - self._mean @ weights])
