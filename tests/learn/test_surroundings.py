"""The images around a region, beside its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmgr.components import Components, evenly
from mmgr.learn import surroundings
from mmgr.learn.recipes import Recipe
from mmgr.learn.surroundings import apart_from_groups, image_part, image_surroundings


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


def test_a_city_is_taken_apart_into_its_mean_and_the_rest() -> None:
    image, known, _ = city(5, regions=60)
    group = np.repeat(np.array(["dawn", "noon", "dusk"], object), 20)
    image[20:40] += 5
    own, levels = apart_from_groups(image, known, group)
    assert own.dtype == levels.dtype == np.float32
    assert (own[~known] == 0).all()
    assert (levels[~known] == 0).all()
    for name in ("dawn", "noon", "dusk"):
        rows = known & (group == name)
        assert np.allclose(own[rows].mean(0), 0, atol=1e-5)
        assert np.allclose(own[rows], image[rows] - image[rows].mean(0), atol=1e-5)
        assert (levels[rows] == levels[rows][0]).all()
    assert levels.shape == (60, 2), "three means lie in a plane"
    assert levels.var(0).mean() == pytest.approx(1, abs=1e-4)
    means = np.array([image[known & (group == name)].mean(0) for name in ("dawn", "noon", "dusk")])
    firsts = np.array([levels[known & (group == name)][0] for name in ("dawn", "noon", "dusk")])
    ratio = np.linalg.norm(firsts - firsts[0], axis=1)[1:] / np.linalg.norm(means - means[0], axis=1)[1:]
    assert ratio[0] == pytest.approx(ratio[1], rel=1e-3), "cities are as far from each other as their means"


def test_one_city_has_no_level_and_many_have_few() -> None:
    image, known, _ = city(6)
    assert apart_from_groups(image, known, np.full(40, "", object))[1].shape == (40, 0)
    assert apart_from_groups(image, np.zeros(40, bool), np.full(40, "", object))[1].shape == (40, 0)
    everyone = np.array([f"{number}" for number in range(40)], object)
    own, levels = apart_from_groups(image, np.ones(40, bool), everyone)
    assert (own == 0).all()
    assert levels.shape[1] <= 6  # images have six features


def test_the_image_part_is_own_level_and_around() -> None:
    image, known, centres = city(7)
    group = np.where(np.arange(40) < 15, "a", "b").astype(object)
    found = image_part(
        image, known, group, centres, recipe=recipe(image_components=3, surrounding_components=2), edge=90
    )
    assert found.shape == (40, 4 + 1 + 2)
    assert (found[~known, :5] == 0).all()
    own = apart_from_groups(image, known, group)[0]
    assert np.array_equal(found[:, 5:], image_surroundings(own, known, centres, scales=[90.0], dimensions=2))
    assert np.allclose(found[known, :4].var(0), 1, atol=1e-3)


def test_every_step_can_be_left_out() -> None:
    image, known, centres = city(8)
    plain = recipe(image_components=None, groups_alike=False, image_scales=())
    found = image_part(image, known, np.full(40, "", object), centres, recipe=plain, edge=90)
    assert np.array_equal(found, image)
