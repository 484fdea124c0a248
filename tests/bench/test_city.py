"""The made city: uneven as a real one, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from mmgr.bench import synthetic_city
from mmgr.errors import InputError


def test_one_seed_gives_one_city() -> None:
    one, again, other = (synthetic_city(500, categories=30, seed=seed) for seed in (1, 1, 2))
    assert (one.xy == again.xy).all()
    assert (one.category == again.category).all()
    assert (one.xy != other.xy).any()


@pytest.mark.parametrize(("pois", "categories"), [(1, 1), (1, 200), (3, 2), (2000, 200), (2000, 5)])
def test_a_city_of_any_size_has_its_pois_and_categories(pois: int, categories: int) -> None:
    city = synthetic_city(pois, categories=categories)
    assert city.xy.shape == (pois, 2)
    assert np.isfinite(city.xy).all()
    assert city.category.shape == (pois,)
    assert 0 <= city.category.min() <= city.category.max() < categories
    assert city.first_level.shape == (categories,)


def test_two_hundred_categories_have_ten_to_twenty_first_levels() -> None:
    first_level = synthetic_city(10, categories=200).first_level
    assert 10 <= len(np.unique(first_level)) <= 20
    assert (np.unique(first_level) == np.arange(first_level.max() + 1)).all()


def test_pois_crowd_share_places_and_are_of_uneven_categories() -> None:
    city = synthetic_city(50_000)
    counts = np.sort(np.bincount(city.category, minlength=200))[::-1]
    assert counts[:20].sum() > 0.4 * counts.sum()
    _, sizes = np.unique(city.xy, axis=0, return_counts=True)
    assert 0.1 < (sizes[sizes > 1]).sum() / 50_000 < 0.2
    squares = np.unique(np.floor(city.xy / 500), axis=0, return_counts=True)[1]
    # even POIs would be in a square as often as Poisson says: variance and mean would be equal
    assert squares.var() > 20 * squares.mean()


def test_categories_depend_on_the_place() -> None:
    city = synthetic_city(50_000, categories=20)
    square = np.unique(np.floor(city.xy / 1000), axis=0, return_inverse=True)[1]
    largest = np.argsort(np.bincount(square))[-5:]
    mixes = np.array([np.bincount(city.category[square == number], minlength=20) for number in largest])
    mixes = mixes / mixes.sum(axis=1, keepdims=True)
    assert np.abs(mixes - mixes.mean(axis=0)).sum(axis=1).max() > 0.2


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"pois": 0}, "--pois"),
        ({"pois": 2**31}, "--pois"),
        ({"categories": 0}, "--categories"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_an_impossible_city_is_refused(wrong: dict[str, int], expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        synthetic_city(**({"pois": 10} | wrong))
