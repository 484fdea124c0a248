from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import torch
from learn_samples import make_bags
from shapely.geometry import Polygon, box
from torch import Tensor

from mmgr.learn.augment import ViewParameters, draw, resize, whole
from mmgr.learn.places import patch_frames, seen_in_patches, seen_in_views
from mmgr.learn.poi_batch import PoiBatch, places_in_patch
from mmgr.learn.recipes import RECIPES
from mmgr.store import PoiBags

PATCH = 64
"""Pixels of a patch."""


def pois_at(places: list[list[tuple[float, float]]]) -> PoiBatch:
    """Give each region POIs at these parts of its patch, each of a category of its own."""
    count = sum(map(len, places))
    owner = np.repeat(np.arange(len(places)), [len(some) for some in places])
    return PoiBatch(
        category=torch.arange(count),
        count=torch.ones(count),
        owner=torch.from_numpy(owner),
        present=torch.tensor([len(some) > 0 for some in places]),
        known=torch.ones(len(places), dtype=torch.bool),
        log_density=torch.zeros(len(places), count),
        place=torch.tensor([place for some in places for place in some]).reshape(-1, 2),
        around=torch.zeros(len(places), 0),
        surrounded=torch.zeros(len(places), dtype=torch.bool),
    )


def view_of(size: int, **changes: Tensor) -> ViewParameters:
    return replace(whole(size), **changes)


def test_places_are_measured_from_the_top_left_of_the_square_around_the_region() -> None:
    # a triangle: its centroid is not the centre of its bounding box, and its box is no square
    regions = gpd.GeoDataFrame(
        geometry=[box(1000, 2000, 1100, 2100), Polygon([(0, 0), (300, 0), (0, 150)])], crs="EPSG:32611"
    )
    frames = patch_frames(regions)
    # the triangle's square: 300 m about (150, 75); its centroid (100, 50)
    assert frames.tolist() == [[0, 0, 100], [50, 25, 300]]
    at = np.array([[1000, 2100], [1100, 2000], [1025, 2090], [0, 225], [300, -75], [150, 75], [np.nan, np.nan]])
    centre = np.array([[1050, 2050]] * 3 + [[100, 50]] * 4)
    bags = PoiBags(
        starts=np.array([0, 3, 7]),
        category=np.zeros(7, np.int32),
        count=np.ones(7, np.float32),
        offset=(at - centre).astype(np.float32),
        area_km2=np.ones(2, np.float32),
        unit=np.full(2, "", object),
    )
    found = places_in_patch(bags, frames)
    assert np.allclose(found[:6], [[0, 0], [1, 1], [0.25, 0.1], [0, 0], [1, 1], [0.5, 0.5]], atol=1e-6)
    assert np.isnan(found[6]).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_place_in_a_view_is_where_the_views_pixels_show_it(seed: int) -> None:
    """Each patch has one bright spot where its POI is; the brightest pixel must be where it is said to be."""
    random = np.random.default_rng(seed)
    size, crop = 64, 96
    column, row = random.integers(2, PATCH - 2, (2, size))
    patches = torch.zeros(size, 1, PATCH, PATCH)
    patches[torch.arange(size), 0, torch.from_numpy(row), torch.from_numpy(column)] = 1
    pois = pois_at([[((x + 0.5) / PATCH, (y + 0.5) / PATCH)] for x, y in zip(column, row, strict=True)])
    parameters = draw(size, RECIPES["mmgr"].augmentation, torch.Generator().manual_seed(seed))
    views = resize(patches, parameters, crop)[:, 0]
    seen = seen_in_views(pois, parameters)
    assert 5 < len(seen.owner) < size
    kept = set(seen.owner.tolist())
    for region in range(size):
        peak = float(views[region].max())
        if region not in kept:
            # the spot's pixel may reach into the crop where its centre does not
            left, top, width, height = (parameters.box[region] * PATCH).tolist()
            inside = left <= column[region] + 0.5 <= left + width and top <= row[region] + 0.5 <= top + height
            assert not inside
            continue
        y, x = divmod(int(views[region].argmax()), crop)
        wanted = seen.place[seen.owner == region][0] * crop - 0.5
        # a pixel of the patch covers up to a few of the view's
        assert peak > 0
        assert abs(x - float(wanted[0])) <= 1.5 / float(parameters.box[region, 2:].min())
        assert abs(y - float(wanted[1])) <= 1.5 / float(parameters.box[region, 2:].min())


def test_turns_and_flips_move_places_as_they_move_pixels_exactly() -> None:
    size = 16
    turns = torch.arange(size) % 4
    horizontal, vertical = torch.arange(size) % 8 > 3, torch.arange(size) > 7
    parameters = view_of(size, quarter_turns=turns, horizontal_flip=horizontal, vertical_flip=vertical)
    images = torch.zeros(size, 1, 8, 8)
    images[:, 0, 1, 5] = 1  # row 1, column 5
    views = resize(images, parameters, 8)[:, 0]
    seen = seen_in_views(pois_at([[(5.5 / 8, 1.5 / 8)]] * size), parameters)
    for region in range(size):
        row, column = divmod(int(views[region].argmax()), 8)
        assert (seen.place[region] * 8 - 0.5).tolist() == pytest.approx([column, row], abs=1e-5)


def test_a_crop_keeps_what_is_inside_and_what_has_no_place() -> None:
    inside, outside, beyond = (0.3, 0.3), (0.9, 0.3), (1.4, 0.2)
    unknown = (float("nan"), float("nan"))
    pois = pois_at([[inside, outside, beyond, unknown], [outside, beyond], [], [inside]])
    half = torch.tensor([0.0, 0.0, 0.5, 0.5]).repeat(4, 1)
    seen = seen_in_views(pois, view_of(4, box=half))
    assert seen.category.tolist() == [0, 3, 6]
    assert seen.owner.tolist() == [0, 0, 3]
    assert seen.present.tolist() == [True, False, False, True]
    assert torch.allclose(seen.place[[0, 2]], torch.tensor([[0.6, 0.6], [0.6, 0.6]]))
    assert seen.place[1].isnan().all()
    assert torch.equal(seen.known, pois.known)
    assert torch.equal(seen.log_density, pois.log_density)
    # the whole patch: all but what lies beyond the image
    everything = seen_in_patches(pois)
    assert everything.category.tolist() == [0, 1, 3, 4, 6]
    assert torch.equal(everything.place[[0, 1]], pois.place[[0, 1]])
    nothing = seen_in_views(pois_at([[], []]), view_of(2))
    assert not nothing.present.any()


def test_places_are_nowhere_unless_frames_are_given() -> None:
    bags = make_bags(9)
    assert PoiBatch.from_bags(bags, 6).place.isnan().all()
    placed = replace(bags, offset=np.zeros_like(bags.offset))
    frames = np.tile(np.array([[0, 0, 50]], np.float32), (9, 1))
    assert torch.equal(PoiBatch.from_bags(placed, 6, frames).place, torch.full((int(bags.starts[-1]), 2), 0.5))
