"""Cutting patches beside plain reads of the same windows, for mosaics of several layouts."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
import torch
from affine import Affine
from numpy.typing import NDArray
from rasterio.windows import Window

from mmgr.bench.machine import machine, software
from mmgr.bench.rates import Span, Stopwatch, in_turns, median_rate, median_ratio
from mmgr.bench.sample import PIXELS, sample_patches
from mmgr.config import Images
from mmgr.console import quiet
from mmgr.errors import InputError
from mmgr.imagery import Imagery, cut_patches
from mmgr.imagery.gdal import gdal
from mmgr.stages import peak_rss_mb

LAYOUTS: Mapping[str, Mapping[str, Any]] = {
    "tiled_zstd": {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "zstd", "predictor": 2},
    "tiled_deflate": {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate", "predictor": 2},
    "tiled_jpeg": {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "jpeg", "photometric": "ycbcr"},
    "strips": {"compress": "deflate", "predictor": 2, "blockysize": 16},
}
"""How rasterio is told to write each mosaic."""
_METRES = 0.6
"""Edge of a pixel."""
_WEST, _NORTH = 400_000.0, 4_000_000.0


def bench_build(*, edge: int = 24, pixels: int = PIXELS, rounds: int = 5, seed: int = 0) -> dict[str, Any]:
    """Cut patches of mosaics made of real patches, in turns with plain reads of the same windows.

    A plain read is rasterio's, of the three bands of a window on whole pixels, from a file that stays open, row by
    row: what no cutting can go without. Cutting makes a plan for regions that come in any order, and lays
    bands side by side. Neither writes the region store.

    Parameters
    ----------
    edge
        Patches along a mosaic's edge.
    pixels
        Edge of a patch.
    rounds
        Turns; results are medians over them.
    seed
        Of the order of regions.

    Returns
    -------
    ``patches_per_second``, ``plain_patches_per_second`` and their ``ratio`` for the tiled layout that comes off worst;
    all layouts' in ``layouts``, with ``cpu_ratio`` by processor time; and what was measured on what.

    Raises
    ------
    InputError
        If there would be no patch.
    """
    if edge < 1 or rounds < 1:
        raise InputError(f"there must be patches and rounds, got --edge {edge} and --rounds {rounds}.")
    measured_on = machine()
    images = sample_patches(pixels)
    regions = _regions(edge, pixels, seed)
    layouts: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="mmgr-bench-") as name, quiet():
        for layout, options in LAYOUTS.items():
            path = Path(name) / f"{layout}.tif"
            _write_mosaic(path, images, edge, options)
            ways: dict[str, Callable[[], Span]] = {
                "plain": partial(_read_plainly, path, _windows(edge, pixels)),
                "cut": partial(_cut, path, regions, pixels),
            }
            in_turns(1, ways)  # the file comes into memory, and what is compiled is
            layouts[layout] = _compared(in_turns(rounds, ways))
            path.unlink()
    worst = min((name for name in layouts if name.startswith("tiled")), key=lambda name: layouts[name]["ratio"])
    return {
        **{key: layouts[worst][key] for key in ("patches_per_second", "plain_patches_per_second", "ratio")},
        "peak_rss_mb": peak_rss_mb(),
        "patches": edge * edge,
        "pixels": pixels,
        "rounds": rounds,
        "layouts": layouts,
        "machine": measured_on | {"load_after": machine()["load"]},
        "software": software("rasterio") | {"gdal": rasterio.__gdal_version__},
    }


def _compared(found: Mapping[str, list[Span]]) -> dict[str, float]:
    return {
        "patches_per_second": median_rate(found["cut"]),
        "plain_patches_per_second": median_rate(found["plain"]),
        "ratio": median_ratio(found["cut"], found["plain"]),
        "cpu_ratio": median_ratio(found["cut"], found["plain"], cpu=True),
    }


def _regions(edge: int, pixels: int, seed: int) -> gpd.GeoDataFrame:
    """Return a grid's cells on the mosaic's own pixels, in any order."""
    size = pixels * _METRES
    row, column = np.divmod(np.random.default_rng(seed).permutation(edge * edge), edge)
    west, north = _WEST + column * size, _NORTH - row * size
    return gpd.GeoDataFrame(
        {"group": ""},
        index=[f"r{number}" for number in range(edge * edge)],
        geometry=shapely.box(west, north - size, west + size, north),
        crs="EPSG:32611",
    ).rename_axis("region_id")


def _windows(edge: int, pixels: int) -> list[Window]:
    places = [(column * pixels, row * pixels) for row in range(edge) for column in range(edge)]
    return [Window(*place, pixels, pixels) for place in places]


def _write_mosaic(path: Path, images: NDArray[np.uint8], edge: int, options: Mapping[str, Any]) -> None:
    pixels = images.shape[1]
    profile = {
        "driver": "GTiff",
        "dtype": "uint8",
        "count": 3,
        "width": edge * pixels,
        "height": edge * pixels,
        "crs": "EPSG:32611",
        "transform": Affine(_METRES, 0, _WEST, 0, -_METRES, _NORTH),
    }
    with rasterio.open(path, "w", **profile, **options) as target:
        for row in range(edge):
            line = [images[(row * edge + column) % len(images)] for column in range(edge)]
            window = Window(0, row * pixels, edge * pixels, pixels)
            target.write(np.concatenate(line, axis=1).transpose(2, 0, 1), window=window)


def _read_plainly(path: Path, windows: list[Window]) -> Span:
    with gdal(), rasterio.open(path) as raster:
        watch = Stopwatch(torch.device("cpu"))
        for window in windows:
            raster.read([1, 2, 3], window=window)
        return watch.stop(len(windows))


def _cut(path: Path, regions: gpd.GeoDataFrame, pixels: int) -> Span:
    imagery = Imagery.open(Images(path=path))
    watch = Stopwatch(torch.device("cpu"))
    count = sum(1 for _ in cut_patches(imagery, regions, pixels=pixels, min_valid=0.5))
    return watch.stop(count)
