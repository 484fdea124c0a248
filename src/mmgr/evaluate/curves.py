"""How many labels are needed: scores with a part of the training units."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.probes import ProbeName
from mmgr.evaluate.records import Score
from mmgr.evaluate.side_by_side import side_by_side
from mmgr.evaluate.splits import MIN_TRAINING
from mmgr.evaluate.trials import Draw, make_trial, predict_held_out
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units


def label_curves(
    units: Units,
    tables: Mapping[str, NDArray[np.float32]],
    plan: SplitPlan,
    probe: ProbeName,
    settings: Evaluate,
    *,
    seed: int,
    parts: Mapping[str, Widths],
) -> tuple[Score, ...]:
    """Score each feature set with growing parts of each fold's training units; the test units stay the same.

    Parameters
    ----------
    units
        The labelled units.
    tables
        Vectors of units by feature set, shape ``(u, d)``.
    plan
        The split.
    probe
        Name of the probe.
    settings
        The parts, and what is drawn.
    seed
        Of the draws: repetition ``i`` uses ``seed + i``.
    parts
        Numbers of columns of the parts of feature sets that have some.

    Returns
    -------
    A score for each feature set and part, the smallest first; none of a published protocol, which says itself what it
    trains on.
    """
    if settings.fractions and plan.protocol is not None:
        log.warning("%s: no label curve, for `fractions` needs a split beside the protocol", units.task.name)
        return ()
    jobs = [
        (units, tables[name], plan, probe, seed, fraction, settings.fraction_by, name, parts.get(name, ()))
        for fraction in sorted(set(settings.fractions))
        for name in tables
    ]
    return tuple(side_by_side(_score_with_part, jobs, shown=f"label curve {units.task.name}"))


def _score_with_part(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    probe: ProbeName,
    seed: int,
    fraction: float,
    by: Literal["units", "blocks"],
    name: str,
    parts: Widths,
) -> Score:
    """Score a feature set with one part of the training units."""
    draw = drawing(plan, fraction, by, seed=seed)
    predicted = predict_held_out(units, X, plan, probe, seed, draw=draw, parts=parts)
    score = make_trial(units, plan, name, probe, predicted, fraction=fraction).score
    return replace(score, trained=_mean_trained(plan, draw))


def _mean_trained(plan: SplitPlan, draw: Draw) -> float:
    """Return how many units a fold trains on in the mean: of few, a small share is no smaller than the least."""
    sizes = [
        len(draw(train, repeat, number))
        for repeat, folds in enumerate(plan.folds)
        for number, (train, _) in enumerate(folds)
    ]
    return float(np.mean(sizes))


def drawing(plan: SplitPlan, fraction: float, by: Literal["units", "blocks"], *, seed: int) -> Draw:
    """Return what takes a share of training units, at least :data:`~mmgr.evaluate.splits.MIN_TRAINING`.

    A larger share holds all of a smaller one. By blocks, whole ones are taken until the share is reached; so one more
    block than that may be in.
    """

    def draw(train: Rows, repeat: int, fold: int) -> Rows:
        wanted = min(len(train), max(MIN_TRAINING, math.ceil(fraction * len(train))))
        rng = np.random.default_rng((seed + repeat, fold))
        if by == "units" or plan.groups is None:
            return np.sort(rng.permutation(train)[:wanted])
        blocks = plan.groups[train]
        order = rng.permutation(np.unique(blocks))
        sizes = np.array([(blocks == block).sum() for block in order])
        last = int(np.searchsorted(np.cumsum(sizes), wanted)) + 1
        return np.asarray(train[np.isin(blocks, order[:last])], np.int64)

    return draw
