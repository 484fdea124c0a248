"""The best image-only and the best POI-only row side by side, chosen in every fold by its training units alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mmgr.evaluate.metrics import METRICS, measure
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.probes import ProbeName, make_probe
from mmgr.evaluate.side_by_side import side_by_side
from mmgr.evaluate.trials import SEEDLESS
from mmgr.evaluate.tuning import Inner, Rows
from mmgr.evaluate.units import Units

NAME = "best-image+best-poi"
"""As the tables have it."""

Tables = Mapping[str, NDArray[np.float32]]
"""What probes see of units by row (:meth:`mmgr.evaluate.Units.inputs`), shape ``(u, d)`` each."""


@dataclass(frozen=True, slots=True)
class Concatenated:
    """Held-out predictions of the concatenation, and what was chosen."""

    predicted: NDArray[np.float64]
    """Shape ``(seeds, u)`` or ``(seeds, u, k)``; NaN where never tested."""
    chosen: Sequence[Counter[str]] = field(default_factory=list)
    """How often each row was chosen, over folds, and over seeds where these have a part in it: of images, of POIs."""


def predict_concatenated(
    units: Units, groups: Sequence[Tables], plan: SplitPlan, probe: ProbeName, seed: int
) -> Concatenated:
    """Predict each unit by the best row of each group, side by side.

    Which is the best is seen on the inner folds of the training units, on which the probe tunes too: no test unit of a
    fold has a part in that fold's choice. The linear probe chooses, whatever probe is scored. The two are weighed
    against each other, as the parts of our own vectors are.

    Parameters
    ----------
    units
        The labelled units.
    groups
        Rows to choose one of: those of images, those of POIs.
    plan
        The split; not that of a published protocol, which has no inner folds.
    probe, seed
        As of :func:`mmgr.evaluate.trials.predict_held_out`.
    """
    predicted = np.full((len(plan.folds), *units.target.shape), np.nan)
    chosen: list[Counter[str]] = [Counter() for _ in groups]
    # where neither folds nor probe depend on the seed, one repetition stands for all
    once = plan.repeats_itself and probe in SEEDLESS
    repeats = plan.folds[: 1 if once else None]
    places = [(repeat, *fold) for repeat, folds in enumerate(repeats) for fold in folds]
    jobs = [
        (units, groups, plan, train, test, probe, seed + repeat, plan.inner_seed(seed, repeat))
        for repeat, train, test in places
    ]
    for (repeat, _, test), (best, values) in zip(places, side_by_side(_of_fold, jobs), strict=True):
        predicted[repeat, test] = values
        for counter, name in zip(chosen, best, strict=True):
            counter[name] += 1
    if once:
        predicted[1:] = predicted[0]
    return Concatenated(predicted, chosen)


def _of_fold(
    units: Units,
    groups: Sequence[Tables],
    plan: SplitPlan,
    train: Rows,
    test: Rows,
    probe: ProbeName,
    seed: int,
    inner_seed: int,
) -> tuple[list[str], NDArray[np.float64]]:
    """Return what a fold chose of each group, and what it predicts of its test units."""
    y, task = units.target, units.task
    inner = plan.inner(units, train, inner_seed)
    best = [best_of(units, tables, plan, train, inner, inner_seed) for tables in groups]
    both = [tables[name] for tables, name in zip(groups, best, strict=True)]
    vectors = [units.vectors_of(table) for table in both]
    X = np.hstack([*vectors[:-1], both[-1]])
    parts = units.input_parts(tuple(table.shape[1] for table in vectors), X.shape[1])
    model = make_probe(probe, seed=seed, kind=task.label, loss=task.loss, parts=parts)
    return best, model.fit(X[train], y[train], inner=inner).predict(X[test])


def best_of(units: Units, tables: Tables, plan: SplitPlan, train: Rows, inner: Inner, seed: int) -> str:
    """Return the row with the best score over inner folds, the first of equals.

    Parameters
    ----------
    units, tables, plan
        As of :func:`predict_concatenated`.
    train
        The training units; nothing of any other unit is read.
    inner
        Rows of ``train`` to fit on and to judge by.
    seed
        Of the folds that a probe tunes on within them.
    """
    if len(tables) == 1 or not inner:
        return next(iter(tables))
    metric = METRICS[units.task.metric_names[0]]
    scores = {name: _inner_score(units, X, plan, train, inner, seed) for name, X in tables.items()}
    known = {name: score if metric.highest else -score for name, score in scores.items() if np.isfinite(score)}
    return max(known, key=lambda name: known[name]) if known else next(iter(tables))


def _inner_score(units: Units, X: NDArray[np.float32], plan: SplitPlan, train: Rows, inner: Inner, seed: int) -> float:
    """Return the task's first metric of all inner held-out units together."""
    y, task = units.target, units.task
    guess = np.full((len(train), *y.shape[1:]), np.nan)
    for fit, held in inner:
        model = make_probe("ridge", seed=seed, kind=task.label, loss=task.loss, parts=units.input_parts((), X.shape[1]))
        some = train[fit]
        guess[held] = model.fit(X[some], y[some], inner=plan.inner(units, some, seed)).predict(X[train[held]])
    seen = np.isfinite(guess.reshape(len(guess), -1)).all(axis=1)
    return measure(task.label, task.metric_names[0], y[train][seen], guess[seen])
