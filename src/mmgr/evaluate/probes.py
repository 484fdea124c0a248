"""Small models on frozen embeddings, as scikit-learn estimators.

Scaling, filling of unknown values and choice of regularisation happen inside ``fit``, so a held-out
fold has no part in them. Unknown features (NaN) take the training mean.
"""

from __future__ import annotations

import warnings
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeCV
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

ProbeName = Literal["ridge", "mlp"]


def make_probe(name: ProbeName, *, seed: int) -> Any:
    """Return an unfitted probe by its name in the configuration."""
    return ridge_probe() if name == "ridge" else mlp_probe(seed)


def ridge_probe() -> WithinRange:
    """Return ridge regression whose penalty is chosen by leave-one-out on the training units."""
    return WithinRange(make_pipeline(_filled(), StandardScaler(), RidgeCV(alphas=np.logspace(-2, 6, 17))))


def mlp_probe(seed: int) -> WithinRange:
    """Return the two-layer probe of Bai et al. (2023): 1024 ReLU units, one output.

    It stops early on a fifth of the training units. Inputs are turned to their principal components
    first, which the paper does not do: there are often more features than units, and a fit costs less.
    """
    network = QuietMlp(
        hidden_layer_sizes=(1024,),
        early_stopping=True,
        validation_fraction=0.2,
        n_iter_no_change=10,
        max_iter=200,
        random_state=seed,
    )
    steps = make_pipeline(_filled(), StandardScaler(), PrincipalComponents(), network)
    return WithinRange(TransformedTargetRegressor(steps, transformer=StandardScaler()))


def _filled() -> SimpleImputer:
    return SimpleImputer(strategy="mean", keep_empty_features=True)


class WithinRange(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A regressor whose predictions stay between the lowest and highest label that it was fitted on.

    A linear probe has no bounds: one odd place can get a density that no place on Earth has, and
    decide the R2 of a whole city.
    """

    def __init__(self, regressor: Any) -> None:
        self.regressor = regressor

    def fit(self, X: NDArray[np.floating], y: ArrayLike) -> WithinRange:
        """Fit a copy of the regressor, and keep the labels' range."""
        self.regressor_ = clone(self.regressor).fit(X, y)
        self.range_ = float(np.min(y)), float(np.max(y))
        return self

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predict, within the range of the training labels."""
        # float64 first: rounded to float32, a label can lie outside its own range
        return np.clip(np.asarray(self.regressor_.predict(X), np.float64), *self.range_)


class PrincipalComponents(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Turn features to their principal components, scaled by one number to unit variance.

    Unlike whitening, this keeps the components' relative size. A component of less variance than
    ``smallest`` is dropped; of standardised features each has variance 1, so that a few features of
    their own, such as POIs beside an image's many, are never lost.
    """

    def __init__(self, smallest: float = 0.1) -> None:
        self.smallest = smallest

    def fit(self, X: NDArray[np.floating], y: ArrayLike | None = None) -> PrincipalComponents:  # noqa: ARG002 - scikit-learn passes it
        """Find the components of ``X``, shape ``(n, d)``."""
        # float64: squares of a float32 matrix lose its smallest components
        X = np.asarray(X, np.float64)
        self.mean_ = X.mean(axis=0)
        centred = X - self.mean_
        # the smaller of the two products has all components, and is several times faster than an SVD
        wide = X.shape[1] > X.shape[0]
        variance, vectors = np.linalg.eigh((centred @ centred.T if wide else centred.T @ centred) / len(X))
        kept = variance >= self.smallest
        kept[-1] = True  # features that never vary keep one component, of zeros
        axes = vectors[:, kept].T @ centred if wide else vectors[:, kept].T
        length = np.linalg.norm(axes, axis=1, keepdims=True)
        self.components_ = np.divide(axes, length, out=np.zeros_like(axes), where=length > 0)  # (k, d)
        self.scale_ = float(np.sqrt(max(variance[kept].mean(), 0.0))) or 1.0
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the components of ``X``, shape ``(n, k)``."""
        return np.asarray((X - self.mean_) @ self.components_.T / self.scale_, np.float32)


class QuietMlp(MLPRegressor):  # type: ignore[misc] # scikit-learn has no types
    """A multi-layer perceptron for which the end of its iterations is no event."""

    validation_fraction: float

    def fit(self, X: NDArray[np.floating], y: ArrayLike, sample_weight: ArrayLike | None = None) -> QuietMlp:
        """Fit as usual, with the best weights seen on the part that is kept aside, at least two units."""
        asked = self.validation_fraction
        self.validation_fraction = max(asked, 2 / len(X))
        try:
            with warnings.catch_warnings():
                # `max_iter` is a budget: reaching it is the user's choice, not a fault
                warnings.simplefilter("ignore", ConvergenceWarning)
                super().fit(X, y, sample_weight=sample_weight)
        finally:
            self.validation_fraction = asked  # scikit-learn's parameters are as they were given
        return self
