"""Where POIs lie, when no image says where the regions are."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas as gpd
import pytest
import shapely
from pyproj import CRS

from mmgr.config import CountSource, PointSource, Pois
from mmgr.errors import InputError, RegionError
from mmgr.pois import known_shapes, poi_bounds, poi_crs, read_pois

UTM = CRS.from_epsg(32648)


def points(folder: Path, *lonlat: tuple[float, float], area: Path | None = None) -> PointSource:
    path = folder / "p.csv"
    path.write_text("lon,lat,type\n" + "".join(f"{x},{y},cafe\n" for x, y in lonlat), encoding="utf-8")
    return PointSource(path=path, first_level="type", area=area)


SINGAPORE = ((103.7, 1.25), (103.8, 1.30), (103.9, 1.35), (103.85, 1.40))


def test_bounds_are_those_of_the_points_in_degrees(tmp_path: Path) -> None:
    found = poi_bounds(Pois(sources=(points(tmp_path, *SINGAPORE),)))
    assert found == pytest.approx((103.7, 1.25, 103.9, 1.40), abs=1e-6)


def test_a_stray_point_neither_moves_the_bounds_nor_widens_the_box(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")
    chosen = Pois(sources=(points(tmp_path, *(6 * SINGAPORE), (0, 0)),))
    assert poi_bounds(chosen) == pytest.approx((103.7, 1.25, 103.9, 1.40), abs=1e-6)
    assert not caplog.text, "it is told when the POIs are read for good"
    (box,) = known_shapes(read_pois(chosen, crs=UTM))
    assert box.area / 1e6 == pytest.approx(22.2 * 16.6, rel=0.01)  # 0.2 x 0.15 degrees at the equator
    assert "1 of 25 POIs lie apart from the others, and no grid is made there" in caplog.text


def test_one_point_has_a_box_with_an_area(tmp_path: Path) -> None:
    (box,) = known_shapes(read_pois(Pois(sources=(points(tmp_path, SINGAPORE[0]),)), crs=UTM))
    assert 0 < box.area < 1


def test_an_area_and_polygons_of_counts_speak_for_themselves(tmp_path: Path) -> None:
    squares = [shapely.box(103.6, 1.2, 103.7, 1.3), shapely.box(104.0, 1.2, 104.1, 1.3)]
    gpd.GeoDataFrame(geometry=squares[:1], crs=4326).to_file(tmp_path / "area.gpkg")
    gpd.GeoDataFrame({"n_bar": [1]}, geometry=squares[1:], crs=4326).to_file(tmp_path / "counts.gpkg")
    counts = CountSource(kind="counts", path=tmp_path / "counts.gpkg", columns="n_*")
    chosen = Pois(sources=(points(tmp_path, (103.65, 1.25), area=tmp_path / "area.gpkg"), counts))
    found = known_shapes(read_pois(chosen, crs=UTM))
    expected = gpd.GeoSeries(squares, crs=4326).to_crs(UTM)
    assert [shape.area for shape in found] == pytest.approx(expected.area.to_list(), rel=1e-6)
    assert poi_bounds(chosen) == pytest.approx((103.6, 1.2, 104.1, 1.3), abs=1e-6)


@pytest.mark.parametrize("zeros", [2, 10, 40])
def test_rows_at_longitude_and_latitude_zero_move_neither_bounds_nor_crs(tmp_path: Path, zeros: int) -> None:
    chosen = Pois(sources=(points(tmp_path, *(6 * SINGAPORE), *(zeros * ((0, 0),))),))
    assert poi_bounds(chosen) == pytest.approx((103.7, 1.25, 103.9, 1.40), abs=1e-6)
    assert poi_crs(chosen, None) == UTM
    (box,) = known_shapes(read_pois(chosen, crs=UTM))
    assert box.area / 1e6 == pytest.approx(22.2 * 16.6, rel=0.01)


def test_pois_too_far_apart_for_one_zone_are_named_where_they_are_few(tmp_path: Path) -> None:
    wrong = ((-70, 40), (10, 50), (1.3, 10.4), (-103.8, 1.3))
    chosen = Pois(sources=(points(tmp_path, *(6 * SINGAPORE), *wrong),))
    with pytest.raises(RegionError) as refused:
        poi_crs(chosen, None)
    assert "too far for one UTM zone; set `regions.crs`" in str(refused.value)
    assert "But 4 of 28 POIs lie more than" in str(refused.value)
    assert (
        "p.csv: row 25 at lon -70.000, lat 40.000, row 26 at lon 10.000, lat 50.000, row 27 at lon 1.300, lat 10.400 "
        "and 1 more): if their coordinates are wrong, mend or remove these rows." in str(refused.value)
    )


def test_of_two_halves_too_far_apart_none_is_blamed(tmp_path: Path) -> None:
    chosen = Pois(sources=(points(tmp_path, *(6 * SINGAPORE), *((x - 40, y) for x, y in 6 * SINGAPORE)),))
    with pytest.raises(RegionError, match=r"make a run for each city\.$"):
        poi_crs(chosen, None)


FIJI = ((179.7, -16.8), (179.9, -16.9), (-179.9, -16.7), (-179.8, -16.85))
"""Places on both sides of the date line."""


@pytest.mark.parametrize("more", [(), ((0, 0),)])
def test_pois_on_both_sides_of_the_date_line_are_near_each_other(
    tmp_path: Path, more: tuple[tuple[float, float], ...]
) -> None:
    chosen = Pois(sources=(points(tmp_path, *(6 * FIJI), *more),))
    assert poi_bounds(chosen) == pytest.approx((179.7, -16.9, 180.2, -16.7), abs=1e-6)
    crs = poi_crs(chosen, None)
    assert crs == CRS.from_epsg(32760)
    (box,) = known_shapes(read_pois(chosen, crs=crs))
    assert box.area / 1e6 == pytest.approx(53.3 * 22.1, rel=0.02)  # 0.5 x 0.2 degrees at 16.8 degrees south


def test_a_few_pois_beyond_the_date_line_are_no_strays(tmp_path: Path) -> None:
    chosen = Pois(sources=(points(tmp_path, *((179.0 + 0.01 * n, -17) for n in range(98)), (-179.9, -16.9)),))
    assert poi_bounds(chosen) == pytest.approx((179.0, -17, 180.1, -16.9), abs=1e-6)


def test_polygons_of_counts_and_an_area_may_be_cut_at_the_date_line(tmp_path: Path) -> None:
    cut = shapely.MultiPolygon([shapely.box(179.9, -17, 180, -16.9), shapely.box(-180, -17, -179.9, -16.9)])
    gpd.GeoDataFrame({"n_bar": [1]}, geometry=[cut], crs=4326).to_file(tmp_path / "counts.gpkg")
    counts = CountSource(kind="counts", path=tmp_path / "counts.gpkg", columns="n_*")
    assert poi_bounds(Pois(sources=(counts,))) == pytest.approx((179.9, -17, 180.1, -16.9), abs=1e-6)
    gpd.GeoDataFrame(geometry=[cut], crs=4326).to_file(tmp_path / "area.gpkg")
    inside = points(tmp_path, (179.95, -16.95), area=tmp_path / "area.gpkg")
    assert poi_bounds(Pois(sources=(inside,))) == pytest.approx((179.9, -17, 180.1, -16.9), abs=1e-6)


def test_an_area_without_crs_is_to_be_written_with_one(tmp_path: Path) -> None:
    gpd.GeoDataFrame(geometry=[shapely.box(103.6, 1.2, 103.9, 1.4)]).to_parquet(tmp_path / "area.parquet")
    chosen = Pois(sources=(points(tmp_path, SINGAPORE[0], area=tmp_path / "area.parquet"),))
    with pytest.raises(InputError, match=r"POI area: .* names no CRS; write the file with one"):
        poi_bounds(chosen)


def test_a_crs_is_looked_at_at_the_corners_of_what_a_grid_covers(tmp_path: Path) -> None:
    """From 30 to 60 degrees of latitude an equal-area cylinder is true at one end alone."""
    chosen = Pois(sources=(points(tmp_path, (24.0, 30.0), (25.0, 60.17)),))
    with pytest.raises(
        RegionError, match=r"1\.74 times from east to west where the POIs are \(longitude 2\d\.\d+, latitude 60"
    ):
        poi_crs(chosen, "EPSG:6933")
