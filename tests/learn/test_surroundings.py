"""The images around a region, beside its own."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmgr.learn import surroundings
from mmgr.learn.surroundings import image_surroundings, standardise_by_group


def city(seed: int, regions: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    image = random.normal(size=(regions, 6)).astype(np.float32)
    return image, random.random(regions) < 0.8, random.random((regions, 2)) * 1000


def components(image: np.ndarray, known: np.ndarray, count: int) -> np.ndarray:
    centred = image[known].astype(np.float64) - image[known].mean(0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:count]
    return centred @ axes.T


def test_surroundings_are_the_weighted_mean_of_the_images_within_three_deviations() -> None:
    image, known, centres = city(0)
    found = image_surroundings(image, known, centres, scales=[90.0, 200.0], dimensions=3)
    assert found.shape == (40, 6)
    assert found.dtype == np.float32
    values = components(image, known, 3)
    for number, scale in enumerate((90.0, 200.0)):
        for region in range(40):
            total, weights = np.zeros(3), 0.0
            for value, place in zip(values, centres[known], strict=True):
                distance = math.dist(place, centres[region])
                if distance <= 3 * scale:
                    weight = math.exp(-(distance**2) / (2 * scale**2))
                    total, weights = total + weight * value, weights + weight
            wanted = total / weights if weights else np.zeros(3)
            # the sign of a principal component is nobody's choice
            assert np.allclose(abs(found[region, 3 * number : 3 * number + 3]), abs(wanted), atol=1e-5)


def test_a_region_far_from_all_others_is_surrounded_by_itself() -> None:
    image, known, centres = city(1)
    known[0], centres[0] = True, (1e6, 1e6)
    found = image_surroundings(image, known, centres, scales=[100.0], dimensions=6)
    assert np.allclose(abs(found[0]), abs(components(image, known, 6)[0]), atol=1e-4)


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


def test_cities_in_another_light_become_alike() -> None:
    image, _, _ = city(5, regions=400)
    group = np.repeat(np.array(["dawn", "noon"], object), 200)
    image[200:] = image[200:] * 3 + 5
    found = standardise_by_group(image, np.ones(400, bool), group)
    assert found.dtype == np.float32
    # shrunk by 20 images of all: nearly, not wholly, alike
    assert abs(found[:200].mean(0) - found[200:].mean(0)).max() < 0.3
    assert np.allclose(found.std(0), 1, atol=0.15)


def test_a_group_is_shrunk_towards_all_by_its_size() -> None:
    image, known, _ = city(6)
    group = np.where(np.arange(40) < 10, "small", "large").astype(object)
    found = standardise_by_group(image, known, group)
    own, everything = image[(group == "small") & known].astype(float), image[known].astype(float)
    weight = len(own) / (len(own) + 20)
    mean = weight * own.mean(0) + (1 - weight) * everything.mean(0)
    variance = weight * own.var(0) + (1 - weight) * everything.var(0)
    assert np.allclose(found[(group == "small") & known], (own - mean) / np.sqrt(variance), atol=1e-4)
    assert (found[~known] == 0).all()


def test_one_group_keeps_its_shape_and_constants_stay_finite() -> None:
    image, known, _ = city(7)
    image[:, 0] = 3.0
    found = standardise_by_group(image, known, np.full(40, "", object))
    assert np.isfinite(found).all()
    assert (found[:, 0] == 0).all()
    for feature in range(1, 6):
        assert np.corrcoef(found[known, feature], image[known, feature])[0, 1] == pytest.approx(1)
    assert (standardise_by_group(image, np.zeros(40, bool), np.full(40, "", object)) == 0).all()
