"""Views beside torchvision's, the trusted ones: pixel by pixel, and in the statistics of what is drawn."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import ColorJitter, RandomGrayscale, RandomHorizontalFlip, RandomResizedCrop
from torchvision.transforms import functional as trusted

from mmgr.learn.augment import ViewParameters, draw, recolour, resize, whole
from mmgr.learn.recipes import Augmentation

PIXELS = 40
CHANCE = 1e-3
"""Of a false alarm in each test of a distribution; seeds are fixed, so that it does not come and go."""


def images(size: int) -> Tensor:
    """Return smooth images with noise, and with gray, black and white spots."""
    generator = torch.Generator().manual_seed(3)
    coarse = torch.rand(size, 3, 5, 5, generator=generator)
    found = torch.nn.functional.interpolate(coarse, size=PIXELS, mode="bilinear")
    found = (0.8 * found + 0.2 * torch.rand(found.shape, generator=generator)).clamp(0, 1)
    found[:, :, 0, :4] = torch.tensor([0.0, 0.5, 1.0, 0.25])
    return found


def drawn(size: int, choices: Augmentation, seed: int = 0) -> ViewParameters:
    return draw(size, choices, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("crop", [16, 40, 64])
def test_crops_of_whole_pixels_are_torchvisions(crop: int) -> None:
    source, random = images(12), np.random.default_rng(0)
    boxes = []
    for _ in range(12):
        height, width = random.integers(5, PIXELS + 1, 2)
        boxes.append((random.integers(0, PIXELS - height + 1), random.integers(0, PIXELS - width + 1), height, width))
    box = torch.tensor([[left, top, width, height] for top, left, height, width in boxes]) / PIXELS
    found = resize(source, replace(whole(12), box=box), crop)
    for image, view, (top, left, height, width) in zip(source, found, boxes, strict=True):
        wanted = trusted.resized_crop(image, int(top), int(left), int(height), int(width), [crop, crop], antialias=True)
        assert torch.allclose(view, wanted, atol=2e-5)


def test_flips_and_turns_of_crops_are_torchvisions() -> None:
    source, size = images(16), 16
    turns = torch.arange(size) % 4
    horizontal, vertical = torch.arange(size) % 8 > 3, torch.arange(size) > 7
    box = torch.tensor([4, 8, 24, 16]).repeat(size, 1) / PIXELS
    parameters = replace(whole(size), box=box, quarter_turns=turns, horizontal_flip=horizontal, vertical_flip=vertical)
    for k, view in enumerate(resize(source, parameters, 20)):
        wanted = trusted.resized_crop(source[k], 8, 4, 16, 24, [20, 20], antialias=True)
        wanted = trusted.rotate(wanted, 90.0 * int(turns[k]))
        wanted = trusted.hflip(wanted) if horizontal[k] else wanted
        wanted = trusted.vflip(wanted) if vertical[k] else wanted
        assert torch.allclose(view, wanted, atol=2e-5)


def colours_of(image: Tensor, parameters: ViewParameters, k: int) -> Tensor:
    """Change one image's colours as torchvision does, in the order drawn."""
    changes = (
        lambda x: trusted.adjust_brightness(x, float(parameters.brightness[k])),
        lambda x: trusted.adjust_contrast(x, float(parameters.contrast[k])),
        lambda x: trusted.adjust_saturation(x, float(parameters.saturation[k])),
        lambda x: trusted.adjust_hue(x, float(parameters.hue[k])),
    )
    for number in parameters.order:
        image = changes[number](image)
    return trusted.rgb_to_grayscale(image, 3) if parameters.gray[k] else image


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue", "gray"])
def test_each_change_of_colours_is_torchvisions(name: str) -> None:
    source = images(8)
    values = torch.linspace(-0.5, 0.5, 8) if name == "hue" else torch.linspace(0, 2.5, 8)
    if name == "gray":
        values = torch.arange(8) % 2 == 0
    parameters = replace(whole(8), **{name: values})
    for k, view in enumerate(recolour(source, parameters)):
        # torchvision rounds the red part of luma to four digits
        assert torch.allclose(view, colours_of(source[k], parameters, k), atol=5e-4)


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_all_changes_in_any_order_are_torchvisions(order: tuple[int, ...]) -> None:
    source = images(16)
    parameters = replace(drawn(16, Augmentation(jitter=1.0, brightness=0.8, hue=0.5)), order=order)
    for k, view in enumerate(recolour(source, parameters)):
        difference = (view - colours_of(source[k], parameters, k)).abs()
        # a hue where two bands are nearly equal may fall on either side of a corner of the colour circle
        assert float(difference.quantile(0.999)) < 2e-3
        assert float(difference.mean()) < 3e-4


def test_boxes_are_drawn_as_torchvision_draws_them() -> None:
    size, choices = 6000, Augmentation()
    patch = torch.zeros(3, 1000, 1000)  # so large that whole pixels do not show
    torch.manual_seed(0)
    found = [RandomResizedCrop.get_params(patch, list(choices.area), list(choices.ratio)) for _ in range(size)]
    top, left, height, width = (torch.tensor(found).T / 1000).numpy()
    ours = drawn(size, choices).box.numpy()
    for name, theirs, mine in (
        ("area", width * height, ours[:, 2] * ours[:, 3]),
        ("ratio", width / height, ours[:, 2] / ours[:, 3]),
        ("left", left, ours[:, 0]),
        ("top", top, ours[:, 1]),
        ("right", left + width, ours[:, 0] + ours[:, 2]),
    ):
        assert ks_2samp(theirs, mine).pvalue > CHANCE, name
    # where a crop lies in the room that it has is even, and does not depend on the other side
    room = (ours[:, :2] / np.clip(1 - ours[:, 2:], 1e-9, None))[(ours[:, 2:] < 0.99).all(1)]
    assert kstest(room[:, 0], "uniform").pvalue > CHANCE
    assert kstest(room[:, 1], "uniform").pvalue > CHANCE
    assert abs(np.corrcoef(room.T)[0, 1]) < 0.05


def test_a_box_that_never_fits_is_the_whole_patch_as_torchvisions_is() -> None:
    torch.manual_seed(0)
    patch = torch.zeros(3, 50, 50)
    assert RandomResizedCrop.get_params(patch, [1.0, 1.0], [0.7, 0.7]) != (0, 0, 50, 50)  # it keeps the ratio
    assert RandomResizedCrop.get_params(patch, [1.0, 1.0], [0.5, 2.0]) == (0, 0, 50, 50)
    ours = drawn(100, Augmentation(area=(1.0, 1.0), ratio=(0.5, 2.0)))
    assert torch.equal(ours.box, torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(100, 1))


def test_factors_are_drawn_as_torchvision_draws_them() -> None:
    size, choices = 4000, Augmentation(jitter=1.0)
    jitter = ColorJitter(choices.brightness, choices.contrast, choices.saturation, choices.hue)
    torch.manual_seed(0)
    theirs = [
        ColorJitter.get_params(jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)[1:]
        for _ in range(size)
    ]
    ours = drawn(size, choices)
    for column, mine in enumerate((ours.brightness, ours.contrast, ours.saturation, ours.hue)):
        assert ks_2samp([factors[column] for factors in theirs], mine.numpy()).pvalue > CHANCE
    table = torch.stack([ours.brightness, ours.contrast, ours.saturation, ours.hue, *ours.box.T[2:3]])
    assert float((torch.corrcoef(table) - torch.eye(5)).abs().max()) < 0.06


def test_every_order_of_changes_is_as_likely() -> None:
    generator = torch.Generator().manual_seed(0)
    found = Counter(draw(1, Augmentation(), generator).order for _ in range(4800))
    assert set(found) == set(permutations(range(4)))
    assert chisquare(list(found.values())).pvalue > CHANCE


def test_what_happens_with_a_probability_happens_as_often_as_torchvisions() -> None:
    size, choices = 8000, Augmentation(vertical_flip=0.3, quarter_turns=True)
    ours = drawn(size, choices)
    patch = torch.rand(3, 2, 2)
    torch.manual_seed(0)
    gray, flip = RandomGrayscale(choices.gray), RandomHorizontalFlip(choices.horizontal_flip)
    theirs = {
        "gray": np.mean([not torch.equal(gray(patch), patch) for _ in range(2000)]),
        "flip": np.mean([not torch.equal(flip(patch), patch) for _ in range(2000)]),
    }
    assert float(ours.gray.float().mean()) == pytest.approx(theirs["gray"], abs=0.04)
    assert float(ours.horizontal_flip.float().mean()) == pytest.approx(theirs["flip"], abs=0.04)
    assert float(ours.vertical_flip.float().mean()) == pytest.approx(0.3, abs=0.02)
    # jitter strikes a view with all four changes, or with none
    changed = torch.stack([ours.brightness != 1, ours.contrast != 1, ours.saturation != 1, ours.hue != 0])
    assert torch.equal(changed.all(0), changed.any(0))
    assert float(changed.all(0).float().mean()) == pytest.approx(0.8, abs=0.02)
    # each is drawn by itself
    events = torch.stack([ours.gray, ours.horizontal_flip, ours.vertical_flip, changed.all(0), ours.quarter_turns == 1])
    assert float((torch.corrcoef(events.float()) - torch.eye(5)).abs().max()) < 0.05
