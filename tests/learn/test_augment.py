from __future__ import annotations

import colorsys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from mmgr.learn.augment import ViewParameters, draw, luma, make_views, normalise, recolour, resize, turn_hue, whole
from mmgr.learn.recipes import RECIPES, Augmentation

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def patches(size: int = 3, pixels: int = 32, bands: int = 3) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (size, pixels, pixels, bands), np.uint8))


def images(size: int = 3, pixels: int = 32) -> Tensor:
    return patches(size, pixels).permute(0, 3, 1, 2).float() / 255


def resized_by_pillow(image: Tensor, box: tuple[float, float, float, float] | None, crop: int) -> np.ndarray:
    """Each band by Pillow's antialiased bilinear filter, in floats."""
    cut = image if box is None else image[:, box[1] : box[3], box[0] : box[2]]
    bands = [Image.fromarray(band.numpy(), "F").resize((crop, crop), Image.Resampling.BILINEAR) for band in cut]
    return np.stack([np.asarray(band) for band in bands])


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize("crop", [20, 32, 48])
def test_parameters_that_do_nothing_are_a_plain_antialiased_resize(crop: int) -> None:
    source = images()
    found = resize(source, whole(3), crop)
    wanted = np.stack([resized_by_pillow(image, None, crop) for image in source])
    assert np.abs(found.numpy() - wanted).max() < 2e-6


@pytest.mark.parametrize("crop", [9, 24])
def test_a_crop_is_cut_before_it_is_resized_as_pillow_does(crop: int) -> None:
    source = images()
    box = torch.tensor([4.0, 8.0, 20.0, 16.0]) / 32  # left, top, width, height
    found = resize(source, replace(whole(3), box=box.repeat(3, 1)), crop)
    wanted = np.stack([resized_by_pillow(image, (4, 8, 24, 24), crop) for image in source])
    assert np.abs(found.numpy() - wanted).max() < 2e-6


def test_turns_come_before_flips_and_each_image_has_its_own() -> None:
    source = images(size=16, pixels=8)
    turns = torch.arange(16) % 4
    horizontal, vertical = torch.arange(16) % 8 > 3, torch.arange(16) > 7
    parameters = replace(whole(16), quarter_turns=turns, horizontal_flip=horizontal, vertical_flip=vertical)
    for k, found in enumerate(resize(source, parameters, 8)):
        wanted = np.rot90(source[k].numpy(), int(turns[k]), (1, 2))
        wanted = wanted[:, :, ::-1] if horizontal[k] else wanted
        wanted = wanted[:, ::-1] if vertical[k] else wanted
        assert np.allclose(found, wanted, atol=1e-6)


def test_views_of_whole_patches_at_their_own_size_are_the_normalised_patches() -> None:
    wanted = (patches().numpy() / 255 - MEAN) / STD
    assert np.allclose(make_views(patches(), whole(3), 32).permute(0, 2, 3, 1), wanted, atol=1e-5)


def test_other_numbers_of_bands_are_normalised_by_half_and_quarter() -> None:
    source = torch.rand(2, 4, 3, 3)
    assert torch.allclose(normalise(source), (source - 0.5) / 0.25)


def test_hue_turns_as_in_the_standard_library() -> None:
    source, turn = images(size=4, pixels=6), torch.tensor([-0.5, -0.07, 0.1, 0.33])
    source[0, :, 0, 0] = torch.tensor([0.4, 0.4, 0.4])  # gray
    source[1, :, 0, 0] = torch.tensor([0.0, 0.0, 0.0])
    found = turn_hue(source, turn)
    for k in range(4):
        for y in range(6):
            for x in range(6):
                hue, saturation, value = colorsys.rgb_to_hsv(*source[k, :, y, x].tolist())
                wanted = colorsys.hsv_to_rgb((hue + float(turn[k])) % 1, saturation, value)
                assert found[k, :, y, x].tolist() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize(
    ("name", "order", "operation"),
    [("brightness", 0, "Brightness"), ("contrast", 1, "Contrast"), ("saturation", 2, "Color")],
)
def test_one_colour_change_is_that_of_pillow(name: str, order: int, operation: str) -> None:
    from PIL import ImageEnhance

    factor = 1.35
    parameters = replace(whole(3), **{name: torch.full((3,), factor)}, order=(order,))
    found = recolour(images(), parameters)
    for k, patch in enumerate(patches().numpy()):
        wanted = getattr(ImageEnhance, operation)(Image.fromarray(patch)).enhance(factor)
        # Pillow rounds to whole values, gray ones too
        assert np.abs(found[k].permute(1, 2, 0).numpy() * 255 - np.asarray(wanted)).max() < 2


def test_colours_change_in_the_order_drawn() -> None:
    strong = replace(whole(3), brightness=torch.full((3,), 1.4), contrast=torch.full((3,), 0.6))
    one, two = (recolour(images(), replace(strong, order=order)) for order in ((0, 1, 2, 3), (1, 0, 2, 3)))
    assert not torch.allclose(one, two, atol=1e-3)


def test_gray_views_have_equal_bands() -> None:
    parameters = replace(whole(3), gray=torch.tensor([True, False, True]))
    found = recolour(images(), parameters)
    assert torch.allclose(found[[0, 2]], luma(images())[[0, 2]].expand(-1, 3, -1, -1), atol=1e-6)
    assert torch.allclose(found[1], images()[1], atol=1e-6)


def test_four_bands_change_in_brightness_and_contrast_alone() -> None:
    source = torch.rand(2, 4, 5, 5)
    coloured = replace(whole(2), hue=torch.full((2,), 0.1), saturation=torch.zeros(2), gray=torch.ones(2) > 0)
    assert torch.allclose(recolour(source, coloured), source, atol=1e-6)
    assert make_views(patches(2, bands=4), draw(2, Augmentation(), torch.Generator()), 16).shape == (2, 4, 16, 16)


def test_the_same_generator_gives_the_same_views_whatever_the_global_state() -> None:
    def views(seed: int) -> Tensor:
        torch.manual_seed(torch.seed() % 1000)
        return make_views(patches(), draw(3, RECIPES["mmgr"].augmentation, torch.Generator().manual_seed(seed)), 24)

    state = torch.get_rng_state()
    draw(3, RECIPES["mmgr"].augmentation, torch.Generator())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(views(1), views(1))
    assert not torch.equal(views(1), views(2))


def test_drawn_parameters_have_the_papers_distributions() -> None:
    size = 20_000
    drawn = draw(size, Augmentation(), torch.Generator().manual_seed(0))
    left, top, width, height = drawn.box.unbind(1)
    area, ratio = width * height, width / height
    assert float(area.min()) >= 0.2 - 1e-6
    assert float((left + width).max()) <= 1 + 1e-6
    assert float((top + height).max()) <= 1 + 1e-6
    assert 3 / 4 - 1e-5 <= float(ratio.min()) < 0.76
    assert 1.32 < float(ratio.max()) <= 4 / 3 + 1e-5
    jittered = drawn.brightness != 1
    assert float(jittered.float().mean()) == pytest.approx(0.8, abs=0.015)
    for factor in (drawn.brightness, drawn.contrast, drawn.saturation):
        some = factor[jittered]
        assert float(some.min()) == pytest.approx(0.6, abs=0.01)
        assert float(some.max()) == pytest.approx(1.4, abs=0.01)
        assert float(some.std()) == pytest.approx(0.8 / 12**0.5, rel=0.03)
    assert float(drawn.hue.abs().max()) == pytest.approx(0.1, abs=0.001)
    assert float(drawn.gray.float().mean()) == pytest.approx(0.2, abs=0.015)
    assert float(drawn.horizontal_flip.float().mean()) == pytest.approx(0.5, abs=0.015)
    assert not drawn.vertical_flip.any()
    assert not drawn.quarter_turns.any()


def test_crops_have_the_areas_of_torchvisions() -> None:
    from torchvision.transforms import RandomResizedCrop

    torch.manual_seed(0)
    crop, patch = RandomResizedCrop(8, scale=(0.2, 1.0)), torch.zeros(3, 400, 400)
    theirs = torch.tensor(
        [(box[2] / 400, box[3] / 400) for box in (crop.get_params(patch, [0.2, 1], [0.75, 4 / 3]) for _ in range(4000))]
    )
    ours = draw(4000, Augmentation(), torch.Generator().manual_seed(0)).box[:, [3, 2]]
    for power in (1, 2):
        assert torch.allclose((ours**power).mean(0), (theirs**power).mean(0), atol=0.015)
    levels = torch.linspace(0.05, 0.95, 10)
    assert torch.allclose(ours.prod(1).quantile(levels), theirs.prod(1).quantile(levels), atol=0.03)


def test_quarter_turns_are_drawn_where_the_recipe_says_so() -> None:
    drawn: ViewParameters = draw(4000, RECIPES["mmgr"].augmentation, torch.Generator().manual_seed(0))
    assert (torch.bincount(drawn.quarter_turns, minlength=4) / 4000).tolist() == pytest.approx([0.25] * 4, abs=0.03)
    assert float(drawn.vertical_flip.float().mean()) == pytest.approx(0.5, abs=0.03)
