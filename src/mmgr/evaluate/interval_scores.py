"""How often prediction intervals held, as records and in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.splits import MIN_GROUP
from mmgr.evaluate.units import Units

_THIRDS = ("low", "middle", "high")
_TOLERANCE = 0.05
"""A part of the units may fall short by this much before it is named."""


@dataclass(frozen=True, slots=True)
class IntervalScore:
    """How often the intervals of one level held for held-out units, under one split."""

    task: str
    split: str
    features: str
    probe: str
    level: float
    """Share of units that the intervals should hold for."""
    coverage: float
    """Share that they did hold for, the mean over seeds."""
    coverage_std: float
    """Its standard deviation over seeds; NaN with one."""
    lowest_fold: float
    """Coverage of the fold where it was lowest, over all seeds."""
    width: float
    """Mean width on the label's own scale."""
    width_median: float
    width_share: float
    """Mean width on the scale of the probe, over the range of the labels there: 1 says nothing at all."""
    n_units: int
    seeds: int
    folds: int
    groups: Mapping[str, float] = field(default_factory=dict)
    """Coverage in each group of at least :data:`~mmgr.evaluate.splits.MIN_GROUP` units."""
    thirds: Mapping[str, float] = field(default_factory=dict)
    """Coverage in the `low`, `middle` and `high` third of units, by the middle of their intervals."""

    @property
    def reached(self) -> bool:
        """Whether the coverage, in whole per cent, is at least the level."""
        return round(100 * self.coverage) >= round(100 * self.level)

    @property
    def sentence(self) -> str:
        """What the record says, in words that do not flatter."""
        text = (
            f"{self.level:.0%} intervals held for {self.coverage:.0%} of {self.n_units:,} held-out units "
            f"({self.lowest_fold:.0%} in the worst fold): {'reached' if self.reached else 'NOT reached'}."
        )
        return f"{text} {self.shortfall}".strip()

    @property
    def shortfall(self) -> str:
        """Where the intervals held for fewer units than they should, in words; empty if nowhere."""
        parts = [] if self.reached else ["The intervals are too narrow for places never seen."]
        places = _short_of(self.groups, self.level)
        if places:
            parts.append(f"Short by more than 5 points in {places}.")
        kinds = _short_of(self.thirds, self.level)
        if kinds:
            parts.append(f"Short by more than 5 points where predictions are {kinds}.")
        return " ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain values, with ``None`` for NaN."""
        return {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in (asdict(self) | {"reached": self.reached}).items()
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> IntervalScore:
        """Read what :meth:`to_json` wrote."""
        known = {f.name: f.type for f in fields(cls)}
        filled: dict[str, Any] = {
            key: float("nan") if part is None and known[key] == "float" else part
            for key, part in value.items()
            if key in known
        }
        return cls(**filled)


def _short_of(shares: Mapping[str, float], level: float) -> str:
    """Name the parts in which intervals held clearly less often than they should."""
    return ", ".join(f"{name} ({share:.0%})" for name, share in shares.items() if share < level - _TOLERANCE)


def summarise(
    units: Units,
    plan: SplitPlan,
    levels: Sequence[float],
    bounds: NDArray[np.float64],
    *,
    features: str,
    probe: str,
) -> list[IntervalScore]:
    """Count how often bounds hold the labels.

    Parameters
    ----------
    units
        The labelled units.
    plan
        The split, whose folds tell which units were tested together.
    levels
        Level of each pair of bounds.
    bounds
        Lower and upper on the probe's scale, shape ``(seeds, u, 2, levels)``; NaN for units never tested.
    features, probe
        Names for the record.
    """
    return [
        _summary(units, plan, level, bounds[..., place], features=features, probe=probe)
        for place, level in enumerate(levels)
    ]


def _summary(
    units: Units, plan: SplitPlan, level: float, bounds: NDArray[np.float64], *, features: str, probe: str
) -> IntervalScore:
    tested = ~np.isnan(bounds[0, :, 0])
    held = ((bounds[:, :, 0] <= units.target) & (units.target <= bounds[:, :, 1]))[:, tested]  # (seeds, tested)
    own = units.untransform(bounds[:, tested, 1]) - units.untransform(bounds[:, tested, 0])
    on_target = (bounds[:, tested, 1] - bounds[:, tested, 0]).mean()
    by_fold = [
        float(((b[test, 0] <= units.target[test]) & (units.target[test] <= b[test, 1])).mean())
        for folds, b in zip(plan.folds, bounds, strict=True)
        for _, test in folds
    ]
    by_seed = held.mean(axis=1)
    share = held.mean(axis=0)
    middle = bounds[0, tested].mean(axis=1)
    third = np.digitize(middle, np.quantile(middle, [1 / 3, 2 / 3]))
    return IntervalScore(
        task=units.task.name,
        split=plan.kind,
        features=features,
        probe=probe,
        level=float(level),
        coverage=float(by_seed.mean()),
        coverage_std=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan"),
        lowest_fold=min(by_fold),
        width=float(own.mean()),
        width_median=float(np.median(own)),
        width_share=float(on_target / np.ptp(units.target)),
        n_units=int(tested.sum()),
        seeds=len(plan.folds),
        folds=len(plan.folds[0]),
        groups=_means(share, units.group[tested].astype(str), least=MIN_GROUP),
        thirds=_means(share, np.array(_THIRDS)[third], least=1, names=_THIRDS),
    )


def _means(
    values: NDArray[np.float64], groups: NDArray[np.str_], *, least: int, names: Iterable[str] | None = None
) -> dict[str, float]:
    """Return the mean of each named group with enough members."""
    members = {str(name): groups == name for name in (np.unique(groups) if names is None else names)}
    return {name: float(values[member].mean()) for name, member in members.items() if name and member.sum() >= least}
