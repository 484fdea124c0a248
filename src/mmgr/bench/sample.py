"""Real patches to measure with: those of the sample inside the package, repeated as often as needed."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from mmgr.errors import InputError
from mmgr.imagery.gdal import gdal, open_raster
from mmgr.imagery.interleave import bands_last
from mmgr.store import Patches, PoiBags, RegionStore, StoreInfo, write_store
from mmgr.taxonomy import Taxonomy

PIXELS = 256
"""Edge of a patch of the sample."""
CATEGORIES = 34
"""POI categories of a made region, as many as in the sample."""
_FIRST_LEVELS = 8
_POIS = 5
"""Mean entries of a region."""


def sample_patches(pixels: int = PIXELS) -> NDArray[np.uint8]:
    """Return the patches of the sample, shape ``(n, pixels, pixels, 3)``, their north-west corners where smaller.

    Raises
    ------
    InputError
        If patches are to be larger than they are.
    """
    if not 16 <= pixels <= PIXELS:
        raise InputError(
            f"the sample's patches have an edge of {PIXELS} pixels, got {pixels}; set --pixels to 16 .. 256."
        )
    paths = sorted(Path(str(files("mmgr") / "sample" / "images")).rglob("*.tif"))
    found = []
    with gdal():
        for path in paths:
            with open_raster(path) as raster:
                found.append(bands_last(raster.read([1, 2, 3])[:, :pixels, :pixels]))
    return np.stack(found)


def sample_store(folder: Path, regions: int, *, pixels: int = PIXELS, seed: int = 0) -> RegionStore:
    """Write a region store of real patches, repeated, with made POIs.

    Parameters
    ----------
    folder
        Where the store goes, as ``regions.lance``.
    regions
        How many.
    pixels
        Edge of a patch.
    seed
        Of the POIs.
    """
    images = sample_patches(pixels)
    edge = 0.6 * pixels
    columns = int(np.ceil(np.sqrt(regions)))
    west, south = np.arange(regions) % columns * edge + 4e5, np.arange(regions) // columns * edge + 4e6
    frame = gpd.GeoDataFrame(
        {"group": ""},
        index=[f"r{row}" for row in range(regions)],
        geometry=shapely.box(west, south, west + edge, south + edge),
        crs="EPSG:32611",
    ).rename_axis("region_id")
    info = StoreInfo(crs="EPSG:32611", pixels=pixels, bands=3, edge=edge, taxonomy=_taxonomy())
    return write_store(
        folder / "regions.lance",
        regions=frame,
        patches=_repeated(images, regions),
        bags=_bags(regions, seed),
        info=info,
    )


def category_table(seed: int = 0) -> NDArray[np.float32]:
    """Return made category vectors, shape ``(categories, 64)``: what they say does not change how long they take."""
    return np.random.default_rng(seed).normal(size=(CATEGORIES, 64)).astype(np.float32)


def _repeated(images: NDArray[np.uint8], regions: int) -> Iterator[Patches]:
    for row in range(regions):
        yield Patches(row, ("",), images[row % len(images)][None])


def _taxonomy() -> Taxonomy:
    return Taxonomy(
        tuple(f"level {number % _FIRST_LEVELS}" for number in range(CATEGORIES)),
        tuple(f"category {number}" for number in range(CATEGORIES)),
    )


def _bags(regions: int, seed: int) -> PoiBags:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(rng.poisson(_POIS, regions))])
    entries = int(starts[-1])
    return PoiBags(
        starts=starts.astype(np.int64),
        category=rng.integers(0, CATEGORIES, entries).astype(np.int32),
        count=rng.integers(1, 9, entries).astype(np.float32),
        offset=np.full((entries, 2), np.nan, np.float32),
        area_km2=np.full(regions, 0.0236, np.float32),
        unit=np.full(regions, "", object),
    )
