"""Depthwise convolutions whose gradients are fast on a CPU where oneDNN has no fast way.

*Maps smaller than kernels.* The last stages of small encoders, on views of 64 pixels, have maps of 2 x 2 and 4 x 4
cells and kernels of 5 x 5. Eight such layers of EfficientNet-Lite0 took nearly half of a training step by the weights'
gradient. But kernel and map meet in few places there, and the gradient is a sum of products for each.

*bfloat16.* Steps of more than a cell, and kernels of more than three, have fast gradients in float32 alone. So their
numbers are turned to float32 for the gradients, which are the more exact, too.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from timm.layers import Conv2dSame, pad_same
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_input, conv2d_weight

Pair = tuple[int, int]


def quick_depthwise(encoder: nn.Module) -> None:
    """Let an encoder's depthwise convolutions find their gradients fast; outputs and names of weights stay the same."""
    for module in encoder.modules():
        quick = _QUICK.get(type(module))
        if quick is not None and _is_depthwise(cast("nn.Conv2d", module)):
            module.__class__ = quick


def weight_gradient(x: Tensor, gradient: Tensor, kernel: Pair, stride: Pair, padding: Pair) -> Tensor:
    """Return the gradient of a depthwise convolution's weights.

    Parameters
    ----------
    x
        Its input, shape ``(B, C, H, W)``.
    gradient
        Of its output, shape ``(B, C, h, w)``.
    kernel, stride, padding
        Rows and columns of each.

    Returns
    -------
    Shape ``(C, 1, *kernel)``, float32.
    """
    found = x.new_zeros((*kernel, x.shape[1]), dtype=torch.float32)
    x, gradient = x.float(), gradient.float()
    for i in range(kernel[0]):
        rows, of_rows = _meeting(i, x.shape[2], gradient.shape[2], stride[0], padding[0])
        for j in range(kernel[1]):
            columns, of_columns = _meeting(j, x.shape[3], gradient.shape[3], stride[1], padding[1])
            found[i, j] = (x[:, :, rows, columns] * gradient[:, :, of_rows, of_columns]).sum((0, 2, 3))
    return found.permute(2, 0, 1)[:, None]


def _meeting(place: int, cells: int, outputs: int, stride: int, padding: int) -> tuple[slice, slice]:
    """Return which input cells a row of the kernel meets, along one axis, and of which outputs."""
    shift = place - padding
    first = max(0, -(shift // stride))
    last = max(first, min(outputs, (cells - 1 - shift) // stride + 1))
    start = first * stride + shift
    return slice(start, start + (last - first) * stride, stride), slice(first, last)


class _Convolve(torch.autograd.Function):
    """A depthwise convolution without bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: Pair, padding: Pair, small: bool) -> Tensor:  # noqa: FBT001
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding, ctx.small = stride, padding, small
        return conv2d(x, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        x, weight = ctx.saved_tensors
        to_x = to_weight = None
        # under autocast the gradient is in the precision that the convolution had
        gradient, usual = gradient.float(), (ctx.stride, ctx.padding, 1, len(weight))
        if ctx.needs_input_grad[0]:
            given = conv2d_input(x.shape, weight.float(), gradient, *usual)  # type: ignore[no-untyped-call]
            to_x = given.to(x.dtype)
        if ctx.needs_input_grad[1]:
            if ctx.small:
                found = weight_gradient(x, gradient, weight.shape[2:], ctx.stride, ctx.padding)
            else:
                found = conv2d_weight(x.float(), weight.shape, gradient, *usual)  # type: ignore[no-untyped-call]
            to_weight = found.to(weight.dtype)
        return to_x, to_weight, None, None, None


def _is_depthwise(module: nn.Conv2d) -> bool:
    return (
        1 < module.groups == module.in_channels == module.out_channels
        and module.bias is None
        and module.dilation == (1, 1)
        and module.padding_mode == "zeros"
        and not isinstance(module.padding, str)
    )


def _is_small(module: nn.Conv2d, x: Tensor) -> bool:
    """Say whether maps, shape ``(B, C, H, W)``, are smaller than the kernel."""
    return min(x.shape[-2:]) < max(module.kernel_size)


def _is_quicker(module: nn.Conv2d, x: Tensor) -> bool:
    if not (module.training and torch.is_grad_enabled() and x.device.type == "cpu") or torch.compiler.is_compiling():
        return False
    if _is_small(module, x):
        return True
    autocast = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
    return (autocast or x.dtype == torch.bfloat16) and (max(module.kernel_size) > 3 or max(module.stride) > 1)


class DepthwiseConv2d(nn.Conv2d):
    """A depthwise convolution of ours; made by :func:`quick_depthwise`."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, shape ``(B, C, H, W)`` to ``(B, C, h, w)``."""
        if not _is_quicker(self, x):
            return super().forward(x)
        return cast("Tensor", _Convolve.apply(x, self.weight, self.stride, self.padding, _is_small(self, x)))


class DepthwiseConv2dSame(Conv2dSame):  # type: ignore[misc]  # timm's have no types here
    """The same with TensorFlow's padding."""

    def forward(self, x: Tensor) -> Tensor:
        """Convolve, shape ``(B, C, H, W)`` to ``(B, C, h, w)``."""
        if not _is_quicker(self, x):
            return cast("Tensor", super().forward(x))
        padded = pad_same(x, self.kernel_size, self.stride, self.dilation)
        return cast("Tensor", _Convolve.apply(padded, self.weight, self.stride, (0, 0), _is_small(self, x)))


_QUICK: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: DepthwiseConv2d, Conv2dSame: DepthwiseConv2dSame}
