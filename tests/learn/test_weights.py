from __future__ import annotations

import logging
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mmgr.errors import ArtefactError, InputError
from mmgr.learn.convert import convert, main
from mmgr.learn.encoders import image_encoder
from mmgr.learn.weights import encoder_weights, load_weights, read_weights


def loaded(found: dict[str, Tensor], encoder: nn.Module, **more: object) -> nn.Module:
    encoder.load_state_dict(encoder_weights(found, encoder, name="encoder", source="file", **more))  # type: ignore[arg-type]
    return encoder.eval()


def scrambled(model: nn.Module) -> nn.Module:
    """Give every weight and statistic a value of its own, so that no two can be taken for each other."""
    torch.manual_seed(0)
    with torch.no_grad():
        for value in (*model.parameters(), *(b for n, b in model.named_buffers() if "running" in n)):
            value.add_(0.1 * torch.rand_like(value))
    return model.eval()


def vit() -> tuple[nn.Module, nn.Module]:
    theirs = torchvision.models.VisionTransformer(
        image_size=48, patch_size=16, num_layers=2, num_heads=2, hidden_dim=32, mlp_dim=64
    )
    theirs.heads = nn.Identity()
    made = {"img_size": 48, "embed_dim": 32, "depth": 2, "num_heads": 2, "mlp_ratio": 2}
    return theirs, timm.create_model("vit_tiny_patch16_224", num_classes=0, **made)


def convnext() -> tuple[nn.Module, nn.Module]:
    from torchvision.models.convnext import CNBlockConfig

    stages = [CNBlockConfig(8, 16, 1), CNBlockConfig(16, 24, 2), CNBlockConfig(24, 32, 2), CNBlockConfig(32, None, 1)]
    theirs = torchvision.models.ConvNeXt(stages)
    theirs.classifier[2] = nn.Identity()
    return theirs, timm.create_model("convnext_tiny", num_classes=0, depths=(1, 2, 2, 1), dims=(8, 16, 24, 32))


def swin(*, second: bool) -> tuple[nn.Module, nn.Module]:
    from torchvision.models import swin_transformer as tv

    parts = {"block": tv.SwinTransformerBlockV2, "downsample_layer": tv.PatchMergingV2} if second else {}
    theirs = tv.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4], stochastic_depth_prob=0.0, **parts)
    theirs.head = nn.Identity()
    name = "swinv2_tiny_window8_256" if second else "swin_tiny_patch4_window7_224"
    made = {"img_size": 64, "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
    return theirs, timm.create_model(name, num_classes=0, **made)


@pytest.mark.parametrize(
    ("models", "edge"),
    [
        (lambda: (torchvision.models.resnet18(), timm.create_model("resnet18", num_classes=0)), 64),
        (vit, 48),
        (convnext, 64),
        (lambda: swin(second=False), 64),
        (lambda: swin(second=True), 64),
    ],
    ids=["resnet", "vit", "convnext", "swin", "swin v2"],
)
def test_torchvisions_weights_give_torchvisions_features(
    models: Callable[[], tuple[nn.Module, nn.Module]], edge: int
) -> None:
    theirs, ours = models()
    scrambled(theirs)
    weights = dict(theirs.state_dict())  # a ResNet's with `fc`
    if hasattr(theirs, "fc"):
        theirs.fc = nn.Identity()
    images = torch.randn(2, 3, edge, edge)
    with torch.no_grad():
        assert torch.allclose(loaded(weights, ours)(images), theirs(images), atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("prefix", ["encoder.", "model.backbone.", "module.encoder_q.", ""])
def test_a_prefix_and_what_lies_outside_it_are_taken_off(prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    theirs = scrambled(torchvision.models.resnet18())
    found = {f"{prefix}{key}": value for key, value in theirs.state_dict().items()}
    if prefix:
        found |= {"projection.0.weight": torch.zeros(2, 2), "queue": torch.zeros(3)}
    images = torch.randn(1, 3, 32, 32)
    with caplog.at_level(logging.INFO, "mmgr"):
        ours = loaded(found, timm.create_model("resnet18", num_classes=0))
    theirs.fc = nn.Identity()
    assert torch.equal(ours(images), theirs(images))
    assert ("2 tensors outside" in caplog.text) == bool(prefix)
    given = loaded(found, timm.create_model("resnet18", num_classes=0), prefix=prefix)
    assert torch.equal(given(images), ours(images))


def test_two_encoders_in_one_file_are_refused_by_their_names() -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    both = {f"{prefix}.{key}": value for prefix in ("backbone", "backbone_momentum") for key, value in weights.items()}
    with pytest.raises(ArtefactError, match=r"several such encoders, under 'backbone\.', 'backbone_momentum\.'"):
        loaded(both, timm.create_model("test_resnet", num_classes=0))


def test_two_encoders_without_counters_are_refused_too() -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    weights = {key: value for key, value in weights.items() if "num_batches" not in key}
    both = {f"{prefix}.{key}": value for prefix in ("encoder_q", "encoder_k") for key, value in weights.items()}
    with pytest.raises(ArtefactError, match=r"several such encoders, under 'encoder_k\.', 'encoder_q\.'"):
        loaded(both, timm.create_model("test_resnet", num_classes=0))


@pytest.mark.parametrize("prefix", ["backbone_", "model/encoder/", "net:"])
def test_a_prefix_may_end_in_another_sign_than_a_dot(prefix: str) -> None:
    source = scrambled(timm.create_model("resnet18", num_classes=0))
    found = {f"{prefix}{key}": value for key, value in source.state_dict().items()}
    ours = loaded(found, timm.create_model("resnet18", num_classes=0))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(ours(images), source(images))


def test_weights_that_are_not_finite_are_refused() -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    weights["bn1.running_var"].flatten()[[1, 3]] = torch.tensor([torch.nan, torch.inf])
    spoilt = r"pretrain\.weights: file: tensor bn1\.running_var holds 2 of \d+ values that are not finite\. "
    with pytest.raises(ArtefactError, match=spoilt):
        loaded(weights, timm.create_model("test_resnet", num_classes=0))
    every = {key: value * torch.nan if value.is_floating_point() else value for key, value in weights.items()}
    with pytest.raises(ArtefactError, match=r"holds \d+ of \d+ values .* \(and \d+ more tensors hold such\)"):
        loaded(every, timm.create_model("test_resnet", num_classes=0))


def test_counters_of_batches_may_be_missing() -> None:
    weights = timm.create_model("test_resnet", num_classes=0).state_dict()
    loaded({k: v for k, v in weights.items() if "tracked" not in k}, timm.create_model("test_resnet", num_classes=0))


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_convnext"])
def test_three_bands_become_others_as_timm_does_it(name: str, caplog: pytest.LogCaptureFixture) -> None:
    source = scrambled(timm.create_model(name, num_classes=0))
    for bands in (1, 4, 6):
        trusted = timm.create_model(
            name,
            pretrained=True,
            num_classes=0,
            in_chans=bands,
            pretrained_cfg_overlay={"state_dict": source.state_dict()},
        )
        with caplog.at_level(logging.INFO, "mmgr"):
            ours = loaded(source.state_dict(), timm.create_model(name, num_classes=0, in_chans=bands))
        for key, value in trusted.state_dict().items():
            assert torch.equal(value, ours.state_dict()[key]), key
        assert ("summed to one" if bands == 1 else f"repeated to {bands} and scaled by {3 / bands:.3g}") in caplog.text


def test_bands_of_a_file_with_many_are_taken_by_their_number(tmp_path: Path) -> None:
    source = scrambled(timm.create_model("test_resnet", num_classes=0, in_chans=13))
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    path = str(tmp_path / "w.safetensors")
    with pytest.raises(ArtefactError, match=r"images of 13 bands, and these have 3\. Say which .*weights_bands"):
        image_encoder("test_resnet", weights=path, bands=3, crop=32)
    ours, _ = image_encoder("test_resnet", weights=path, bands=3, crop=32, weights_bands=(4, 3, 2))
    wide = torch.zeros(1, 13, 32, 32)
    images = torch.randn(1, 3, 32, 32)
    wide[:, [3, 2, 1]] = images * 13 / 3
    assert torch.allclose(ours.eval()(images), source(wide), atol=1e-5)
    for wrong in ((4, 3), (4, 3, 14)):
        with pytest.raises(
            ArtefactError, match=r"weights_bands: \[4, 3.* are to be 3 of the 13 bands of .*w\.safetensors"
        ):
            image_encoder("test_resnet", weights=path, bands=3, crop=32, weights_bands=wrong)


def test_positions_are_resampled_to_the_size_of_the_crop_as_timm_does_it() -> None:
    for name, size in (("vit_tiny_patch16_224", 64), ("swin_tiny_patch4_window7_224", 64)):
        small = {"embed_dim": 24, "num_heads": 3} | (
            {"depth": 1} if "vit" in name else {"depths": (1, 1), "num_heads": (3, 6)}
        )
        source = scrambled(timm.create_model(name, num_classes=0, **small))
        wanted = {"num_classes": 0, "img_size": size, **small}
        trusted = timm.create_model(
            name, pretrained=True, pretrained_cfg_overlay={"state_dict": source.state_dict()}, **wanted
        )
        ours = loaded(source.state_dict(), timm.create_model(name, **wanted))
        for key, value in trusted.state_dict().items():
            assert torch.equal(value, ours.state_dict()[key]), key
        if "vit" in name:
            assert ours.pos_embed.shape[1] == 17 != source.pos_embed.shape[1]


def assert_alike(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Compare features that differ by rounding, which is a part of the largest: processors sum in different orders."""
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()


def test_torchgeos_resnets_have_no_classifier_and_other_bands(tmp_path: Path) -> None:
    """As torchgeo publishes them for Sentinel-2: bare names, without `fc`, of 13 bands."""
    torch.manual_seed(0)
    theirs = torchvision.models.resnet50()
    theirs.conv1 = nn.Conv2d(13, 64, 7, 2, 3, bias=False)
    theirs.fc = nn.Identity()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of what it sees, so that values stay of one size
    with torch.no_grad():
        theirs.train()(torch.randn(4, 13, 64, 64) + 0.3)
    theirs.eval()
    published = theirs.state_dict()
    assert {key.partition(".")[0] for key in published} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"}
    save_file(published, tmp_path / "sentinel2.safetensors")
    weights = str(tmp_path / "sentinel2.safetensors")
    images = torch.randn(2, 13, 64, 64)
    ours, features = image_encoder("resnet50", weights=weights, bands=13, crop=64)
    with torch.no_grad():
        assert features == 2048
        assert_alike(ours.eval()(images), theirs(images))
    with pytest.raises(ArtefactError, match=r"is for images of 13 bands, and these have 3.*weights_bands"):
        image_encoder("resnet50", weights=weights, bands=3, crop=64)
    ours, _ = image_encoder("resnet50", weights=weights, bands=3, crop=64, weights_bands=(4, 3, 2))
    only = torch.zeros_like(images)
    only[:, [3, 2, 1]] = images[:, :3] * 13 / 3
    with torch.no_grad():
        assert_alike(ours.eval()(images[:, :3]), theirs(only))


@pytest.mark.parametrize("name", ["vgg11", "efficientnet_b0", "mobilenet_v3_small", "regnet_y_400mf"])
def test_torchvisions_models_of_other_blocks_are_refused(name: str) -> None:
    ours = {"mobilenet_v3_small": "mobilenetv3_small_100", "regnet_y_400mf": "regnety_004"}.get(name, name)
    with pytest.raises(ArtefactError, match=r"does not fit encoder: \d+ of"):
        loaded(getattr(torchvision.models, name)().state_dict(), timm.create_model(ours, num_classes=0))


def test_weights_of_another_model_are_one_clear_error() -> None:
    encoder = timm.create_model("resnet18", num_classes=0)
    with pytest.raises(
        ArtefactError, match=r"file does not fit encoder: \d+ of its 100 tensors are there.*\n.*missing"
    ):
        loaded(timm.create_model("test_vit", num_classes=0).state_dict(), encoder)
    with pytest.raises(ArtefactError, match=r"does not fit encoder: 0 of its 100 .*\n(.*\n)*.*and \d+ more"):
        loaded({"some": torch.zeros(2)}, encoder)
    patches = timm.create_model("vit_tiny_patch16_224", num_classes=0, embed_dim=24, depth=1, patch_size=8)
    wanted = timm.create_model("vit_tiny_patch16_224", num_classes=0, embed_dim=24, depth=1)
    with pytest.raises(ArtefactError, match=r"sees patches of 8 x 8 pixels in its first layer, encoder of 16 x 16"):
        loaded(patches.state_dict(), wanted)
    wide = timm.create_model("test_resnet", num_classes=0, channels=(32, 48, 48, 64))
    with pytest.raises(ArtefactError, match=r"does not fit encoder.*\n.*has shape .*, not "):
        loaded(wide.state_dict(), timm.create_model("test_resnet", num_classes=0))
    # of blocks that timm builds and names in another way
    with pytest.raises(ArtefactError, match=r"does not fit encoder: \d+ of"):
        loaded(torchvision.models.mobilenet_v2().state_dict(), timm.create_model("mobilenetv2_100", num_classes=0))


def test_a_file_that_is_no_safetensors_file_is_one_clear_error(tmp_path: Path) -> None:
    encoder = timm.create_model("test_resnet", num_classes=0)
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not safetensors at all")
    with pytest.raises(ArtefactError, match="is not a safetensors file"):
        load_weights(encoder, path, name="test_resnet")
    with pytest.raises(InputError, match=r"pretrain\.weights.*does not exist"):
        read_weights(tmp_path / "no.safetensors")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_is_refused_and_its_conversion_is_read(tmp_path: Path, *, zipped: bool) -> None:
    source = scrambled(timm.create_model("test_resnet", num_classes=0))
    path, target = tmp_path / "w.pth", tmp_path / "w.safetensors"
    checkpoint = {"epoch": 3, "state_dict": {f"model.{k}": v for k, v in source.state_dict().items()}}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ArtefactError, match=r"w\.pth is a pickle.*mmgr\.learn\.convert .*w\.pth w\.safetensors"):
        read_weights(path)
    assert main([str(path), str(target)]) == 0
    ours = loaded(load_file(target), timm.create_model("test_resnet", num_classes=0))
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(ours(images), source(images))


def test_the_command_that_converts_a_pickle_can_be_copied_as_it_is(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1)}, tmp_path / "my w (1).pth")
    with pytest.raises(ArtefactError) as error:
        read_weights(tmp_path / "my w (1).pth")
    words = shlex.split(str(error.value).split("`")[1])
    assert words == ["python", "-m", "mmgr.learn.convert", str(tmp_path / "my w (1).pth"), "my w (1).safetensors"]
    # a pickle that is called safetensors is not written over itself
    torch.save({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(ArtefactError, match=r"w\.safetensors is a pickle.*w\.safetensors w-converted\.safetensors`"):
        read_weights(tmp_path / "w.safetensors")
    assert convert(tmp_path / "w.safetensors", tmp_path / "w-converted.safetensors") == 1
    assert list(load_file(tmp_path / "w-converted.safetensors")) == ["w"]


class Evil:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


def test_a_pickle_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(1), "x": Evil(tmp_path / "mark")}, tmp_path / "w.pth")
    with pytest.raises(ArtefactError, match=r"w\.pth cannot be converted"):
        convert(tmp_path / "w.pth", tmp_path / "w.safetensors")
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(ArtefactError, match="no state dict"):
        convert(tmp_path / "none.pth", tmp_path / "w.safetensors")
    assert main([str(tmp_path / "w.pth"), str(tmp_path / "w.safetensors")]) == 2
    assert main([]) == 2
    assert not list(tmp_path.glob("mark"))
    assert not list(tmp_path.glob("*.safetensors"))
