"""Labels as known functions of a made city's factors, and how well they can be known at best.

With ``b``, ``h`` and ``s`` for the factors built, human and shared, of variance 1 each, and ``e`` for noise:

    population = 5000 exp(0.7 b + 0.5 s + e)                    people a km2
    economy    =   40 exp(0.7 h + 0.5 s + e)                    million a km2
    function   = softmax of logits linear in b, h and s, + e    shares of five land uses

The noise of each is normal and independent between places; its standard deviation is `noise` times that of what it is
added to. So R2 of the logarithm of an amount is at most ``1 / (1 + noise^2)``, whatever is known of the factors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.evaluate.metrics import METRICS
from mmgr.synth.hashing import fold, normal

LAND_USES = ("housing", "business", "industry", "public", "green")


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount that adds up over area: its density is ``level * exp(weights . factors)``."""

    name: str
    level: float
    """Density a km2 where all factors are 0."""
    weights: tuple[float, float, float]
    """Of built, human and shared."""
    unit: str
    """Of the density."""


AMOUNTS = (
    Amount("population", 5000.0, (0.7, 0.0, 0.5), "people/km²"),
    Amount("economy", 40.0, (0.0, 0.7, 0.5), "million/km²"),
)
LOGITS = np.array([0.9, 0.3, 0.0, 0.0, 0.2])
"""Logit of each land use where all factors are 0, shape ``(5,)``."""
LOGIT_WEIGHTS = np.array([[0.5, -0.4, -0.1], [0.3, 0.8, 0.7], [0.6, 0.1, -0.8], [-0.1, 0.5, 0.3], [-0.9, -0.5, -0.4]])
"""Weights of built, human and shared in each logit, shape ``(5, 3)``."""
LABELS = (*(amount.name for amount in AMOUNTS), *LAND_USES)
"""Names of the columns that :func:`labels_of` returns."""
_WEIGHTS = np.vstack([[amount.weights for amount in AMOUNTS], LOGIT_WEIGHTS])
_LEVELS = np.concatenate([np.log([amount.level for amount in AMOUNTS]), LOGITS])
_KEY_OF_NOISE = 31


def labels_of(factors: NDArray[np.float64], noise: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return the labels of places.

    Parameters
    ----------
    factors
        Built, human and shared, shape ``(n, 3)``.
    noise
        What is added to logarithms and logits, in standard deviations of the signal, shape ``(n, 7)``; nothing
        by default.

    Returns
    -------
    Densities of the amounts and shares of land uses in the order of :data:`LABELS`, shape ``(n, 7)``.
    """
    signal = factors @ _WEIGHTS.T + _LEVELS
    if noise is not None:
        signal += noise * np.linalg.norm(_WEIGHTS, axis=1)
    amounts, logits = np.exp(signal[:, : len(AMOUNTS)]), signal[:, len(AMOUNTS) :]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.hstack([amounts, shares / shares.sum(axis=1, keepdims=True)])


def draw_noise(key: np.uint64, cells: NDArray[np.int64], level: float) -> NDArray[np.float64]:
    """Draw the noise of cells, known by two whole numbers each, shape ``(n, 2)``, as ``(n, 7)``."""
    values = np.empty((len(cells), len(LABELS)))
    _draw_normals(np.uint64(fold(key, _KEY_OF_NOISE, 0)), np.ascontiguousarray(cells), values)
    return level * values


def ceilings(clean: NDArray[np.float64], noisy: NDArray[np.float64]) -> dict[str, float]:
    """Return R2 of the noise-free labels against the noisy ones, on the scales that runs score.

    Amounts are compared by ``log(1 + density)``, shares as they are. NaN where a label does not vary.

    Parameters
    ----------
    clean, noisy
        Labels of the same places, shape ``(n, 7)``.
    """
    result = {}
    for column, name in enumerate(LABELS):
        truth, label = clean[:, column], noisy[:, column]
        if column < len(AMOUNTS):
            truth, label = np.log1p(truth), np.log1p(label)
        spread = np.sum((label - label.mean()) ** 2)
        result[name] = round(float(1 - np.sum((label - truth) ** 2) / spread), 4) if spread > 0 else float("nan")
    return result


def function_at_best(clean: NDArray[np.float64], noisy: NDArray[np.float64]) -> dict[str, float]:
    """Return how far the noise-free shares of land uses are from the noisy ones, by metric.

    Parameters
    ----------
    clean, noisy
        Labels of the same places, shape ``(n, 7)``.
    """
    observed, predicted = noisy[:, len(AMOUNTS) :], clean[:, len(AMOUNTS) :]
    return {name: round(METRICS[name].of(observed, predicted), 4) for name in ("l1", "kl", "cosine")}


@compiled()
def _draw_normals(key: np.uint64, cells: NDArray[np.int64], values: NDArray[np.float64]) -> None:
    for row in range(len(cells)):
        own = fold(key, cells[row, 0], cells[row, 1])
        for column in range(values.shape[1]):
            values[row, column] = normal(own, column)
