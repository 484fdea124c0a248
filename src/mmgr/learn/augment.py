"""Views: random crops, colours and turns of patches, made in batches on the model's device.

Each view has its own parameters, drawn from an explicit generator on the CPU, so that the same seed makes
the same views on any device. Distributions and formulas are those of the paper's list as torchvision
states them: random resized crop, colour jitter in a random order (one for all views of a batch, where torchvision
draws one an image), grayscale, flips; and quarter turns.

A crop is resized by two small matrices, one a side, that hold the triangle filter's weights: the
antialiased bilinear resize exactly, with flips as reversed rows, and only matrix products to compute.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgr.learn.recipes import Augmentation

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue are (ITU-R BT.601)."""

_TRIES = 10


@dataclass(frozen=True, slots=True)
class ViewParameters:
    """What is done to each of ``B`` patches; the defaults of :func:`whole` do nothing but resize."""

    box: Tensor
    """Left, top, width and height of the crop as parts of the patch, shape ``(B, 4)``."""
    horizontal_flip: Tensor
    """Shape ``(B,)``, bool."""
    vertical_flip: Tensor
    """Shape ``(B,)``, bool."""
    quarter_turns: Tensor
    """Anticlockwise turns by 90 degrees, shape ``(B,)``, 0 .. 3."""
    brightness: Tensor
    """Factor, shape ``(B,)``."""
    contrast: Tensor
    saturation: Tensor
    hue: Tensor
    """Part of the colour circle, shape ``(B,)``."""
    gray: Tensor
    """Shape ``(B,)``, bool."""
    order: tuple[int, ...]
    """Order of brightness (0), contrast (1), saturation (2) and hue (3) in this batch."""

    def to(self, device: torch.device) -> ViewParameters:
        """Move the parameters to a device; from pinned memory the host does not wait for it."""
        return self.changed(lambda part: part.to(device, non_blocking=True))

    def take(self, rows: slice) -> ViewParameters:
        """Return the parameters of some of the views."""
        return self.changed(lambda part: part[rows])

    def changed(self, change: Callable[[Tensor], Tensor]) -> ViewParameters:
        """Do something to all tensors."""
        names = [field.name for field in fields(self) if field.name != "order"]
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, **changed)


def whole(size: int) -> ViewParameters:
    """Return the parameters that leave ``size`` patches as they are."""
    no, one = torch.zeros(size, dtype=torch.bool), torch.ones(size)
    return ViewParameters(
        box=torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(size, 1),
        horizontal_flip=no,
        vertical_flip=no,
        quarter_turns=torch.zeros(size, dtype=torch.int64),
        brightness=one,
        contrast=one,
        saturation=one,
        hue=torch.zeros(size),
        gray=no,
        order=(0, 1, 2, 3),
    )


def draw(size: int, choices: Augmentation, generator: torch.Generator) -> ViewParameters:
    """Draw the parameters of ``size`` views."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(size, generator=generator) * (high - low) + low

    def happens(probability: float) -> Tensor:
        return torch.rand(size, generator=generator) < probability

    box = _boxes(size, choices, generator)
    jittered = happens(choices.jitter)
    factors = {
        name: torch.where(jittered, uniform(1 - spread, 1 + spread), 1.0)
        for name, spread in (
            ("brightness", choices.brightness),
            ("contrast", choices.contrast),
            ("saturation", choices.saturation),
        )
    }
    turns = torch.randint(0, 4, (size,), generator=generator)
    return ViewParameters(
        box=box,
        hue=torch.where(jittered, uniform(-choices.hue, choices.hue), 0.0),
        gray=happens(choices.gray),
        horizontal_flip=happens(choices.horizontal_flip),
        vertical_flip=happens(choices.vertical_flip),
        quarter_turns=turns if choices.quarter_turns else torch.zeros_like(turns),
        order=tuple(torch.randperm(4, generator=generator).tolist()),
        **factors,
    )


@torch.no_grad()
def make_views(patches: Tensor, parameters: ViewParameters, crop: int) -> Tensor:
    """Cut, recolour and normalise views.

    Parameters
    ----------
    patches
        Shape ``(B, H, W, C)``, uint8, on any device. Saturation, hue and gray are for three bands; with
        another number of bands views differ in brightness and contrast alone.
    parameters
        What is done to each patch.
    crop
        Edge of a view in pixels.

    Returns
    -------
    Views, shape ``(B, C, crop, crop)``, float32.
    """
    parameters = parameters.to(patches.device)
    images = patches.permute(0, 3, 1, 2).float().div_(255)  # (B, C, H, W), 0 .. 1
    return normalise_(recolour(resize(images, parameters, crop), parameters))


def seeded_draw(size: int, choices: Augmentation, seed: np.random.SeedSequence) -> ViewParameters:
    """Draw the parameters of ``size`` views, which the seed alone decides."""
    (number,) = seed.generate_state(1, np.uint64)
    return draw(size, choices, torch.Generator().manual_seed(int(number >> 1)))


def resize(images: Tensor, parameters: ViewParameters, crop: int) -> Tensor:
    """Crop, resize, turn and flip images, shape ``(B, C, H, W)`` to ``(B, C, crop, crop)``."""
    height, width = images.shape[-2:]
    left, top, wide, high = parameters.box.unbind(1)
    rows = _filter(top * height, high * height, height, crop)  # (B, crop, H)
    columns = _filter(left * width, wide * width, width, crop)  # (B, crop, W)
    # a quarter turn is a transpose and a flip; a flip before the transpose is one of the other side after it
    turns = parameters.quarter_turns
    transposed = turns % 2 == 1
    flip_rows = parameters.vertical_flip ^ (turns == 1) ^ (turns == 2)
    flip_columns = parameters.horizontal_flip ^ (turns == 2) ^ (turns == 3)
    rows = _flipped(rows, torch.where(transposed, flip_columns, flip_rows))
    columns = _flipped(columns, torch.where(transposed, flip_rows, flip_columns))
    # both sides at once for all bands: matrices of (B, H, W C) and (B, C crop, W)
    size, bands = images.shape[:2]
    high_bands = rows @ images.permute(0, 2, 3, 1).reshape(size, height, width * bands)
    narrow = high_bands.view(size, crop, width, bands).permute(0, 3, 1, 2).reshape(size, bands * crop, width)
    views = (narrow @ columns.mT).view(size, bands, crop, crop)
    return torch.where(_wide(transposed), views.mT, views)


def recolour(images: Tensor, parameters: ViewParameters) -> Tensor:
    """Jitter the colours of images with values of 0 .. 1, shape ``(B, C, H, W)``."""
    coloured = images.shape[1] == 3
    for change in parameters.order:
        if change == 0:
            images = (images * _wide(parameters.brightness)).clamp_(0, 1)
        elif change == 1:
            mean = luma(images).mean((1, 2, 3), keepdim=True)
            images = torch.lerp(mean, images, _wide(parameters.contrast)).clamp_(0, 1)
        elif change == 2 and coloured:
            images = torch.lerp(luma(images), images, _wide(parameters.saturation)).clamp_(0, 1)
        elif change == 3 and coloured:
            images = turn_hue(images, parameters.hue)
    return torch.where(_wide(parameters.gray), luma(images), images) if coloured else images


def luma(images: Tensor) -> Tensor:
    """Return how bright images are, shape ``(B, 1, H, W)``; the mean where bands are not three."""
    if images.shape[1] != 3:
        return images.mean(1, keepdim=True)
    return torch.einsum("bchw,c->bhw", images, constant(LUMA, images))[:, None]


def turn_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue by a part of the colour circle, keeping HSV's saturation and value.

    Parameters
    ----------
    images
        Values of 0 .. 1, shape ``(B, 3, H, W)``.
    turn
        Shape ``(B,)``, within -0.5 .. 0.5.
    """
    red, green, blue = images.unbind(1)  # (B, H, W)
    value = torch.maximum(torch.maximum(red, green), blue)
    chroma = value - torch.minimum(torch.minimum(red, green), blue)
    safe = chroma.clamp(min=1e-12)  # gray has no hue: its chroma of 0 hides what is computed
    hue = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )  # sixths of the circle
    hue = (hue + 6 * turn[:, None, None]).remainder_(6)
    # how much of the chroma each channel lacks, by its distance from the hue on the circle
    lacks = [((hue - 3).abs_() - 2).neg_(), (hue - 2).abs_() - 1, (hue - 4).abs_() - 1]
    return torch.stack([value - lack.clamp_(0, 1) * chroma for lack in lacks], 1)


def normalise(images: Tensor) -> Tensor:
    """Centre and scale bands of values 0 .. 1: by ImageNet's mean and spread for three, by 0.5 and 0.25 otherwise."""
    return normalise_(images.clone())


def normalise_(images: Tensor) -> Tensor:
    """Do what :func:`normalise` does in the images' own memory."""
    mean, std = (constant(values, images)[:, None, None] for values in band_statistics(images.shape[1]))
    return images.sub_(mean).div_(std)


def band_statistics(bands: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and spread of each band by which :func:`normalise` centres and scales."""
    return (IMAGENET_MEAN, IMAGENET_STD) if bands == 3 else ((0.5,) * bands, (0.25,) * bands)


def constant(values: tuple[float, ...], like: Tensor) -> Tensor:
    """Return numbers as a tensor beside another, shape ``(n,)``, which is not to be changed.

    A GPU gets them once: the host waits for each copy that it makes from memory of its own, and for all that was sent
    off before.
    """
    return _constant(values, like.device, like.dtype)


@cache
@torch.inference_mode(mode=False)
def _constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype) -> Tensor:
    return torch.tensor(values, device=device, dtype=dtype)


def _boxes(size: int, choices: Augmentation, generator: torch.Generator) -> Tensor:
    """Draw crops: of ten tries the first that fits into the patch, or the whole patch."""
    low, high = choices.area
    area = torch.rand(size, _TRIES, generator=generator) * (high - low) + low
    narrow, wide = (math.log(ratio) for ratio in choices.ratio)
    ratio = torch.exp(torch.rand(size, _TRIES, generator=generator) * (wide - narrow) + narrow)
    edges = torch.stack([(area * ratio).sqrt(), (area / ratio).sqrt()], -1)  # (B, tries, 2), width and height
    fits = (edges <= 1).all(-1)
    first = edges[torch.arange(size), fits.int().argmax(1)]
    edge = torch.where(fits.any(1)[:, None], first, 1.0)  # (B, 2)
    corner = torch.rand(size, 2, generator=generator) * (1 - edge)
    return torch.cat([corner, edge], 1)


def _filter(start: Tensor, length: Tensor, source: int, target: int) -> Tensor:
    """Return the antialiased bilinear weights of a crop of one side.

    Parameters
    ----------
    start, length
        The crop in pixels, shape ``(B,)``.
    source, target
        Pixels before and after.

    Returns
    -------
    Weights, shape ``(B, target, source)``; rows sum to 1.
    """
    scale = (length / target)[:, None, None]  # source pixels a target pixel
    centre = start[:, None, None] + (torch.arange(target, device=start.device)[:, None] + 0.5) * scale
    pixel = torch.arange(source, device=start.device) + 0.5
    weights = (1 - (pixel - centre).abs() / scale.clamp(min=1)).clamp(min=0)  # (B, target, source)
    # what lies outside the crop is not seen, as if it had been cut before it was resized
    inside = (pixel > start[:, None, None]) & (pixel < (start + length)[:, None, None])
    weights = weights * inside
    return weights / weights.sum(-1, keepdim=True)


def _flipped(weights: Tensor, flip: Tensor) -> Tensor:
    """Reverse the target pixels of those filters that flip."""
    return torch.where(flip[:, None, None], weights.flip(1), weights)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
