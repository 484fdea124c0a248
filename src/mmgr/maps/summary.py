"""What the scores say, in plain words that do not flatter."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mmgr.maps.colours import MINUS

Verdict = Literal["ahead", "level", "behind", "alone"]

LEAST_DIFFERENCE = 0.01
"""Differences of R2 up to this are no difference, however small the spread over seeds."""


@dataclass(frozen=True, slots=True)
class Result:
    """The best R2 of a feature set over the probes."""

    features: str
    probe: str
    r2: float
    spread: float
    """Standard deviation over seeds; 0 where there is one."""
    fold_spread: float
    """Standard deviation over folds; NaN where unknown."""

    def __str__(self) -> str:
        return f"{signed(self.r2)} {self.plus_minus}".strip()

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
    main: Result
    rival: Result | None
    """The best baseline."""
    top: Result | None
    """The best of all feature sets, where it is neither of these."""
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """The comparison in words, with the spread."""
        start = f"{self.main.features}: R² {self.main}"
        if self.rival is None:
            return f"{start}; there is no baseline to compare with."
        difference = self.main.r2 - self.rival.r2
        rival = f"{self.rival.features}, {self.rival}"
        words = {
            "ahead": f"{start}, ahead of the best baseline ({rival}) by {signed(difference)}",
            "level": f"{start}, no clear difference from the best baseline ({rival})",
            "behind": f"{start}, behind the best baseline ({rival}) by {signed(-difference)}",
            "alone": start,
        }[self.verdict]
        folds = self.main.fold_spread
        if self.verdict != "level" and math.isfinite(folds) and abs(difference) < folds:
            words += f"; that is less than the spread between folds ({signed(folds)})"
        if self.top is not None:
            words += f". The best of all was {self.top.features}, {self.top}"
        return words + "."


def headlines(scores: pd.DataFrame, *, main: str, baselines: Sequence[str]) -> list[Headline]:
    """Compare the main feature set with the best baseline in every task and split.

    Both are taken with the probe that suits them best. Optimistic splits are compared only for a
    task that has no other.

    Parameters
    ----------
    scores
        ``task``, ``split``, ``features``, ``probe``, ``n_units``, ``r2``, ``r2_std``, ``optimistic``
        and, if known, ``r2_folds_std``.
    main
        The feature set that the run is about; where it was not scored, the best one that is no baseline.
    baselines
        Feature sets to compare with; all others if none is named.
    """
    found = []
    for _, of_task in scores.dropna(subset=["r2"]).groupby("task", sort=False):
        honest = of_task[~of_task["optimistic"].astype(bool)]
        for _, rows in (of_task if honest.empty else honest).groupby("split", sort=False):
            found.append(_headline(rows, main, baselines))
    return found


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
    """Write an R2 with two decimals and a true minus."""
    return f"{value:.2f}".replace("-0.00", "0.00").replace("-", MINUS)


def plus_minus(spread: float, decimals: int = 2) -> str:
    """Write a spread, a small one with one decimal more; empty where there is none."""
    if not math.isfinite(spread) or spread <= 0:
        return ""
    if spread < 10.0**-decimals:
        decimals += 1
    least = 10.0**-decimals
    return f"± {spread:,.{decimals}f}" if spread >= least / 2 else f"± <{least:.{decimals}f}"


def _headline(rows: pd.DataFrame, main: str, baselines: Sequence[str]) -> Headline:
    others = rows[~rows["features"].isin(list(baselines))]
    own = rows[rows["features"] == main]
    if own.empty:
        own = rows if others.empty else others
    best = _best(own)
    rivals = rows[rows["features"].isin(list(baselines)) if baselines else rows["features"] != best.features]
    rivals = rivals[rivals["features"] != best.features]
    rival = None if rivals.empty else _best(rivals)
    top = _best(rows)
    first = rows.iloc[0]
    return Headline(
        task=str(first["task"]),
        split=str(first["split"]),
        units=int(first["n_units"]),
        optimistic=bool(first["optimistic"]),
        main=best,
        rival=rival,
        top=top if top.r2 > max(best.r2, best.r2 if rival is None else rival.r2) else None,
        verdict=_verdict(best, rival),
    )


def _verdict(main: Result, rival: Result | None) -> Verdict:
    if rival is None:
        return "alone"
    difference = main.r2 - rival.r2
    if abs(difference) <= max(LEAST_DIFFERENCE, math.hypot(main.spread, rival.spread)):
        return "level"
    return "ahead" if difference > 0 else "behind"


def _best(rows: pd.DataFrame) -> Result:
    row = rows.iloc[int(rows["r2"].to_numpy().argmax())]
    spread = float(row["r2_std"])
    return Result(
        features=str(row["features"]),
        probe=str(row["probe"]),
        r2=float(row["r2"]),
        spread=spread if math.isfinite(spread) else 0.0,
        fold_spread=float(row.get("r2_folds_std", math.nan)),
    )
