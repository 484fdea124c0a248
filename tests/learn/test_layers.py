from __future__ import annotations

import pytest
import timm
import torch

from mmgr.errors import ConfigError
from mmgr.learn.layers import blocks_of, keep_statistics, train_last

SETTINGS = {"rate": 0.1, "decay": 0.5, "weight_decay": 0.2}


@pytest.mark.parametrize(
    ("name", "blocks", "first", "last"),
    [
        ("test_resnet", 5, "conv1.", "layer4."),
        ("test_vit", 7, "patch_embed.", "blocks.5."),
        ("test_convnext", 10, "stem.", "stages.3."),
    ],
)
def test_blocks_go_from_the_image_to_the_features_and_hold_every_parameter_once(
    name: str, blocks: int, first: str, last: str
) -> None:
    encoder = timm.create_model(name, num_classes=0)
    found = blocks_of(encoder)
    assert len(found) == blocks
    assert sorted(name for block in found for name in block) == sorted(name for name, _ in encoder.named_parameters())
    assert any(name.startswith(first) for name in found[0])
    assert any(name.startswith(last) for name in found[-1])


def test_an_encoder_that_says_nothing_of_its_layers_is_one_block() -> None:
    assert blocks_of(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))) == [
        ["0.weight", "0.bias", "1.weight", "1.bias"]
    ]


def test_the_last_blocks_are_trained_and_those_below_more_slowly() -> None:
    encoder = timm.create_model("test_resnet", num_classes=0)
    groups = train_last(encoder, 2, **SETTINGS)
    trained = {name for name, parameter in encoder.named_parameters() if parameter.requires_grad}
    assert trained == {name for name, _ in encoder.named_parameters() if name.startswith(("layer3.", "layer4."))}
    assert {group["rate"] for group in groups} == {0.1, 0.05}
    rates = {id(parameter): group["rate"] for group in groups for parameter in group["params"]}
    assert rates[id(encoder.layer4[0].conv1.weight)] == 0.1
    assert rates[id(encoder.layer3[0].conv1.weight)] == 0.05
    assert {parameter.ndim for group in groups if not group["weight_decay"] for parameter in group["params"]} == {1}
    assert sum(len(group["params"]) for group in groups) == len(trained)


def test_all_blocks_are_trained_by_default_and_more_than_all_are_refused() -> None:
    encoder = timm.create_model("test_resnet", num_classes=0)
    train_last(encoder, 1, **SETTINGS)
    groups = train_last(encoder, None, **SETTINGS)
    assert all(parameter.requires_grad for parameter in encoder.parameters())
    assert min(group["rate"] for group in groups) == 0.1 * 0.5**4
    with pytest.raises(ConfigError, match=r"finetune\.blocks: the encoder has 5 blocks, 6 are asked for"):
        train_last(encoder, 6, **SETTINGS)


def test_batch_norms_keep_what_they_know() -> None:
    encoder = timm.create_model("test_resnet", num_classes=0).train()
    keep_statistics(encoder)
    before = encoder.bn1.running_mean.clone() if hasattr(encoder, "bn1") else None
    encoder(torch.randn(4, 3, 32, 32))
    assert before is not None
    assert torch.equal(encoder.bn1.running_mean, before)
    assert encoder.layer1.training
