"""Prediction intervals from residuals of held-out places, and how often they hold elsewhere.

The method is CV+ (Barber, Candès, Ramdas, Tibshirani 2021, Predictive inference with the jackknife+,
Annals of Statistics 49(1), 486-507, section 3), as MAPIE implements it, with one change that is the
point here: the folds that give the residuals are spatial blocks with a buffer, not random units. A
probe is surer of the neighbours of its training units than of a district that it has not seen, and
intervals made from neighbours are too narrow there.

Its guarantee needs exchangeable units, which blocks of a city are not. So the coverage is measured:
intervals are made inside the training part of each outer fold, and counted on its test part.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mapie.regression import CrossConformalRegressor
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import check_cv

from mmgr.config import Evaluate
from mmgr.console import log, quiet
from mmgr.errors import SplitError
from mmgr.evaluate.interval_scores import IntervalScore, summarise
from mmgr.evaluate.plans import Folds, SplitPlan, check_splits, tuning_groups
from mmgr.evaluate.probes import ProbeName, make_probe
from mmgr.evaluate.splits import SpatialBlocks, block_of, choose_block
from mmgr.evaluate.tuning import Rows, inner_folds
from mmgr.evaluate.units import Units

_CHUNK = 4_000_000
"""Numbers held at once: CV+ compares each prediction with each training unit."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """An interval for each of ``n`` regions, on the label's own scale; NaN where nothing is predicted."""

    level: float
    """Share of places that the interval should hold for."""
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def width(self) -> NDArray[np.float64]:
        """``upper - lower``, shape ``(n,)``."""
        return self.upper - self.lower


def predict_intervals(
    units: Units,
    features: NDArray[np.floating],
    predicted: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    probe: ProbeName = "ridge",
) -> Intervals | None:
    """Give every region's prediction an interval of the highest level that the settings ask for.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    predicted
        Predictions on the label's own scale, shape ``(n,)``, as of :func:`mmgr.evaluate.predict_everywhere`.
        The interval always holds them.
    settings
        Folds, block, buffer and levels.
    edge
        Edge of a region in metres.
    seed
        Of the blocks' order and the probe.
    probe
        Name of the probe.

    Returns
    -------
    The intervals, or None where no level is asked for or the units are too few for blocks.
    """
    if not settings.intervals or units.classes:  # an interval is of a number
        return None
    level = max(settings.intervals)
    rows = np.arange(len(units))
    folds = calibration_folds(units, rows, settings, edge=edge, block=settings.block, seed=seed)
    if folds is None or not _enough(len(units), [level]):
        log.warning("%s: too few labelled units for prediction intervals", units.task.name)
        return None
    lower, upper = (np.full(len(features), np.nan) for _ in range(2))
    known = np.isfinite(predicted)
    asked = np.asarray(features, np.float32)[known]
    groups = tuning_groups(units, edge=math.sqrt(float(np.median(units.geometry.area))))
    model = TunedOnGroups(make_probe(probe, seed=seed, loss=units.task.loss), seed)
    X = beside_groups(units.features(features), groups)
    bounds = _fit_predict(model, X, units.target, folds, beside_groups(asked, None), [level])[:, :, 0]
    lower[known] = np.minimum(units.untransform(bounds[:, 0]), predicted[known])
    upper[known] = np.maximum(units.untransform(bounds[:, 1]), predicted[known])
    return Intervals(level, lower, upper)


def score_intervals(
    units: Units,
    features: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    features_name: str = "",
    probe: ProbeName = "ridge",
) -> list[IntervalScore]:
    """Measure how often intervals hold for units far from those that they were made from.

    In each fold of every split that is not optimistic, a probe and its residuals come from spatial
    blocks inside the training units; the intervals are then made for the test units and counted.

    Parameters
    ----------
    units, features, settings, edge, seed, probe
        As of :func:`predict_intervals`; repetition ``i`` uses ``seed + i``.
    features_name
        What the features are called in the tables.

    Returns
    -------
    A record for each split and level; none for a split whose training parts are too small for blocks.
    """
    if not settings.intervals or units.classes:
        return []
    levels = sorted(settings.intervals)
    X = units.features(features)
    with quiet():  # scoring told of the same folds
        plans = [
            plan
            for plan in check_splits(units, settings, edge=edge, seed=seed)
            if not plan.optimistic and plan.protocol is None
        ]
    found: list[IntervalScore] = []
    for plan in plans:
        bounds = _held_out_bounds(units, X, plan, settings, levels, probe, edge=edge, seed=seed)
        if bounds is None:
            log.warning(
                "%s, split %s: too few units in some training part to make intervals inside it",
                units.task.name,
                plan.kind,
            )
            continue
        found += summarise(units, plan, levels, bounds, features=features_name, probe=probe)
    return found


def calibration_folds(
    units: Units, rows: Rows, settings: Evaluate, *, edge: float, block: float | None, seed: int
) -> Folds | None:
    """Divide some units into spatial blocks whose residuals calibrate an interval.

    The block asked for is tried first, then one chosen for these units, each with the buffer; where the
    area is too small for that, without it.

    Returns
    -------
    Folds in numbers of ``rows``, or None if there are not even two blocks.
    """
    buffer = edge if settings.buffer is None else settings.buffer
    apart = (buffer + edge) * (1 - 1e-6) if buffer else 0.0
    centres, anchors, linked = units.centres[rows], units.anchors[rows], units.linked[rows][:, rows]
    for folds, distance, size in _attempts(anchors, settings.folds, apart, block, edge):
        try:
            splitter = SpatialBlocks(
                centres,
                block=size,
                folds=folds,
                buffer=distance,
                seed=seed,
                linked=linked,
                blocks=block_of(anchors, size),
            )
            return list(splitter.split())
        except SplitError:
            continue
    return None


def _attempts(
    anchors: NDArray[np.float64], most: int, apart: float, block: float | None, edge: float
) -> Iterator[tuple[int, float, float]]:
    """Yield folds, metres between centres, and the edge of a block, from the strictest on."""
    for distance in dict.fromkeys((apart, 0.0)):
        for folds in range(most, 1, -1):
            if block is not None:
                yield folds, distance, block
            try:
                yield folds, distance, choose_block(anchors, edge=edge, folds=folds)
            except SplitError:
                continue


def _held_out_bounds(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    settings: Evaluate,
    levels: Sequence[float],
    probe: ProbeName,
    *,
    edge: float,
    seed: int,
) -> NDArray[np.float64] | None:
    """Return the bounds of each unit when it was tested, on the probe's scale, shape ``(seeds, u, 2, levels)``."""
    bounds = np.full((len(plan.folds), len(units), 2, len(levels)), np.nan)
    for repeat, outer in enumerate(plan.folds):
        for train, test in outer:
            inner = calibration_folds(units, train, settings, edge=edge, block=plan.block, seed=seed + repeat)
            if inner is None or not _enough(len(train), levels):
                return None
            # as the scores do, lest the penalty were a matter of the seed
            model = TunedOnGroups(
                make_probe(probe, seed=seed + repeat, loss=units.task.loss),
                seed if plan.repeats_itself else seed + repeat,
            )
            known = beside_groups(X[train], None if plan.groups is None else plan.groups[train])
            asked = beside_groups(X[test], None)
            bounds[repeat, test] = _fit_predict(model, known, units.target[train], inner, asked, levels)
    return bounds


def _enough(count: int, levels: Sequence[float]) -> bool:
    """Say whether that many residuals have a quantile of the highest level."""
    return count >= math.ceil(1 / (1 - max(levels)))


class TunedOnGroups(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A probe that tunes on groups of its training rows, whichever these are.

    MAPIE gives each fit some rows of a table and nothing else, so the group of a row stands in the table's first
    column, see :func:`beside_groups`.
    """

    def __init__(self, probe: Any, seed: int = 0) -> None:
        self.probe = probe
        self.seed = seed

    def fit(self, X: NDArray[np.floating], y: NDArray[np.float64]) -> TunedOnGroups:
        """Fit a copy of the probe on all columns but the first."""
        groups = None if X[0, 0] < 0 else X[:, 0].astype(np.int64)
        inner = inner_folds(groups, units=len(X), seed=self.seed)
        self.probe_ = clone(self.probe).fit(X[:, 1:], y, inner=inner)
        return self

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predict from all columns but the first."""
        return np.asarray(self.probe_.predict(X[:, 1:]), np.float64)


def beside_groups(X: NDArray[np.float32], groups: Rows | None) -> NDArray[np.float64]:
    """Return features with the group of each row before them, -1 where there are none, shape ``(n, 1 + d)``."""
    return np.column_stack([np.full(len(X), -1) if groups is None else groups, X]).astype(np.float64)


def _fit_predict(
    model: TunedOnGroups,
    X: NDArray[np.float64],
    y: NDArray[np.float64],
    folds: Folds,
    asked: NDArray[np.float64],
    levels: Sequence[float],
) -> NDArray[np.float64]:
    """Return lower and upper bounds on the probe's scale, shape ``(n, 2, levels)``."""
    conformal = CrossConformalRegressor(model, confidence_level=list(levels), method="plus", cv=check_cv(folds))
    conformal.fit_conformalize(X, y)
    step = max(1, _CHUNK // len(X))
    parts = [conformal.predict_interval(asked[start : start + step])[1] for start in range(0, len(asked), step)]
    bounds = np.concatenate(parts) if parts else np.zeros((0, 2, len(levels)))
    return np.asarray(np.sort(bounds, axis=1), np.float64)
