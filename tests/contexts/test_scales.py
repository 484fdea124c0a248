"""The scales that a context chooses."""

from __future__ import annotations

import numpy as np
import pytest

from mmgr.contexts.scales import context_scales, counted_scales


def square(edge: float, regions: int = 400, east: float = 0.0) -> np.ndarray:
    side = np.linspace(0, edge, round(regions**0.5))
    return np.stack(np.meshgrid(side + east, side), -1).reshape(-1, 2)


def test_scales_double_from_the_spacing_of_pois() -> None:
    lattice = square(16_000, 6400)  # 202.5 m apart: the fifth nearest of a place lies one diagonal away
    scales = context_scales(lattice, square(16_000), np.zeros(400), edge=100)
    spacing = 16_000 / 79 * 2**0.5
    assert scales == pytest.approx((spacing, 2 * spacing))  # the next, 1,146 m, is more than a sixteenth of 16 km


def test_dense_pois_start_at_half_a_region_and_end_after_four() -> None:
    dense = square(500, 2500)
    assert context_scales(dense, square(50_000), np.zeros(400), edge=100) == pytest.approx((50, 100, 200, 400))


def test_the_extent_is_that_of_one_city_not_of_the_land_between_them() -> None:
    centres = np.vstack([square(3200), square(3200, east=1e6)])
    group = np.repeat(["here", "there"], 400)
    scales = context_scales(square(3200, 2500), centres, group, edge=100)
    assert max(scales) <= 200
    together = context_scales(square(3200, 2500), centres, np.zeros(800), edge=100)
    assert max(together) > 200


def test_a_small_area_has_one_scale_all_the_same() -> None:
    scales = context_scales(square(400, 9), square(400, 4), np.zeros(4), edge=200)
    assert scales == pytest.approx((100,))


@pytest.mark.parametrize("places", [np.zeros((7, 2)), np.array([[1.0, 2.0]])])
def test_pois_in_one_place_start_at_half_a_region(places: np.ndarray) -> None:
    assert context_scales(places, square(8_000), np.zeros(400), edge=300)[0] == pytest.approx(150)


def test_nothing_has_no_scale() -> None:
    assert context_scales(np.zeros((0, 2)), square(1000), np.zeros(400), edge=100) == ()
    assert context_scales(square(1000), np.zeros((0, 2)), np.zeros(0), edge=100) == ()


def test_counts_start_at_a_quarter_of_their_polygons_or_half_a_region() -> None:
    wide, centres = np.array([1000.0, 1200.0, 9000.0]), square(40_000)
    assert counted_scales(wide, centres, np.zeros(400), edge=100) == pytest.approx((300, 600, 1200, 2400))
    assert counted_scales(wide, centres, np.zeros(400), edge=1000) == pytest.approx((500, 1000, 2000))
    assert counted_scales(np.zeros(0), centres, np.zeros(400), edge=100) == ()
    assert counted_scales(wide, np.zeros((0, 2)), np.zeros(0), edge=100) == ()
