"""What the scores say, in plain words that do not flatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd

from mmgr.evaluate.differences import interval, written
from mmgr.evaluate.metrics import METRICS, Metric
from mmgr.maps.colours import MINUS

Verdict = Literal["ahead", "level", "behind", "alone"]

LEAST_DIFFERENCE = 0.01
"""Differences up to this are no difference, however small the spread over seeds."""


@dataclass(frozen=True, slots=True)
class Result:
    """The best score of a feature set over the probes."""

    features: str
    probe: str
    value: float
    spread: float
    """Standard deviation over seeds; 0 where there is one."""
    fold_spread: float
    """Standard deviation over folds; NaN where unknown."""

    def __str__(self) -> str:
        return f"{signed(self.value)} {self.plus_minus}".strip()

    @property
    def plus_minus(self) -> str:
        """The spread over seeds in words; empty where there is none."""
        return plus_minus(self.spread)


@dataclass(frozen=True, slots=True)
class Headline:
    """How the main feature set fares against the best baseline, in one task and split."""

    task: str
    split: str
    units: int
    optimistic: bool
    metric: Metric
    main: Result
    rival: Result | None
    """The best baseline."""
    top: Result | None
    """The best of all feature sets, where it is neither of these."""
    verdict: Verdict
    difference: tuple[float, float, float] | None = None
    """Main less best baseline, paired by fold and seed, with the ends of its interval; None where unknown."""

    @property
    def paired(self) -> str:
        """The paired difference as it is written: who less whom, then ``+0.05 [0.01, 0.09]``."""
        if self.difference is None or self.rival is None:
            return ""
        value, low, high = self.difference
        return f"{self.main.features} {MINUS} {self.rival.features}: {written(value)} {interval(low, high)}".strip()

    @property
    def sentence(self) -> str:
        """The comparison in words, with the spread."""
        start = f"{self.main.features}: {title_of(self.metric)} {self.main}"
        if self.rival is None:
            return f"{start}; there is no baseline to compare with."
        apart = abs(self.main.value - self.rival.value)
        rival = f"{self.rival.features}, {self.rival}"
        words = {
            "ahead": f"{start}, ahead of the best baseline ({rival}) by {signed(apart)}",
            "level": f"{start}, no clear difference from the best baseline ({rival})",
            "behind": f"{start}, behind the best baseline ({rival}) by {signed(apart)}",
            "alone": start,
        }[self.verdict]
        if self.paired:
            words += f"; paired, {self.paired}"
        else:
            folds = self.main.fold_spread
            if self.verdict != "level" and math.isfinite(folds) and apart < folds:
                words += f"; that is less than the spread between folds ({signed(folds)})"
        if self.top is not None:
            words += f". The best of all was {self.top.features}, {self.top}"
        return words + "."


def headlines(
    scores: pd.DataFrame, *, main: str, baselines: Sequence[str], differences: pd.DataFrame | None = None
) -> list[Headline]:
    """Compare the main feature set with the best baseline in every task and split.

    Both are taken with the probe that suits them best. Optimistic splits are compared only for a
    task that has no other. Where paired differences are known, one is clear if its interval leaves out 0; otherwise, if
    it is larger than the spread over seeds.

    Parameters
    ----------
    scores
        ``task``, ``split``, ``features``, ``probe``, ``n_units``, ``optimistic`` and, for the metric that the column
        ``metric`` names (``r2`` without that column), its value, ``_std`` and, if known, ``_folds_std``.
    main
        The feature set that the run is about; where it was not scored, the best one that is no baseline.
    baselines
        Feature sets to compare with; all others if none is named.
    differences
        ``task, split, metric, features, other, difference, low, high``, as of
        :class:`mmgr.evaluate.differences.Difference`.
    """
    found = []
    for _, of_task in scores.groupby("task", sort=False):
        rows = of_task.dropna(subset=[metric_of(of_task).name])
        honest = rows[~rows["optimistic"].astype(bool)]
        for _, of_split in (rows if honest.empty else honest).groupby("split", sort=False):
            found.append(_headline(of_split, main, baselines, differences))
    return found


def metric_of(scores: pd.DataFrame) -> Metric:
    """Return the metric that the scores of a task are compared by."""
    return METRICS[str(scores["metric"].iloc[0])] if "metric" in scores else METRICS["r2"]


def title_of(metric: Metric) -> str:
    """Write a metric's name for a page: R2 with its raised 2."""
    return metric.title.replace("R2", "R\N{SUPERSCRIPT TWO}")


def tally(found: Sequence[Headline]) -> str:
    """Sum the verdicts up in one sentence; empty without comparisons."""
    compared = [h for h in found if h.verdict != "alone"]
    if not compared:
        return ""
    counts = {v: sum(h.verdict == v for h in compared) for v in ("ahead", "level", "behind")}
    if len(compared) == 1:
        word = {"ahead": "ahead of", "level": "level with", "behind": "behind"}[compared[0].verdict]
        return f"The learned vectors are {word} the best baseline in the one comparison made."
    names = (("ahead", "ahead of {} in"), ("level", "not clearly different from {} in"), ("behind", "behind {} in"))
    present = [(words, counts[verdict]) for verdict, words in names if counts[verdict]]
    parts = [
        f"{words.format('it' if place else 'the best baseline')} {count}"
        for place, (words, count) in enumerate(present)
    ]
    joined = parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
    return f"The learned vectors are {joined} of {len(compared)} comparisons."


def monitor_sentences(monitor: pd.DataFrame) -> list[str]:
    """Say whether each loss ended better than chance, and what regions that were not trained on find."""
    found = []
    for column, name in (("intra", "two views of one image"), ("inter", "an image and its POIs")):
        if column not in monitor or f"{column}_chance" not in monitor:
            continue
        pair = monitor[[column, f"{column}_chance"]].dropna()
        if pair.empty:
            continue
        loss, chance = (float(v) for v in pair.iloc[-1])
        text = f"The loss between {name} ended at {loss:.2f}; guessing gives {chance:.2f}"
        found.append(f"{text}: next to nothing was learned from it." if loss > 0.97 * chance else f"{text}.")
    for column, name in (("held_out_view_retrieval", "its other view"), ("held_out_poi_retrieval", "its POIs")):
        pair = monitor[[column, f"{column}_chance"]].dropna() if column in monitor else pd.DataFrame()
        if len(pair):
            part, chance = (float(v) for v in pair.iloc[-1])
            found.append(
                f"A region that was not trained on finds {name} among those of all such regions in {part:.0%}; "
                f"guessing gives {chance:.1%}."
            )
    return found


def signed(value: float) -> str:
    """Write a score with two decimals and a true minus."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def plus_minus(spread: float, decimals: int = 2) -> str:
    """Write a spread, a small one with one decimal more; empty where there is none."""
    if not math.isfinite(spread) or spread <= 0:
        return ""
    if spread < 10.0**-decimals:
        decimals += 1
    least = 10.0**-decimals
    return f"± {spread:,.{decimals}f}" if spread >= least / 2 else f"± <{least:.{decimals}f}"


def _headline(rows: pd.DataFrame, main: str, baselines: Sequence[str], differences: pd.DataFrame | None) -> Headline:
    metric = metric_of(rows)
    others = rows[~rows["features"].isin(list(baselines))]
    own = rows[rows["features"] == main]
    if own.empty:
        own = rows if others.empty else others
    best = _best(own, metric)
    rivals = rows[rows["features"].isin(list(baselines)) if baselines else rows["features"] != best.features]
    rivals = rivals[rivals["features"] != best.features]
    rival = None if rivals.empty else _best(rivals, metric)
    top = _best(rows, metric)
    first = rows.iloc[0]
    difference = _difference(first, metric, best, rival, differences)
    known = [best.value] if rival is None else [best.value, rival.value]
    return Headline(
        task=str(first["task"]),
        split=str(first["split"]),
        units=int(first["n_units"]),
        optimistic=bool(first["optimistic"]),
        metric=metric,
        main=best,
        rival=rival,
        top=top if all(metric.better(top.value, value) for value in known) else None,
        verdict=_verdict(best, rival, metric, difference),
        difference=difference,
    )


def _difference(
    row: Any, metric: Metric, main: Result, rival: Result | None, differences: pd.DataFrame | None
) -> tuple[float, float, float] | None:
    if rival is None or differences is None or differences.empty:
        return None
    wanted = {
        "task": row["task"], "split": row["split"], "metric": metric.name, "features": main.features,
        "other": rival.features,
    }  # fmt: skip
    found = differences[(differences[list(wanted)] == pd.Series(wanted)).all(axis=1)]
    if found.empty or found[["low", "high"]].isna().any(axis=None):
        return None
    value, low, high = found.iloc[0][["difference", "low", "high"]]
    return float(value), float(low), float(high)


def _verdict(
    main: Result, rival: Result | None, metric: Metric, difference: tuple[float, float, float] | None
) -> Verdict:
    if rival is None:
        return "alone"
    apart = main.value - rival.value
    if difference is None:
        level = abs(apart) <= max(LEAST_DIFFERENCE, math.hypot(main.spread, rival.spread))
    else:
        apart, low, high = difference
        level = low <= 0 <= high or abs(apart) <= metric.nothing
    if level:
        return "level"
    return "ahead" if (apart > 0) == metric.highest else "behind"


def _best(rows: pd.DataFrame, metric: Metric) -> Result:
    values = rows[metric.name].to_numpy()
    row = rows.iloc[int(values.argmax() if metric.highest else values.argmin())]
    spread = float(row[f"{metric.name}_std"])
    return Result(
        features=str(row["features"]),
        probe=str(row["probe"]),
        value=float(row[metric.name]),
        spread=spread if math.isfinite(spread) else 0.0,
        fold_spread=float(row.get(f"{metric.name}_folds_std", math.nan)),
    )
