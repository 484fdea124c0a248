"""Tables and vector files: what is read, and one clear error for each fault."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely
from pyproj import CRS

from mmgr.errors import InputError, RegionError
from mmgr.tables import metric_crs, polygons_only, read_table, read_vector, require_columns, with_geometry

SQUARE = shapely.box(0, 0, 1, 1)
BOW_TIE = shapely.Polygon([(0, 0), (1, 1), (1, 0), (0, 1)])


def test_parquet_is_read(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet", what="table")["a"].tolist() == [1]


def test_torn_parquet_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(InputError, match="not readable Parquet"):
        read_table(tmp_path / "t.parquet", what="table")
    with pytest.raises(InputError, match="not readable GeoParquet"):
        read_vector(tmp_path / "t.parquet", what="table")


def test_a_missing_file_proposes_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "pois.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"Did you mean pois\.csv"):
        read_table(tmp_path / "poi.csv", what="POIs")


def test_missing_columns_are_all_named_with_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        require_columns(["LON", "latitude", "kind"], ["lon", "lattitude", "zzz"], path=Path("p.csv"), what="POIs")
    message = str(caught.value)
    assert "`lon` (did you mean `LON`?)" in message
    assert "`lattitude` (did you mean `latitude`?)" in message
    assert "`zzz`" in message
    assert "LON, latitude, kind" in message


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "parquet", "shp"])
def test_features_are_read_from_all_formats(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"f.{suffix}"
    frame = gpd.GeoDataFrame({"id": ["a"]}, geometry=[SQUARE], crs="EPSG:4326")
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    read = read_vector(path, columns=["id"], what="tiles")
    assert read.geometry[0].equals(SQUARE)
    assert read.crs == CRS.from_epsg(4326)
    with pytest.raises(InputError, match=r"no column `idd` .did you mean `id`"):
        read_vector(path, columns=["idd"], what="tiles")


def test_a_file_without_crs_needs_one_from_the_user(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    gpd.GeoDataFrame(geometry=[SQUARE]).to_parquet(path)
    with pytest.raises(InputError, match="names no CRS; set `crs`"):
        read_vector(path, what="tiles")
    assert read_vector(path, crs="EPSG:32611", what="tiles").crs == CRS.from_epsg(32611)
    with pytest.raises(InputError, match="no known CRS"):
        read_vector(path, crs="EPSG:nonsense", what="tiles")


def test_a_file_without_crs_names_the_setting_that_there_is(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    gpd.GeoDataFrame(geometry=[SQUARE]).to_parquet(path)
    with pytest.raises(InputError, match=r"names no CRS; set `regions\.source_crs`, such as EPSG:4326"):
        read_vector(path, crs_key="regions.source_crs", what="regions")
    with pytest.raises(InputError, match="names no CRS; write the file with one"):
        read_vector(path, crs_key="", what="POI area")
    with pytest.raises(InputError, match="source_crs 'EPSG:nonsense' is no known CRS"):
        read_vector(path, crs="EPSG:nonsense", crs_key="regions.source_crs", what="regions")


def test_metres_are_no_degrees_even_where_the_user_says_so(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    gpd.GeoDataFrame(geometry=[shapely.box(400_000, 4_000_000, 400_100, 4_000_100)]).to_parquet(path)
    with pytest.raises(InputError, match=r"said to be in degrees, but has coordinates such as 400000\.0, 4000000\.0"):
        read_vector(path, crs="EPSG:4326", what="tiles")


def test_metres_in_a_geojson_without_crs_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "f.geojson"
    path.write_text(
        '{"type":"FeatureCollection","features":[{"type":"Feature","properties":{},'
        '"geometry":{"type":"Point","coordinates":[500000,4000000]}}]}',
        encoding="utf-8",
    )
    with pytest.raises(InputError, match=r"coordinates such as 500000\.0, 4000000\.0"):
        read_vector(path, what="POIs")
    assert read_vector(path, crs="EPSG:32611", what="POIs").crs == CRS.from_epsg(32611)


def test_several_layers_ask_for_a_choice(tmp_path: Path) -> None:
    path = tmp_path / "f.gpkg"
    frame = gpd.GeoDataFrame({"id": ["a"]}, geometry=[SQUARE], crs="EPSG:4326")
    frame.to_file(path, layer="tracts")
    frame.to_file(path, layer="blocks")
    with pytest.raises(InputError, match="several layers"):
        read_vector(path, what="labels")
    with pytest.raises(InputError, match=r"no layer `tract` .did you mean `tracts`"):
        read_vector(path, layer="tract", what="labels")
    assert len(read_vector(path, layer="blocks", what="labels")) == 1


def test_features_without_geometry_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"1 rows, but no geometry\. Write it again with geometry"):
        read_vector(path, what="tiles")
    (tmp_path / "x.geojson").write_text("{ no json", encoding="utf-8")
    with pytest.raises(InputError, match="cannot be read"):
        read_vector(tmp_path / "x.geojson", what="tiles")


def test_a_file_without_features_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.geojson"
    path.write_text('{"type": "FeatureCollection", "features": []}', encoding="utf-8")
    with pytest.raises(InputError, match=r"empty\.geojson has no features: 0 rows\. Write it again with them"):
        read_vector(path, what="POIs")


def test_invalid_polygons_are_repaired_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    frame = gpd.GeoDataFrame(geometry=[SQUARE, BOW_TIE], crs="EPSG:32611")
    mended = polygons_only(frame, path=Path("p.gpkg"), what="tracts")
    assert mended.geometry.is_valid.all()
    assert mended.area.tolist() == pytest.approx([1, 0.5])
    assert "1 invalid polygons of p.gpkg were repaired" in caplog.text


def test_empty_and_foreign_shapes_are_named_together() -> None:
    line = shapely.Polygon([(0, 0), (1, 1), (0, 0), (0, 0)])
    shapes = [SQUARE, None, shapely.Polygon(), shapely.Point(0, 0), line]
    frame = gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32611")
    with pytest.raises(InputError) as caught:
        polygons_only(frame, path=Path("p.gpkg"), what="tracts")
    message = str(caught.value)
    assert "2 features without geometry (number 2, 3)" in message
    assert "1 features that are no polygons (number 4)" in message
    assert "1 features that have no area (number 5)" in message


def test_features_are_numbered_as_in_the_file_even_after_some_were_left_out() -> None:
    shapes = [None, SQUARE, shapely.Point(0, 0), shapely.Polygon()]
    frame = with_geometry(gpd.GeoDataFrame(geometry=shapes, crs="EPSG:32611"), path=Path("p.gpkg"), what="tracts")
    with pytest.raises(InputError, match=r"1 features that are no polygons \(number 3\)"):
        polygons_only(frame, path=Path("p.gpkg"), what="tracts")


def test_a_local_crs_is_none(tmp_path: Path) -> None:
    local = CRS.from_wkt('LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]')
    gpd.GeoDataFrame({"a": [1]}, geometry=[SQUARE], crs=local).to_parquet(tmp_path / "p.parquet")
    with pytest.raises(InputError, match="has a local CRS, which says nothing of where things lie; set `crs`"):
        read_vector(tmp_path / "p.parquet", what="tracts")
    assert read_vector(tmp_path / "p.parquet", crs="EPSG:32611", what="tracts").crs == CRS.from_epsg(32611)


@pytest.mark.parametrize(("code", "message"), [(4326, "geographic"), (2229, "US survey foot")])
def test_only_metres_are_metric(code: int, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        metric_crs(CRS.from_epsg(code), what="regions.crs")
    assert metric_crs(CRS.from_epsg(32611), what="regions.crs") == CRS.from_epsg(32611)
