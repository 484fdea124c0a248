"""The units of the Singapore benchmark: cells, points and subzones with their labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from numpy.typing import NDArray

from mmgr.evaluate.networks import Kind

METRES = "EPSG:32648"
SAMPLE_SEED = 20261124
"""Which cells and points are sampled."""
SQUARE = 250.0
"""Edge in metres of the square that counts as the inside of a point."""


@dataclass(frozen=True)
class Units:
    """What is scored under one task, and under which protocols."""

    kind: Kind
    protocols: tuple[str, ...]
    regions: gpd.GeoDataFrame
    """Polygons of the units that are scored, ``n`` of them."""
    labels: NDArray[Any]
    places: NDArray[np.float64]
    """What blocks are made of, for all units, shape ``(N, 2)``."""
    rows: NDArray[np.int64]
    """The scored units among all, shape ``(n,)``."""


def population(folder: Path, most: int | None) -> Units:
    """Return the 100 m cells of WorldPop with people a cell."""
    return _cells(folder / "population_2024.tif", most)


def gdp(folder: Path, most: int | None) -> Units:  # noqa: ARG001 - there are few
    """Return the cells of 30 arc seconds with their GDP, all of them."""
    return _cells(folder / "gdp_2024.tif", None)


def landuse(folder: Path, most: int | None) -> Units:
    """Return points with one of 12 land uses; a square around each stands for its inside."""
    table = pd.read_parquet(folder / "landuse_2026_points.parquet")
    degrees = table[["x", "y"]].to_numpy(np.float64)
    rows = _sample(len(table), most)
    points = gpd.GeoSeries.from_xy(*degrees[rows].T, crs="EPSG:4326").to_crs(METRES)
    squares = points.buffer(SQUARE / 2, cap_style="square")
    return Units(
        "class", ("cityrep",), gpd.GeoDataFrame(geometry=squares), table.label_id.to_numpy()[rows], degrees, rows
    )


def subzone_landuse(folder: Path, most: int | None) -> Units:  # noqa: ARG001 - there are few
    """Return all subzones with their shares of five land uses; two that have none are left out."""
    zones = gpd.read_file(folder / "subzones.geojson")
    names = sorted(name for name in zones.columns if name.startswith("land_use_"))
    shares = zones[names].to_numpy(np.float64)
    known = shares.sum(axis=1) > 0
    return _subzones("shares", zones[known], shares[known])


def subzone_population(folder: Path, most: int | None) -> Units:  # noqa: ARG001 - there are few
    """Return the subzones whose population is known."""
    zones = gpd.read_file(folder / "subzones.geojson")
    zones = zones[zones.population.notna()]
    return _subzones("number", zones, zones.population.to_numpy(np.float64))


TASKS = {
    "population": population,
    "gdp": gdp,
    "landuse": landuse,
    "subzone-landuse": subzone_landuse,
    "subzone-population": subzone_population,
}
"""The tasks by name, in the order of the tables."""


def read_pois(folder: Path) -> gpd.GeoDataFrame:
    """Return the POIs in metres."""
    return gpd.read_file(folder / "pois.geojson").to_crs(METRES)


def _cells(path: Path, most: int | None) -> Units:
    with rasterio.open(path) as raster:
        values, transform, crs = raster.read(1), raster.transform, raster.crs
    row, column = np.nonzero(np.isfinite(values))
    places = np.stack([column, row], axis=1).astype(np.float64)
    kept = _sample(len(row), most)
    west, north = transform * (column[kept], row[kept])
    cells = shapely.box(west, north + transform.e, west + transform.a, north)
    regions = gpd.GeoDataFrame(geometry=cells, crs=crs).to_crs(METRES)
    return Units("number", ("cityrep",), regions, values[row, column][kept].astype(np.float64), places, kept)


def _subzones(kind: Kind, zones: gpd.GeoDataFrame, labels: NDArray[np.float64]) -> Units:
    shapes = shapely.make_valid(shapely.force_2d(zones.geometry.to_numpy()))
    regions = gpd.GeoDataFrame(geometry=shapes, crs=zones.crs).to_crs(METRES)
    centres = regions.centroid.get_coordinates().to_numpy()
    return Units(kind, ("regiondcl", "regiondcl-blocks"), regions, labels, centres, np.arange(len(regions)))


def _sample(units: int, most: int | None) -> NDArray[np.int64]:
    if most is None or units <= most:
        return np.arange(units)
    return np.sort(np.random.default_rng(SAMPLE_SEED).choice(units, most, replace=False))
