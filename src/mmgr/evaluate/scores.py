"""Score feature sets on held-out places: the same folds for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log, track
from mmgr.errors import SplitError
from mmgr.evaluate.metrics import mae, r2, rmse
from mmgr.evaluate.probes import ProbeName, make_probe
from mmgr.evaluate.records import HELD_OUT_COLUMNS, Score, Scores
from mmgr.evaluate.splits import (
    LeaveOneGroupOut,
    RandomFolds,
    Rows,
    SpatialBlocks,
    Splitter,
    choose_block,
    large_groups,
)
from mmgr.evaluate.units import Units

Folds = list[tuple[Rows, Rows]]


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
        The feature set whose held-out predictions are kept; the first by default.

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
    jobs = list(product(plans, tables, settings.probes))
    scores, kept = [], []
    for plan, name, probe in track(jobs, f"scores {units.task.name}", total=len(jobs)):
        predicted = _predict_held_out(tables[name], units.target, plan, probe, seed)
        scores.append(_score(units, plan, name, probe, predicted))
        if name == main and probe == settings.probes[0]:
            kept.append(_predictions(units, plan, predicted[0]))
    return Scores(tuple(scores), pd.concat(kept, ignore_index=True) if kept else _no_predictions())


def check_splits(units: Units, settings: Evaluate, *, edge: float, seed: int) -> list[SplitPlan]:
    """Make the folds of all splits of a task, as :func:`score_features` uses them.

    Raises
    ------
    SplitError
        If a split cannot be made of these units.
    """
    return [_plan(kind, units, settings, edge=edge, seed=seed) for kind in _kinds(units, settings)]


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """One kind of split, with its folds for each repetition."""

    kind: str
    folds: tuple[Folds, ...]
    block: float | None
    buffer: float
    optimistic: bool

    @property
    def repeats_itself(self) -> bool:
        """Whether all repetitions have the same folds."""
        return self.kind == "groups"


def _kinds(units: Units, settings: Evaluate) -> tuple[str, ...]:
    if settings.splits is not None:
        return settings.splits
    return ("blocks", "groups") if len(large_groups(units.group)) >= 2 else ("blocks",)


def _plan(kind: str, units: Units, settings: Evaluate, *, edge: float, seed: int) -> SplitPlan:
    buffer = edge if settings.buffer is None else settings.buffer
    try:
        try:
            plan = _folds(kind, units, settings, edge=edge, buffer=buffer, seed=seed)
        except SplitError:
            if settings.buffer is not None or kind != "blocks":
                raise
            plan = _folds(kind, units, settings, edge=edge, buffer=0.0, seed=seed)
            log.warning(
                "%s: a buffer of %g m leaves too little to train on in so small an area; none is kept, so read "
                "the scores as optimistic at the borders of blocks",
                units.task.name,
                buffer,
            )
    except SplitError as error:
        raise SplitError(f"task {units.task.name}, split {kind}: {error}") from error
    return plan


def _folds(kind: str, units: Units, settings: Evaluate, *, edge: float, buffer: float, seed: int) -> SplitPlan:
    block = None
    splitters: list[Splitter]
    # units are as wide as a region: what lies between their borders is less than between their centres
    apart = (buffer + edge) * (1 - 1e-6) if buffer else 0.0
    seeds = range(seed, seed + settings.seeds)
    if kind == "blocks":
        block = settings.block or choose_block(units.centres, edge=edge, folds=settings.folds)
        splitters = [
            SpatialBlocks(units.centres, block=block, folds=settings.folds, buffer=apart, seed=s, linked=units.linked)
            for s in seeds
        ]
    elif kind == "groups":
        one = LeaveOneGroupOut(units.group, units.centres, buffer=apart, linked=units.linked)
        splitters = [one] * settings.seeds
    else:
        buffer = 0.0
        splitters = [RandomFolds(len(units), folds=settings.folds, seed=s) for s in seeds]
    plan = SplitPlan(kind, tuple(list(s.split()) for s in splitters), block, buffer, splitters[0].optimistic)
    _log_plan(units, plan, splitters[0])
    return plan


def _log_plan(units: Units, plan: SplitPlan, splitter: Splitter) -> None:
    blocks = f"{splitter.blocks.max() + 1} blocks of {plan.block:g} m, " if isinstance(splitter, SpatialBlocks) else ""
    left_out = np.mean([len(units) - len(train) - len(test) for train, test in plan.folds[0]])
    log.info(
        "%s, split %s: %s%d folds, buffer %g m (leaves out %.0f of %d units a fold)",
        units.task.name,
        plan.kind,
        blocks,
        len(plan.folds[0]),
        plan.buffer,
        left_out,
        len(units),
    )


def _predict_held_out(
    X: NDArray[np.float32], y: NDArray[np.float64], plan: SplitPlan, probe: ProbeName, seed: int
) -> NDArray[np.float64]:
    """Return the predictions of each repetition, shape ``(seeds, u)``; NaN for units never tested."""
    predicted = np.full((len(plan.folds), len(y)), np.nan)
    for repeat, folds in enumerate(plan.folds):
        if repeat and plan.repeats_itself and probe == "ridge":
            predicted[repeat] = predicted[0]  # neither folds nor probe depend on the seed
            continue
        for train, test in folds:
            model = make_probe(probe, seed=seed + repeat).fit(X[train], y[train])
            predicted[repeat, test] = model.predict(X[test])
    return predicted


def _score(units: Units, plan: SplitPlan, name: str, probe: str, predicted: NDArray[np.float64]) -> Score:
    target = units.target
    tested = ~np.isnan(predicted[0])
    pooled = np.array([[metric(target[tested], p[tested]) for metric in (r2, rmse, mae)] for p in predicted])
    single = [r2(target[test], p[test]) for folds, p in zip(plan.folds, predicted, strict=True) for _, test in folds]
    means, spreads = pooled.mean(axis=0), _spread(pooled)
    known = np.array([value for value in single if np.isfinite(value)])
    return Score(
        task=units.task.name,
        split=plan.kind,
        features=name,
        probe=probe,
        n_units=int(tested.sum()),
        r2=float(means[0]),
        r2_std=float(spreads[0]),
        rmse=float(means[1]),
        rmse_std=float(spreads[1]),
        mae=float(means[2]),
        mae_std=float(spreads[2]),
        r2_folds=float(known.mean()) if len(known) else float("nan"),
        r2_folds_std=float(_spread(known)),
        seeds=len(plan.folds),
        folds=len(plan.folds[0]),
        block=plan.block,
        buffer=float(plan.buffer),
        optimistic=plan.optimistic,
        scale=units.scale,
    )


def _spread(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the standard deviation along the first axis; NaN of fewer than two values."""
    if len(values) < 2:
        return np.full(values.shape[1:], np.nan)
    return np.asarray(values.std(axis=0, ddof=1))


def _predictions(units: Units, plan: SplitPlan, predicted: NDArray[np.float64]) -> pd.DataFrame:
    tested = ~np.isnan(predicted)
    return pd.DataFrame(
        {
            "task": units.task.name,
            "split": plan.kind,
            "id": units.ids[tested],
            "observed": units.values[tested],  # noqa: PD011 - units are no pandas frame
            "predicted": units.untransform(predicted[tested]),
        },
        columns=list(HELD_OUT_COLUMNS),
    )


def _no_predictions() -> pd.DataFrame:
    return pd.DataFrame(columns=list(HELD_OUT_COLUMNS))
