"""Fixtures for all tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real development data, which lies beside the repository where there is one."""
    if not SHARED.is_dir():
        pytest.skip("needs the development data in ../shared/data, which is not here")
    return SHARED.resolve()


@dataclass(frozen=True)
class City:
    """A small made city: a mosaic, POIs and census polygons that agree with each other."""

    folder: Path
    images: Path
    pois: Path
    labels: Path


@pytest.fixture
def city(tmp_path: Path) -> City:
    """A contiguous city of 720 x 720 m at 2 m a pixel, 36 cells of 120 m, built up in the middle."""
    return make_city(tmp_path)


def make_city(folder: Path, *, seed: int = 0) -> City:
    """Write the made city's files into ``folder``."""
    rng = np.random.default_rng(seed)
    west, north, pixel, size = 500_000.0, 4_000_000.0, 2.0, 360
    rows, columns = np.mgrid[0:size, 0:size]
    built = np.exp(-(((rows - size / 2) ** 2 + (columns - size / 2) ** 2) / (2 * 90.0**2)))
    roofs = (np.sin(rows / 3) * np.sin(columns / 3) > 0.2) * built
    green = np.stack([60 + 120 * roofs, 110 - 30 * built + 40 * roofs, 60 + 90 * roofs])
    pixels = np.clip(green + rng.normal(0, 8, green.shape), 1, 255).astype(np.uint8)
    images = folder / "mosaic.tif"
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": size, "height": size, "nodata": 0}
    transform = rasterio.transform.from_origin(west, north, pixel, pixel)
    with rasterio.open(images, "w", **profile, crs=32632, transform=transform, tiled=True) as target:
        target.write(pixels)
    spread = rng.normal(360, 150, (300, 2)).clip(5, 715)
    inner = np.hypot(*(spread - 360).T) < 180
    category = np.where(inner, rng.choice(["food", "shop"], 300), rng.choice(["park", "school"], 300))
    detail = np.char.add(np.char.add(category.astype(str), "_"), rng.integers(1, 3, 300).astype(str))
    points = gpd.GeoDataFrame(
        {"category": category, "subcategory": detail},
        geometry=gpd.points_from_xy(west + spread[:, 0], north - spread[:, 1]),
        crs=32632,
    )
    pois = folder / "pois.geojson"
    points.to_crs(4326).to_file(pois)
    edges = np.arange(0, 720, 120)
    cells = [shapely.box(west + x, north - y - 120, west + x + 120, north - y) for y in edges for x in edges]
    people = [float(round(2000 * built[int(y / 2) + 30, int(x / 2) + 30])) for y in edges for x in edges]
    census = gpd.GeoDataFrame({"block": range(36), "population": people}, geometry=cells, crs=32632)
    labels = folder / "census.geojson"
    census.to_crs(4326).to_file(labels)
    return City(folder=folder, images=images, pois=pois, labels=labels)


@pytest.fixture
def city_yaml(city: City) -> Path:
    """A configuration of the made city that takes seconds."""
    path = city.folder / "city.yaml"
    path.write_text(CITY_YAML, encoding="utf-8")
    return path


CITY_YAML = """\
name: made city
output: output
images: {path: mosaic.tif}
regions: {kind: grid, size: 120, pixels: 32}
pois:
  sources:
    - {kind: points, path: pois.geojson, first_level: category, second_level: subcategory}
categories: {dimensions: 8, iterations: 50}
pretrain: {encoder: test_resnet, crop: 32, epochs: 2, batch_size: 16}
tasks:
  - {name: population, kind: polygon_total, path: census.geojson, column: population, id: block, units: regions}
evaluate: {folds: 3, seeds: 1}
"""
