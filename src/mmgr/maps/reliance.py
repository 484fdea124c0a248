"""Intervals and areas of applicability as the report writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmgr.evaluate import IntervalScore
from mmgr.maps.colours import readable
from mmgr.maps.summary import plus_minus


def interval_rows(scores: Sequence[IntervalScore], units: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the cells of a table of intervals and sets of classes, a row a task, split and level.

    Parameters
    ----------
    scores
        How often intervals held.
    units
        Unit of each task's values.
    """
    return [
        {
            "name": f"{score.task}, {score.split}",
            "level": f"{score.level:.0%}",
            "coverage": f"{score.coverage:.0%}",
            "spread": plus_minus(100 * score.coverage_std, 0),
            "reached": score.reached,
            "lowest": f"{score.lowest_fold:.0%}",
            "width": _width(score, units.get(score.task, "")),
            "share": f"{score.width_share:.0%}",
            "shortfall": f"{score.remark} {score.shortfall}".strip(),
        }
        for score in scores
    ]


def _width(score: IntervalScore, unit: str) -> str:
    """Write the mean width of intervals, or the mean size of sets."""
    if score.label == "class":
        return f"{score.width:.1f} classes"
    return f"{readable(score.width)} {unit}".strip()


def applicability_sentence(facts: Mapping[str, Any]) -> str:
    """Say how many regions are unlike the labelled ones."""
    task, regions = facts["task"], f"{facts['regions']:,}"
    if not facts["outside"]:
        return f"{task}: all {regions} regions are like the labelled places, as a linear probe sees them."
    return (
        f"{task}: {facts['outside']:,} of {regions} regions ({facts['share_outside']:.1%}) are less like any labelled "
        "place than labelled places are like those of other folds. They are hatched on the maps: the scores and "
        "intervals say nothing about them."
    )
