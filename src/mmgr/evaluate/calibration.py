"""The held-out places whose errors calibrate an interval or a set, and what probes predict for them.

Each part of the labelled units is held out in turn, predicted by a probe that was fitted on the others, and compared
with its labels. The parts are spatial blocks with a buffer, not random units: a probe is surer of the neighbours of
its training units than of a district that it has not seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import Folds, SplitPlan, inner_blocks, tuning_groups
from mmgr.evaluate.probes import Probe, ProbeName, make_probe
from mmgr.evaluate.splits import SpatialBlocks, block_of, choose_block
from mmgr.evaluate.tuning import Inner, Rows
from mmgr.evaluate.units import Units

_Value = TypeVar("_Value", np.float64, np.bool_)


@dataclass(frozen=True, slots=True)
class FoldPredictions:
    """What the probe of each of ``f`` folds predicts of ``k`` classes."""

    fold: Rows
    """Fold in which each of ``u`` units was held out, shape ``(u,)``."""
    held: NDArray[np.float64]
    """Of each unit, by the probe that did not see it, shape ``(u, k)``."""
    asked: NDArray[np.float64]
    """Of the ``n`` places asked about, by every probe, shape ``(f, n, k)``."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """The ``u`` units whose errors calibrate, and how probes are fitted on parts of them."""

    X: NDArray[np.float32]
    """Vectors, shape ``(u, d)``; NaN where unknown."""
    y: NDArray[np.float64]
    """Labels on the probe's scale, shape ``(u,)`` or ``(u, k)``."""
    folds: Folds
    """Rows to fit on and rows to hold out."""
    inner: Callable[[Rows], Inner]
    """The inner folds on which a probe of some rows tunes."""
    probe: Probe
    """Unfitted."""

    def fit(self, rows: Rows) -> Probe:
        """Fit a copy of the probe on some rows, tuned on parts of them that lie apart."""
        probe: Probe = clone(self.probe)
        return probe.fit(self.X[rows], self.y[rows], inner=self.inner(rows))

    def by_fold(self, asked: NDArray[np.floating]) -> FoldPredictions:
        """Predict the held-out units of each fold, and vectors of shape ``(n, d)``."""
        fold, held = np.zeros(len(self.y), np.int64), np.full(self.y.shape, np.nan)
        predicted = np.empty((len(self.folds), len(asked), *self.y.shape[1:]))
        for number, (rest, test) in enumerate(self.folds):
            model = self.fit(rest)
            fold[test], held[test] = number, model.predict(self.X[test])
            if len(asked):
                predicted[number] = model.predict(asked)
        return FoldPredictions(fold, held, predicted)


def calibrate_on_all(
    units: Units,
    features: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    probe: ProbeName = "ridge",
    parts: Widths = (),
) -> Calibration | None:
    """Calibrate on all labelled units, with the probe that :func:`mmgr.evaluate.predict_everywhere` fits.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    settings
        Folds, block, buffer and levels.
    edge
        Edge of a region in metres.
    seed
        Of the blocks' order and the probe.
    probe
        Name of the probe; a linear one is that of the kind of label.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.

    Returns
    -------
    The calibration, or None, with a warning, where the units are too few for blocks or for the highest level.
    """
    rows = np.arange(len(units))
    folds = calibration_folds(units, rows, settings, edge=edge, block=settings.block, seed=seed)
    if folds is None or not enough(len(units), settings.intervals):
        what = {"number": "prediction intervals", "class": "sets of classes", "shares": "intervals of shares"}
        log.warning("%s: too few labelled units for %s", units.task.name, what[units.task.label])
        return None
    groups = tuning_groups(units, edge=math.sqrt(float(np.median(units.geometry.area))))
    X = units.inputs(features)
    parts = units.input_parts(parts, X.shape[1])
    return Calibration(
        X,
        units.target,
        folds,
        lambda some: inner_blocks(units, some, groups, seed),
        make_probe(probe, seed=seed, kind=units.task.label, loss=units.task.loss, parts=parts),
    )


def calibrate_inside(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    train: Rows,
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    tuning_seed: int,
    probe: ProbeName = "ridge",
    parts: Widths = (),
) -> Calibration | None:
    """Calibrate on the training units of an outer fold alone, with probes tuned as those of the scores.

    Parameters
    ----------
    units, settings, edge, probe, parts
        As of :func:`calibrate_on_all`.
    X
        What probes see of all units (:meth:`mmgr.evaluate.Units.inputs`), shape ``(u, d)``.
    plan, train
        The split, and the rows to train on in one of its folds.
    seed
        Of the blocks' order and the probe.
    tuning_seed
        Of the inner folds.

    Returns
    -------
    The calibration, or None where the training units are too few for blocks or for the highest level.
    """
    folds = calibration_folds(units, train, settings, edge=edge, block=plan.block, seed=seed)
    if folds is None or not enough(len(train), settings.intervals):
        return None
    parts = units.input_parts(parts, X.shape[1])
    return Calibration(
        X[train],
        units.target[train],
        folds,
        lambda some: plan.inner(units, train[some], tuning_seed),
        make_probe(probe, seed=seed, kind=units.task.label, loss=units.task.loss, parts=parts),
    )


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


def everywhere(values: NDArray[_Value], known: NDArray[np.bool_]) -> NDArray[_Value]:
    """Return values of the known places, shape ``(m, ...)``, for all ``n``: NaN, or false, at the others."""
    found = np.full((len(known), *values.shape[1:]), values.dtype.type(0 if values.dtype == bool else np.nan))
    found[known] = values
    return found


def enough(count: int, levels: Sequence[float]) -> bool:
    """Say whether that many errors have a quantile of the highest level."""
    return count >= math.ceil(1 / (1 - max(levels)))


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
