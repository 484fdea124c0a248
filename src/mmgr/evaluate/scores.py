"""Score feature sets on held-out places: the same folds for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log, track
from mmgr.errors import SplitError
from mmgr.evaluate.differences import Difference, paired_difference
from mmgr.evaluate.metrics import METRICS, measure
from mmgr.evaluate.plans import SplitPlan, check_splits
from mmgr.evaluate.probes import ProbeName, make_probe, probe_names
from mmgr.evaluate.records import HELD_OUT_COLUMNS, Measured, Score, Scores
from mmgr.evaluate.units import Units

__all__ = ["SplitPlan", "check_splits", "score_features", "score_predictions"]

_SCALES = {"class": "classes", "shares": "shares"}


def score_features(
    units: Units,
    features: Mapping[str, NDArray[np.floating]],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    main: str | None = None,
) -> Scores:
    """Predict every unit from places far from it, with each feature set, probe, split and seed.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions by name, shape ``(n, d)`` each; NaN where unknown. A unit of unknown
        vector takes the training mean.
    settings
        Splits, probes, number of seeds.
    edge
        Edge of a region in metres. The buffer is measured between the units' borders, so the centres
        are kept ``buffer + edge`` apart.
    seed
        Repetition ``i`` uses ``seed + i`` for its folds and its probes.
    main
        The feature set whose held-out predictions are kept, and which is compared with the others; the first by
        default.

    Raises
    ------
    SplitError
        If a split cannot be made of these units.
    """
    plans = check_splits(units, settings, edge=edge, seed=seed)
    tables = {name: units.features(matrix) for name, matrix in features.items()}
    for name in [name for name, table in tables.items() if np.isnan(table).all()]:
        log.info("%s: %s are unknown for all units and not scored", units.task.name, name)
        del tables[name]
    if not tables:
        raise SplitError(f"task {units.task.name}: no feature set is known for any labelled unit")
    main = next(iter(tables)) if main is None else main
    probes = probe_names(settings.probes, units.task.label)
    jobs = list(product(plans, tables, probes))
    trials, kept = [], []
    for plan, name, probe in track(jobs, f"scores {units.task.name}", total=len(jobs)):
        predicted = _predict_held_out(units, tables[name], plan, probe, seed)
        trials.append(_trial(units, plan, name, probe, predicted))
        if name == main and probe == probes[0]:
            kept.append(_predictions(units, plan, predicted[0]))
    return Scores(
        tuple(trial.score for trial in trials),
        pd.concat(kept, ignore_index=True) if kept else _no_predictions(),
        tuple(found for plan in plans for found in _differences(plan, trials, main)),
    )


def score_predictions(
    units: Units, plan: SplitPlan, predicted: NDArray[np.float64], *, features: str, probe: str
) -> Scores:
    """Score predictions that were made elsewhere under a plan's folds, as :func:`score_features` scores its own.

    Parameters
    ----------
    units, plan
        The labelled units, and one of the plans that :func:`check_splits` made for them.
    predicted
        Predictions of each repetition on the target's scale, shape ``(seeds, u)`` or ``(seeds, u, k)``; NaN where never
        tested.
    features, probe
        What they are called in the tables.
    """
    trial = _trial(units, plan, features, probe, predicted)
    return Scores((trial.score,), _predictions(units, plan, predicted[0]))


@dataclass(frozen=True, slots=True)
class _Trial:
    """A score, and the metrics of its single folds that pairs are made of."""

    score: Score
    paired: Mapping[str, NDArray[np.float64]]
    """By metric, shape ``(seeds, folds)``."""


def _predict_held_out(
    units: Units, X: NDArray[np.float32], plan: SplitPlan, probe: ProbeName, seed: int
) -> NDArray[np.float64]:
    """Return predictions of each repetition, shape ``(seeds, u)`` or ``(seeds, u, k)``; NaN where never tested."""
    y, task = units.target, units.task
    predicted = np.full((len(plan.folds), *y.shape), np.nan)
    for repeat, folds in enumerate(plan.folds):
        if repeat and plan.repeats_itself and probe in {"ridge", "logistic", "softmax"}:
            predicted[repeat] = predicted[0]  # neither folds nor probe depend on the seed
            continue
        # inner folds of repetitions with the same folds are the same too, lest the penalty were a matter of the seed
        inner_seed = seed if plan.repeats_itself else seed + repeat
        for train, test in folds:
            model = make_probe(probe, seed=seed + repeat, kind=task.label, loss=task.loss)
            model.fit(X[train], y[train], inner=plan.inner(units, train, inner_seed))
            predicted[repeat, test] = model.predict(X[test])
    return predicted


def _trial(units: Units, plan: SplitPlan, name: str, probe: str, predicted: NDArray[np.float64]) -> _Trial:
    target, kind = units.target, units.task.label
    tested = [np.isfinite(p) if p.ndim == 1 else np.isfinite(p).all(axis=1) for p in predicted]
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
    score = Score(
        task=units.task.name,
        split=plan.kind,
        features=name,
        probe=probe,
        n_units=int(tested[0].sum()),
        metrics=metrics,
        seeds=len(plan.folds),
        folds=len(plan.folds[0]),
        block=plan.block,
        buffer=float(plan.buffer),
        optimistic=plan.optimistic,
        scale=_SCALES.get(kind, units.scale),
    )
    return _Trial(score, paired)


def _explained(
    target: NDArray[np.float64],
    plan: SplitPlan,
    predicted: NDArray[np.float64],
    tested: Sequence[NDArray[np.bool_]],
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


def _differences(plan: SplitPlan, trials: Sequence[_Trial], main: str) -> list[Difference]:
    """Compare the main feature set with each other, each with its best probe, in every metric."""
    best: dict[str, _Trial] = {}
    for trial in trials:
        score = trial.score
        if score.split != plan.kind or not np.isfinite(score.value):
            continue
        rival = best.get(score.features)
        if rival is None or METRICS[score.metric].better(score.value, rival.score.value):
            best[score.features] = trial
    if main not in best:
        return []
    sizes = [len(test) / len(train) for folds in plan.folds for train, test in folds]
    own, found = best.pop(main), []
    for name, other in best.items():
        for metric in own.score.metrics:
            one, two = own.paired[metric], other.paired[metric]
            if plan.repeats_itself:  # the same folds again are no new evidence
                one, two = one.mean(axis=0), two.mean(axis=0)
            mean, low, high, p = paired_difference(one.ravel(), two.ravel(), ratio=float(np.mean(sizes)))
            found.append(
                Difference(
                    own.score.task,
                    plan.kind,
                    metric,
                    main,
                    own.score.probe,
                    name,
                    other.score.probe,
                    mean,
                    low,
                    high,
                    p,
                    int(np.isfinite(one - two).sum()),
                )
            )
    return found


def _spread(values: NDArray[np.float64]) -> float:
    """Return the standard deviation; NaN of fewer than two values."""
    return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def _predictions(units: Units, plan: SplitPlan, predicted: NDArray[np.float64]) -> pd.DataFrame:
    rows = np.flatnonzero(np.isfinite(predicted) if predicted.ndim == 1 else np.isfinite(predicted).all(axis=1))
    names = units.classes or ("",)
    observed = units.values[rows].reshape(len(rows), len(names))  # noqa: PD011 - units are no pandas frame
    shown = units.untransform(predicted[rows]).reshape(len(rows), len(names))
    return pd.DataFrame(
        {
            "task": units.task.name,
            "split": plan.kind,
            "id": np.repeat(units.ids[rows], len(names)),
            "observed": observed.ravel(),
            "predicted": shown.ravel(),
            "class": np.tile(np.asarray(names, object), len(rows)),
        },
        columns=list(HELD_OUT_COLUMNS),
    )


def _no_predictions() -> pd.DataFrame:
    return pd.DataFrame(columns=list(HELD_OUT_COLUMNS))
