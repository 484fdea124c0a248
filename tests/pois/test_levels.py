"""What a POI is: one column, keys of OpenStreetMap, or a part of records."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from pydantic import ValidationError
from pyproj import CRS

from mmgr.config import PointSource, Pois
from mmgr.errors import InputError, PoiError
from mmgr.pois import read_pois
from mmgr.propose.pois import pois_section
from mmgr.tables import polygons_only, read_vector

GENOA = CRS.from_epsg(32632)
OSM = """<?xml version="1.0" encoding="UTF-8"?>
<osm version="0.6">
 <node id="1" lat="44.401" lon="8.901" version="1"><tag k="amenity" v="cafe"/><tag k="name" v="A &quot;B&quot;"/></node>
 <node id="2" lat="44.402" lon="8.902" version="1"><tag k="shop" v="bakery"/><tag k="amenity" v="no"/></node>
 <node id="3" lat="44.403" lon="8.903" version="1"><tag k="highway" v="crossing"/></node>
 <node id="4" lat="44.404" lon="8.904" version="1"><tag k="shop" v="kiosk"/><tag k="amenity" v="cafe"/></node>
 <node id="10" lat="44.405" lon="8.905" version="1"/><node id="11" lat="44.405" lon="8.906" version="1"/>
 <node id="12" lat="44.406" lon="8.906" version="1"/><node id="13" lat="44.406" lon="8.905" version="1"/>
 <way id="20" version="1"><nd ref="10"/><nd ref="11"/><nd ref="12"/><nd ref="13"/><nd ref="10"/>
  <tag k="building" v="yes"/><tag k="amenity" v="school"/></way>
</osm>
"""


def kinds(**source: Any) -> list[tuple[str, str]]:
    """First and second level of each POI of a source."""
    tables = read_pois(Pois(sources=(PointSource(**source),)), crs=GENOA)
    names = tables.taxonomy
    return [(names.first[number], names.second[number]) for number in tables.points["category"]]


@pytest.fixture
def extract(tmp_path: Path) -> Path:
    path = tmp_path / "city.osm"
    path.write_text(OSM, encoding="utf-8")
    return path


@pytest.fixture
def frame() -> gpd.GeoDataFrame:
    """As tools that download from OpenStreetMap write it: a column a key, mostly empty."""
    table = {"amenity": ["cafe", None, "no", " "], "shop": [None, "bakery", "kiosk", None], "osmid": [1, 2, 3, 4]}
    return gpd.GeoDataFrame(table, geometry=shapely.points([[8.9 + k / 1e3, 44.4] for k in range(4)]), crs=4326)


@pytest.mark.parametrize("ending", ["gpkg", "geojson", "csv"])
def test_the_first_key_with_a_value_counts(
    frame: gpd.GeoDataFrame, tmp_path: Path, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    caplog.set_level(logging.INFO, "mmgr")
    path = tmp_path / f"p.{ending}"
    if ending == "csv":
        pd.DataFrame(frame.drop(columns="geometry")).assign(lon=frame.geometry.x, lat=44.4).to_csv(path, index=False)
    else:
        frame.to_file(path)
    assert kinds(path=path, keys=("amenity", "shop")) == [("amenity", "cafe"), ("shop", "bakery"), ("shop", "kiosk")]
    assert "1 of 4 POIs without a category are left out (row 4)" in caplog.text
    with pytest.raises(InputError, match="no column `amenty` \\(did you mean `amenity`"):
        kinds(path=path, keys=("amenty", "shop"))
    lines = pois_section(path, path.name)
    assert lines[0] == "# 3 POIs by keys of OpenStreetMap, of 4 rows: shop (2), amenity (1)"
    assert "      keys: [amenity, shop]   # of several that a POI has, the first counts" in lines


def test_extracts_of_openstreetmap_are_read_layer_by_layer(extract: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mmgr")
    keys = ("amenity", "shop")
    found = kinds(path=extract, layer="points", keys=keys)
    assert found == [("amenity", "cafe"), ("shop", "bakery"), ("amenity", "cafe")]
    assert "1 of 3 POIs have values of several keys; the first of amenity, shop counts" in caplog.text
    assert kinds(path=extract, layer="multipolygons", keys=keys) == [("amenity", "school")]
    lines = pois_section(extract, "city.osm")
    assert lines[0] == "# 4 POIs by keys of OpenStreetMap: amenity (3), shop (1)"
    assert [line for line in lines if "layer" in line] == ["      layer: points", "      layer: multipolygons"]
    assert sum("keys: [amenity, shop]" in line for line in lines) == 2
    with pytest.raises(InputError, match=r"nowhere\.osm"):
        pois_section(extract.with_name("nowhere.osm"), "nowhere.osm")


def test_a_real_extract_in_pbf_is_read_past_areas_that_its_edge_cuts_open(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    path = shared_data / "helsinki" / "Helsinki.osm.pbf"
    lines = pois_section(path, path.name)
    assert lines[0].startswith("# 2,111 POIs by keys of OpenStreetMap: amenity (1,088), shop (509)")
    for layer, firsts in (("points", {"amenity", "shop"}), ("multipolygons", {"amenity"})):
        keys = ("amenity", "shop") if layer == "points" else ("amenity",)
        assert {first for first, _ in kinds(path=path, layer=layer, keys=keys)} == firsts
    assert "11 of 1095 POIs without usable coordinates are left out" in caplog.text
    assert "GDAL" not in caplog.text
    assert not [warning for warning in recwarn if "ring" in str(warning.message)]
    torn = tmp_path / "torn.osm.pbf"
    torn.write_bytes(path.read_bytes()[:300_000])
    with pytest.raises(InputError, match=r"torn\.osm\.pbf cannot be read"):
        pois_section(torn, torn.name)


def test_a_shape_that_cannot_be_built_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    places = [("cafe", "Point", [8.9, 44.4]), ("bank", "Polygon", [[[8.9, 44.4], [8.91, 44.4]]])]
    features = [
        {"type": "Feature", "properties": {"kind": kind}, "geometry": {"type": shape, "coordinates": where}}
        for kind, shape, where in places
    ]
    path = tmp_path / "p.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    assert kinds(path=path, first_level="kind") == [("cafe", "cafe")]
    assert "1 of 2 POIs without usable coordinates are left out (row 2)" in caplog.text
    with pytest.raises(InputError, match=r"1 features without geometry \(number 2\)"):
        polygons_only(read_vector(path, what="regions"), path=path, what="regions")


@pytest.mark.parametrize("ending", ["parquet", "geojson"])
def test_a_part_of_records_may_be_the_category(frame: gpd.GeoDataFrame, tmp_path: Path, ending: str) -> None:
    """As places of Overture Maps are: records with a primary category and a list of others."""
    primary = ["cafe", "bank", "cafe", "bank"]
    records = [{"primary": kind, "alternate": [kind, "shop"]} for kind in primary]
    places = frame[["geometry"]].assign(categories=records, names=[{"primary": f"n {k}"} for k in range(4)])
    path = tmp_path / f"places.{ending}"
    if ending == "parquet":
        places.to_parquet(path)
    else:
        path.write_text(places.to_json(), encoding="utf-8")
    assert kinds(path=path, first_level="categories.primary") == [(kind, kind) for kind in primary]
    assert any(line.strip() == "first_level: categories.primary" for line in pois_section(path, path.name))
    with pytest.raises(PoiError, match=r"`categories\.alternate` of row 1 is no name"):
        kinds(path=path, first_level="categories.alternate")
    with pytest.raises(InputError, match=r"no column `category\.primary`"):
        kinds(path=path, first_level="category.primary")
    if ending == "parquet":
        with pytest.raises(PoiError, match=r"name a part of it, such as `categories\.(primary|alternate)`"):
            kinds(path=path, first_level="categories")


def test_a_column_whose_name_has_a_point_is_one(frame: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = tmp_path / "p.gpkg"
    frame.assign(**{"kind.main": ["a", "b", "a", "b"]}).to_file(path)
    assert kinds(path=path, first_level="kind.main") == [("a", "a"), ("b", "b"), ("a", "a"), ("b", "b")]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "name `first_level`"),
        ({"first_level": "a", "keys": ["b"]}, "name `first_level`"),
        ({"second_level": "a", "keys": ["b"]}, "leave out `second_level`"),
        ({"keys": ["b", "b"]}, "names a key twice"),
    ],
)
def test_a_source_has_one_way_to_say_what_its_pois_are(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        PointSource.model_validate(json.loads(json.dumps({"path": "p.csv"} | given)))
