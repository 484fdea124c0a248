"""Map: embeddings and predictions become PNG, GeoParquet and, for grids, COG."""

from __future__ import annotations

from importlib.metadata import version

import geopandas as gpd
import numpy as np

from mmgr.config import Config
from mmgr.embeddings import read_embeddings, write_geoparquet
from mmgr.files import write_aside
from mmgr.layout import Layout
from mmgr.maps.colours import embedding_colours
from mmgr.maps.figures import embedding_map
from mmgr.maps.grids import is_grid, write_cog
from mmgr.maps.predictions import IN_UNITS, columns_of, prediction_figures
from mmgr.maps.style import write_png


def act(config: Config, layout: Layout) -> None:
    """Draw each task's predictions, and the embeddings in three colours."""
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
