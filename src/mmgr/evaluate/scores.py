"""Score feature sets on held-out places: the same folds for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.curves import label_curves
from mmgr.evaluate.differences import Difference, paired_difference
from mmgr.evaluate.metrics import METRICS
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import SplitPlan, check_splits
from mmgr.evaluate.probes import ProbeName, probe_names
from mmgr.evaluate.records import HELD_OUT_COLUMNS, Scores
from mmgr.evaluate.side_by_side import side_by_side
from mmgr.evaluate.trials import Trial, make_trial, predict_held_out
from mmgr.evaluate.units import Units

__all__ = ["SplitPlan", "check_splits", "score_features", "score_predictions"]


def score_features(
    units: Units,
    features: Mapping[str, NDArray[np.floating]],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    main: str | None = None,
    parts: Mapping[str, Widths] | None = None,
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
    parts
        Numbers of columns of the parts of those feature sets that have some, such as images and POIs: probes weigh
        them against each other.

    Raises
    ------
    SplitError
        If a split cannot be made of these units.
    """
    parts = {} if parts is None else parts
    plans = check_splits(units, settings, edge=edge, seed=seed)
    tables = {name: units.inputs(matrix) for name, matrix in features.items()}
    for name in [name for name, table in tables.items() if np.isnan(units.vectors_of(table)).all()]:
        log.info("%s: %s are unknown for all units and not scored", units.task.name, name)
        del tables[name]
    if not tables:
        raise SplitError(f"task {units.task.name}: no feature set is known for any labelled unit")
    main = next(iter(tables)) if main is None else main
    probes = probe_names(settings.probes, units.task.label)
    asked = [
        (plan, name, probe)
        for plan in plans
        for name in tables
        for probe in (probes if plan.protocol is None else probes[:1])
    ]
    jobs = [(units, tables[name], plan, probe, seed, parts.get(name, ())) for plan, name, probe in asked]
    trials, kept = [], []
    made = side_by_side(_held_out, jobs, shown=f"scores {units.task.name}")
    for (plan, name, probe), predicted in zip(asked, made, strict=True):
        shown = probe if plan.protocol is None else plan.protocol.name
        trials.append(make_trial(units, plan, name, shown, predicted))
        if name == main and probe == probes[0]:
            kept.append(_predictions(units, plan, predicted[0]))
    return Scores(
        tuple(trial.score for trial in trials),
        pd.concat(kept, ignore_index=True) if kept else _no_predictions(),
        tuple(found for plan in plans for found in compare(plan, trials, main)),
        label_curves(units, tables, plans[0], probes[0], settings, seed=seed, parts=parts),
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
        Predictions of each repetition on the scale of the plan's target, shape ``(seeds, u)`` or ``(seeds, u, k)``; NaN
        where never tested.
    features, probe
        What they are called in the tables.
    """
    trial = make_trial(units, plan, features, probe, predicted)
    return Scores((trial.score,), _predictions(units, plan, predicted[0]))


def _held_out(
    units: Units, X: NDArray[np.float32], plan: SplitPlan, probe: ProbeName, seed: int, parts: Widths
) -> NDArray[np.float64]:
    return predict_held_out(units, X, plan, probe, seed, parts=parts)


def compare(plan: SplitPlan, trials: Sequence[Trial], main: str) -> list[Difference]:
    """Compare the main feature set with each other, each with its best probe, in every metric."""
    best: dict[str, Trial] = {}
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


def _predictions(units: Units, plan: SplitPlan, predicted: NDArray[np.float64]) -> pd.DataFrame:
    rows = np.flatnonzero(np.isfinite(predicted) if predicted.ndim == 1 else np.isfinite(predicted).all(axis=1))
    names = units.classes or ("",)
    observed = units.values[rows].reshape(len(rows), len(names))  # noqa: PD011 - units are no pandas frame
    shown = plan.untransform(units, predicted[rows]).reshape(len(rows), len(names))
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
