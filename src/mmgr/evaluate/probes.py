"""Small models on frozen embeddings, as scikit-learn estimators.

Scaling, filling of unknown values and choice of regularisation happen inside ``fit``, so a held-out
fold has no part in them. Unknown features (NaN) take the training mean, and those of a unit to predict are held near
the range that the training units have. What is tuned is chosen on the inner folds that ``fit`` is given, which a score
makes of blocks; without them, on random fifths of the training units. Where vectors have parts, such as images and
POIs, the parts are weighed against each other first; trees ask one column at a time, and see them as they are.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin, clone
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import check_is_fitted

from mmgr.components import BEYOND, principal_axes
from mmgr.config import LabelKind
from mmgr.evaluate.heads import BoostingHead, ForestHead, NeighboursHead, NetworkHead, NumberLoss
from mmgr.evaluate.kernel import KernelHead
from mmgr.evaluate.linear import BlockRidge, SoftmaxRegression
from mmgr.evaluate.parts import PartWeights, Widths, split_parts
from mmgr.evaluate.tuning import Inner

ProbeName = Literal["ridge", "logistic", "softmax", "mlp", "forest", "boosting", "knn", "kernel"]

PROBE_TITLES: dict[ProbeName, str] = {
    "ridge": "Ridge regression",
    "logistic": "Logistic regression",
    "softmax": "Softmax regression",
    "kernel": "Kernel regression",
    "mlp": "A network with one hidden layer",
    "forest": "A random forest",
    "boosting": "Gradient boosted trees",
    "knn": "The nearest neighbours",
}
"""What a caption calls them."""

_LINEAR: dict[LabelKind, ProbeName] = {"number": "ridge", "class": "logistic", "shares": "softmax"}


def probe_names(names: tuple[ProbeName, ...], kind: LabelKind) -> tuple[ProbeName, ...]:
    """Return the probes of a kind of label: a linear one under the name that it has there, each once."""
    return tuple(dict.fromkeys(_LINEAR[kind] if name in _LINEAR.values() else name for name in names))


def make_probe(
    name: ProbeName, *, seed: int, kind: LabelKind = "number", loss: str = "auto", parts: Widths = ()
) -> Probe:
    """Return an unfitted probe.

    Parameters
    ----------
    name
        As in the configuration; any linear one is that of the kind of label.
    seed
        Of its start.
    kind
        What a label is. Labels of classes and shares have the shape ``(n, k)``, and so have predictions.
    loss
        ``"absolute"`` for networks and boosted trees that minimise the absolute error of numbers.
    parts
        Numbers of columns of the parts of the vectors, which are weighed against each other; trees have no use for it.
    """
    chosen: NumberLoss = "absolute" if loss == "absolute" else "squared"
    name = probe_names((name,), kind)[0]
    if name == "mlp":
        probe = mlp_probe(seed, loss=chosen)
    elif name == "forest":
        return Probe(ForestHead(random_state=seed))
    elif name == "boosting":
        return Probe(BoostingHead(loss=chosen, random_state=seed))
    elif name in {"knn", "kernel"}:
        probe = Probe(NeighboursHead() if name == "knn" else KernelHead(random_state=seed))
    else:
        probe = ridge_probe() if name == "ridge" else softmax_probe()
    probe.parts = parts
    return probe


def ridge_probe() -> Probe:
    """Return ridge regression whose penalty is chosen on inner folds."""
    return Probe(BlockRidge())


def softmax_probe() -> Probe:
    """Return softmax regression of classes or shares, on principal components; inner folds choose its penalty."""
    return Probe(SoftmaxRegression(), components=True)


def mlp_probe(seed: int, *, loss: NumberLoss = "squared") -> Probe:
    """Return the two-layer probe of Bai et al. (2023): 1024 ReLU units, one output.

    It stops early on an inner fold, a fifth of the training units. Inputs are turned to their principal components
    first, which the paper does not do: there are often more features than units, and a fit costs less.
    """
    return Probe(NetworkHead(loss=loss, random_state=seed), components=True)


class Probe(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A head on filled and scaled features, whose predictions stay between the lowest and highest label.

    A linear head has no bounds: one odd place can get a density that no place on Earth has, and
    decide the R2 of a whole city. Its features stay within :data:`~mmgr.components.BEYOND` spreads of their range among
    the training units, too: some outputs of an encoder are zero nearly everywhere, vary little among a few units, and
    are scaled up by that; a place elsewhere that has one lies tens of spreads away.

    Parameters
    ----------
    head
        What is fitted, with a parameter ``inner`` of its ``fit``.
    components
        Whether features are turned to their principal components first, each part to its own.
    parts
        Numbers of columns of the parts of the vectors; two or more are weighed, see :mod:`mmgr.evaluate.parts`.
    """

    def __init__(self, head: Any, *, components: bool = False, parts: Widths = ()) -> None:
        self.head = head
        self.components = components
        self.parts = parts

    def fit(self, X: NDArray[np.floating], y: ArrayLike, *, inner: Inner | None = None) -> Probe:
        """Fit a copy of the head.

        Parameters
        ----------
        X
            Features, shape ``(n, d)``; NaN where unknown.
        y
            Labels, shape ``(n,)``, or shares of classes, shape ``(n, k)``.
        inner
            Rows to fit on and rows to choose by, for what the head tunes.

        Raises
        ------
        ValueError
            If a label is no finite number; labels of classes are for :class:`mmgr.evaluate.ClassProbe`.
        """
        try:
            target = np.asarray(y, np.float64)
        except ValueError:
            raise ValueError("labels are names of classes, not numbers or shares; `ClassProbe` takes those") from None
        if not np.isfinite(target).all():
            raise ValueError(f"{int((~np.isfinite(target)).sum())} of {target.size} labels are NaN or infinite")
        fill = SimpleImputer(strategy="mean", keep_empty_features=True)
        steps = [fill, StandardScaler(), *([PrincipalComponents(parts=self.parts)] if self.components else [])]
        self.features_ = make_pipeline(*steps)
        seen = self.features_.fit_transform(X)
        if len(self.parts) > 1:
            widths = steps[-1].widths_ if self.components else self.parts
            weights = PartWeights(widths).fit(seen, target, inner=inner)
            seen = weights.transform(seen)
            self.features_ = make_pipeline(*steps, weights)
        scaled = self.features_[:2].transform(X)
        # a column that does not vary among the training units tells nothing, and no model has learned from it
        beyond = np.where(scaled.min(axis=0) == scaled.max(axis=0), 0.0, BEYOND)
        self.low_, self.high_ = scaled.min(axis=0) - beyond, scaled.max(axis=0) + beyond
        self.head_ = clone(self.head).fit(seen, target, inner=inner)
        self.range_ = float(target.min()), float(target.max())
        return self

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predict numbers, within the range of the training labels, or shares that sum to 1."""
        check_is_fitted(self, "head_")
        seen = np.clip(self.features_[:2].transform(X), self.low_, self.high_)
        for _, step in self.features_.steps[2:]:
            seen = step.transform(seen)
        # float64 first: rounded to float32, a label can lie outside its own range
        predicted = np.asarray(self.head_.predict(seen), np.float64)
        return np.clip(predicted, *self.range_) if predicted.ndim == 1 else predicted

    def linear(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a fitted linear head as a function of the features themselves, all that came before it undone.

        Returns
        -------
        Weights, shape ``(d, k)``, and intercepts, shape ``(k,)``: of numbers ``k`` is 1, and neither features nor
        predictions are kept to a range; of classes and shares they give the scores that a softmax makes shares of.
        """
        coef = np.asarray(self.head_.coef_, np.float64)
        coef, intercept = coef.reshape(len(coef), -1), np.atleast_1d(self.head_.intercept_)
        scaler, *further = (step for _, step in self.features_.steps[1:])
        for step in reversed(further):
            if isinstance(step, PartWeights):
                coef = np.repeat(step.weights_, step.widths)[:, None] * coef
            else:
                coef = step.components_.T @ coef / step.scale_
                intercept = intercept - step.mean_ @ coef
        coef = coef / scaler.scale_[:, None]
        return coef, intercept - scaler.mean_ @ coef


class PrincipalComponents(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """Turn features to their principal components, scaled by one number to unit variance.

    Unlike whitening, this keeps the components' relative size. A component of less variance than
    ``smallest`` is dropped; of standardised features each has variance 1, so that a few features of
    their own, such as POIs beside an image's many, are never lost.

    Parameters
    ----------
    smallest
        Least variance of a component.
    parts
        Numbers of columns of parts that have components of their own; by default all columns are one part.

    Attributes
    ----------
    widths_ : tuple of int
        Components of each part.
    """

    def __init__(self, smallest: float = 0.1, *, parts: Widths = ()) -> None:
        self.smallest = smallest
        self.parts = parts

    def fit(self, X: NDArray[np.floating], y: ArrayLike | None = None) -> PrincipalComponents:  # noqa: ARG002 - scikit-learn passes it
        """Find the components of ``X``, shape ``(n, d)``."""
        X = np.asarray(X, np.float64)
        self.mean_ = X.mean(axis=0)
        found = [self._axes(part) for part in split_parts(X - self.mean_, self.parts or (X.shape[1],))]
        self.widths_ = tuple(len(variance) for variance, _ in found)
        self.components_ = block_diag(*(axes for _, axes in found))  # (k, d)
        variance = np.concatenate([variance for variance, _ in found])
        self.scale_ = float(np.sqrt(max(variance.mean(), 0.0))) or 1.0
        return self

    def transform(self, X: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the components of ``X``, shape ``(n, k)``."""
        return np.asarray((X - self.mean_) @ self.components_.T / self.scale_, np.float32)

    def _axes(self, centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the variances of a part's components, shape ``(k,)``, and their axes, shape ``(k, d)``."""
        squares, axes = principal_axes(centred)
        variance = squares / len(centred)
        kept = variance >= self.smallest
        kept[-1] = True  # features that never vary keep one component, of zeros
        return variance[kept], axes[:, kept].T
