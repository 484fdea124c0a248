"""Points far outside the regions are named, and left out only where the user says so."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from pyproj import CRS
from shapely import box

from mmgr.config import CountSource, PointSource, Pois
from mmgr.pois import PoiTables, make_bags, read_pois, settle_outside
from mmgr.pois.outside import distance_to_box, far_limit

GENOA = CRS.from_epsg(32632)


@pytest.fixture
def regions() -> gpd.GeoDataFrame:
    """Two squares of 1 km, side by side."""
    squares = [box(500_000 + i * 1000, 4_900_000, 501_000 + i * 1000, 4_901_000) for i in range(2)]
    return gpd.GeoDataFrame({"group": ["", ""]}, index=["a", "b"], geometry=squares, crs=GENOA)


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="mmgr")
    return caplog


def strayed(folder: Path, regions: gpd.GeoDataFrame) -> PointSource:
    """Five points in the first region, one of no category, one 9 km off, one 12 km off, one at 0, 0."""
    inside = regions.geometry.iloc[0].centroid
    xs = [inside.x] * 6 + [511_000 - 100, 514_000]
    points = gpd.GeoSeries(gpd.points_from_xy(xs, [inside.y] * 8), crs=GENOA).to_crs(4326)
    kinds = ["cafe", "cafe", "", "bank", "cafe", "bank", "bank", "airport"]
    rows = [f"{point.x:.8f},{point.y:.8f},{kind}" for point, kind in zip(points, kinds, strict=True)]
    path = folder / "p.csv"
    path.write_text("\n".join(["lon,lat,type", *rows, "0,0,null island"]) + "\n", encoding="utf-8")
    return PointSource(path=path, first_level="type")


def settle(settings: Pois, regions: gpd.GeoDataFrame) -> PoiTables:
    return settle_outside(read_pois(settings, crs=GENOA), regions, settings)


def test_far_points_are_named_and_kept_by_default(
    tmp_path: Path, regions: gpd.GeoDataFrame, heard: pytest.LogCaptureFixture
) -> None:
    tables = settle(Pois(sources=(strayed(tmp_path, regions),)), regions)
    assert len(tables.points) == 8
    assert tables.taxonomy.names == ("airport", "bank", "cafe", "null island")
    assert (
        "p.csv: 2 of 8 POIs lie more than 10 km from the regions (rows 8, 9; the furthest at lon 0.000, lat 0.000); "
        "set pois.outside: drop to leave them out, or mend them if their coordinates are wrong" in heard.text
    )


def test_far_points_are_left_out_with_their_categories_where_the_user_says_so(
    tmp_path: Path, regions: gpd.GeoDataFrame, heard: pytest.LogCaptureFixture
) -> None:
    tables = settle(Pois(sources=(strayed(tmp_path, regions),), outside="drop"), regions)
    assert tables.points["row"].tolist() == [1, 2, 4, 5, 6, 7]
    assert tables.taxonomy.names == ("bank", "cafe")
    assert [tables.taxonomy.second[i] for i in tables.points["category"]] == [
        "cafe", "cafe", "bank", "cafe", "bank", "bank",
    ]  # fmt: skip
    assert "they are left out (pois.outside: drop)" in heard.text


def test_a_stray_point_no_longer_makes_pois_known_between_it_and_the_others(
    tmp_path: Path, regions: gpd.GeoDataFrame
) -> None:
    elsewhere = regions.copy().set_geometry(regions.translate(0, -3000))
    source = strayed(tmp_path, regions)
    both = gpd.GeoDataFrame(
        {"group": [""] * 4}, index=list("abcd"), geometry=np.concatenate([regions.geometry, elsewhere.geometry]),
        crs=GENOA,
    )  # fmt: skip
    known = {
        choice: make_bags(settle(Pois(sources=(source,), outside=choice), both), both, radius=None).known.tolist()
        for choice in ("keep", "drop")
    }
    assert known == {"keep": [True] * 4, "drop": [True, True, False, False]}


def test_categories_of_counts_stay_when_points_are_left_out(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    units = regions.reset_index(drop=True)[["geometry"]].assign(poi_airport=[1, 2], poi_zoo=[0, 0])
    units.to_file(tmp_path / "c.gpkg")
    counts = CountSource(kind="counts", path=tmp_path / "c.gpkg", columns="poi_*")
    tables = settle(Pois(sources=(strayed(tmp_path, regions), counts), outside="drop"), regions)
    assert tables.taxonomy.names == ("airport", "bank", "cafe", "zoo")
    assert tables.count_matrix.tolist() == [[1, 0, 0, 0], [2, 0, 0, 0]]


def test_nothing_is_said_where_nothing_is_far(
    tmp_path: Path, regions: gpd.GeoDataFrame, heard: pytest.LogCaptureFixture
) -> None:
    settle(Pois(sources=(strayed(tmp_path, regions),), outside="keep", radius=2e7), regions)
    assert "lie more than" not in heard.text


def test_the_limit_grows_with_the_extent_and_the_radius() -> None:
    assert far_limit(np.array([0.0, 0.0, 300.0, 400.0])) == 10_000
    assert far_limit(np.array([0.0, 0.0, 30_000.0, 40_000.0])) == 50_000
    assert far_limit(np.array([0.0, 0.0, 300.0, 400.0]), radius=12_000) == 12_000


def test_distance_to_a_box_is_that_to_its_nearest_edge_or_corner() -> None:
    points = np.array([[5.0, 5.0], [13.0, 14.0], [5.0, -2.0], [0.0, 0.0]])
    assert distance_to_box(points, np.array([0.0, 0.0, 10.0, 10.0])).tolist() == [0, 5, 2, 0]
