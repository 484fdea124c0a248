"""Fixtures for all tests, and how they share the machine's cores."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one core a process; read when NumPy and PyTorch are first imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely

try:
    import fcntl
except ImportError:  # not on Windows: timed tests have neighbours there
    fcntl = None

SHARED = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"


def pytest_xdist_auto_num_workers() -> int:
    """As many processes as there are cores, four at most: each may take 3 GB."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 4)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that need the whole machine first, so that no process waits for them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is None)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # outside pytest-timeout: waiting is not the test's time
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Run a test marked ``alone`` while no other process runs any."""
    if fcntl is None or "PYTEST_XDIST_TESTRUNUID" not in os.environ:
        return (yield)
    with _turn(alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_sessionfinish() -> None:
    """Remove the files that were locked."""
    if "PYTEST_XDIST_TESTRUNUID" in os.environ:
        for name in ("running", "next"):
            _lock(name).unlink(missing_ok=True)


@contextmanager
def _turn(*, alone: bool) -> Iterator[None]:
    """Hold the lock that all tests share, or that one has for itself; who wants it alone lets no further test begin."""
    with _lock("running").open("w", encoding="ascii") as running:
        with _lock("next").open("w", encoding="ascii") as following:
            fcntl.flock(following, fcntl.LOCK_EX)
            fcntl.flock(running, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


def _lock(name: str) -> Path:
    """Return the file of this run of tests that processes lock."""
    return Path(tempfile.gettempdir()) / f"mmgr-tests-{os.environ['PYTEST_XDIST_TESTRUNUID']}-{name}"


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
