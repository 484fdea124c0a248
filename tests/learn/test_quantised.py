"""The encoder in 8 bits: nearly the same vectors, the same ones each time, or a refusal."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import Vectors, small_recipe
from torch import nn

from mmgr.bench.sample import sample_patches, sample_store
from mmgr.errors import ConfigError
from mmgr.learn import quantised
from mmgr.learn.embed import ImageEncoder, embed, random_model, whole_views
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.quantised import EncoderInFloat32, check_onnx, cosines, quantised_encoder
from mmgr.learn.recipes import Recipe
from mmgr.learn.shipped import SHIPPED
from mmgr.store import RegionStore


@pytest.fixture
def model(vectors: Vectors) -> MultiModalModel:
    return random_model(small_recipe(), vectors.vectors, 3, seed=0)


@pytest.fixture
def _onnx() -> None:
    try:
        check_onnx()
    except ConfigError as error:
        pytest.skip(f"needs the extra `onnx`: {error}")


@pytest.mark.usefixtures("_onnx")
def test_vectors_are_nearly_those_of_float32(store: RegionStore, model: MultiModalModel) -> None:
    recipe = model.recipe.model_copy(update={"image_components": None})
    plain = embed(model, store, recipe, device="cpu")
    first, second = (
        embed(model, store, recipe, device="cpu", batch=size, encode=quantised_encoder(model, store, recipe))
        for size in (64, 5)
    )
    lengths = np.linalg.norm(plain.image, axis=1) * np.linalg.norm(first.image, axis=1)
    assert ((plain.image * first.image).sum(1) / lengths).min() > 0.99
    assert not np.array_equal(plain.image, first.image)
    # another calibration finds the same ranges, and the size of a batch does not matter
    assert np.allclose(first.image, second.image, atol=1e-6)
    assert np.array_equal(plain.poi, first.poi)


@pytest.mark.usefixtures("_onnx")
def test_vectors_that_change_too_much_are_refused(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "LEAST_COSINE", 0.9999999)
    with pytest.raises(ConfigError, match=r"test_resnet gives other vectors .* set `embed.engine: torch`"):
        quantised_encoder(model, store, model.recipe)


@pytest.mark.usefixtures("_onnx")
def test_first_layers_stay_in_float32_where_that_is_needed(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mmgr")
    measure, asked = quantised.cosines, []

    def too_low_at_first(encode: ImageEncoder, encoder: nn.Module, views: torch.Tensor) -> np.ndarray:
        asked.append(measure(encode, encoder, views))
        return asked[-1] if len(asked) == 3 else np.full(len(views), 0.98, np.float32)

    monkeypatch.setattr(quantised, "cosines", too_low_at_first)
    encode = quantised_encoder(model, store, model.recipe)
    assert len(asked) == 3
    lines = [line for line in caplog.messages if line.startswith("8-bit encoder")]
    assert [" layers in float32" in line for line in lines] == [False, True, True]
    # what stays in float32 makes no errors
    assert asked[2].mean() > asked[0].mean()
    assert np.isfinite(encode(torch.zeros(2, 3, 44, 44))).all()


@pytest.mark.usefixtures("_onnx")
def test_the_encoder_that_ships_can_be_had_on_real_patches(tmp_path: Path) -> None:
    recipe = Recipe(name="simclr", crop=64, intra_weight=1.0, counts_weight=0.0)
    assert recipe.weights == SHIPPED
    shipped = seeded_model(recipe, None, 3, seed=0).eval()
    store = sample_store(tmp_path, 64, pixels=128, seed=0)
    encode = quantised_encoder(shipped, store, recipe)
    views = whole_views(torch.from_numpy(sample_patches(128)[200:232]), shipped.whole_edge)
    # of other images than those that it is judged by, and processors round in different ways
    assert np.percentile(cosines(encode, EncoderInFloat32(shipped), views), 5) > 0.975


@pytest.mark.usefixtures("_onnx")
def test_an_encoder_that_cannot_be_exported_is_one_message(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand more")

    monkeypatch.setattr(torch.onnx, "export", refuse)
    with pytest.raises(ConfigError, match=r"cannot take test_resnet \(no such operator\); set"):
        quantised_encoder(model, store, model.recipe)


def test_a_missing_library_names_the_extra(
    store: RegionStore, model: MultiModalModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmgr\[onnx\]'"):
        quantised_encoder(model, store, model.recipe)
