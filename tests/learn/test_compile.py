"""A compiled encoder trains the same weights under the same names, and only while it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from learn_samples import Vectors, small_recipe

from mmgr.errors import ConfigError
from mmgr.learn.compile import compiled
from mmgr.learn.model import MultiModalModel
from mmgr.learn.pretrain import pretrain
from mmgr.store import RegionStore


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Trace encoders as for a compiler, and run what was traced: a compiler takes minutes."""
    plain, asked = torch.compile, []

    def trace(function: Any, **options: Any) -> Any:
        asked.append(options)
        return plain(function, backend="aot_eager", **options)

    monkeypatch.setattr(torch, "compile", trace)
    return asked


def test_weights_are_those_of_the_encoder_as_it_is(
    tmp_path: Path, store: RegionStore, vectors: Vectors, traced: list[Any]
) -> None:
    recipe = small_recipe(epochs=1)
    plain = pretrain(store, vectors, recipe, folder=tmp_path / "a", seed=0, device="cpu")
    assert not traced
    model = pretrain(
        store, vectors, recipe.model_copy(update={"compile": True}), folder=tmp_path / "b", seed=0, device="cpu"
    )
    assert traced == [{"dynamic": False}]
    assert model.training_encoder is None
    found, wanted = model.state_dict(), plain.state_dict()
    assert list(found) == list(wanted)
    for name, weight in wanted.items():
        assert torch.allclose(found[name].float(), weight.float(), atol=1e-3), name


def test_evaluation_is_not_compiled(vectors: Vectors, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MultiModalModel(small_recipe(), vectors.vectors, 3)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: lambda views: torch.full((len(views), 1), 7.0))
    views = torch.zeros(2, 3, 32, 32)
    with compiled(model, torch.device("cpu")):
        assert model.train().encode_images(views)[0] == 7
        assert model.eval().encode_images(views).shape == (2, model.image_features)


@pytest.mark.parametrize(("device", "missing"), [("cpu", r"C\+\+"), ("cuda", "Triton")])
def test_a_missing_compiler_is_one_message(
    device: str, missing: str, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = MultiModalModel(small_recipe(), vectors.vectors, 3)
    monkeypatch.setattr("shutil.which", lambda _: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"pretrain.compile: .*{missing}"), compiled(model, torch.device(device)):
        pass
