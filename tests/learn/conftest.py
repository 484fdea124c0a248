"""Small region stores, made once."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import torch
from learn_samples import CATEGORIES, TAXONOMY, Vectors, make_bags, make_store, small_recipe
from shapely.geometry import box

from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.store import Patches, RegionStore, StoreInfo, write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    return make_store(tmp_path_factory.mktemp("store") / "regions.lance", 22, without_image=(5, 16))


@pytest.fixture(scope="session")
def wide_store(tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    """Regions enough to hold some out."""
    return make_store(tmp_path_factory.mktemp("store") / "wide.lance", 80, without_image=(5, 16))


@pytest.fixture(scope="session")
def vectors() -> Vectors:
    return Vectors(TAXONOMY, np.random.default_rng(2).normal(size=(CATEGORIES, 8)).astype(np.float32))


@pytest.fixture(scope="session")
def hue(tmp_path_factory: pytest.TempPathFactory) -> tuple[RegionStore, np.ndarray]:
    """Regions whose label is how blue they are, among reds and greens that say nothing; region 130 has no image."""
    random = np.random.default_rng(0)
    regions = 160
    label = random.random(regions)
    frame = gpd.GeoDataFrame(
        {"group": [""] * regions},
        geometry=[box(500 * i, 0, 500 * i + 500, 500) for i in range(regions)],
        index=[f"r{i}" for i in range(regions)],
        crs="EPSG:32611",
    ).rename_axis("region_id")
    patches = []
    for row in range(regions):
        pixels = random.integers(0, 256, (10, 10, 3)).repeat(4, 0).repeat(4, 1).astype(float)
        pixels[..., 2] = 98 + 60 * label[row] + random.normal(0, 10, (40, 40))
        views = np.clip(pixels, 0, 255).astype(np.uint8)[None].repeat(1 + row % 2, 0)
        dates = ("2018", "2020")[: len(views)]
        patches.append(Patches(row=row, dates=() if row == 130 else dates, pixels=views[: 0 if row == 130 else None]))
    info = StoreInfo(crs="EPSG:32611", pixels=40, bands=3, edge=500.0, taxonomy=TAXONOMY)
    path = tmp_path_factory.mktemp("hue") / "regions.lance"
    return write_store(path, regions=frame, patches=patches, bags=make_bags(regions), info=info), label


@pytest.fixture(scope="session")
def hue_model(hue: tuple[RegionStore, np.ndarray]) -> MultiModalModel:
    """A random encoder whose batch norms have seen the images, as after any training."""
    torch.set_num_threads(1)
    made = seeded_model(small_recipe("simclr", crop=40), None, 3, seed=0).train()
    images = torch.from_numpy(np.concatenate(hue[0].patches(range(64)))).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        for part in torch.split(images, 8):
            made.encode_images(part)
    return made.eval()


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)
