"""Regions without an image, without POIs, or with unknown ones are normal, with every POI encoder and view."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import TAXONOMY, Vectors, make_bags, make_store, small_recipe
from safetensors.torch import save_file

from mmgr.bundle import load_bundle, save_bundle
from mmgr.learn import training as module
from mmgr.learn.embed import embed
from mmgr.learn.model import MultiModalModel
from mmgr.learn.pretrain import pretrain
from mmgr.store import Patches, PoiBags, RegionStore, write_store

REGIONS = 14
NO_IMAGE, NO_POI, UNKNOWN = (2, 5), (0, 4, 8, 12), (0, 8)
CHOICES = [
    {"poi_encoder": "set2set", "crop_pois": True},
    {"poi_encoder": "mean", "poi_positions": True},
    {"poi_encoder": "attention", "poi_positions": True, "crop_pois": True},
    {"poi_encoder": "attention", "crop_pois": True, "both_views_meet_pois": False, "negatives": "joint"},
]


def placed_bags(seed: int = 0) -> PoiBags:
    """POIs about the regions' centres, some beyond their edge, every third of unknown place."""
    bags = make_bags(REGIONS, seed)
    random = np.random.default_rng(seed)
    offset = random.uniform(-400, 400, bags.offset.shape).astype(np.float32)
    offset[::3] = np.nan
    return replace(bags, offset=offset)


def store_of(path: Path, bags: PoiBags) -> RegionStore:
    """Write a store of other POIs."""
    plain = make_store(path.with_suffix(".plain"), REGIONS, without_image=NO_IMAGE)
    patches = [
        Patches(row=row, dates=tuple(dates), pixels=found)
        for row, (dates, found) in enumerate(zip(plain.dates(), plain.patches(range(REGIONS)), strict=True))
    ]
    return write_store(path, regions=plain.regions, patches=patches, bags=bags, info=plain.info)


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> RegionStore:
    return store_of(tmp_path_factory.mktemp("placed") / "regions.lance", placed_bags())


def trained(store: RegionStore, vectors: Vectors, folder: Path, **changes: object) -> MultiModalModel:
    recipe = small_recipe(**{"epochs": 2, "batch_size": 5} | changes)
    return pretrain(store, vectors, recipe, folder=folder, seed=0, device="cpu")  # type: ignore[arg-type]


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_gaps_are_trained_and_embedded(
    tmp_path: Path, placed: RegionStore, vectors: Vectors, choices: dict[str, object]
) -> None:
    model = trained(placed, vectors, tmp_path / "run", **choices)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    found = embed(model, placed, model.recipe, device="cpu")
    assert np.flatnonzero(~found.has_image).tolist() == list(NO_IMAGE)
    assert np.flatnonzero(~found.has_poi).tolist() == list(UNKNOWN)
    assert np.isfinite(found.combined).all()
    # POIs but no image: a POI part of its own, and the mean of the others' images
    assert np.allclose(found.image[2], found.image[found.has_image].mean(0), atol=1e-5)
    assert not np.allclose(found.poi[2], found.poi[found.has_poi].mean(0), atol=1e-3)
    # known to have none: alike, and unlike the unknown
    assert np.allclose(found.poi[4], found.poi[12], atol=1e-6)
    assert not np.allclose(found.poi[4], found.poi[0], atol=1e-3)
    # whatever the batch: one region alone, too; the last components of a few images are small, and less exact
    for size in (1, 13):
        again = embed(model, placed, model.recipe, batch=size, device="cpu")
        assert np.allclose(again.poi, found.poi, atol=1e-5)
        assert np.allclose(again.image, found.image, atol=1e-2)


def test_a_training_with_places_and_crops_resumes_to_the_same_bits(
    tmp_path: Path, placed: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = CHOICES[2]
    straight = trained(placed, vectors, tmp_path / "straight", **choices)
    drawn = module.seen_in_views
    calls: list[int] = []

    def stops(*arguments: object) -> object:
        calls.append(1)
        if len(calls) > 7:  # in the second epoch of three steps
            raise KeyboardInterrupt
        return drawn(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(module, "seen_in_views", stops)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            trained(placed, vectors, tmp_path / "stopped", **choices)
    resumed = trained(placed, vectors, tmp_path / "stopped", **choices)
    for key, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@pytest.mark.parametrize("choices", CHOICES, ids=str)
def test_a_bundle_holds_the_encoder_of_its_recipe(
    tmp_path: Path, placed: RegionStore, vectors: Vectors, choices: dict[str, object]
) -> None:
    model = trained(placed, vectors, tmp_path / "run", epochs=1, **choices)
    save_bundle(tmp_path / "bundle", model, model.recipe, TAXONOMY, {"seed": 0})
    loaded = load_bundle(tmp_path / "bundle")
    again = embed(loaded.model, placed, loaded.recipe, device="cpu")
    assert np.array_equal(again.combined, embed(model, placed, model.recipe, device="cpu").combined)


def test_a_bundle_remembers_what_its_weights_expect_of_bands(
    tmp_path: Path, placed: RegionStore, vectors: Vectors
) -> None:
    import timm

    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), tmp_path / "w.safetensors")
    model = trained(placed, vectors, tmp_path / "run", epochs=0, weights=str(tmp_path / "w.safetensors"))
    save_bundle(tmp_path / "bundle", model, model.recipe, TAXONOMY, {"seed": 0})
    (tmp_path / "w.safetensors").unlink()
    loaded = load_bundle(tmp_path / "bundle").model
    assert not torch.equal(model.view_factor, torch.ones(3, 1, 1))
    assert torch.equal(loaded.view_factor, model.view_factor)
    assert torch.equal(loaded.view_summand, model.view_summand)


@pytest.mark.parametrize("choices", CHOICES[:3], ids=str)
def test_whole_batches_without_pois_are_trained(tmp_path: Path, vectors: Vectors, choices: dict[str, object]) -> None:
    bags = placed_bags()
    # one region alone has POIs, so most batches have none
    one = replace(bags, count=np.where(bags.owner == 3, bags.count, 0).astype(np.float32))
    store = store_of(tmp_path / "regions.lance", one)
    model = trained(store, vectors, tmp_path / "run", batch_size=2, epochs=1, **choices)
    assert all(value.isfinite().all() for value in model.state_dict().values())
    assert np.isfinite(embed(model, store, model.recipe, device="cpu").combined).all()


def test_a_batch_of_unknown_pois_alone_is_trained(tmp_path: Path, vectors: Vectors) -> None:
    bags = placed_bags()
    known = np.isin(np.arange(REGIONS), (1, 3))
    count = np.where(known[bags.owner], bags.count, 0).astype(np.float32)
    unknown = replace(bags, count=count, area_km2=np.where(known, bags.area_km2, 0).astype(np.float32))
    store = store_of(tmp_path / "regions.lance", unknown)
    model = trained(store, vectors, tmp_path / "run", batch_size=2, epochs=1, poi_encoder="attention", crop_pois=True)
    found = embed(model, store, model.recipe, device="cpu")
    assert np.flatnonzero(found.has_poi).tolist() == [1, 3]
    assert np.isfinite(found.combined).all()


@pytest.mark.parametrize("size", [4, 11])  # 12 regions have an image: 4 + 4 + 4, and 11 with one left over
def test_a_single_region_left_over_at_the_end_is_no_batch_of_its_own(
    tmp_path: Path, placed: RegionStore, vectors: Vectors, size: int
) -> None:
    model = trained(placed, vectors, tmp_path / "run", batch_size=size, epochs=1)
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_crops_change_what_is_learned_and_an_embedding_sees_the_patch(
    tmp_path: Path, placed: RegionStore, vectors: Vectors
) -> None:
    whole, cropped = (trained(placed, vectors, tmp_path / str(crop), crop_pois=crop) for crop in (False, True))
    assert not torch.equal(whole.poi_head[0].weight, cropped.poi_head[0].weight)
    # POIs beyond the patch change nothing in the readout of an embedding, those inside do
    bags, owner = placed.bags, placed.bags.owner
    beyond = np.abs(bags.offset).max(1) > 250
    assert beyond.any()
    assert (np.abs(bags.offset).max(1) < 250).any()
    length = cropped.poi_encoder.features

    def readout(model: MultiModalModel, category: np.ndarray, name: str) -> np.ndarray:
        store = store_of(tmp_path / f"{name}.lance", replace(bags, category=category.astype(np.int32)))
        return embed(model, store, model.recipe, device="cpu").poi[:, :length]

    for model, sees_beyond in ((cropped, False), (whole, True)):
        before = embed(model, placed, model.recipe, device="cpu").poi[:, :length]
        far = readout(model, np.where(beyond, (bags.category + 1) % 6, bags.category), f"far{sees_beyond}")
        near = readout(model, np.where(beyond, bags.category, (bags.category + 1) % 6), f"near{sees_beyond}")
        rows = np.setdiff1d(np.unique(owner[beyond]), UNKNOWN)
        assert np.allclose(before[rows], far[rows], atol=1e-6) != sees_beyond
        assert not np.allclose(before, near, atol=1e-3)
