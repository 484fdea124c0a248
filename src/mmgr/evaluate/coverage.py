"""Measure how often intervals and sets of classes hold where nothing was calibrated.

The guarantee of conformal prediction needs exchangeable units, which blocks of a city are not. So what is said of test
units is made inside the training part of each outer fold, and counted on its test part.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log, quiet
from mmgr.evaluate.calibration import calibrate_inside
from mmgr.evaluate.class_sets import class_sets
from mmgr.evaluate.interval_counts import summarise
from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.intervals import number_bounds
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import SplitPlan, check_splits
from mmgr.evaluate.probes import ProbeName, probe_names
from mmgr.evaluate.share_intervals import share_bounds
from mmgr.evaluate.side_by_side import side_by_side
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units


def score_intervals(
    units: Units,
    features: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    features_name: str = "",
    probe: ProbeName = "ridge",
    parts: Widths = (),
) -> list[IntervalScore]:
    """Measure how often intervals, or sets of classes, hold for units far from those that they were made from.

    In each fold of every split that is not optimistic, a probe and its residuals come from spatial
    blocks inside the training units; the intervals are then made for the test units and counted.

    Parameters
    ----------
    units
        The labelled units of a task: numbers and shares have intervals, classes have sets.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    settings
        Splits, folds, block, buffer and levels.
    edge
        Edge of a region in metres.
    seed
        Repetition ``i`` uses ``seed + i`` for its folds, its blocks and its probes.
    features_name
        What the features are called in the tables.
    probe
        Name of the probe; a linear one is that of the kind of label.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.

    Returns
    -------
    A record for each split and level; none for a split whose training parts are too small for blocks.
    """
    if not settings.intervals:
        return []
    levels = sorted(settings.intervals)
    X = units.inputs(features)
    with quiet():  # scoring told of the same folds
        plans = [
            plan
            for plan in check_splits(units, settings, edge=edge, seed=seed)
            if not plan.optimistic and plan.protocol is None
        ]
    (shown,) = probe_names((probe,), units.task.label)
    found: list[IntervalScore] = []
    for plan in plans:
        said = _said_of_held_out(units, X, plan, settings, levels, probe, edge=edge, seed=seed, parts=parts)
        if said is None:
            log.warning(
                "%s, split %s: too few units in some training part to make %s inside it",
                units.task.name,
                plan.kind,
                "sets of classes" if units.task.label == "class" else "intervals",
            )
            continue
        found += summarise(units, plan, levels, said, features=features_name, probe=shown)
    return found


def _said_of_held_out(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    settings: Evaluate,
    levels: list[float],
    probe: ProbeName,
    *,
    edge: float,
    seed: int,
    parts: Widths,
) -> NDArray[np.float64] | None:
    """Return the bounds or sets of each unit when it was tested, as :func:`summarise` takes them."""
    shape = {"number": (2,), "class": (len(units.classes),), "shares": (len(units.classes), 2)}[units.task.label]
    said = np.full((len(plan.folds), len(units), *shape, len(levels)), np.nan)
    places = [(repeat, train, test) for repeat, outer in enumerate(plan.folds) for train, test in outer]
    jobs = [
        (
            units,
            X,
            plan,
            train,
            test,
            settings,
            levels,
            probe,
            edge,
            seed + repeat,
            # as the scores do, lest the penalty were a matter of the seed
            seed if plan.repeats_itself else seed + repeat,
            parts,
        )
        for repeat, train, test in places
    ]
    for (repeat, _, test), values in zip(places, side_by_side(_said_of_fold, jobs), strict=True):
        if values is None:
            return None
        said[repeat, test] = values
    return said


def _said_of_fold(
    units: Units,
    X: NDArray[np.float32],
    plan: SplitPlan,
    train: Rows,
    test: Rows,
    settings: Evaluate,
    levels: list[float],
    probe: ProbeName,
    edge: float,
    seed: int,
    tuning_seed: int,
    parts: Widths,
) -> NDArray[np.float64] | None:
    """Return what is said of the test units of one fold; None where its training units are too few."""
    say = {"number": number_bounds, "class": class_sets, "shares": share_bounds}[units.task.label]
    calibration = calibrate_inside(
        units, X, plan, train, settings, edge=edge, seed=seed, tuning_seed=tuning_seed, probe=probe, parts=parts
    )
    return None if calibration is None else np.asarray(say(calibration, X[test], levels), np.float64)
