"""Points apart from all others are told from small cities, and from the ends of a country."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from mmgr.pois.strays import apart, stray

UTM = CRS.from_epsg(32648)


def town(
    count: int, *, east: float = 400_000.0, north: float = 150_000.0, width: float = 20_000.0
) -> NDArray[np.float64]:
    return np.random.default_rng(count).uniform(-width / 2, width / 2, (count, 2)) + np.array([east, north])


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 200), st.integers(0, 2**32 - 1))
def test_of_points_near_each_other_none_is_stray(count: int, seed: int) -> None:
    xy = np.random.default_rng(seed).uniform(0, 9_000, (count, 2))
    assert not stray(xy).any()
    if count >= 20:
        assert stray(np.vstack([xy, [[9e6, 9e6]]])).tolist() == [False] * count + [True]


@pytest.mark.parametrize("count", [1, 2, 5, 60])
def test_rows_of_one_far_place_are_strays_however_many_they_are(count: int) -> None:
    xy = np.concatenate([town(150, north=5e6), np.zeros((count, 2))])
    assert stray(xy).tolist() == [False] * 150 + [True] * count
    assert apart(xy)[-1] == pytest.approx(5.01e6, rel=0.01)


def test_a_few_very_far_places_are_strays_on_all_sides_at_once() -> None:
    wrong = [[-8e6, 0], [9e6, 1e6], [9e6, 2e6], [-7e6, 5e6], [4e5, -6e6]]
    assert np.flatnonzero(stray(np.concatenate([town(150), wrong]))).tolist() == [*range(150, 155)]


@pytest.mark.parametrize("away", [300e3, 900e3, 3000e3])
@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_a_small_city_beside_a_large_one_is_none(away: float, share: float) -> None:
    small = int(1000 * share)
    assert not stray(np.concatenate([town(1000 - small), town(small, east=400_000 + away, width=5_000)])).any()


@pytest.mark.parametrize("away", [200e3, 500e3, 900e3])
def test_a_city_of_a_fortieth_within_a_thousand_kilometres_is_none(away: float) -> None:
    assert not stray(np.concatenate([town(975), town(25, east=400_000 + away)])).any()


def test_many_small_cities_of_a_continent_are_none() -> None:
    places = np.random.default_rng(3).uniform(0, 5e6, (100, 2))
    assert not stray(np.concatenate([town(20, east=east, north=north) for east, north in places])).any()


def test_islands_of_a_country_nearer_than_it_is_wide_are_none() -> None:
    mainland = town(1000, width=4_000_000)
    assert not stray(np.concatenate([mainland, town(20, east=400_000 - 2e6 - 4e6)])).any()


def test_longitude_and_latitude_zero_stand_for_none() -> None:
    zero = np.array(Transformer.from_crs(4326, UTM, always_xy=True).transform(0, 0))
    xy = np.concatenate([town(4), np.tile(zero, (3, 1))])
    assert stray(xy, crs=UTM).tolist() == [False] * 4 + [True] * 3
    assert not stray(xy).any(), "of so few points, nothing else is"


def test_longitude_and_latitude_zero_may_lie_among_the_others() -> None:
    around = np.random.default_rng(0).uniform(-5_000, 5_000, (40, 2))
    world = CRS.from_epsg(6933)
    assert not stray(np.concatenate([around, np.zeros((2, 2))]), crs=world).any()
