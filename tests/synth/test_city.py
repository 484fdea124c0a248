"""Images of made cities: seamless, repeatable, and blind to what only POIs show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.synth import City, Settings
from mmgr.synth.city import FACTORS, make_one_city
from mmgr.synth.painting import paint
from mmgr.synth.streets import plan_around
from mmgr.synth.surfaces import ROOF

SIZE = (900.0, 700.0)
CITY = make_one_city(Settings(regions=4, dates=2, seed=5), 1, SIZE)
WHOLE = CITY.image(-40, -30, 460, 380)


def shifted(city: City, factor: str, amount: float) -> City:
    """The same city with more of a factor everywhere."""
    means = city.fields.means.copy()
    means[FACTORS.index(factor)] += amount
    return replace(city, fields=replace(city.fields, means=means))


@settings(max_examples=20, deadline=None)
@given(st.integers(-40, 380), st.integers(-30, 300), st.integers(1, 40), st.integers(1, 50))
def test_a_pixel_is_the_same_in_whatever_window(column: int, row: int, columns: int, rows: int) -> None:
    part = CITY.image(column, row, columns, rows)
    left, top = column + 40, row + 30
    assert np.array_equal(part, WHOLE[top : top + rows, left : left + columns])


def test_one_seed_gives_one_city_and_another_seed_another() -> None:
    again = make_one_city(Settings(regions=4, dates=2, seed=5), 1, SIZE)
    other = make_one_city(Settings(regions=4, dates=2, seed=6), 1, SIZE)
    assert np.array_equal(again.image(0, 0, 64, 64), CITY.image(0, 0, 64, 64))
    assert not np.array_equal(other.image(0, 0, 64, 64), CITY.image(0, 0, 64, 64))


def test_further_dates_leave_the_earlier_ones_as_they_are() -> None:
    one = make_one_city(Settings(regions=4, dates=1, seed=5), 1, SIZE)
    assert np.array_equal(one.image(10, 20, 64, 64), CITY.image(10, 20, 64, 64))


def test_dates_show_the_same_houses_in_another_light() -> None:
    first, second = (CITY.image(0, 0, 300, 300, date=date).astype(float).mean(axis=2) for date in (0, 1))
    assert not np.allclose(first.mean(), second.mean(), atol=0.5) or not np.allclose(first.std(), second.std())
    shift = np.roll(second, 37, axis=0)
    same, moved = (np.corrcoef(first.ravel(), image.ravel())[0, 1] for image in (second, shift))
    assert same > moved + 0.3


def test_images_know_nothing_of_what_only_pois_show() -> None:
    assert np.array_equal(shifted(CITY, "human", 2.0).image(0, 0, 128, 128), CITY.image(0, 0, 128, 128))


@pytest.mark.parametrize("factor", ["built", "shared"])
def test_images_show_the_other_factors(factor: str) -> None:
    assert not np.array_equal(shifted(CITY, factor, 2.0).image(0, 0, 128, 128), CITY.image(0, 0, 128, 128))


def test_the_more_is_built_the_more_ground_is_under_roofs_and_the_higher_they_are() -> None:
    covers, heights = [], []
    for amount in (-2.0, 0.0, 2.0):
        city = shifted(CITY, "built", amount)
        plan = plan_around(city.fields, city.key, city.size, (0, 0, 600, 600))
        colour, height = np.empty((600, 600, 3), np.float32), np.empty((600, 600), np.float32)
        kind = np.empty((600, 600), np.uint8)
        paint(plan, 1.0, (0.0, 1.0), (0, 0), 1.0, colour, height, kind)
        covers.append((kind == ROOF).mean())
        heights.append(height[kind == ROOF].mean())
    # the wider houses are, the more of them an arterial road would cut, so cover grows ever more slowly
    assert covers[0] + 0.05 < covers[1] < covers[2] - 0.01
    assert heights[0] + 1 < heights[1] < heights[2] - 1
