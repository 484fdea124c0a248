"""A user's POI table is checked before anything is learned from it."""

from __future__ import annotations

import logging
import re
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from shapely import LineString, Point

from mmgr.categories.frames import coordinates, names_of_frame, places_of_frame
from mmgr.errors import PoiError

LEVELS = {"first_level": "first_level", "second_level": "second_level"}


def table(**columns: Any) -> pd.DataFrame:
    given = {"x": [5e5, 5.1e5, 5.2e5], "y": [1e5, 1e5, 1e5], "first_level": ["a", "b", "a"]}
    return pd.DataFrame(given | {"second_level": ["p", "q", "r"]} | columns, index=["one", "two", "three"])


def points(geometry: list[Any], crs: Any = 32648) -> gpd.GeoDataFrame:
    return gpd.GeoDataFrame(table().drop(columns=["x", "y"]), geometry=geometry, crs=crs)


def test_places_have_sorted_categories_and_metres() -> None:
    places = places_of_frame(table(), **LEVELS)
    assert places.taxonomy.names == ("a/p", "a/r", "b/q")
    assert places.category.tolist() == [0, 2, 1]
    assert places.frequency.tolist() == [1, 1, 1]
    assert places.xy.tolist() == [[5e5, 1e5], [5.1e5, 1e5], [5.2e5, 1e5]]


def test_names_are_cleaned_and_keep_their_alphabet() -> None:
    frame = table(first_level=[" カフェ ", 2742.0, "école"], second_level=["ресторан", "q", "q"])
    assert places_of_frame(frame, **LEVELS).taxonomy.names == ("2742/q", "école/q", "カフェ/ресторан")


@pytest.mark.parametrize("missing", ["", "  ", None, float("nan")])
def test_missing_names_are_named_by_their_row(missing: Any) -> None:
    with pytest.raises(PoiError, match=r"1 of 3 POIs have no category name \(index two\)"):
        places_of_frame(table(second_level=["p", missing, "r"]), **LEVELS)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, None, "east"])
def test_bad_coordinates_are_named_by_their_row(value: Any) -> None:
    with pytest.raises(PoiError, match=r"missing or infinite \(index three\)"):
        places_of_frame(table(x=[5e5, 5e5, value]), **LEVELS)


@pytest.mark.parametrize("shape", [Point(), None, Point(np.nan, 1), Point(np.inf, 1)])
def test_points_without_a_place_are_named_by_their_row(shape: Any) -> None:
    with pytest.raises(PoiError, match=r"missing or infinite \(index two\)"):
        places_of_frame(points([Point(5e5, 1), shape, Point(5e5, 3)]), **LEVELS)


def test_many_bad_rows_are_counted() -> None:
    frame = pd.concat([table(x=[np.nan] * 3)] * 3)
    with pytest.raises(PoiError, match=r"9 of 9 .*index one, two, three, one, two and 4 more"):
        places_of_frame(frame, **LEVELS)


def test_shapes_that_are_no_points_are_refused() -> None:
    with pytest.raises(PoiError, match=r"are no points \(index two\); take their representative_point"):
        coordinates(points([Point(0, 1), LineString([(0, 0), (1, 1)]), Point(2, 1)]))


@pytest.mark.parametrize(
    ("crs", "words"), [(4326, "in degrees .*estimate_utm_crs"), (None, "no CRS"), (2263, "not metres")]
)
def test_distances_need_a_crs_of_metres(crs: Any, words: str) -> None:
    with pytest.raises(PoiError, match=words):
        coordinates(points([Point(0, 1), Point(1, 1), Point(2, 1)], crs))


def test_columns_that_look_like_degrees_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    coordinates(table(x=[103.8, 103.9, 103.7], y=[1.3, 1.2, 1.4]))
    assert "are these degrees?" in caplog.text


def test_missing_columns_are_named_with_the_nearest() -> None:
    with pytest.raises(PoiError, match=r"no column 'first_level'.*did you mean 'firstlevel'"):
        names_of_frame(table().rename(columns={"first_level": "firstlevel"}), **LEVELS)
    with pytest.raises(PoiError, match="no column 'sort' for `second_level`"):
        names_of_frame(table(), first_level="first_level", second_level="sort")
    with pytest.raises(PoiError, match=r"no column 'x'.*point geometry, or x and y in metres"):
        coordinates(table().drop(columns="x"))
    with pytest.raises(PoiError, match="got ndarray"):
        names_of_frame(np.zeros((3, 2)), **LEVELS)


def test_a_second_level_under_two_first_levels_is_two_categories_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    assert len(places_of_frame(table(second_level=["p", "p", "r"]), **LEVELS).taxonomy) == 3
    assert "second level 'p' stands under 2 first levels: a (1), b (1); kept as 2 categories" in caplog.text


def test_a_table_without_rows_is_refused() -> None:
    with pytest.raises(PoiError, match="no rows"):
        places_of_frame(table().iloc[:0], **LEVELS)


@pytest.mark.parametrize("value", [5.1e7, -1e12, 1e300])
def test_coordinates_off_the_earth_are_named_by_row_and_value(value: float) -> None:
    fault = f"1 of 3 POIs lie off the Earth, the first at x 510000, y {value:.6g} (index two)"
    with pytest.raises(PoiError, match=re.escape(fault)):
        places_of_frame(table(y=[1e5, value, 1e5]), **LEVELS)
    with pytest.raises(PoiError, match=r"off the Earth.*\(index two\)"):
        places_of_frame(points([Point(5e5, 1), Point(value, 2), Point(5e5, 3)]), **LEVELS)


def many(*places: tuple[float, float]) -> pd.DataFrame:
    xy = np.concatenate([np.random.default_rng(0).uniform([37e4, 14e4], [38e4, 15e4], (300, 2)), np.array(places)])
    return pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "first_level": "a"}, index=[f"p{n}" for n in range(len(xy))])


def test_a_poi_far_from_all_others_is_warned_of_by_row_and_distance(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    assert len(places_of_frame(many((0.0, 0.0)), **LEVELS).xy) == 301
    assert (
        "1 of 301 POIs lie far from the others (index p300; the furthest is p300 at x 0, y 0, 396 km away)"
        in caplog.text
    )
    caplog.clear()
    places_of_frame(many((38.5e4, 15.5e4)), **LEVELS)
    assert not caplog.text


@pytest.mark.parametrize("count", [2, 5, 20])
def test_several_pois_at_one_wrong_place_are_warned_of(count: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    places_of_frame(many(*(count * ((0.0, 5e6),))), **LEVELS)
    assert f"{count} of {300 + count} POIs lie far from the others (index p300, p301" in caplog.text
