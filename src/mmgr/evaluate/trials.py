"""One feature set with one probe under one split: held-out predictions, and what they are worth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.evaluate.metrics import measure
from mmgr.evaluate.moran import morans_i
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.probes import Probe, ProbeName, make_probe
from mmgr.evaluate.records import Measured, Score
from mmgr.evaluate.side_by_side import side_by_side
from mmgr.evaluate.tuning import Inner, Rows
from mmgr.evaluate.units import Units
from mmgr.evaluate.unseen import unseen_classes

_SCALES = {"class": "classes", "shares": "shares"}

SEEDLESS = frozenset({"ridge", "logistic", "softmax"})
"""Probes that fit the same whatever their seed."""
Draw = Callable[[Rows, int, int], Rows]
"""Which of some training rows are used, in a repetition and a fold."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A score, and the metrics of its single folds that pairs are made of."""

    score: Score
    paired: Mapping[str, NDArray[np.float64]]
    """By metric, shape ``(seeds, folds)``."""


def predict_held_out(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    probe: ProbeName,
    seed: int,
    *,
    draw: Draw | None = None,
    parts: Widths = (),
) -> NDArray[np.float64]:
    """Predict each unit by a probe that was fitted on the training units of its fold.

    Parameters
    ----------
    units
        The labelled units.
    X
        What probes see of them (:meth:`mmgr.evaluate.Units.inputs`), shape ``(u, d)``; NaN where unknown.
    plan
        The split.
    probe
        Its name; a published protocol has its own.
    seed
        Repetition ``i`` uses ``seed + i``.
    draw
        Takes a part of the training units; all by default.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other. A published
        protocol's probe does not, and sees no offsets of groups.

    Returns
    -------
    Predictions on the scale of the plan's target, shape ``(seeds, u)`` or ``(seeds, u, k)``; NaN where never tested.
    """
    y, task = plan.target(units), units.task
    predicted = np.full((len(plan.folds), *y.shape), np.nan)
    if plan.protocol is not None:
        for repeat, (test, values) in enumerate(_by_protocol(units, units.vectors_of(X), plan)):
            predicted[repeat, test] = values
        return predicted
    parts = units.input_parts(parts, X.shape[1])
    # where neither folds nor probe depend on the seed, one repetition stands for all
    once = plan.repeats_itself and draw is None and probe in SEEDLESS
    places, jobs = [], []
    for repeat, folds in enumerate(plan.folds[: 1 if once else None]):
        inner_seed = plan.inner_seed(seed, repeat)
        for number, (all_train, test) in enumerate(folds):
            train = all_train if draw is None else draw(all_train, repeat, number)
            model = make_probe(probe, seed=seed + repeat, kind=task.label, loss=task.loss, parts=parts)
            places.append((repeat, test))
            jobs.append((model, X, y, train, test, plan.inner(units, train, inner_seed)))
    for (repeat, test), values in zip(places, side_by_side(_fit_and_predict, jobs), strict=True):
        predicted[repeat, test] = values
    if once:
        predicted[1:] = predicted[0]
    return predicted


def _fit_and_predict(
    model: Probe, X: NDArray[np.float32], y: NDArray[np.float64], train: Rows, test: Rows, inner: Inner
) -> NDArray[np.float64]:
    """Fit a probe on some rows and predict others."""
    return model.fit(X[train], y[train], inner=inner).predict(X[test])


def _by_protocol(units: Units, X: NDArray[np.float32], plan: SplitPlan) -> list[tuple[Rows, NDArray[np.float64]]]:
    """Return the test rows of each seed of a published protocol, and what its probe predicts."""
    protocol, kind = plan.protocol, units.task.label
    assert protocol is not None  # noqa: S101 - the caller looked
    # published probes know no missing values: a column's mean, over all units, says nothing of any label
    known = np.isfinite(X)
    count = known.sum(axis=0)
    mean = np.divide(np.where(known, X, 0).sum(axis=0), count, out=np.zeros(X.shape[1]), where=count > 0)
    filled = np.where(known, X, mean).astype(np.float32)
    target = plan.target(units)
    labels = target.argmax(axis=1) if kind == "class" else target
    found = []
    for test, predicted in protocol.predict(filled, labels, units.centres, kind=kind):
        ones = np.eye(len(units.classes))
        found.append((test, ones[predicted] if kind == "class" else np.asarray(predicted, np.float64)))
    return found


def make_trial(
    units: Units, plan: SplitPlan, name: str, probe: str, predicted: NDArray[np.float64], *, fraction: float = 1.0
) -> Trial:
    """Measure held-out predictions.

    Parameters
    ----------
    units, plan
        What was predicted, and how units were held out.
    name, probe
        Feature set and probe, for the record.
    predicted
        As of :func:`predict_held_out`.
    fraction
        Share of the training units that was used.
    """
    target, kind = plan.target(units), units.task.label
    tested = [np.flatnonzero(np.isfinite(p.reshape(len(p), -1)).all(axis=1)) for p in predicted]
    metrics, paired = {}, {}
    for metric in units.task.metric_names:
        pooled = np.array(
            [measure(kind, metric, target[rows], p[rows]) for rows, p in zip(tested, predicted, strict=True)]
        )
        single = np.array(
            [
                [measure(kind, metric, target[test], p[test]) for _, test in folds]
                for folds, p in zip(plan.folds, predicted, strict=True)
            ]
        )
        known = single[np.isfinite(single)]
        metrics[metric] = Measured(
            float(pooled.mean()),
            _spread(pooled),
            float(known.mean()) if len(known) else float("nan"),
            _spread(known),
        )
        paired[metric] = single if metric != "r2" else _explained(target, plan, predicted, tested)
    first = tested[0]
    moran, p_value = morans_i(target[first] - predicted[0][first], units.centres[first])
    variogram = units.variogram
    score = Score(
        task=units.task.name,
        split=plan.kind,
        features=name,
        probe=probe,
        n_units=len(first),
        metrics=metrics,
        seeds=len(plan.folds),
        folds=len(plan.folds[0]),
        block=plan.block,
        buffer=float(plan.buffer),
        optimistic=plan.optimistic,
        scale=_SCALES.get(kind, plan.scale(units)),
        fraction=fraction,
        moran=moran,
        moran_p=p_value,
        label_range=None if variogram is None else variogram.range,
        block_chosen_by=plan.chosen_by,
        unseen=unseen_classes(units, plan.distinct_folds) if fraction == 1 else {},
        offsets=len(units.offsets) if plan.protocol is None else 0,
    )
    return Trial(score, paired)


def _explained(
    target: NDArray[np.float64],
    plan: SplitPlan,
    predicted: NDArray[np.float64],
    tested: Sequence[Rows],
) -> NDArray[np.float64]:
    """Return what each fold explains of the variance of all tested units, shape ``(seeds, folds)``.

    R2 of one fold has that fold's own variance below the line: where a block is all alike it falls without bound, and a
    mean over folds is then about that block alone.
    """
    return np.array(
        [
            [1 - np.mean((target[test] - p[test]) ** 2) / np.var(target[rows]) for _, test in folds]
            for folds, p, rows in zip(plan.folds, predicted, tested, strict=True)
        ]
    )


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation; NaN of fewer than two values."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")
