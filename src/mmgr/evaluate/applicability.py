"""Where a model may be applied: regions whose vectors are like those of labelled units.

After Meyer and Pebesma (2021), Predicting into unknown space? Estimating the area of applicability of
spatial prediction models, Methods in Ecology and Evolution 12(9), 1620-1633. The dissimilarity index
of a region is the distance from its vector to the nearest training vector, divided by the mean
distance between training vectors; predictors are standardised and weighted by their importance, here
the size of the ridge coefficient. A region is outside the area of applicability where its index is
larger than that of training units seen from the other folds of the spatial cross-validation, outliers
left aside: there, the scores say nothing about the prediction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances, pairwise_distances_argmin_min

from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import Folds
from mmgr.evaluate.probes import make_probe
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.units import Units

_MOST_PAIRED = 3_000
"""The mean distance between training units is taken over at most this many of them."""


@dataclass(frozen=True, slots=True)
class Applicability:
    """How unlike the training units each of ``n`` regions is."""

    dissimilarity: NDArray[np.float64]
    """Dissimilarity index, shape ``(n,)``: 0 is a training vector, 1 is as far as training vectors are from each
    other on average; NaN where nothing is known."""
    applicable: NDArray[np.bool_]
    """Whether the index is at most the threshold, shape ``(n,)``."""
    threshold: float
    """Largest index of a training unit, seen from the other folds, that is no outlier."""

    @property
    def outside(self) -> float:
        """Share of the regions of which something is known that lie outside."""
        known = np.isfinite(self.dissimilarity)
        return float((~self.applicable[known]).mean()) if known.any() else float("nan")

    def facts(self, task: str) -> dict[str, Any]:
        """Return what a report says of it, as plain values."""
        known = np.isfinite(self.dissimilarity)
        return {
            "task": task,
            "regions": int(known.sum()),
            "outside": int((~self.applicable[known]).sum()),
            "share_outside": self.outside if known.any() else None,
            "threshold": self.threshold,
            "median_dissimilarity": float(np.median(self.dissimilarity[known])) if known.any() else None,
        }


def area_of_applicability(
    units: Units,
    features: NDArray[np.floating],
    folds: Folds,
    *,
    asked: NDArray[np.floating] | None = None,
    seed: int = 0,
    parts: Widths = (),
) -> Applicability:
    """Say which regions are like the labelled units, in what the linear probe looks at.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown: such a value takes the training mean, as
        in the probe.
    folds
        Training and test rows of the spatial cross-validation; a test unit is compared with its training units.
    asked
        Vectors to judge, shape ``(n, d)``; by default those of all regions.
    seed
        Of the sample from which the mean distance is taken where there are many units.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.

    Returns
    -------
    The index and the verdict for each region.
    """
    X = units.inputs(features)
    parts = units.input_parts(parts, X.shape[1])
    with one_thread():
        probe = make_probe("ridge", seed=seed, kind=units.task.label, parts=parts).fit(X, units.target, inner=folds)
    # of classes and shares, how much a feature moves all of them
    weight = np.linalg.norm(np.asarray(probe.head_.coef_, np.float64).reshape(probe.head_.coef_.shape[0], -1), axis=1)
    weight = weight / weight.mean() if weight.any() else np.ones_like(weight)

    def seen_by_probe(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        seen: NDArray[np.float64] = np.asarray(probe.features_.transform(np.asarray(vectors, np.float32)), np.float64)
        return np.asarray(seen * weight, np.float64)

    train = seen_by_probe(X)
    scale = _mean_distance(train, seed)
    own = np.full(len(train), np.nan)
    for rest, test in folds:
        own[test] = _index(train[test], train[rest], scale)
    threshold = upper_whisker(own[~np.isnan(own)])
    asked = features if asked is None else asked
    known = ~np.isnan(asked).all(axis=1)
    dissimilarity = np.full(len(asked), np.nan)
    dissimilarity[known] = _index(seen_by_probe(units.region_inputs(asked)[known]), train, scale)
    # NaN compares as outside: of an unknown region nothing may be claimed
    return Applicability(dissimilarity, dissimilarity <= threshold, threshold)


def upper_whisker(values: NDArray[np.floating]) -> float:
    """Return the largest value within 1.5 interquartile ranges above the third quartile, as a boxplot draws it."""
    low, high = np.quantile(values, [0.25, 0.75])
    return float(values[values <= high + 1.5 * (high - low)].max())


def _index(asked: NDArray[np.float64], train: NDArray[np.float64], scale: float) -> NDArray[np.float64]:
    if not len(asked):
        return np.zeros(0)
    _, distance = pairwise_distances_argmin_min(asked, train)
    if scale > 0:
        return np.asarray(distance / scale, np.float64)
    # all training vectors are one: what is not that vector is infinitely unlike it
    return np.where(distance > 1e-7 * max(1.0, float(np.linalg.norm(train, axis=1).max())), np.inf, 0.0)


def _mean_distance(train: NDArray[np.float64], seed: int) -> float:
    """Return the mean distance between two different training units."""
    if len(train) > _MOST_PAIRED:
        train = train[np.random.default_rng(seed).choice(len(train), _MOST_PAIRED, replace=False)]
    mean = float(pairwise_distances(train).sum() / (len(train) * (len(train) - 1)))
    # equal vectors come out a rounding apart
    return mean if mean > 1e-7 * np.linalg.norm(train, axis=1).max() else 0.0
