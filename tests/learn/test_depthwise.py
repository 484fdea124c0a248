"""Depthwise convolutions with gradients of our own: the same numbers, sooner."""

from __future__ import annotations

from copy import deepcopy

import pytest
import timm
import torch
from timm.layers import Conv2dSame
from torch import nn
from torch.nn.functional import conv2d

from mmgr.learn import depthwise
from mmgr.learn.depthwise import DepthwiseConv2d, DepthwiseConv2dSame, quick_depthwise, weight_gradient
from mmgr.learn.encoders import image_encoder
from mmgr.learn.shipped import SHIPPED_ENCODER


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5), (7, 3), (1, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1), (3, 3)])
@pytest.mark.parametrize("padding", [(0, 0), (2, 2), (3, 1)])
def test_gradients_of_weights_are_those_of_torch(
    kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    compared = 0
    for height in range(1, 9):
        for width in (1, 2, 4, 7):
            if height + 2 * padding[0] < kernel[0] or width + 2 * padding[1] < kernel[1]:
                continue
            x = torch.randn(3, 4, height, width)
            weight = torch.randn(4, 1, *kernel, requires_grad=True)
            output = conv2d(x, weight, None, stride, padding, 1, 4)
            given = torch.randn_like(output)
            (wanted,) = torch.autograd.grad(output, weight, given)
            found = weight_gradient(x, given, kernel, stride, padding)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
            compared += 1
    assert compared > 3


@pytest.mark.parametrize("autocast", [False, True])
def test_an_encoder_learns_as_before(monkeypatch: pytest.MonkeyPatch, *, autocast: bool) -> None:
    torch.manual_seed(0)
    plain = timm.create_model(SHIPPED_ENCODER, num_classes=0, drop_path_rate=0).train()
    quick = deepcopy(plain)
    quick_depthwise(quick)
    kinds = {type(module) for module in quick.modules()}
    assert {DepthwiseConv2d, DepthwiseConv2dSame} <= kinds
    assert list(quick.state_dict()) == list(plain.state_dict())
    used = []
    measure = depthwise.weight_gradient
    monkeypatch.setattr(depthwise, "weight_gradient", lambda *given: used.append(given) or measure(*given))
    views = torch.randn(6, 3, 64, 64)
    outputs = []
    for encoder in (plain, quick):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            outputs.append(encoder(views))
        outputs[-1].float().square().mean().backward()
    assert torch.equal(*outputs)
    assert len(used) == 8, "of the layers whose kernels are larger than their maps"
    for (name, wanted), found in zip(plain.named_parameters(), quick.parameters(), strict=True):
        assert wanted.grad is not None
        assert found.grad is not None
        assert found.grad.dtype == wanted.grad.dtype
        # gradients that are 0 but for rounding, as before the next norm, have nothing in common
        error = (found.grad - wanted.grad).norm() / wanted.grad.norm().clamp(min=0.01 if autocast else 0.0)
        # the largest differences are of sums in bfloat16, theirs: .11 without it in hardware, a wrong one 1
        assert error < (0.25 if autocast else 1e-3), name


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2), (3, 1)])
@pytest.mark.parametrize("same", [False, True])
def test_gradients_in_bfloat16_are_nearer_to_those_in_float32_than_torchs(
    monkeypatch: pytest.MonkeyPatch, kernel: int, stride: int, *, same: bool
) -> None:
    torch.manual_seed(0)
    kind = Conv2dSame if same else nn.Conv2d
    plain = kind(8, 8, kernel, stride, padding=kernel // 2, groups=8, bias=False)
    layers = nn.Sequential(deepcopy(plain))
    quick_depthwise(layers)
    used = []
    convolve = depthwise._Convolve.apply
    monkeypatch.setattr(depthwise._Convolve, "apply", lambda *given: used.append(given) or convolve(*given))
    images, given = torch.randn(16, 8, 20, 20), torch.randn(16, 8, -(-20 // stride), -(-20 // stride))

    def gradients(layer: nn.Module, *, rounded: bool) -> tuple[torch.Tensor, ...]:
        x = images.bfloat16().float().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=rounded):
            output = layer(x.bfloat16() if rounded else x)
        return torch.autograd.grad(output, [x, *layer.parameters()], given.bfloat16().to(output.dtype))

    exact, theirs = gradients(plain, rounded=False), gradients(plain, rounded=True)
    ours = gradients(layers, rounded=True)
    assert len(used) == (0 if (kernel, stride) == (3, 1) else 1)
    for wanted, rough, found in zip(exact, theirs, ours, strict=True):
        assert found.dtype == rough.dtype
        error = (found - wanted).norm() / wanted.norm()
        assert error < 0.01
        assert error < 1.1 * (rough - wanted).norm() / wanted.norm() + 1e-6


def test_what_does_not_train_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, _ = image_encoder(SHIPPED_ENCODER, weights="random", bands=3, crop=64)
    assert any(isinstance(module, DepthwiseConv2d) for module in encoder.modules())
    monkeypatch.setattr(depthwise._Convolve, "apply", None)
    with torch.no_grad():
        encoder(torch.zeros(2, 3, 64, 64))
    encoder.eval()(torch.zeros(2, 3, 64, 64))


def test_other_convolutions_stay_as_they_are() -> None:
    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv2d(4, 4, 3, groups=4, bias=True),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, dilation=2),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding="same"),
        nn.Conv2d(4, 4, 3, groups=4, bias=False, padding_mode="reflect", padding=1),
        nn.Conv2d(1, 1, 3, bias=False),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),
    )
    quick_depthwise(layers)
    assert [type(layer) is nn.Conv2d for layer in layers] == [True] * 7 + [False]
