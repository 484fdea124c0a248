"""Count how often what was said of held-out units held: bounds of numbers and shares, sets of classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.evaluate.class_sets import filled
from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.splits import MIN_GROUP
from mmgr.evaluate.units import Units

_THIRDS = ("low", "middle", "high")


def summarise(
    units: Units,
    plan: SplitPlan,
    levels: Sequence[float],
    said: NDArray[np.float64],
    *,
    features: str,
    probe: str,
) -> list[IntervalScore]:
    """Count how often bounds or sets held the labels.

    Parameters
    ----------
    units
        The labelled units.
    plan
        The split, whose folds tell which units were tested together.
    levels
        Level of each statement.
    said
        Of numbers, lower and upper on the probe's scale, shape ``(seeds, u, 2, levels)``; of shares, the same for each
        class, shape ``(seeds, u, k, 2, levels)``; of classes, 1 where a class passed, and 0 elsewhere, shape
        ``(seeds, u, k, levels)``. NaN for units never tested.
    features, probe
        Names for the record.
    """
    count = {"number": _of_numbers, "class": _of_sets, "shares": _of_shares}[units.task.label]
    tested = np.isfinite(said[0].reshape(len(units), -1)).all(axis=1)
    return [
        IntervalScore(
            task=units.task.name,
            split=plan.kind,
            features=features,
            probe=probe,
            level=float(level),
            n_units=int(tested.sum()),
            seeds=len(plan.folds),
            folds=len(plan.folds[0]),
            label=units.task.label,
            **count(units, plan, said[..., place], tested),
        )
        for place, level in enumerate(levels)
    ]


def _of_numbers(
    units: Units, plan: SplitPlan, bounds: NDArray[np.float64], tested: NDArray[np.bool_]
) -> dict[str, Any]:
    low, high = bounds[..., 0], bounds[..., 1]  # (seeds, u)
    held = ((low <= units.target) & (units.target <= high)).astype(np.float64)
    own = units.untransform(high[:, tested]) - units.untransform(low[:, tested])
    middle = bounds[0, tested].mean(axis=1)
    return {
        **_coverage(units, plan, held, tested),
        "width": float(own.mean()),
        "width_median": float(np.median(own)),
        "width_share": float((high - low)[:, tested].mean() / np.ptp(units.target)),
        "thirds": _by_third(held[:, tested].mean(axis=0), middle),
    }


def _of_shares(units: Units, plan: SplitPlan, bounds: NDArray[np.float64], tested: NDArray[np.bool_]) -> dict[str, Any]:
    low, high = bounds[..., 0], bounds[..., 1]  # (seeds, u, k)
    held = (low <= units.target) & (units.target <= high)
    width = (high - low)[:, tested]
    ranges = np.ptp(units.target, axis=0)
    varied = ranges > 0
    middle = bounds[0, tested].mean(axis=2)
    by_class = held[:, tested].mean(axis=(0, 1))
    return {
        **_coverage(units, plan, held.mean(axis=2), tested),
        "width": float(width.mean()),
        "width_median": float(np.median(width)),
        "width_share": float((width.mean(axis=(0, 1))[varied] / ranges[varied]).mean()),
        "thirds": _by_third(held[:, tested].mean(axis=0).ravel(), middle.ravel()),
        "classes": {name: float(share) for name, share in zip(units.classes, by_class, strict=True)},
        "together": float(held[:, tested].all(axis=2).mean()),
    }


def _of_sets(units: Units, plan: SplitPlan, members: NDArray[np.float64], tested: NDArray[np.bool_]) -> dict[str, Any]:
    passed = np.moveaxis(members, 0, 2) == 1  # (u, k, seeds)
    true = units.target.argmax(axis=1)
    # a set of all classes in place of an empty one holds by construction, and is no merit
    held = passed[np.arange(len(units)), true].T.astype(np.float64)
    size = filled(passed).sum(axis=1)[tested]
    names = np.asarray(units.classes, object)[true[tested]].astype(str)
    return {
        **_coverage(units, plan, held, tested),
        "width": float(size.mean()),
        "width_median": float(np.median(size)),
        "width_share": float(size.mean() / len(units.classes)),
        "classes": _means(held[:, tested].mean(axis=0), names, least=MIN_GROUP),
        "empty": float((~passed.any(axis=1))[tested].mean()),
    }


def _coverage(units: Units, plan: SplitPlan, held: NDArray[np.float64], tested: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what is counted alike, from the share of each unit's statements that held, shape ``(seeds, u)``."""
    by_seed = held[:, tested].mean(axis=1)
    by_fold = [float(own[test].mean()) for folds, own in zip(plan.folds, held, strict=True) for _, test in folds]
    return {
        "coverage": float(by_seed.mean()),
        "coverage_std": float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan"),
        "lowest_fold": min(by_fold),
        "groups": _means(held[:, tested].mean(axis=0), units.group[tested].astype(str), least=MIN_GROUP),
    }


def _by_third(held: NDArray[np.float64], middle: NDArray[np.float64]) -> dict[str, float]:
    """Return the coverage of the low, middle and high intervals."""
    third = np.digitize(middle, np.quantile(middle, [1 / 3, 2 / 3]))
    return _means(held, np.array(_THIRDS)[third], least=1, names=_THIRDS)


def _means(
    values: NDArray[np.float64], groups: NDArray[np.str_], *, least: int, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Return the mean of each named group with enough members."""
    members = {str(name): groups == name for name in (np.unique(groups) if names is None else names)}
    return {name: float(values[member].mean()) for name, member in members.items() if name and member.sum() >= least}
