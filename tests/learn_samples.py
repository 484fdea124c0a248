"""Small regions, POIs and recipes for the tests of learning and of bundles."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from numpy.typing import NDArray
from shapely.geometry import box

from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.store import Patches, PoiBags, RegionStore, StoreInfo, write_store
from mmgr.taxonomy import Taxonomy

PIXELS = 40
CATEGORIES = 6
TAXONOMY = Taxonomy(tuple("aabbcc"), tuple("pqrstu"))


@dataclass(frozen=True)
class Vectors:
    """Stands in for CategoryVectors: pre-training needs these two attributes."""

    taxonomy: Taxonomy
    vectors: NDArray[np.float32]


def make_bags(regions: int, seed: int = 0) -> PoiBags:
    """Every fourth region has no POI, every eighth is not covered."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 5, regions)
    lengths[::4] = 0
    starts = np.concatenate([[0], np.cumsum(lengths)])
    area = np.full(regions, 0.25, np.float32)
    area[::8] = 0
    total = int(starts[-1])
    return PoiBags(
        starts=starts,
        category=random.integers(0, CATEGORIES, total).astype(np.int32),
        count=random.integers(1, 9, total).astype(np.float32),
        offset=np.full((total, 2), np.nan, np.float32),
        area_km2=area,
        unit=np.full(regions, "", object),
    )


def make_store(
    path: Path, regions: int, *, without_image: tuple[int, ...] = (), bands: int = 3, seed: int = 1
) -> RegionStore:
    """Region ``i`` has ``1 + i % 2`` dates."""
    random = np.random.default_rng(seed)
    frame = gpd.GeoDataFrame(
        {"group": [""] * regions},
        geometry=[box(500 * i, 0, 500 * i + 500, 500) for i in range(regions)],
        index=[f"r{i}" for i in range(regions)],
        crs="EPSG:32611",
    ).rename_axis("region_id")

    def patches() -> list[Patches]:
        items = []
        for row in range(regions):
            dates = tuple(str(2016 + d) for d in range(0 if row in without_image else 1 + row % 2))
            base = random.integers(0, 256, (1, 4, 4, bands)).repeat(10, 1).repeat(10, 2)
            noise = random.integers(-9, 10, (len(dates), PIXELS, PIXELS, bands))
            items.append(Patches(row=row, dates=dates, pixels=np.clip(base + noise, 0, 255).astype(np.uint8)))
        return items

    info = StoreInfo(crs="EPSG:32611", pixels=PIXELS, bands=bands, edge=500.0, taxonomy=TAXONOMY)
    return write_store(path, regions=frame, patches=patches(), bags=make_bags(regions), info=info)


def small_recipe(name: str = "mmgr", **changes: object) -> Recipe:
    """A recipe that trains in a second."""
    small = {
        "encoder": "test_resnet",
        "weights": "random",
        "crop": 32,
        "batch_size": 8,
        "epochs": 2,
        "precision": "fp32",
    }
    return Recipe.model_validate(RECIPES[name].model_dump() | small | changes)


def scalars(folder: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Read an event file as TensorBoard does: step, value and time by the last part of the tag."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (file,) = folder.iterdir()
    events = accumulator.EventAccumulator(str(file), purge_orphaned_data=False).Reload()
    return {
        tag.split("/")[-1]: [(event.step, event.value, event.wall_time) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
