"""Predictions of a task as people look at them: the value, the width of its interval, and where neither holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd

from mmgr.config import Task
from mmgr.maps.explorer import Layer
from mmgr.maps.figures import prediction_map

TRUST = ("lower", "upper", "dissimilarity", "applicable")
"""What may stand beside a predicted value."""
IN_UNITS = ("value", "lower", "upper")
"""Columns that have the label's unit."""


def columns_of(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return what a table of predictions says of a task: ``value``, and those of :data:`TRUST` that are there."""
    there = {"value": task} | {name: f"{task}_{name}" for name in TRUST if f"{task}_{name}" in predictions}
    return pd.DataFrame({name: predictions[column] for name, column in there.items()})


def prediction_figures(
    regions: gpd.GeoDataFrame, of_task: pd.DataFrame, task: Task, levels: Sequence[float]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a file and its PNG: the predicted value and, where it has one, the width of its interval.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    of_task
        As of :func:`columns_of`.
    task
        Its name, title and unit.
    levels
        Levels of the intervals that were asked for; the table holds the highest.
    """
    value = of_task["value"].to_numpy(np.float64)
    hatched = ~of_task["applicable"].to_numpy(bool) if "applicable" in of_task else np.zeros(len(of_task), bool)
    note = beware(of_task)
    title = f"Predicted {task.title}"
    yield task.name, prediction_map(regions, value, title=title, unit=task.unit, note=note, hatched=hatched)
    if "upper" in of_task and levels:
        width = (of_task["upper"] - of_task["lower"]).to_numpy(np.float64)
        title = f"How sure: width of the {max(levels):.0%} interval of {task.title}"
        yield (
            f"{task.name}_interval",
            prediction_map(regions, width, title=title, unit=task.unit, note=note, hatched=hatched),
        )


def prediction_layer(of_task: pd.DataFrame, task: Task, levels: Sequence[float]) -> Layer:
    """Return a task's predictions as a layer of the interactive map, with what is known of them."""
    return Layer(
        f"Predicted {task.title}",
        of_task["value"].to_numpy(),
        task.unit,
        lower=of_task["lower"].to_numpy() if "lower" in of_task else None,
        upper=of_task["upper"].to_numpy() if "upper" in of_task else None,
        level=max(levels, default=0.0),
        doubtful=~of_task["applicable"].to_numpy(bool) if "applicable" in of_task else None,
    )


def beware(of_task: pd.DataFrame) -> str:
    """Say how many regions are outside the area of applicability; empty where none is."""
    if "applicable" not in of_task:
        return ""
    known = np.isfinite(of_task["value"].to_numpy(np.float64))
    outside = int((~of_task["applicable"].to_numpy(bool) & known).sum())
    if not outside:
        return ""
    share = outside / known.sum()
    return (
        f"Hatched: unlike every labelled place ({outside:,} regions, {share:.1%}); the scores say nothing about them."
    )
