"""Predictions of a task as people look at them: the value, the width of its interval, and where neither holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Task
from mmgr.maps.class_maps import class_map, dominant, share_maps
from mmgr.maps.explorer import Layer
from mmgr.maps.figures import prediction_map

TRUST = ("lower", "upper", "dissimilarity", "applicable")
"""What may stand beside a predicted value."""
IN_UNITS = ("value", "lower", "upper")
"""Columns that have the label's unit."""
MOST_SHARES = 12
"""Of more classes the interactive map shows the largest share alone."""


def columns_of(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return what a table of predictions says of a task: ``value``, and those of :data:`TRUST` that are there."""
    there = {"value": task} | {name: f"{task}_{name}" for name in TRUST if f"{task}_{name}" in predictions}
    return pd.DataFrame({name: predictions[column] for name, column in there.items()})


def predicted_classes(predictions: pd.DataFrame, task: str) -> list[str]:
    """Return the classes of a task, each of which has a column ``<task>.<class>``; none of a task of numbers."""
    start = f"{task}."
    return [str(column).removeprefix(start) for column in predictions.columns if str(column).startswith(start)]


def predicted_shares(predictions: pd.DataFrame, task: str) -> NDArray[np.float64]:
    """Return the predicted share of each class of a task in each region, shape ``(n, k)``."""
    columns = [f"{task}.{name}" for name in predicted_classes(predictions, task)]
    return np.asarray(predictions[columns].to_numpy(np.float64))


def class_figures(regions: gpd.GeoDataFrame, predictions: pd.DataFrame, task: Task) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a file and its PNG: the class with the largest share, and the share of each.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    predictions
        The table of predictions.
    task
        Its name, title and kind of label.
    """
    names, shares = predicted_classes(predictions, task.name), predicted_shares(predictions, task.name)
    of_task = columns_of(predictions, task.name)
    hatched = ~of_task["applicable"].to_numpy(bool) if "applicable" in of_task else None
    title = f"Predicted {task.title}"
    largest = "class" if task.label == "class" else "largest share"
    yield (
        task.name,
        class_map(regions, shares, names, title=f"{title}: {largest}", note=beware(of_task), hatched=hatched),
    )
    yield f"{task.name}_shares", share_maps(regions, shares, names, title=f"{title}: shares")


def prediction_layers(predictions: pd.DataFrame, task: Task, levels: Sequence[float]) -> list[Layer]:
    """Return a task's layers of the interactive map: a number; or the largest share, and each share where they are few.

    Parameters
    ----------
    predictions
        The table of predictions.
    task
        Its name, title and unit.
    levels
        Levels of the intervals that were asked for; the table holds the highest.
    """
    of_task = columns_of(predictions, task.name)
    names = predicted_classes(predictions, task.name)
    if not names:
        return [prediction_layer(of_task, task, levels)]
    shares = predicted_shares(predictions, task.name)
    doubtful = ~of_task["applicable"].to_numpy(bool) if "applicable" in of_task else None
    title = f"Predicted {task.title}"
    layers = [Layer(title, dominant(shares), names=names, doubtful=doubtful)]
    if len(names) <= MOST_SHARES:
        layers += [
            Layer(f"{title}: {name}", column, doubtful=doubtful) for name, column in zip(names, shares.T, strict=True)
        ]
    return layers


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
    known = of_task["value"].notna().to_numpy()
    outside = int((~of_task["applicable"].to_numpy(bool) & known).sum())
    if not outside:
        return ""
    regions = f"{outside:,} region{'' if outside == 1 else 's'}, {outside / known.sum():.1%}"
    return f"Hatched: unlike every labelled place ({regions}); the scores say nothing about them."
