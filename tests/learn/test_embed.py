from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from learn_samples import Vectors, make_store, small_recipe
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mmgr.errors import ArtefactError
from mmgr.learn import embed as embedding
from mmgr.learn.augment import make_views, whole
from mmgr.learn.embed import batch_for, described_images, embed, random_model, whole_views
from mmgr.learn.model import MultiModalModel
from mmgr.store import RegionStore

PLAIN = {"true_size": False, "feature_maps": False, "image_components": None}
"""What an encoder itself gives, of patches resized to its crop."""


@pytest.fixture(scope="module")
def model(vectors: Vectors) -> MultiModalModel:
    return random_model(small_recipe(), vectors.vectors, 3, seed=0)


def test_an_embedding_is_the_mean_over_dates_of_the_whole_patch(store: RegionStore, vectors: Vectors) -> None:
    model = random_model(small_recipe(**PLAIN), vectors.vectors, 3, seed=0)
    found = embed(model, store, model.recipe, device="cpu")
    for row, patches in enumerate(store.patches(range(22))):
        if len(patches):
            with torch.no_grad():
                views = make_views(torch.from_numpy(patches), whole(len(patches)), 32)
                wanted = model.image_encoder(views).mean(0)
            assert np.allclose(found.image[row], wanted, atol=1e-5)


def test_missing_parts_hold_the_mean_of_the_others(store: RegionStore, model: MultiModalModel) -> None:
    found = embed(model, store, model.recipe, device="cpu")
    assert np.flatnonzero(~found.has_image).tolist() == [5, 16]
    assert np.flatnonzero(~found.has_poi).tolist() == [0, 8, 16]
    assert np.allclose(found.image[[5, 16]], found.image[found.has_image].mean(0), atol=1e-5)
    assert np.allclose(found.poi[[0, 8, 16]], found.poi[found.has_poi].mean(0), atol=1e-5)
    # known POIs that are none are a fact, not a gap
    assert not np.allclose(found.poi[4], found.poi[0])
    assert np.allclose(found.poi[4], found.poi[12])
    assert np.isfinite(found.combined).all()
    # 20 images have 19 components
    assert found.combined.shape == (len(found), 19 + model.poi_features)
    assert found.combined.dtype == np.float32


def test_embeddings_do_not_depend_on_the_batch(store: RegionStore, model: MultiModalModel) -> None:
    one, two = (embed(model, store, model.recipe, batch=size, device="cpu") for size in (3, 64))
    assert np.allclose(one.poi, two.poi, atol=1e-5)
    assert np.allclose(one.image, two.image, atol=1e-2)  # the last components of a few images are less exact
    assert np.array_equal(two.combined, embed(model, store, model.recipe, device="cpu").combined)


def means(views: Tensor) -> Tensor:
    """Describe views by the mean of each band."""
    return views.mean((2, 3))


@pytest.mark.parametrize("batch", [1, 6, 20, 64])
def test_regions_keep_their_order_to_the_last_short_batch(store: RegionStore, batch: int) -> None:
    rows = np.flatnonzero(store.views > 0)[::-1]
    cpu = torch.device("cpu")
    parts = list(described_images(means, store, rows, edge=32, batch=batch, device=cpu))
    assert [len(some) for some, _ in parts] == [min(batch, 20 - start) for start in range(0, 20, batch)]
    assert np.array_equal(np.concatenate([some for some, _ in parts]), rows)
    wanted = [means(whole_views(torch.from_numpy(patches), 32)).mean(0) for patches in store.patches(rows)]
    assert np.allclose(np.concatenate([found for _, found in parts]), torch.stack(wanted), atol=1e-5)


def test_an_error_of_the_reader_reaches_the_caller(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = RegionStore.patches

    def torn(store: RegionStore, rows: Any) -> Any:
        if 9 in rows:
            raise OSError("a page of the store is torn")
        return read(store, rows)

    monkeypatch.setattr(RegionStore, "patches", torn)
    with pytest.raises(OSError, match="a page of the store is torn"):
        embed(model, store, model.recipe, batch=3, device="cpu")


class _Gpu(TorchFunctionMode):
    """Takes tensors for a GPU's, and notes when the host sends, asks and waits."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[str] = []

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func == Tensor.is_cuda.__get__:  # type: ignore[attr-defined]
            return True
        if func in {Tensor.cpu, Tensor.item, Tensor.tolist}:
            self.noted.append("stood still")
        if func == Tensor.to:
            name = "asked" if torch.device(args[1]).type == "cpu" else "sent"
            self.noted.append(name if kwargs.get("non_blocking") else "stood still")
            return args[0]
        return func(*args, **kwargs)


def test_a_gpu_has_the_next_batch_before_the_host_waits_for_the_last(
    store: RegionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu, pinned = _Gpu(), []
    event = SimpleNamespace(record=lambda _: None, synchronize=lambda: gpu.noted.append("waited"))
    monkeypatch.setattr("torch.cuda.Event", lambda: event)
    monkeypatch.setattr("torch.cuda.current_stream", lambda _: None)
    monkeypatch.setattr(Tensor, "pin_memory", lambda part: (pinned.append(len(part)), part)[1])
    rows = np.flatnonzero(store.views == 1)[:8]
    with gpu:
        found = list(described_images(means, store, rows, edge=32, batch=3, device=torch.device("cuda")))
    assert " ".join(gpu.noted) == "sent asked sent asked waited sent asked waited waited"
    assert pinned == [3, 3, 2]
    plain = list(described_images(means, store, rows, edge=32, batch=3, device=torch.device("cpu")))
    assert all(np.array_equal(one, two) for (_, one), (_, two) in zip(found, plain, strict=True))


def test_a_gpu_describes_more_regions_at_once() -> None:
    assert batch_for(torch.device("cpu")) == 64
    assert batch_for(torch.device("cuda", 1)) > 64


def test_things_are_as_large_as_they_are_in_views_in_the_mean(vectors: Vectors) -> None:
    recipe = small_recipe()
    low, high = recipe.augmentation.area
    area = np.random.default_rng(0).uniform(low, high, 100_000)
    assert recipe.whole_edge == round(32 * float(np.mean(area**-0.5)))
    assert random_model(recipe, vectors.vectors, 3, seed=0).whole_edge == 44
    assert small_recipe(true_size=False).whole_edge == 32
    # a transformer is built for one size
    fixed = small_recipe("simclr", encoder="vit_tiny_patch16_224")
    assert random_model(fixed, None, 3, seed=0).whole_edge == 32


def test_a_sample_of_images_tells_the_components_of_all(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything = embed(model, store, model.recipe, device="cpu")
    monkeypatch.setattr(embedding, "SAMPLE", 12)
    some = embed(model, store, model.recipe, device="cpu", batch=3)
    assert some.image.shape == (22, 11)
    seen = np.flatnonzero(some.has_image)
    raw = embed(model, store, model.recipe.model_copy(update={"image_components": None}), device="cpu")
    sample = raw.image[seen[np.linspace(0, 19, 12).round().astype(int)]].astype(float)
    scaled = (raw.image[seen] - sample.mean(0)) / np.where(sample.std(0) > 0, sample.std(0), 1)
    axes = np.linalg.svd(scaled[np.linspace(0, 19, 12).round().astype(int)], full_matrices=False)[2][:11]
    assert np.allclose(abs(some.image[seen]), abs(scaled @ axes.T), atol=2e-3)
    assert everything.image.shape == (22, 19)


def test_simclr_gives_images_alone(store: RegionStore) -> None:
    recipe = small_recipe("simclr")
    found = embed(random_model(recipe, None, 3, seed=0), store, recipe, device="cpu")
    assert found.poi.shape == (22, 0)
    assert np.array_equal(found.combined, found.image)


def test_the_random_model_is_random_whatever_the_recipe_starts_from(vectors: Vectors) -> None:
    model = random_model(small_recipe(weights="pretrained"), vectors.vectors, 3, seed=0)
    assert not model.training
    other = random_model(small_recipe(), vectors.vectors, 3, seed=1)
    assert not torch.equal(model.image_head[0].weight, other.image_head[0].weight)


def test_another_store_is_refused(tmp_path: Path, store: RegionStore, model: MultiModalModel, vectors: Vectors) -> None:
    four = make_store(tmp_path / "regions.lance", 3, bands=4)
    with pytest.raises(ArtefactError, match=r"patches of 4 bands, the model saw 3"):
        embed(model, four, model.recipe)
    smaller = random_model(small_recipe(), vectors.vectors[:4], 3, seed=0)
    with pytest.raises(ArtefactError, match=r"6 POI categories, the model knows 4"):
        embed(smaller, store, model.recipe)


@pytest.mark.parametrize("crop", [16, 31, 40, 64])
def test_a_whole_patch_is_seen_through_the_filter_of_the_views(crop: int) -> None:
    patches = torch.randint(0, 256, (3, 40, 40, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    assert torch.allclose(whole_views(patches, crop), make_views(patches, whole(3), crop), atol=1e-5)
