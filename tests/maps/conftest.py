"""Regions, scores and a monitor, made up: cities far apart, and one contiguous grid."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

PLACES = {"chico": (0, 560_000), "riverside": (470_000, 5_000), "palm_springs": (560_000, -10_000)}


@pytest.fixture(scope="session")
def cities() -> gpd.GeoDataFrame:
    """Three cities of 40 scattered squares of 154 m."""
    random = np.random.default_rng(0)
    corners = np.vstack([np.add((2e5 + x, 3.75e6 + y), random.uniform(0, 9000, (40, 2))) for x, y in PLACES.values()])
    names = np.repeat(list(PLACES), 40)
    ids = pd.Index([f"{name}_{i}" for i, name in enumerate(names)], name="region_id")
    squares = shapely.box(*corners.T, *(corners + 153.6).T)
    return gpd.GeoDataFrame({"group": names}, geometry=squares, index=ids, crs="EPSG:32611")


@pytest.fixture(scope="session")
def grid() -> gpd.GeoDataFrame:
    """A contiguous grid of 40 x 30 cells of 250 m, row by row from the north-west."""
    row, column = np.divmod(np.arange(1200), 40)
    west, north = 440_000 + column * 250.0, 3_750_000 - row * 250.0
    ids = pd.Index([f"r{r}c{c}" for r, c in zip(row, column, strict=True)], name="region_id")
    squares = shapely.box(west, north - 250, west + 250, north)
    return gpd.GeoDataFrame({"group": [""] * 1200}, geometry=squares, index=ids, crs="EPSG:32611")


@pytest.fixture(scope="session")
def hexagons() -> gpd.GeoDataFrame:
    """Some hexagons, one in two parts and one with a hole."""
    angles = np.linspace(0, 2 * np.pi, 7)[:-1]
    ring = 100 * np.column_stack([np.cos(angles), np.sin(angles)])
    shapes = [shapely.Polygon(np.add(ring, (500_000 + 200 * i, 100 * (i % 3)))) for i in range(9)]
    shapes[3] = shapely.MultiPolygon([shapes[3], shapely.Polygon(np.add(ring / 3, (500_000, 500)))])
    shapes[4] = shapely.Polygon(shapes[4].exterior, [shapely.Polygon(np.add(ring / 3, (500_800, 100))).exterior])
    ids = pd.Index([f"h{i}" for i in range(9)], name="region_id")
    return gpd.GeoDataFrame({"group": [""] * 9}, geometry=shapes, index=ids, crs="EPSG:32611")


@pytest.fixture(scope="session")
def scores() -> pd.DataFrame:
    """Two feature sets against a baseline, in an honest split and an optimistic one."""
    rows: list[dict[str, Any]] = []
    values = {"image + POI": 0.60, "image": 0.55, "POI densities": 0.43}
    for split, optimistic, gain in (("blocks", False, 0.0), ("random", True, 0.2)):
        for features, value in values.items():
            for probe, loss in (("ridge", 0.0), ("mlp", 0.02)):
                r2 = value + gain - loss
                rows.append(
                    {
                        "task": "population", "split": split, "features": features, "probe": probe, "n_units": 352,
                        "r2": r2, "r2_std": 0.01, "rmse": 1 - r2, "rmse_std": 0.01, "mae": 0.8 - r2 / 2,
                        "mae_std": 0.01, "r2_folds": r2 - 0.1, "r2_folds_std": 0.1, "scale": "log(1 + y)",
                        "optimistic": optimistic,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def monitor() -> pd.DataFrame:
    """Ten epochs in which both losses fall from chance."""
    epoch = np.arange(10)
    chance = np.log(255)
    return pd.DataFrame(
        {
            "epoch": epoch, "loss": chance - epoch / 10, "intra": chance - epoch / 5, "intra_chance": chance,
            "inter": chance - epoch / 20, "inter_chance": chance, "view_retrieval": epoch / 10,
            "poi_retrieval": epoch / 50, "effective_rank": 20.0 + epoch, "learning_rate": 1e-3,
            "regions_per_second": 20.0,
        }
    )  # fmt: skip
