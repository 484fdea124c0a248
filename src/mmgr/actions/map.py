"""Map: embeddings and predictions become PNG, GeoParquet and, for grids, COG."""

from __future__ import annotations

from importlib.metadata import version

import geopandas as gpd

from mmgr.config import Config
from mmgr.embeddings import read_embeddings, write_geoparquet
from mmgr.files import write_aside
from mmgr.layout import Layout
from mmgr.maps.colours import embedding_colours
from mmgr.maps.figures import embedding_map, prediction_map
from mmgr.maps.grids import is_grid, write_cog
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
            values = predictions[task.name].to_numpy()
            picture = prediction_map(regions, values, title=f"Predicted {task.title}", unit=task.unit)
            write_png(aside / f"{task.name}.png", picture)
            table = regions.assign(**{task.name: values})
            write_geoparquet(aside / f"{task.name}.parquet", table, {"software": version("mmgr"), "unit": task.unit})
            if grid:
                unit = f" ({task.unit})" if task.unit else ""
                write_cog(aside / f"{task.name}.tif", regions, values, names=[f"{task.name}{unit}"], tags=tags)
