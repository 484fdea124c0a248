"""Probes of classes for scikit-learn: labels in, labels out.

Inside, classes are shares of which one is 1, so that a probe learns a class as it learns a distribution.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets, unique_labels
from sklearn.utils.validation import check_is_fitted

from mmgr.evaluate.parts import Widths
from mmgr.evaluate.probes import ProbeName, make_probe
from mmgr.evaluate.tuning import Inner


class ClassProbe(ClassifierMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A probe that takes class labels of any type, as `cross_val_score` and `GridSearchCV` hand them out.

    Parameters
    ----------
    name
        As in the configuration: `logistic`, `mlp`, `forest`, `boosting`, `knn`, `kernel`.
    random_state
        Of its start.
    parts
        Numbers of columns of the parts of the vectors, which are weighed against each other.

    Attributes
    ----------
    classes_ : array of shape (k,)
        The classes met, in order.
    probe_ : Probe
        What predicts their shares.
    """

    def __init__(self, name: ProbeName = "logistic", *, random_state: int = 0, parts: Widths = ()) -> None:
        self.name = name
        self.random_state = random_state
        self.parts = parts

    def fit(self, X: NDArray[np.floating], y: ArrayLike, *, inner: Inner | None = None) -> ClassProbe:
        """Fit labels ``y``, shape ``(n,)``, on features ``X``, shape ``(n, d)``; NaN where a feature is unknown.

        Raises
        ------
        ValueError
            If the labels are no classes, such as numbers with a fraction.
        """
        labels = np.asarray(y)
        check_classification_targets(labels)
        self.classes_ = unique_labels(labels)
        ones = np.asarray(labels[:, None] == self.classes_, np.float64)
        probe = make_probe(self.name, seed=self.random_state, kind="class", parts=self.parts)
        self.probe_ = probe.fit(X, ones, inner=inner)
        self.n_features_in_ = int(np.shape(X)[1])
        return self

    def predict_proba(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the share of each class of :attr:`classes_`, shape ``(n, k)``; rows sum to 1."""
        check_is_fitted(self, "probe_")
        return self.probe_.predict(X)

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.generic]:
        """Return the class with the largest share, shape ``(n,)``."""
        largest = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[largest])
