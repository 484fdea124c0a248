from __future__ import annotations

import base64
import json

import geopandas as gpd
import numpy as np
import pytest

from mmgr.maps.explorer import Explorer, Layer


def test_the_payload_is_json_with_a_value_and_a_colour_for_each_region(cities: gpd.GeoDataFrame) -> None:
    values = np.arange(120.0)
    values[2] = np.nan
    colours = np.zeros((120, 3), np.uint8)
    payload = Explorer(cities, [Layer("Embeddings", colours), Layer("population", values, "people")]).payload()
    read = json.loads(json.dumps(payload, allow_nan=False))
    assert read["ids"] == list(cities.index)
    assert [read["groups"][code] for code in read["group"]] == list(cities["group"])
    assert read["rings"] is None, "boxes say it all"
    assert len(read["centres"]) == 240
    assert len(base64.b64decode(read["layers"][1]["colours"])) == 360
    assert read["layers"][1]["values"][2] is None
    assert read["layers"][1]["legend"]["missing"] is not None
    assert all(0 <= place <= 1 for place, _ in read["layers"][1]["legend"]["ticks"])


def test_polygons_are_given_with_parts_and_holes(hexagons: gpd.GeoDataFrame) -> None:
    rings = Explorer(hexagons, [Layer("x", np.arange(9.0))]).payload()["rings"]
    assert [len(r) for r in rings] == [1, 1, 1, 2, 2, 1, 1, 1, 1]


def test_thumbnails_are_small_jpegs(cities: gpd.GeoDataFrame) -> None:
    patches = [np.full((128, 128, 4), 90, np.uint8), None, *[np.zeros((16, 16, 1), np.uint8)] * 118]
    shown = Explorer(cities, [Layer("x", np.zeros(120))], patches).payload()["thumbnails"]
    assert shown[0].startswith("data:image/jpeg;base64,")
    assert shown[1] is None
    assert len(shown[0]) < 3000


def test_layers_of_another_length_are_refused(cities: gpd.GeoDataFrame) -> None:
    with pytest.raises(ValueError, match="120 regions, but 3 values of x"):
        Explorer(cities, [Layer("x", np.zeros(3))])


def test_one_region_has_no_spacing(cities: gpd.GeoDataFrame) -> None:
    assert Explorer(cities.iloc[:1], [Layer("x", np.zeros(1))]).payload()["spacing"] is None
