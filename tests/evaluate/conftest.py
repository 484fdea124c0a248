"""Small regions and labelled units for the tests of evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy import sparse

from mmgr.config import Task
from mmgr.evaluate import Units

CRS = "EPSG:32611"
EDGE = 100.0
ORIGIN = (500_000.0, 3_800_000.0)


@pytest.fixture(scope="session")
def grid() -> Callable[..., gpd.GeoDataFrame]:
    """Regions of 100 m on a grid of ``columns`` by ``rows`` cells, row by row from the south-west."""

    def make(columns: int, rows: int, *, edge: float = EDGE) -> gpd.GeoDataFrame:
        x, y = np.meshgrid(np.arange(columns) * edge + ORIGIN[0], np.arange(rows) * edge + ORIGIN[1])
        x, y = x.ravel(), y.ravel()
        ids = np.array([f"r{number}" for number in range(len(x))], object)
        group = np.where(x < x.mean(), "west", "east").astype(object)
        return gpd.GeoDataFrame(
            {"group": group}, index=ids, geometry=shapely.box(x, y, x + edge, y + edge), crs=CRS
        ).rename_axis("region_id")

    return make


@pytest.fixture(scope="session")
def task() -> Callable[..., Task]:
    """A task whose settings are given by name."""

    def make(**settings: Any) -> Task:
        given = {"name": "population", "path": Path("labels.gpkg"), "kind": "polygon_total", "column": "people"}
        return Task.model_validate(given | settings)

    return make


@pytest.fixture(scope="session")
def units(grid: Callable[..., gpd.GeoDataFrame], task: Callable[..., Task]) -> Callable[..., Units]:
    """Labelled units, one a region of a square grid, with the values given or drawn."""

    def make(side: int = 12, *, values: Any = None, seed: int = 0, **settings: Any) -> Units:
        regions = grid(side, side)
        if values is None:
            values = np.random.default_rng(seed).gamma(2.0, 1000.0, len(regions))
        return Units(
            task=task(**settings),
            ids=regions.index.to_numpy(object),
            geometry=regions.geometry,
            centres=shapely.get_coordinates(regions.centroid.to_numpy()),
            group=regions["group"].to_numpy(object),
            values=np.asarray(values, np.float64),
            weights=sparse.csr_array(sparse.eye_array(len(regions))),
            coverage=np.ones(len(regions)),
        )

    return make


@pytest.fixture(scope="session")
def town(units: Callable[..., Units]) -> Callable[..., tuple[Units, np.ndarray]]:
    """A town of three classes or shares, half explained by its vectors; what they do not show varies smoothly, too."""

    def make(kind: str, *, seed: int, side: int = 13) -> tuple[Units, np.ndarray]:
        rng = np.random.default_rng(seed)
        plain = units(side, values=np.ones(side**2), kind="polygon_rate")
        places = plain.centres / EDGE
        distance = np.linalg.norm(places[:, None] - places[None], axis=2)
        root = np.linalg.cholesky(np.exp(-distance / 5) + 1e-9 * np.eye(len(places)))
        fields = root @ rng.normal(size=(len(places), 26))
        shares = np.exp(fields[:, :3] + fields[:, 3:6])
        shares /= shares.sum(axis=1, keepdims=True)
        if kind == "class":
            shares = np.eye(3)[shares.argmax(axis=1)]
        task = plain.task.model_copy(update={"kind": f"polygon_{kind}", "name": "use"})
        town = replace(plain, task=task, values=shares, classes=("home", "work", "park"))
        return town, fields[:, 3:].astype(np.float32)

    return make
