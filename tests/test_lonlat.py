"""Bounds of places in degrees, across the date line too."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS

from mmgr.lonlat import lonlat_bounds, places_of


def at(*longitudes: float) -> np.ndarray:
    return np.stack([np.array(longitudes), np.linspace(-1.0, 1.0, len(longitudes))], axis=1)


@pytest.mark.parametrize(
    ("longitudes", "west", "east"),
    [
        ((103.6, 104.1, 103.9), 103.6, 104.1),
        ((-70.0, 10.0), -70, 10),
        ((179.9, -179.9), 179.9, 180.1),
        ((-180.0, 179.9), 179.9, 180),
        ((-180.0, -179.9), -180, -179.9),
        ((170.0, 180.0), 170, 180),
        ((170.0, 181.0), 170, 181),
        ((-120.0, 30.0, 150.0), 30, 240),
        ((-90.0, 90.0), -90, 90),
        ((7.0,), 7, 7),
        ((180.0,), -180, -180),
    ],
)
def test_bounds_are_the_shortest_arc(longitudes: tuple[float, ...], west: float, east: float) -> None:
    assert lonlat_bounds(at(*longitudes))[::2] == pytest.approx((west, east), abs=1e-9)


@given(st.lists(st.floats(-180, 180), min_size=1, max_size=8), st.floats(-360, 360))
def test_an_arc_turns_with_its_places_and_holds_them(longitudes: list[float], turn: float) -> None:
    west, south, east, north = lonlat_bounds(at(*longitudes))
    assert -180 <= west <= east <= west + 360
    assert (south, north) == (-1.0, 1.0 if len(longitudes) > 1 else -1.0)
    from_west = (np.array(longitudes) - west + 1e-9) % 360
    assert from_west.max() <= east - west + 1e-6
    turned_west, _, turned_east, _ = lonlat_bounds(at(*(np.array(longitudes) + turn)))
    assert turned_east - turned_west == pytest.approx(east - west, abs=1e-6)


def test_places_are_corners_and_a_point_inside_of_what_has_one() -> None:
    utm = CRS.from_epsg(32611)
    shapes = np.array([shapely.box(500_000, 0, 500_100, 100), None, shapely.Point(np.inf, np.inf)], object)
    found = places_of(shapes, utm)
    assert found.shape == (6, 2)  # the first corner closes the ring, too
    assert found[-1] == pytest.approx((-117 + 50 / 111_320, 50 / 110_574), abs=1e-5)
