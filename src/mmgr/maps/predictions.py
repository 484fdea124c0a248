"""Predictions of a task as people look at them: the value, how sure it is, and where neither holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Task
from mmgr.maps.class_maps import class_map, dominant, set_size_map, share_maps
from mmgr.maps.explorer import Layer
from mmgr.maps.figures import prediction_map

OF_CLASS = ("lower", "upper", "set")
"""What may stand beside a prediction for each class: ``lower.CLASS`` and ``upper.CLASS`` of its share; ``set.CLASS``,
whether it is possible."""
BESIDE = ("lower", "upper", "set", "set_size", "dissimilarity", "applicable")
"""What may stand beside a prediction."""
IN_UNITS = ("value", "lower", "upper")
"""Columns that have the label's unit."""
MOST_SHARES = 12
"""Of more classes the interactive map shows the largest share alone."""


def columns_of(predictions: pd.DataFrame, task: str) -> pd.DataFrame:
    """Return what a table of predictions says of a task: ``value``, and what of the following is there.

    ``lower`` and ``upper`` of a number; of classes ``set``, ``set_size`` and the columns of :data:`OF_CLASS`; then
    ``dissimilarity`` and ``applicable``.
    """
    of_class = [f"{end}.{name}" for end in OF_CLASS for name in predicted_classes(predictions, task)]
    asked = (*BESIDE[:4], *of_class, *BESIDE[4:])
    there = {"value": task} | {name: f"{task}_{name}" for name in asked if f"{task}_{name}" in predictions}
    return pd.DataFrame({name: predictions[column] for name, column in there.items()})


def predicted_classes(predictions: pd.DataFrame, task: str) -> list[str]:
    """Return the classes of a task, each of which has a column ``<task>.<class>``; none of a task of numbers."""
    start = f"{task}."
    return [str(column).removeprefix(start) for column in predictions.columns if str(column).startswith(start)]


def predicted_shares(predictions: pd.DataFrame, task: str) -> NDArray[np.float64]:
    """Return the predicted share of each class of a task in each region, shape ``(n, k)``."""
    columns = [f"{task}.{name}" for name in predicted_classes(predictions, task)]
    return np.asarray(predictions[columns].to_numpy(np.float64))


def widest_of(of_task: pd.DataFrame) -> NDArray[np.float64] | None:
    """Return the width of each region's widest interval of a share, shape ``(n,)``; None where there are none."""
    low, high = (of_task.filter(regex=rf"^{end}\.").to_numpy(np.float64) for end in ("lower", "upper"))
    if not low.shape[1]:
        return None
    return np.asarray((high - low).max(axis=1))


def class_figures(
    regions: gpd.GeoDataFrame, predictions: pd.DataFrame, task: Task, levels: Sequence[float]
) -> Iterator[tuple[str, bytes]]:
    """Yield the name of a file and its PNG: the class with the largest share, the share of each, and how sure they are.

    How sure is the number of classes that are possible, or the width of the widest interval of a share.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    predictions
        The table of predictions.
    task
        Its name, title and kind of label.
    levels
        Levels of the intervals that were asked for; the table holds the highest.
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
    note, name = beware(of_task), f"{task.name}_interval"
    if "set_size" in of_task and levels:
        size = of_task["set_size"].to_numpy(np.float64)
        title = f"How sure: number of classes in the {max(levels):.0%} set of {task.title}"
        yield name, set_size_map(regions, size, len(names), title=title, note=note, hatched=hatched)
    width = widest_of(of_task)
    if width is not None and levels:
        title = f"How sure: widest {max(levels):.0%} interval of a share of {task.title}"
        yield name, prediction_map(regions, width, title=title, unit="share", note=note, hatched=hatched)


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
    level = max(levels, default=0.0)
    sets = [text or None for text in of_task["set"].fillna("")] if "set" in of_task else None
    layers = [Layer(title, dominant(shares), names=names, sets=sets, level=level, doubtful=doubtful)]
    if len(names) > MOST_SHARES:
        return layers

    def end(which: str, name: str) -> NDArray[np.float64] | None:
        column = f"{which}.{name}"
        return of_task[column].to_numpy(np.float64) if column in of_task else None

    return layers + [
        Layer(
            f"{title}: {name}",
            column,
            lower=end("lower", name),
            upper=end("upper", name),
            level=level,
            doubtful=doubtful,
        )
        for name, column in zip(names, shares.T, strict=True)
    ]


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
