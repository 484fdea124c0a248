"""Map: embeddings and predictions become PNG, GeoParquet and, for grids, COG."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import geopandas as gpd
import numpy as np

from mmgr.config import Config, Task
from mmgr.embeddings import read_embeddings, write_geoparquet
from mmgr.files import write_aside
from mmgr.layout import Layout
from mmgr.maps.class_maps import dominant
from mmgr.maps.colours import embedding_colours
from mmgr.maps.figures import embedding_map
from mmgr.maps.grids import is_grid, write_cog
from mmgr.maps.predictions import (
    IN_UNITS,
    class_figures,
    columns_of,
    predicted_classes,
    predicted_shares,
    prediction_figures,
)
from mmgr.maps.style import write_png
from mmgr.store import RegionStore


def act(config: Config, layout: Layout) -> None:
    """Draw each task's predictions, and the embeddings in three colours."""
    RegionStore(layout.regions).require_places("a map shows where they are")
    predictions = gpd.read_parquet(layout.evaluation / "predictions.parquet")
    colours = embedding_colours(read_embeddings(layout.embeddings / "embeddings.parquet"))
    regions = predictions[["group", "geometry"]]
    grid = is_grid(regions) is not None
    tags = {"SOFTWARE": f"MMGR {version('mmgr')}", "SEED": str(config.seed)}
    with write_aside(layout.maps) as aside:
        aside.mkdir()
        write_png(aside / "embeddings.png", embedding_map(regions, colours))
        coloured = regions.assign(**dict(zip(("red", "green", "blue"), colours.T, strict=True)))
        write_geoparquet(aside / "embeddings.parquet", coloured, {"software": version("mmgr"), "seed": config.seed})
        if grid:
            write_cog(aside / "embeddings.tif", regions, colours, names=["red", "green", "blue"], tags=tags)
        for task in config.tasks:
            names = predicted_classes(predictions, task.name)
            if names:
                _write_classes(aside, task, predictions, names, config.evaluate.intervals, tags if grid else None)
                continue
            of_task = columns_of(predictions, task.name)
            for name, png in prediction_figures(regions, of_task, task, config.evaluate.intervals):
                write_png(aside / f"{name}.png", png)
            titles = {name: task.name if name == "value" else name for name in of_task.columns}
            level = max(config.evaluate.intervals, default=None)
            facts = {"software": version("mmgr"), "unit": task.unit, "level": level}
            write_geoparquet(aside / f"{task.name}.parquet", regions.join(of_task.rename(columns=titles)), facts)
            if grid:
                unit = f" ({task.unit})" if task.unit else ""
                names = [title + unit * (name in IN_UNITS) for name, title in titles.items()]
                write_cog(aside / f"{task.name}.tif", regions, of_task.to_numpy(np.float32), names=names, tags=tags)


def _write_classes(
    folder: Path,
    task: Task,
    predictions: gpd.GeoDataFrame,
    names: list[str],
    levels: Sequence[float],
    tags: dict[str, str] | None,
) -> None:
    """Draw the largest share, all shares and how sure they are; as a COG too where there are tags for one."""
    regions = predictions[["group", "geometry"]]
    shares = predicted_shares(predictions, task.name)
    trust = columns_of(predictions, task.name).drop(columns="value")
    for name, png in class_figures(regions, predictions, task, levels):
        write_png(folder / f"{name}.png", png)
    table = predictions[["group", "geometry", task.name, *(f"{task.name}.{name}" for name in names)]].join(trust)
    facts = {"software": version("mmgr"), "classes": names, "level": max(levels, default=None)}
    write_geoparquet(folder / f"{task.name}.parquet", table, facts)
    if tags is not None:
        largest = dominant(shares).astype(np.float64)
        trust = trust.drop(columns="set", errors="ignore")  # a band has no text
        bands = [np.where(largest < 0, np.nan, largest + 1), *shares.T, *trust.to_numpy(np.float64).T]
        legend = ", ".join(f"{number} {name}" for number, name in enumerate(names, start=1))
        titles = [f"{task.name}: {legend}", *(f"share of {name}" for name in names), *map(_band, trust.columns)]
        write_cog(folder / f"{task.name}.tif", regions, np.column_stack(bands), names=titles, tags=tags, classes=True)


def _band(column: str) -> str:
    """Describe a band of what stands beside predicted classes."""
    what, _, name = column.partition(".")
    if not name:
        return {"set_size": "number of possible classes"}.get(column, column)
    return f"{name} is possible" if what == "set" else f"{what} end of share of {name}"
