"""Heads that are not linear: the paper's network, trees and neighbours, for numbers and for shares of classes.

A head is fitted on filled and scaled features. ``y`` has the shape ``(n,)`` for numbers and ``(n, k)`` for shares of
classes, of which a unit of one class has a single 1; predictions have the shape of ``y``, and shares sum to 1.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.tuning import Inner, Rows, choose, inner_folds

Matrix = NDArray[np.float64]

_TREE_FOLDS = 3
"""Inner folds that trees are tried on: they are slow, and the choice is coarse."""
NumberLoss = Literal["squared", "absolute"]


class NetworkHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """The two layers of Bai et al. (2023): 1024 ReLU units, then one output, or one a class through a softmax.

    Adam, 1e-3, batches of 200, at most 200 epochs. The first inner fold is kept aside: the epoch with the
    lowest loss on it is taken, ten epochs without a lower one end the training.
    """

    def __init__(self, *, loss: NumberLoss = "squared", random_state: int = 0) -> None:
        self.loss = loss
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> NetworkHead:
        """Fit on ``X``, shape ``(n, d)``."""
        from mmgr.evaluate.networks import HiddenLayerProbe  # noqa: PLC0415 - torch loads slowly

        features, target = np.asarray(X), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=self.random_state) if inner is None else inner
        fit, held = parts[0] if len(parts) else (np.arange(len(features)),) * 2
        self._level, self._spread = (
            (0.0, 1.0) if target.ndim == 2 else (float(target.mean()), float(target.std()) or 1.0)
        )
        scaled = (target - self._level) / self._spread
        network = HiddenLayerProbe(
            "number" if target.ndim == 1 else "shares",
            batch=200,
            epochs=200,
            absolute=self.loss == "absolute",
            random_state=self.random_state,
        )
        with one_thread():
            self.network_ = network.fit(features[fit], scaled[fit], validation=(features[held], scaled[held]))
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        return np.asarray(self.network_.predict(X) * self._spread + self._level, np.float64)


class ForestHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A random forest of 200 trees; the least units in a leaf are chosen on inner folds.

    Shares are means of the shares in leaves, so they sum to 1; of classes, this splits by Gini's impurity.
    """

    def __init__(self, *, leaves: tuple[int, ...] = (1, 3, 9), random_state: int = 0) -> None:
        self.leaves = leaves
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> ForestHead:
        """Fit on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=self.random_state) if inner is None else inner

        def errors(leaf: int, fit: Rows, held: Rows) -> float:
            model = self._forest(leaf, trees=50).fit(features[fit], target[fit])
            return float(((model.predict(features[held]) - target[held]) ** 2).sum())

        self.leaf_ = choose(self.leaves, errors, parts[:_TREE_FOLDS])
        self.forest_ = self._forest(self.leaf_, trees=200).fit(features, target)
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        return np.asarray(self.forest_.predict(np.asarray(X)), np.float64)

    def _forest(self, leaf: int, *, trees: int) -> RandomForestRegressor:
        return RandomForestRegressor(
            trees, min_samples_leaf=leaf, max_features=1 / 3, random_state=self.random_state, n_jobs=-1
        )


class BoostingHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Gradient boosted trees (histograms), up to 200; how many is chosen on inner folds.

    Shares are fitted by cross-entropy: each unit stands once for every class, weighted by its share.
    """

    def __init__(self, *, loss: NumberLoss = "squared", most: int = 200, random_state: int = 0) -> None:
        self.loss = loss
        self.most = most
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> BoostingHead:
        """Fit on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=self.random_state) if inner is None else inner
        self.classes_ = target.shape[1] if target.ndim == 2 else 0
        errors = np.zeros(self.most)
        with one_thread():
            for fit, held in parts[:_TREE_FOLDS]:
                errors += self._path_errors(features, target, fit, held)
            self.trees_ = int(errors.argmin()) + 1 if len(parts) else min(50, self.most)
            self.model_, self.met_ = self._grow(features, target, self.trees_)
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        features = np.asarray(X)
        with one_thread():
            if not self.classes_:
                return np.asarray(self.model_.predict(features), np.float64)
            if self.model_ is None:
                return self._spread(np.ones((len(features), 1)), self.met_)
            return self._spread(self.model_.predict_proba(features), self.met_)

    def _path_errors(self, X: Matrix, y: Matrix, fit: Rows, held: Rows) -> Matrix:
        """Return the summed error of ``held`` after each number of trees."""
        model, met = self._grow(X[fit], y[fit], self.most)
        if not self.classes_:
            power = 1 if self.loss == "absolute" else 2
            return np.array([(np.abs(p - y[held]) ** power).sum() for p in model.staged_predict(X[held])])
        if model is None:
            return np.zeros(self.most)
        staged = (self._spread(p, met) for p in model.staged_predict_proba(X[held]))
        return np.array([-(y[held] * np.log(np.maximum(p, 1e-6))).sum() for p in staged])

    def _grow(self, X: Matrix, y: Matrix, trees: int) -> tuple[Any, Rows]:
        """Return a model of so many trees, and the classes that it met; None where that is one class."""
        # without early stopping no unit is set aside at random
        settings = {
            "max_iter": trees,
            "early_stopping": False,
            "min_samples_leaf": min(20, max(2, len(X) // 20)),  # a leaf of 20 is half of a small city
            "random_state": self.random_state,
        }
        if not self.classes_:
            loss = "absolute_error" if self.loss == "absolute" else "squared_error"
            return HistGradientBoostingRegressor(loss=loss, **settings).fit(X, y), np.empty(0, np.int64)
        row, label = np.nonzero(y)
        met = np.unique(label)
        if len(met) == 1:
            return None, met
        return HistGradientBoostingClassifier(**settings).fit(X[row], label, sample_weight=y[row, label]), met

    def _spread(self, shares: Matrix, met: Rows) -> Matrix:
        """Return shares of the classes met as shares of all, shape ``(n, k)``."""
        table = np.zeros((len(shares), self.classes_))
        table[:, met] = shares
        return table


class NeighboursHead(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """The mean label of the nearest units in the space of features; how many is chosen on inner folds."""

    def __init__(self, *, neighbours: tuple[int, ...] = (1, 2, 3, 5, 8, 12, 20, 32, 50)) -> None:
        self.neighbours = neighbours

    def fit(self, X: ArrayLike, y: ArrayLike, *, inner: Inner | None = None) -> NeighboursHead:
        """Fit on ``X``, shape ``(n, d)``."""
        features, target = np.asarray(X), np.asarray(y, np.float64)
        parts = inner_folds(None, units=len(features), seed=0) if inner is None else inner
        most = min((len(fit) for fit, _ in parts), default=len(features))
        candidates = [number for number in self.neighbours if number <= most]

        def errors(number: int, fit: Rows, held: Rows) -> float:
            model = KNeighborsRegressor(number).fit(features[fit], target[fit])
            return float(((model.predict(features[held]) - target[held]) ** 2).sum())

        self.number_ = choose(candidates, errors, parts)
        self.model_ = KNeighborsRegressor(self.number_).fit(features, target)
        return self

    def predict(self, X: ArrayLike) -> Matrix:
        """Predict the shape of the labels."""
        return np.asarray(self.model_.predict(np.asarray(X)), np.float64)
