"""How often prediction intervals and sets of classes held, as records and in words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from mmgr.config import LabelKind

_TOLERANCE = 0.05
"""A part of the units may fall short by this much before it is named."""


@dataclass(frozen=True, slots=True)
class IntervalScore:
    """How often the intervals of one level held for held-out units, under one split.

    Of shares each class has an interval, and what is said without a class is the mean over classes. Of classes there is
    a set in place of an interval: it holds if the true class is in it, and its width is the number of its classes. An
    empty set, which is shown as that of all classes, has their number and does not hold.
    """

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
    """Mean width on the scale of the probe, over the range of the labels there; or mean size of sets, over the number
    of classes. 1 says nothing at all."""
    n_units: int
    seeds: int
    folds: int
    groups: Mapping[str, float] = field(default_factory=dict)
    """Coverage in each group of at least :data:`~mmgr.evaluate.splits.MIN_GROUP` units."""
    thirds: Mapping[str, float] = field(default_factory=dict)
    """Coverage in the `low`, `middle` and `high` third of intervals, by their middle; empty of sets."""
    label: LabelKind = "number"
    """What was predicted: it says what held."""
    classes: Mapping[str, float] = field(default_factory=dict)
    """Coverage of each class's intervals; of sets, in units that truly are of the class, of which there are at least
    :data:`~mmgr.evaluate.splits.MIN_GROUP`."""
    together: float = float("nan")
    """Share of units for which the intervals of all classes held at once; NaN of what is no distribution."""
    empty: float = float("nan")
    """Share of units for which no class passed, so that their set is shown as that of all classes; NaN without sets."""

    @property
    def reached(self) -> bool:
        """Whether the coverage, in whole per cent, is at least the level; of shares, that of no class clearly less."""
        short_class = self.label == "shares" and bool(_short_of(self.classes, self.level))
        return round(100 * self.coverage) >= round(100 * self.level) and not short_class

    @property
    def sentence(self) -> str:
        """What the record says, in words that do not flatter."""
        what = {
            "number": "intervals held for",
            "class": "sets of classes held the class of",
            "shares": f"intervals of {len(self.classes)} shares held, on average over these, for",
        }[self.label]
        text = (
            f"{self.level:.0%} {what} {self.coverage:.0%} of {self.n_units:,} held-out units "
            f"({self.lowest_fold:.0%} in the worst fold): {'reached' if self.reached else 'NOT reached'}."
        )
        return " ".join(part for part in (text, self.remark, self.shortfall) if part)

    @property
    def remark(self) -> str:
        """What the coverage alone does not say of shares and sets, in words; empty of numbers."""
        if self.label == "shares":
            return f"All shares of a unit were inside at once for {self.together:.0%}, which no level promises."
        if self.label == "class" and self.empty > 0:
            return (
                f"For {self.empty:.1%} no class passed: they are shown as sets of all classes, and not counted as held."
            )
        return ""

    @property
    def shortfall(self) -> str:
        """Where the intervals held for fewer units than they should, in words; empty if nowhere."""
        plain = "The sets are too small" if self.label == "class" else "The intervals are too narrow"
        parts = [] if self.reached else [f"{plain} for places never seen."]
        places = _short_of(self.groups, self.level)
        if places:
            parts.append(f"Short by more than 5 points in {places}.")
        kinds = _short_of(self.thirds, self.level)
        if kinds:
            parts.append(f"Short by more than 5 points where predictions are {kinds}.")
        classes = _short_of(self.classes, self.level)
        if classes:
            whose = "units that are" if self.label == "class" else "the share of"
            parts.append(f"Short by more than 5 points for {whose} {classes}.")
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
