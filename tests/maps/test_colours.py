from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.maps.colours import MISSING, Scale, embedding_colours, hex_colour, readable


def test_equal_vectors_get_equal_colours_and_the_same_ones_every_time() -> None:
    vectors = np.random.default_rng(0).normal(size=(60, 16))
    vectors[7] = vectors[3]
    colours = embedding_colours(vectors)
    assert colours.shape == (60, 3)
    assert colours.dtype == np.uint8
    assert (colours[7] == colours[3]).all()
    np.testing.assert_array_equal(colours, embedding_colours(vectors.copy()))


def test_the_first_component_is_red_and_rises_with_its_largest_loading() -> None:
    line = np.linspace(-1, 1, 50)
    vectors = np.column_stack([3 * line, -line, np.zeros(50)])
    red = embedding_colours(vectors)[:, 0].astype(int)
    assert (np.diff(red) >= 0).all()
    assert red[0] == 25
    assert red[-1] == 255
    # the same line mirrored keeps its sign by the largest loading, not by chance
    np.testing.assert_array_equal(embedding_colours(-vectors)[::-1, 0], red)


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 4), (5, 1), (5, 2)])
def test_few_vectors_or_dimensions_still_get_colours(shape: tuple[int, int]) -> None:
    assert embedding_colours(np.random.default_rng(0).normal(size=shape)).shape == (shape[0], 3)


def test_vectors_that_are_all_equal_are_grey_rather_than_noise() -> None:
    assert len(np.unique(embedding_colours(np.full((20, 8), 0.1)), axis=0)) == 1


def test_a_region_without_a_vector_is_grey() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 8))
    vectors[4, 2] = np.nan
    assert tuple(embedding_colours(vectors)[4]) == MISSING


def test_skewed_values_are_coloured_by_ratio_and_even_ones_are_not() -> None:
    assert Scale.of(np.exp(np.linspace(0, 9, 100))).log
    assert not Scale.of(np.linspace(10, 20, 100)).log
    assert not Scale.of(np.linspace(-20, 20, 100)).log


def test_a_value_that_is_missing_is_grey() -> None:
    colours = Scale.of([1.0, 2.0, np.nan]).colours([1.0, np.nan])
    assert tuple(colours[1]) == MISSING
    assert tuple(colours[0]) != MISSING


@settings(deadline=None)
@given(st.lists(st.floats(-1e9, 1e12, allow_subnormal=False) | st.just(float("nan")), max_size=40))
def test_any_values_have_a_scale_with_ticks_inside_it(values: list[float]) -> None:
    scale = Scale.of(values)
    assert scale.low < scale.high
    known = np.array([v for v in values if np.isfinite(v)])
    assert ((scale.fraction(known) >= 0) & (scale.fraction(known) <= 1)).all()
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks())
    assert scale.ticks()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12345.6, "12,346"), (1000.0, "1,000"), (0.01234, "0.0123"), (2.5, "2.5"), (3.2e6, "3.2 M"), (4e9, "4 bn"),
        (-7.25, "\N{MINUS SIGN}7.25"), (0.0, "0"), (float("nan"), "\N{EN DASH}"),
    ],
)  # fmt: skip
def test_numbers_are_written_for_people(value: float, text: str) -> None:
    assert readable(value) == text


def test_colours_are_written_for_html() -> None:
    assert hex_colour((255, 0, 16)) == "#ff0010"
