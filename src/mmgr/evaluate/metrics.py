"""Metrics of numbers, classes and shares, on plain arrays of one shape."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr

from mmgr.config import LabelKind


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


def accuracy(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of units whose class is predicted.

    Parameters
    ----------
    observed, predicted
        Class of each unit, shape ``(n,)``.

    Raises
    ------
    ValueError
        If the two are not filled vectors of one length.
    """
    y, p = _classes(observed, predicted)
    return float(np.mean(y == p))


def macro_f1(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over classes of ``2 TP / (2 TP + FP + FN)``.

    Classes are those observed or predicted; one that is never met on the other side counts 0.

    Parameters
    ----------
    observed, predicted
        Class of each unit, shape ``(n,)``.

    Raises
    ------
    ValueError
        If the two are not filled vectors of one length.
    """
    y, p = _classes(observed, predicted)
    classes = np.unique(np.concatenate([y, p]))
    scores = [2 * np.sum((y == c) & (p == c)) / (np.sum(y == c) + np.sum(p == c)) for c in classes]
    return float(np.mean(scores))


def l1(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the sum over classes of absolute differences, averaged over units: 0 (equal) to 2.

    Parameters
    ----------
    observed, predicted
        Shares of classes, shape ``(n, k)``; each row sums to 1.

    Raises
    ------
    ValueError
        If the two differ in shape, or a row is negative or does not sum to 1.
    """
    y, p = _shares(observed, predicted)
    return float(np.abs(y - p).sum(axis=1).mean())


def kl_divergence(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return ``sum_k y_k ln(y_k / p_k)`` in nats, averaged over units; 0 where a class is not observed.

    Parameters
    ----------
    observed, predicted
        Shares of classes, shape ``(n, k)``; each row sums to 1. A prediction is taken as at least
        1e-12, so that one certain error does not make the mean infinite.

    Raises
    ------
    ValueError
        As of :func:`l1`.
    """
    y, p = _shares(observed, predicted)
    return float(rel_entr(y, np.maximum(p, 1e-12)).sum(axis=1).mean())


def cosine(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the cosine of the angle between observed and predicted shares, averaged over units.

    Parameters
    ----------
    observed, predicted
        Shares of classes, shape ``(n, k)``; each row sums to 1.

    Raises
    ------
    ValueError
        As of :func:`l1`.
    """
    y, p = _shares(observed, predicted)
    return float(np.mean((y * p).sum(axis=1) / (np.linalg.norm(y, axis=1) * np.linalg.norm(p, axis=1))))


def chebyshev(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return the largest absolute difference of any class, averaged over units: 0 (equal) to 1.

    Parameters
    ----------
    observed, predicted
        Shares of classes, shape ``(n, k)``; each row sums to 1.

    Raises
    ------
    ValueError
        As of :func:`l1`.
    """
    y, p = _shares(observed, predicted)
    return float(np.abs(y - p).max(axis=1).mean())


def canberra(observed: ArrayLike, predicted: ArrayLike) -> float:
    """Return ``sum_k |y_k - p_k| / (y_k + p_k)``, averaged over units: 0 (equal) to the number of classes.

    A class that is neither observed nor predicted adds 0.

    Parameters
    ----------
    observed, predicted
        Shares of classes, shape ``(n, k)``; each row sums to 1.

    Raises
    ------
    ValueError
        As of :func:`l1`.
    """
    y, p = _shares(observed, predicted)
    both = y + p
    return float(np.divide(np.abs(y - p), both, out=np.zeros_like(both), where=both > 0).sum(axis=1).mean())


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by its name, and how it is read."""

    name: str
    title: str
    """As a table's head has it."""
    of: Callable[[ArrayLike, ArrayLike], float]
    """From what was observed and predicted; classes as numbers, shape ``(n,)``."""
    highest: bool
    """Whether more is better."""
    nothing: float
    """Differences up to this are no difference worth a word."""

    def better(self, one: float, other: float) -> bool:
        """Say whether ``one`` is better than ``other``."""
        return one > other if self.highest else one < other


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("r2", "R2", r2, highest=True, nothing=0.01),
        Metric("rmse", "RMSE", rmse, highest=False, nothing=0.0),
        Metric("mae", "MAE", mae, highest=False, nothing=0.0),
        Metric("macro_f1", "macro-F1", macro_f1, highest=True, nothing=0.01),
        Metric("accuracy", "accuracy", accuracy, highest=True, nothing=0.01),
        Metric("l1", "L1", l1, highest=False, nothing=0.01),
        Metric("kl", "KL", kl_divergence, highest=False, nothing=0.01),
        Metric("cosine", "cosine", cosine, highest=True, nothing=0.01),
        Metric("chebyshev", "Chebyshev", chebyshev, highest=False, nothing=0.01),
        Metric("canberra", "Canberra", canberra, highest=False, nothing=0.01),
    )
}
"""All metrics by their names in the configuration."""


def measure(kind: LabelKind, name: str, observed: NDArray[np.float64], predicted: NDArray[np.float64]) -> float:
    """Return a metric of labels of a kind; NaN where nothing was observed.

    Parameters
    ----------
    kind
        What a label is.
    name
        Of the metric.
    observed, predicted
        Numbers, shape ``(n,)``; or shares of classes, shape ``(n, k)``, of which a class is the largest.
    """
    if not len(observed):
        return float("nan")
    if kind == "class":
        observed, predicted = observed.argmax(axis=1), predicted.argmax(axis=1)
    return METRICS[name].of(observed, predicted)


def _classes(observed: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    y, p = np.asarray(observed), np.asarray(predicted)
    if y.shape != p.shape or y.ndim != 1 or not y.size:
        raise ValueError(f"observed {y.shape} and predicted {p.shape} are not two filled vectors of one length")
    return y, p


def _shares(observed: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = np.asarray(observed, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape or y.ndim != 2 or not y.size:
        raise ValueError(f"observed {y.shape} and predicted {p.shape} are not two filled tables of one shape")
    for name, shares in (("observed", y), ("predicted", p)):
        # float32 softmax sums to 1 within 1e-6; published shares are rounded to a few digits
        wrong = ~((shares >= 0).all(axis=1) & (np.abs(shares.sum(axis=1) - 1) < 1e-3))
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{int(wrong.sum())} {name} rows are no shares that sum to 1, such as row {row}: {shares[row].tolist()}"
            )
    return y, p


def _pair(observed: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    y, p = np.asarray(observed, np.float64), np.asarray(predicted, np.float64)
    if y.shape != p.shape or y.ndim != 1 or not y.size:
        raise ValueError(f"observed {y.shape} and predicted {p.shape} are not two filled vectors of one length")
    if not (np.isfinite(y).all() and np.isfinite(p).all()):
        unusable = int((~np.isfinite(y) | ~np.isfinite(p)).sum())
        raise ValueError(f"{unusable} of {y.size} pairs are NaN or infinite")
    return y, p
