"""Reading POIs: what is repaired, what is left out, what is refused."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from pyproj import CRS
from shapely import Point, Polygon, box

from mmgr.config import CountSource, PointSource, Pois
from mmgr.errors import InputError, PoiError
from mmgr.pois import PoiTables, read_pois

UTM = CRS.from_epsg(32611)


def points(path: Path, **choices: object) -> PointSource:
    return PointSource(path=path, **{"first_level": "type"} | choices)


def read(*sources: PointSource | CountSource) -> PoiTables:
    return read_pois(Pois(sources=sources), crs=UTM)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")


def test_a_csv_in_degrees_is_projected_to_metres(tmp_path: Path) -> None:
    # on the central meridian the easting is 500 km; the northing of 34 degrees is that of pyproj's own docs' formula
    path = write(tmp_path / "p.csv", "lon,lat,type\n-117,0,cafe\n-117,34,bank\n")
    tables = read(points(path))
    assert tables.points.geometry.x.to_numpy() == pytest.approx([500_000, 500_000], abs=1e-3)
    # meridian arc of WGS 84 to 34 degrees, 3,763,661.4 m by Helmert's series, times 0.9996
    assert tables.points.geometry.y.to_numpy() == pytest.approx([0, 0.9996 * 3_763_661.4], abs=600)
    assert [tables.taxonomy.second[i] for i in tables.points["category"]] == ["cafe", "bank"]


@pytest.mark.parametrize("header", ["x,y", "Lon,Lat", "LONGITUDE,LATITUDE", "lng,lat", " lon , lat "])
def test_common_coordinate_columns_are_recognised(tmp_path: Path, header: str) -> None:
    tables = read(points(write(tmp_path / "p.csv", f"{header},type\n-117,34,cafe\n")))
    assert len(tables.points) == 1


def test_metres_are_preferred_where_the_crs_is_projected(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "lon,lat,easting,northing,type\n-117,34,500000,3700000,cafe\n")
    point = read(points(path, crs="EPSG:32611")).points.geometry.iloc[0]
    assert (point.x, point.y) == pytest.approx((500_000, 3_700_000))


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "parquet"])
def test_vector_files_are_read_and_shapes_become_a_point_inside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    # the centroid of this U lies outside it
    u = Polygon([(0, 0), (3, 0), (3, 3), (2, 3), (2, 1), (1, 1), (1, 3), (0, 3)])
    shape = gpd.GeoSeries([u], crs=UTM).translate(500_000, 3_700_000).to_crs(4326)
    frame = gpd.GeoDataFrame(
        {"type": ["cafe", "park"]}, geometry=[shape.iloc[0].boundary.interpolate(0), shape.iloc[0]], crs=4326
    )
    path = tmp_path / f"p.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    tables = read(points(path))
    inside = shape.to_crs(UTM).iloc[0]
    assert set(tables.points.geometry.type) == {"Point"}
    assert inside.contains(tables.points.geometry.iloc[1])
    assert "1 shapes that are not points" in caplog.text


def test_a_plain_parquet_table_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    pd.DataFrame({"lon": [-117.0], "lat": [34.0], "type": ["cafe"]}).to_parquet(path)
    assert len(read(points(path)).points) == 1


def test_category_text_is_stripped_and_rows_without_category_or_place_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(
        tmp_path / "p.csv",
        "lon,lat,type,fine\n-117,34, food , cafe\n-117,34,food,cafe\n-117,34,,bar\n-117,34,food,  \n,34,food,bar\n"
        "inf,34,food,bar\nabc,34,food,bar\n",
    )
    tables = read(points(path, second_level="fine"))
    assert tables.taxonomy.names == ("food/cafe",)
    assert len(tables.points) == 2
    assert "2 of 7 POIs without a category are left out (rows 3, 4)" in caplog.text
    assert (
        "3 of 7 POIs without usable coordinates are left out (rows 5, 6, 7); row 5 has nothing in column lon"
        in caplog.text
    )


def test_a_second_level_under_two_first_levels_is_named_and_kept_twice(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "p.csv", "lon,lat,type,fine\n-117,34,food,kiosk\n-117,34,shop,kiosk\n-117,34,shop,kiosk\n")
    tables = read(points(path, second_level="fine"))
    assert tables.taxonomy.names == ("food/kiosk", "shop/kiosk")
    assert "'kiosk' stands under 2 first levels: food (1), shop (2)" in caplog.text


def test_a_coordinate_out_of_range_is_named_with_its_row(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "lon,lat,type\n-117,34,cafe\n-117,34,cafe\n-117,340,cafe\n")
    with pytest.raises(PoiError, match=r"row 3 has latitude 340 \(column lat\), outside ±90"):
        read(points(path))


def test_swapped_columns_are_recognised_where_the_latitude_cannot_be_one(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "lat,lon,type\n-117,34,cafe\n-117.1,34.1,cafe\n")
    with pytest.raises(PoiError, match=r"look swapped: set x: lat, y: lon\."):
        read(points(path))


def test_swapped_columns_are_recognised_where_they_cannot_be_projected(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "lat,lon,type\n-74,40.7,cafe\n-74.1,40.8,cafe\n")
    with pytest.raises(PoiError, match="look swapped"):
        read_pois(Pois(sources=(points(path),)), crs=CRS.from_proj4("+proj=gnom +lon_0=-74 +lat_0=40.7 +units=m"))


@pytest.mark.parametrize(
    ("text", "choices", "message"),
    [
        ("a,b,type\n1,2,cafe\n", {}, "no columns with coordinates are recognised.*a, b, type"),
        ("lon,lat,type\n1,2,cafe\n", {"x": "lon"}, "`x` and `y` belong together"),
        ("lon,lat,type\n1,2,\n", {}, "holds no usable point"),
        ("lon,lat,type\n1,2,cafe\n", {"crs": "EPSG:0"}, "'EPSG:0' is not a known CRS"),
    ],
)
def test_unusable_points_are_refused_in_one_sentence(
    tmp_path: Path, text: str, choices: dict[str, str], message: str
) -> None:
    with pytest.raises(PoiError, match=message):
        read(points(write(tmp_path / "p.csv", text), **choices))


def test_a_missing_category_column_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="type"):
        read(points(write(tmp_path / "p.csv", "lon,lat,typ\n1,2,cafe\n")))


def test_coordinate_columns_of_a_file_with_geometry_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.geojson"
    gpd.GeoDataFrame({"type": ["cafe"]}, geometry=gpd.points_from_xy([-117], [34]), crs=4326).to_file(path)
    with pytest.raises(PoiError, match="leave out `x` and `y`"):
        read(points(path, x="lon", y="lat"))


def test_categories_may_be_called_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = read(points(write(tmp_path / "p.csv", "lon,lat,type\n-117,34,None\nNA,34,bar\n-117,34,bar\n-117,34,\n")))
    assert tables.taxonomy.names == ("None", "bar")
    assert tables.points["row"].tolist() == [1, 3]
    assert "1 of 4 cells of `type` say None, which is read as a name" in caplog.text


def test_two_spellings_of_one_name_are_one_category_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "p.csv", "lon,lat,type,fine\n" + "".join(
        f"-117,34,{first},{second}\n" for first, second in
        [("\u00e9cole", "a"), ("e\u0301cole", "a"), ("\u5b66\u6821", "\u304b\u3099"), ("\U0001f35c", "a")]
    ))  # fmt: skip
    tables = read(points(path, second_level="fine"))
    assert tables.taxonomy.names == ("\u00e9cole/a", "\u5b66\u6821/\u304c", "\U0001f35c/a")
    assert tables.points["category"].tolist() == [0, 0, 1, 2]
    assert "names of 2 POIs are spelt in another Unicode form; read as NFC (rows 2, 3)" in caplog.text


def test_one_category_alone_is_read_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tables = read(points(write(tmp_path / "p.csv", "lon,lat,type\n-117,34,cafe\n-117,35,cafe\n")))
    assert len(tables.points) == 2
    assert "there is one category only, cafe" in caplog.text


@pytest.mark.parametrize("suffix", ["geojson", "gpkg", "parquet"])
def test_rows_without_geometry_are_left_out_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str
) -> None:
    shapes = [Point(-117, 34), None, Point(), Point(-117, 34), Polygon()]
    if suffix == "parquet":  # the others cannot hold one
        shapes[3] = Point(np.inf, 34)
    frame = gpd.GeoDataFrame({"type": ["cafe"] * 5}, geometry=shapes, crs=4326)
    path = tmp_path / f"p.{suffix}"
    frame.to_parquet(path) if suffix == "parquet" else frame.to_file(path)
    tables = read(points(path))
    if suffix == "parquet":
        assert tables.points["row"].tolist() == [1]
        assert "4 of 5 POIs without usable coordinates are left out (rows 2, 3, 4, 5)" in caplog.text
    else:
        assert tables.points["row"].tolist() == [1, 4]
        assert "3 of 5 POIs without usable coordinates are left out (rows 2, 3, 5)" in caplog.text


def test_a_point_without_a_place_in_the_crs_is_left_out_as_too_far(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # a quarter round the Earth from its meridian a transverse Mercator projection reaches infinity
    tables = read(points(write(tmp_path / "p.csv", "lon,lat,type\n-117,34,cafe\n-27,0,bank\n")))
    assert tables.points["row"].tolist() == [1]
    assert "1 of 2 POIs too far away for a place in EPSG:32611 are left out (row 2)" in caplog.text


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "", "is empty"),
        ("p.csv", "lon,lat,type\n", "has column names but no rows"),
        ("p.geojson", '{"type": "FeatureCollection", "features": []}', "0 rows"),
        (
            "p.csv",
            "lon|lat|type\n103,85|1,30|cafe\n",
            r"row 1 has '103,85' in column lon, .* with a point, not a comma\.",
        ),
        ("p.csv", "lon,lat,type\n1,2,\n1,north,cafe\n", r"row 2 has 'north' in column lat, .* finite number\.$"),
        ("p.csv", "lon,lat,type\n-inf,2,cafe\n", r"row 1 has '-inf' in column lon"),
        ("p.csv", "lon,lat,type\n1,2,\n,2,cafe\n", "of 2 rows 1 have no usable coordinates and 1 no category"),
    ],
)
def test_files_without_a_usable_poi_are_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(points(write(tmp_path / name, text)))


def test_count_columns_in_two_spellings_mean_one_category(tmp_path: Path) -> None:
    path = counts_file(tmp_path / "c.gpkg", {"tract": ["a"], "poi_\u00e9cole": [1], "poi_e\u0301cole": [2]})
    with pytest.raises(PoiError, match="two count columns mean the same category"):
        read(counts(path))
    path = counts_file(tmp_path / "d.gpkg", {"tract": ["a"], "poi_e\u0301cole": [2]})
    assert read(counts(path)).taxonomy.names == ("\u00e9cole",)


def counts_file(path: Path, table: dict[str, list[object]]) -> Path:
    size = len(next(iter(table.values())))
    shapes = [box(500_000 + 1000 * i, 3_700_000, 501_000 + 1000 * i, 3_702_000) for i in range(size)]
    gpd.GeoDataFrame(table, geometry=shapes, crs=UTM).to_file(path)
    return path


def counts(path: Path, **choices: object) -> CountSource:
    return CountSource(**{"kind": "counts", "path": path, "columns": "poi_*", "id": "tract"} | choices)


def test_counts_lose_their_prefix_and_get_their_first_level(tmp_path: Path) -> None:
    path = counts_file(
        tmp_path / "c.gpkg", {"tract": ["a", "b"], "poi_cafe": [1, 2], "poi_bar": [0, 3], "people": [9, 9]}
    )
    tables = read(counts(path, first_levels={"poi_cafe": "food", "bar": "night"}))
    assert tables.taxonomy.names == ("food/cafe", "night/bar")
    assert tables.count_matrix.tolist() == [[1, 0], [2, 3]]
    assert tables.counts["unit"].tolist() == ["a", "b"]
    assert tables.counts["area_km2"].to_numpy() == pytest.approx([2, 2])


def test_a_polygon_without_any_count_is_unknown_and_a_single_missing_count_is_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = {"tract": ["a", "b"], "poi_cafe": [np.nan, np.nan], "poi_bar": [np.nan, 3.0]}
    tables = read(counts(counts_file(tmp_path / "c.gpkg", table)))
    assert tables.counts["unit"].tolist() == ["b"]
    assert tables.count_matrix.tolist() == [[3, 0]]
    assert "1 of 2 polygons have no counts" in caplog.text
    assert "1 missing counts" in caplog.text


@pytest.mark.parametrize(
    ("table", "choices", "message"),
    [
        ({"tract": ["a"], "poi_cafe": [-2]}, {}, "poi_cafe of a is -2"),
        ({"tract": ["a"], "poi_cafe": ["many"]}, {}, "poi_cafe of a is 'many'"),
        ({"tract": ["a"], "cafe": [2]}, {}, r"no column matches 'poi_\*'; its columns of numbers are cafe"),
        ({"tract": ["a"], "poi_cafe": [2]}, {"first_levels": {"poi_caffe": "x"}}, "did you mean 'poi_cafe'"),
        ({"tract": ["a", "a"], "poi_cafe": [2, 2]}, {}, "more than one polygon with a"),
        ({"tract": ["a", None], "poi_cafe": [2, 2]}, {}, "1 polygons have no 'tract', first row 2"),
        ({"tract": ["a"], "poi_cafe": [np.nan]}, {}, "every count of every polygon is missing"),
    ],
)
def test_unusable_counts_are_refused_with_place_and_value(
    tmp_path: Path, table: dict[str, list[object]], choices: dict[str, object], message: str
) -> None:
    with pytest.raises(PoiError, match=message):
        read(counts(counts_file(tmp_path / "c.gpkg", table), **choices))


def test_points_and_counts_share_one_taxonomy_and_survive_the_disk(tmp_path: Path) -> None:
    csv = write(tmp_path / "p.csv", "lon,lat,type\n-117,34,bus_stop\n")
    area = tmp_path / "area.geojson"
    gpd.GeoDataFrame(geometry=[box(-118, 33, -116, 35)], crs=4326).to_file(area)
    units = counts_file(tmp_path / "c.gpkg", {"tract": ["a"], "poi_cafe": [1]})
    tables = read(counts(units), points(csv, area=area))
    tables.save(tmp_path / "tables")
    again = PoiTables.load(tmp_path / "tables")
    assert again.taxonomy.names == ("bus_stop", "cafe")
    assert again.taxonomy == tables.taxonomy
    assert again.count_matrix.tolist() == [[0, 1]]
    assert again.points.equals(tables.points)
    assert again.counts.crs == tables.counts.crs == UTM
    assert again.counts["unit"].tolist() == ["a"]
    assert [source.path for source in again.sources] == [str(units), str(csv)]
    assert again.areas[0] is None
    assert again.areas[1].equals(tables.areas[1])


def test_real_tracts_and_points_are_read_together(shared_data: Path) -> None:
    folder = shared_data / "california"
    tables = read(counts(folder / "tracts.geojson"), points(folder / "santa_monica_pois.csv", first_level="category"))
    assert len(tables.taxonomy) == 34 + 3
    assert len(tables.points) == 1056
