"""Differences between methods on the same folds, with the interval that overlapping training sets allow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from mmgr.evaluate.metrics import METRICS

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Difference:
    """How much one feature set is ahead of another, each with the probe that suits it best."""

    task: str
    split: str
    metric: str
    features: str
    probe: str
    other: str
    other_probe: str
    difference: float
    """Mean over folds and seeds of the metric of ``features`` less that of ``other``. R2 of a fold is taken against the
    variance of all tested units, so that the mean agrees with the R2 of all."""
    low: float
    """Lower end of the interval of :data:`CONFIDENCE`; NaN of fewer than two folds."""
    high: float
    p: float
    """Two-sided p value of no difference."""
    pairs: int
    """Folds times seeds; folds alone where all seeds have the same."""

    @classmethod
    def of_plain(cls, row: Mapping[str, Any]) -> Difference:
        """Read a record, with None for NaN."""
        numbers = {f.name for f in fields(cls) if f.type == "float"}
        filled: dict[str, Any] = {
            key: math.nan if value is None and key in numbers else value for key, value in row.items()
        }
        return cls(**filled)

    def leads(self, task: str, metric: str) -> bool:
        """Say whether this is about a task's own metric."""
        return (self.task, self.metric) == (task, metric)

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out no difference, and that is worth a word."""
        outside = self.low > 0 or self.high < 0
        return outside and abs(self.difference) > METRICS[self.metric].nothing

    @property
    def ahead(self) -> bool:
        """Whether ``features`` is the better one, however clear that is."""
        return self.difference > 0 if METRICS[self.metric].highest else self.difference < 0

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        way = "" if metric.highest else " (less is better)"
        return (
            f"{self.split}, {metric.title}: {self.features} \N{MINUS SIGN} {self.other}: "
            f"{written(self.difference)} {interval(self.low, self.high)}{way}"
        )


def paired_difference(
    one: ArrayLike, other: ArrayLike, *, ratio: float, confidence: float = CONFIDENCE
) -> tuple[float, float, float, float]:
    """Return the mean of ``one - other``, the ends of its interval and a two-sided p value.

    Training sets of different folds and seeds overlap, so differences are not independent and their variance over
    ``J`` pairs says too little. Nadeau and Bengio (2003), Inference for the generalization error, Machine Learning 52,
    eq. 9, replace ``1 / J`` in the variance of the mean by ``1 / J + n_test / n_train``; Bouckaert and Frank (2004)
    recommend it for repeated cross-validation. Student's t with ``J - 1`` degrees of freedom.

    Parameters
    ----------
    one, other
        A metric of two methods on the same folds, shape ``(J,)``.
    ratio
        ``n_test / n_train``.
    confidence
        Of the interval.

    Returns
    -------
    Difference, low, high and p; the last three are NaN of fewer than two pairs.
    """
    pairs = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    pairs = pairs[np.isfinite(pairs)]
    if len(pairs) < 2:
        return float(pairs.mean()) if len(pairs) else math.nan, math.nan, math.nan, math.nan
    mean = float(pairs.mean())
    error = math.sqrt((1 / len(pairs) + ratio) * float(pairs.var(ddof=1)))
    if error == 0:
        return mean, mean, mean, 1.0 if mean == 0 else 0.0
    free = len(pairs) - 1
    half = float(stats.t.ppf((1 + confidence) / 2, free)) * error
    return mean, mean - half, mean + half, float(2 * stats.t.sf(abs(mean) / error, free))


def written(value: float) -> str:
    """Write a difference with its sign and a true minus; one that two decimals would write as 0, with three."""
    digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 0.005 else 3
    text = f"{value:+.{digits}f}"
    return ("0.00" if float(text) == 0 else text).replace("-", "\N{MINUS SIGN}")


def interval(low: float, high: float) -> str:
    """Write an interval in brackets; empty where it is unknown."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return ""
    return f"[{written(low).removeprefix('+')}, {written(high).removeprefix('+')}]"
