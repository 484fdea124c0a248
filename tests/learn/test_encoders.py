from __future__ import annotations

import math
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgr.errors import ConfigError
from mmgr.learn import encoders
from mmgr.learn.encoders import PoiEncoder, Set2Set, image_encoder, ragged_softmax

CHANNELS, STEPS = 6, 5


def bags() -> tuple[Tensor, Tensor]:
    """Items of four sets, of which the third has none; not in the order of their sets."""
    torch.manual_seed(0)
    return torch.randn(9, CHANNELS), torch.tensor([0, 0, 1, 3, 3, 3, 1, 0, 3])


# the trusted one's library compiles scripts in a way that PyTorch will drop
trusted_import = pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")


@trusted_import
def test_set2set_equals_the_trusted_one_with_the_same_weights() -> None:
    from torch_geometric.nn.aggr import Set2Set as Trusted

    items, owner = bags()
    order = owner.argsort(stable=True)  # the trusted one wants sorted sets
    ours, trusted = Set2Set(CHANNELS, STEPS), Trusted(CHANNELS, STEPS)
    trusted.lstm.load_state_dict(ours.lstm.state_dict())
    found = ours(items, owner, torch.ones(9), 4)
    assert torch.allclose(found, trusted(items[order], owner[order], dim_size=4), atol=1e-6)


@trusted_import
def test_an_item_with_a_count_equals_repeated_items() -> None:
    from torch_geometric.nn.aggr import Set2Set as Trusted

    items, owner = bags()
    count = torch.tensor([1, 3, 2, 1, 7, 1, 1, 4, 2])
    ours, trusted = Set2Set(CHANNELS, STEPS), Trusted(CHANNELS, STEPS)
    trusted.lstm.load_state_dict(ours.lstm.state_dict())
    found = ours(items, owner, count.float(), 4)
    order = owner.repeat_interleave(count).argsort(stable=True)
    repeated = items.repeat_interleave(count, 0)[order], owner.repeat_interleave(count)[order]
    assert torch.allclose(found, trusted(*repeated, dim_size=4), atol=1e-6)
    assert torch.allclose(found, ours(*repeated, torch.ones(len(order)), 4), atol=1e-6)


def test_set2set_equals_explicit_loops_and_an_empty_set_reads_zeros() -> None:
    items, owner = bags()
    count = torch.tensor([1.0, 3, 2, 1, 7, 1, 1, 4, 2])
    ours = Set2Set(CHANNELS, STEPS)
    found = ours(items, owner, count, 4)
    for region in range(4):
        mine = [k for k in range(9) if owner[k] == region]
        output, hidden, cell = torch.zeros(2 * CHANNELS), torch.zeros(CHANNELS), torch.zeros(CHANNELS)
        weights = ours.lstm.state_dict()
        for _ in range(STEPS):
            gates = weights["weight_ih_l0"] @ output + weights["bias_ih_l0"]
            gates = gates + weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]
            enter, forget, new, leave = gates.chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            shares = [float(count[k]) * math.exp(float(items[k] @ hidden)) for k in mine]
            readout = sum(
                (s / sum(shares) * items[k] for s, k in zip(shares, mine, strict=True)), torch.zeros(CHANNELS)
            )
            output = torch.cat([hidden, readout])
        assert torch.allclose(found[region], output, atol=1e-6)
    assert not found[2, CHANNELS:].any()
    assert found[2].isfinite().all()


def test_the_order_of_pois_does_not_matter_and_no_poi_at_all_is_no_error() -> None:
    items, owner = bags()
    encoder = PoiEncoder(items, STEPS)
    category, count = torch.arange(9), torch.ones(9)
    order = torch.randperm(9)
    found = encoder(category, count, owner, 4)
    assert found.shape == (4, encoder.features) == (4, 2 * CHANNELS)
    assert torch.allclose(found, encoder(category[order], count, owner[order], 4), atol=1e-6)
    nothing = encoder(category[:0], count[:0], owner[:0], 2)
    assert torch.allclose(nothing, found[2].expand(2, -1), atol=1e-6)


def test_category_vectors_are_not_trained() -> None:
    encoder = PoiEncoder(torch.randn(4, CHANNELS), STEPS)
    assert "vectors" in encoder.state_dict()
    assert all("vectors" not in name for name, _ in encoder.named_parameters())


def test_softmax_of_large_logits_does_not_overflow() -> None:
    weight = ragged_softmax(torch.tensor([1e4, 1e4, -1e4]), torch.tensor([0, 0, 1]), 3)
    assert weight.tolist() == [0.5, 0.5, 1.0]


@pytest.mark.parametrize(("name", "features"), [("test_resnet", 96), ("test_vit", 64)])
def test_any_timm_model_gives_features_for_any_bands_and_size(name: str, features: int) -> None:
    encoder, found = image_encoder(name, weights="random", bands=4, crop=32)
    assert encoder(torch.zeros(2, 4, 32, 32)).shape == (2, found)
    assert found == features


def test_an_unknown_encoder_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"pretrain\.encoder.*'resnet19'.*resnet18"):
        image_encoder("resnet19", weights="random", bands=3, crop=32)


def test_pretrained_weights_without_a_network_are_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise FileNotFoundError("An error happened while trying to locate the file on the Hub\nsecond line")

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
