"""POIs that lie elsewhere are noticed, with the reason where it can be told."""

from __future__ import annotations

import logging
from pathlib import Path

import geopandas as gpd
import pytest
from pyproj import CRS
from shapely import box

from mmgr.config import CountSource, PointSource, Pois
from mmgr.errors import PoiError
from mmgr.pois import check_overlap, read_pois

HELSINKI = CRS.from_epsg(32635)


@pytest.fixture
def regions() -> gpd.GeoDataFrame:
    square = gpd.GeoSeries([box(24.93, 60.16, 24.96, 60.18)], crs=4326).to_crs(HELSINKI)
    return gpd.GeoDataFrame({"group": [""]}, index=["r"], geometry=square.to_numpy(), crs=HELSINKI)


def source(path: Path, text: str) -> PointSource:
    path.write_text(text, encoding="utf-8")
    return PointSource(path=path, first_level="type")


def test_pois_in_place_pass(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    own = source(tmp_path / "p.csv", "lon,lat,type\n24.94,60.17,cafe\n")
    check_overlap(read_pois(Pois(sources=(own,)), crs=HELSINKI), regions)


def test_pois_elsewhere_are_refused_with_both_extents(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    own = source(tmp_path / "p.csv", "lon,lat,type\n25.5,60.9,cafe\n")
    tables = read_pois(Pois(sources=(own,)), crs=HELSINKI)
    with pytest.raises(
        PoiError, match=r"longitude 24\.8.*latitude 60\.1.*longitude 25\.500 to 25\.500, latitude 60\.9"
    ):
        check_overlap(tables, regions)


def test_swapped_degrees_are_recognised_by_where_they_fall(tmp_path: Path, regions: gpd.GeoDataFrame) -> None:
    own = source(tmp_path / "p.csv", "lat,lon,type\n24.94,60.17,cafe\n")
    tables = read_pois(Pois(sources=(own,)), crs=HELSINKI)
    with pytest.raises(PoiError, match=r"p\.csv: longitude and latitude look swapped: set x: lat, y: lon\."):
        check_overlap(tables, regions)


def test_one_of_two_sources_elsewhere_is_only_logged(
    tmp_path: Path, regions: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")
    own = source(tmp_path / "p.csv", "lon,lat,type\n24.94,60.17,cafe\n")
    path = tmp_path / "c.geojson"
    gpd.GeoDataFrame({"poi_bar": [1]}, geometry=[box(22, 60, 22.1, 60.1)], crs=4326).to_file(path)
    counts = CountSource(kind="counts", path=path, columns="poi_*")
    check_overlap(read_pois(Pois(sources=(own, counts)), crs=HELSINKI), regions)
    assert "c.geojson lies in longitude 21.9" in caplog.text
