"""The encoder weights that come with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import normalize

from mmgr.bench.sample import sample_patches
from mmgr.config import Pretrain
from mmgr.errors import ConfigError
from mmgr.learn.encoders import image_encoder
from mmgr.learn.recipes import resolve
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER, shipped_weights


def test_they_are_small_have_no_classifier_and_say_whose_they_are() -> None:
    with safe_open(shipped_weights(), "pt") as weights:
        names = set(weights.keys())
        assert not [name for name in names if name.startswith("classifier")]
        assert {weights.get_tensor(name).dtype for name in names if "running" in name} == {torch.float32}
    assert shipped_weights().stat().st_size < 7_500_000
    said = shipped_weights().with_name("ATTRIBUTION.md").read_text(encoding="utf-8")
    assert shipped_weights().name in said
    assert "Apache License 2.0" in said


def halves_found(weights: str) -> float:
    """Return how many of 120 real patches' left halves have their own right half nearest."""
    images = torch.tensor(sample_patches(128)[:120]).permute(0, 3, 1, 2) / 127.5 - 1
    torch.manual_seed(0)
    encoder, features = image_encoder(SHIPPED_ENCODER, weights=weights, bands=3, crop=64)
    assert features == 1280
    with torch.no_grad():
        left, right = (encoder.eval()(half) for half in images.split(64, dim=3))
    alike = normalize(left - left.mean(0)) @ normalize(right - right.mean(0)).T
    return float((alike.argmax(1) == torch.arange(len(alike))).float().mean())


def test_they_know_more_of_aerial_images_than_random_weights() -> None:
    assert halves_found(SHIPPED) > max(0.15, 2 * halves_found("random"))


@pytest.mark.parametrize(
    ("named", "encoder", "weights"),
    [
        ({}, SHIPPED_ENCODER, SHIPPED),
        ({"recipe": "simclr"}, SHIPPED_ENCODER, SHIPPED),
        ({"encoder": SHIPPED_ENCODER}, SHIPPED_ENCODER, SHIPPED),
        ({"encoder": f"hf-hub:timm/{SHIPPED_ENCODER}"}, SHIPPED_ENCODER, SHIPPED),
        ({"encoder": f"hf_hub:timm/{SHIPPED_ENCODER}.in1k"}, f"{SHIPPED_ENCODER}.in1k", SHIPPED),
        ({"encoder": "resnet18"}, "resnet18", "random"),
        ({"weights": "random"}, SHIPPED_ENCODER, "random"),
        ({"recipe": "mmgr-2023"}, "resnet50", "random"),
        ({"recipe": "mmgr-2023", "encoder": SHIPPED_ENCODER}, SHIPPED_ENCODER, "random"),
        ({"recipe": "mmgr-2023", "weights": SHIPPED}, SHIPPED_ENCODER, SHIPPED),
        ({"weights": SHIPPED, "encoder": "resnet18"}, "resnet18", SHIPPED),
        ({"weights": Path("mine.safetensors")}, SHIPPED_ENCODER, "mine.safetensors"),
    ],
)
def test_they_are_the_start_of_ours_and_of_their_encoder(named: dict[str, Any], encoder: str, weights: str) -> None:
    recipe = resolve(Pretrain(**named))
    assert (recipe.encoder, recipe.weights) == (encoder, weights)


def test_another_encoder_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"only weights of tf_efficientnet_lite0 ship .* pretrain\.encoder is resnet18"
    ):
        image_encoder("resnet18", weights=SHIPPED, bands=3, crop=32)


def test_other_bands_are_those_of_timms_convention() -> None:
    encoder, _ = image_encoder(SHIPPED_ENCODER, weights=SHIPPED, bands=1, crop=32)
    three, _ = image_encoder(SHIPPED_ENCODER, weights=SHIPPED, bands=3, crop=32)
    summed = three.get_parameter("conv_stem.weight").sum(dim=1, keepdim=True)
    torch.testing.assert_close(encoder.get_parameter("conv_stem.weight"), summed)
