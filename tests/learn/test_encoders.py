from __future__ import annotations

import logging
from pathlib import Path

import pytest
import timm
import torch
from learn_samples import Vectors, small_recipe
from safetensors.torch import save_file
from torch import Tensor

from mmgr.errors import ConfigError
from mmgr.learn import encoders
from mmgr.learn.augment import normalise
from mmgr.learn.encoders import image_encoder, view_scale
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.pretrain import pretrain
from mmgr.store import RegionStore


@pytest.mark.parametrize(("name", "features"), [("test_resnet", 96), ("test_vit", 64)])
def test_any_timm_model_gives_features_for_any_bands_and_size(name: str, features: int) -> None:
    encoder, found = image_encoder(name, weights="random", bands=4, crop=32)
    assert encoder(torch.zeros(2, 4, 32, 32)).shape == (2, found)
    assert found == features


def test_an_unknown_encoder_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.encoder.*'resnet19'.*resnet18"):
        image_encoder("resnet19", weights="random", bands=3, crop=32)


def test_pretrained_weights_without_a_network_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    create = timm.create_model

    def unreachable(name: str, *, pretrained: bool = False, **more: object) -> torch.nn.Module:
        if pretrained:
            raise FileNotFoundError("An error happened while trying to locate the file on the Hub\nsecond line")
        return create(name, **more)

    monkeypatch.setattr(encoders.timm, "create_model", unreachable)
    with pytest.raises(ConfigError, match=r"pretrain\.weights: .*resnet18 cannot be had \(An error.*Hub\)\. They need"):
        image_encoder("resnet18", weights="pretrained", bands=3, crop=32)


def test_weights_from_a_file_are_loaded_without_their_classifier(tmp_path: Path) -> None:
    source = timm.create_model("test_resnet", num_classes=7)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    encoder, _ = image_encoder("test_resnet", weights=str(tmp_path / "w.safetensors"), bands=3, crop=32)
    images = torch.randn(2, 3, 32, 32)
    wanted = source.eval().forward_head(source.forward_features(images), pre_logits=True)
    assert torch.equal(encoder.eval()(images), wanted)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_convnext", "test_nfnet", "test_vit2", "test_maxvit"])
def test_features_have_the_length_that_is_said_and_batches_are_channels_last(name: str) -> None:
    # a MaxViT's windows ask for a certain size
    recipe = small_recipe("simclr", encoder=name, crop=64 if name != "test_maxvit" else 160)
    model = seeded_model(recipe, None, 3, seed=0).eval()
    seen: list[Tensor] = []
    model.image_encoder.register_forward_pre_hook(lambda _, images: seen.append(images[0]))
    views = torch.randn(2, 3, recipe.crop, recipe.crop)
    features = model.encode_images(views)
    assert features.shape == (2, model.image_features)
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    weights = [p for p in model.image_encoder.parameters() if p.ndim == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    assert weights
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
    # the layout changes nothing but the speed
    plain, _ = image_encoder(name, weights="random", bands=3, crop=recipe.crop)
    plain.load_state_dict(model.image_encoder.state_dict())
    assert torch.allclose(plain.eval()(views), features, atol=1e-4)


@pytest.mark.parametrize("crop", [32, 48, 112])
def test_a_transformer_is_built_for_the_crop(crop: int) -> None:
    encoder, features = image_encoder("vit_tiny_patch16_224", weights="random", bands=3, crop=crop)
    assert encoder.pos_embed.shape[1] == 1 + (crop // 16) ** 2
    assert encoder(torch.zeros(1, 3, crop, crop)).shape == (1, features) == (1, 192)


def test_a_crop_that_a_model_cannot_see_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.(crop|encoder): test_maxvit cannot .* 33"):
        image_encoder("test_maxvit", weights="random", bands=3, crop=33)


def test_a_wrong_tag_names_those_that_there_are() -> None:
    with pytest.raises(
        ConfigError, match=r"pretrain\.encoder: timm has no weights 'nonsense' of resnet18.*resnet18\.a"
    ):
        image_encoder("resnet18.nonsense", weights="random", bands=3, crop=32)


def test_whatever_a_model_makes_of_a_size_is_one_clear_error() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.\w+: mvitv2_tiny cannot .* 112"):
        image_encoder("mvitv2_tiny", weights="random", bands=3, crop=112)


def test_the_name_of_the_hub_is_that_of_timm() -> None:
    assert small_recipe(encoder="hf-hub:timm/test_resnet.r160_in1k").encoder == "test_resnet.r160_in1k"
    with pytest.raises(ConfigError, match=r"'hf-hub:somebody/model' is on the hub.*pretrain\.weights"):
        image_encoder("hf-hub:somebody/model", weights="random", bands=3, crop=32)


class SeesMultiples(torch.nn.Module):
    """An encoder that sees only multiples of 32, as those do that join maps of several sizes."""

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[-1] % 32:
            raise IndexError("index 22 is out of bounds")
        return images.mean((2, 3))


def test_whole_patches_are_seen_at_the_nearest_size_that_can_be(caplog: pytest.LogCaptureFixture) -> None:
    model = seeded_model(small_recipe("simclr", crop=64), None, 3, seed=0)
    model.image_encoder.eval()
    model.image_encoder, frozen = SeesMultiples(), model.image_encoder
    model.image_encoder.add_module("frozen", frozen)
    modes = [part.training for part in model.modules()]
    with caplog.at_level(logging.INFO, "mmgr"):
        assert model.whole_edge == 96
    assert "embedded at 96 pixels: the encoder cannot see 88" in caplog.text
    assert [part.training for part in model.modules()] == modes


def test_an_encoder_that_cannot_see_whole_patches_is_refused_before_it_is_trained(
    store: RegionStore, vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe(*_: object) -> Tensor:
        raise IndexError("maps of shape (1, 9)")

    monkeypatch.setattr(MultiModalModel, "describe_images", describe)
    with pytest.raises(ConfigError, match=r"whole patches of 44 or 32 or 64 pixels.*maps of shape \(1, 9\)"):
        pretrain(store, vectors, small_recipe(), folder=tmp_path / "run", seed=0, device="cpu")
    assert not (tmp_path / "run").exists()


def test_random_weights_take_views_as_they_are() -> None:
    for bands in (1, 3, 4):
        model = seeded_model(small_recipe("simclr"), None, bands, seed=0)
        assert torch.equal(model.view_factor, torch.ones(bands, 1, 1))
        assert torch.equal(model.view_summand, torch.zeros(bands, 1, 1))


@pytest.mark.parametrize("bands", [1, 3, 5])
def test_weights_of_a_file_see_bands_as_timm_states_for_them(tmp_path: Path, bands: int) -> None:
    source = timm.create_model("test_resnet", num_classes=0)  # of mean and spread 0.5
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    model = seeded_model(small_recipe("simclr", weights=path), None, bands, seed=0).eval()
    images = torch.rand(2, bands, 32, 32)
    with torch.no_grad():
        found, wanted = model.encode_images(normalise(images)), model.image_encoder((images - 0.5) / 0.5)
    assert torch.allclose(found, wanted, atol=1e-5)
    chosen = {"band_mean": [0.1 * (k + 1) for k in range(bands)], "band_std": [0.3] * bands}
    model = seeded_model(small_recipe("simclr", weights=path, **chosen), None, bands, seed=0).eval()
    mean = torch.tensor(chosen["band_mean"])[:, None, None]
    with torch.no_grad():
        found, wanted = model.encode_images(normalise(images)), model.image_encoder((images - mean) / 0.3)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_repeated_bands_have_repeated_means() -> None:
    encoder = timm.create_model("resnet18", num_classes=0, in_chans=5)
    factor, summand = view_scale(encoder, small_recipe("simclr", weights="pretrained"), 5)
    images = torch.rand(5, 4, 4)
    mean = torch.tensor([0.485, 0.456, 0.406, 0.485, 0.456])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225, 0.229, 0.224])[:, None, None]
    assert torch.allclose(normalise(images[None])[0] * factor + summand, (images - mean) / std, atol=1e-5)


def test_means_of_other_bands_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"band_mean: 2 values for images of 3 bands"):
        seeded_model(small_recipe("simclr", band_mean=(0.5, 0.5), band_std=(0.5, 0.5)), None, 3, seed=0)
    with pytest.raises(ValueError, match="go together"):
        small_recipe(band_mean=(0.5,))


def test_weights_of_the_hub_for_other_bands_are_told_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    create, source = timm.create_model, timm.create_model("test_resnet", num_classes=7)

    def from_hub(name: str, *, pretrained: bool = False, **more: object) -> torch.nn.Module:
        overlay = {"pretrained_cfg_overlay": {"state_dict": source.state_dict()}} if pretrained else {}
        return create(name, pretrained=pretrained, **more, **overlay)

    monkeypatch.setattr(encoders.timm, "create_model", from_hub)
    with caplog.at_level(logging.INFO, "mmgr"):
        encoder, _ = image_encoder("test_resnet", weights="pretrained", bands=4, crop=32)
    assert "test_resnet: its weights for 3 bands become weights for 4" in caplog.text
    there, here = source.conv1[0].weight, encoder.conv1[0].weight
    assert torch.allclose(here, there[:, [0, 1, 2, 0]] * 3 / 4)
