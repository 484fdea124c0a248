"""Dates in file names."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.imagery.dates import dates_in_names


@pytest.mark.parametrize(
    ("name", "date", "place"),
    [
        ("chico_2018_12.tif", "2018", "chico_12"),
        ("m_3411861_sw_11_060_20200521.tif", "2020-05-21", "m_3411861_sw_11_060"),
        ("T11SKU_20180512T183919_TCI.tif", "2018-05-12", "T11SKU_T183919_TCI"),
        ("a-2018-05-12.tif", "2018-05-12", "a"),
        ("2018_chico.tif", "2018", "chico"),
        ("ortho2018.tif", "2018", "ortho"),
        ("2018.tif", "2018", "2018"),
        ("x2016y4500.tif", "", "x2016y4500"),
        ("tile_120160_3.tif", "", "tile_120160_3"),
        ("v0.2018.5.tif", "", "v0.2018.5"),
        ("tile_20181399.tif", "", "tile_20181399"),
        ("plain.tif", "", "plain"),
    ],
)
def test_the_date_is_found_and_the_place_named_without_it(name: str, date: str, place: str) -> None:
    (found,) = dates_in_names([name])
    assert (found.date, found.place) == (date, place)


def test_a_number_that_is_no_year_elsewhere_is_a_year_nowhere() -> None:
    names = ["tile_2016_4500.tif", "tile_2101_4500.tif", "city_2016_1.tif"]
    assert [found.date for found in dates_in_names(names)] == ["", "", "2016"]


def test_the_users_pattern_comes_first() -> None:
    (found,) = dates_in_names(["2016_flight_07.tif"], r"flight_(\d\d)\.tif$")
    assert (found.date, found.place) == ("07", "2016_flight")


@settings(deadline=None)
@given(st.integers(1900, 2099), st.integers(1, 12), st.integers(1, 28), st.sampled_from(["", "-", "_"]))
def test_every_day_is_found(year: int, month: int, day: int, mark: str) -> None:
    (found,) = dates_in_names([f"place_{year}{mark}{month:02}{mark}{day:02}_3.tif"])
    assert (found.date, found.place) == (f"{year}-{month:02}-{day:02}", "place_3")
