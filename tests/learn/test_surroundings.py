"""The images around a region, beside its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmgr.components import Components, evenly
from mmgr.learn import surroundings
from mmgr.learn.recipes import Recipe
from mmgr.learn.surroundings import image_part, image_surroundings, nearer_groups


def city(seed: int, regions: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    image = random.normal(size=(regions, 6)).astype(np.float32)
    return image, random.random(regions) < 0.8, random.random((regions, 2)) * 1000


def test_surroundings_are_the_weighted_mean_of_the_images_within_three_deviations() -> None:
    image, known, centres = city(0)
    found = image_surroundings(image, known, centres, scales=[90.0, 200.0], dimensions=3)
    assert found.shape == (40, 8)  # three components in four columns of equal weight, twice
    assert found.dtype == np.float32
    values = evenly(Components.of(image[known], 3)(image[known]))
    for number, scale in enumerate((90.0, 200.0)):
        wanted = np.zeros((40, 4))
        for region in range(40):
            total, weights = np.zeros(4), 0.0
            for value, place in zip(values, centres[known], strict=True):
                distance = math.dist(place, centres[region])
                if distance <= 3 * scale:
                    weight = math.exp(-(distance**2) / (2 * scale**2))
                    total, weights = total + weight * value, weights + weight
            wanted[region] = total / weights if weights else 0
        part = found[:, 4 * number : 4 * number + 4]
        assert np.allclose(part, wanted / np.sqrt(wanted.var(0).mean()), atol=1e-4)


def test_a_region_far_from_all_others_is_surrounded_by_itself() -> None:
    image, known, centres = city(1)
    known[0], centres[0] = True, (1e6, 1e6)
    found = image_surroundings(image, known, centres, scales=[100.0], dimensions=6)
    own = evenly(Components.of(image[known], 6)(image[known]))
    assert np.corrcoef(found[0], own[0])[0, 1] == pytest.approx(1, abs=1e-5)


def test_a_region_without_an_image_has_its_neighbours_and_counts_for_nobody() -> None:
    image, known, centres = city(2)
    known[:2], centres[0], centres[1] = False, centres[5], (1e6, 1e6)
    known[5] = True
    found = image_surroundings(image, known, centres, scales=[150.0], dimensions=4)
    assert np.allclose(found[0], found[5], atol=1e-6), "the same place has the same surroundings"
    assert (found[1] == 0).all(), "nothing near: the mean of all images"
    image[:2] = 1e6
    assert (image_surroundings(image, known, centres, scales=[150.0], dimensions=4) == found).all()


def test_bits_do_not_depend_on_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    image, known, centres = city(3)
    whole = image_surroundings(image, known, centres, scales=[150.0], dimensions=4)
    monkeypatch.setattr(surroundings, "PART", 7)
    assert (image_surroundings(image, known, centres, scales=[150.0], dimensions=4) == whole).all()


@pytest.mark.parametrize(("known", "scales"), [(0, [100.0]), (1, [100.0]), (40, [])])
def test_nothing_to_look_around_for_gives_no_dimension(known: int, scales: list[float]) -> None:
    image, _, centres = city(4)
    assert image_surroundings(image, np.arange(40) < known, centres, scales=scales, dimensions=4).shape == (40, 0)


def recipe(**changes: object) -> Recipe:
    return Recipe.model_validate(Recipe().model_dump() | changes)


def test_the_means_of_cities_come_nearer_and_nothing_else_changes() -> None:
    image, known, _ = city(5, regions=60)
    group = np.repeat(np.array(["dawn", "noon", "dusk"], object), 20)
    image[20:40] += 5
    found = nearer_groups(image, known, group, kept=0.25)
    assert found.dtype == np.float32
    everything = image[known].mean(0)
    assert np.allclose(found[~known], everything, atol=1e-5)
    for name in ("dawn", "noon", "dusk"):
        rows = known & (group == name)
        mean = image[rows].mean(0)
        assert np.allclose(found[rows].mean(0) - everything, 0.25 * (mean - everything), atol=1e-5)
        assert np.allclose(found[rows] - found[rows].mean(0), image[rows] - mean, atol=1e-5)


def test_one_city_stays_as_it_is_and_no_image_is_nothing() -> None:
    image, known, _ = city(6)
    nobody = np.full(40, "", object)
    assert np.allclose(nearer_groups(image, known, nobody, kept=0)[known], image[known], atol=1e-6)
    assert (nearer_groups(image, np.zeros(40, bool), nobody, kept=0) == 0).all()


def test_the_image_part_is_own_and_around() -> None:
    image, known, centres = city(7)
    group = np.where(np.arange(40) < 15, "a", "b").astype(object)
    some = recipe(image_components=3, surrounding_components=2)
    found = image_part(image, known, group, centres, recipe=some, edge=90)
    assert found.shape == (40, 4 + 2)
    assert (found[~known, :4] == 0).all()
    own = nearer_groups(image, known, group, kept=0.5)
    assert np.array_equal(found[:, 4:], image_surroundings(own, known, centres, scales=[90.0], dimensions=2))
    assert np.allclose(found[known, :4].var(0), 1, atol=1e-3)


def test_every_step_can_be_left_out() -> None:
    image, known, centres = city(8)
    plain = recipe(image_components=None, group_means=1.0, image_scales=())
    found = image_part(image, known, np.full(40, "", object), centres, recipe=plain, edge=90)
    assert np.array_equal(found, image)
