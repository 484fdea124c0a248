"""The vectors of regions that their POIs give, in them and around."""

from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
import pandas as pd
from shapely import Polygon, box

from mmgr.actions.embed import region_vectors
from mmgr.contexts.around import points_around
from mmgr.pois.tables import PoiTables, Source
from mmgr.store import PoiBags
from mmgr.taxonomy import Taxonomy


def test_a_region_is_the_sum_of_its_categories_weighted_by_log_density() -> None:
    bags = PoiBags(
        starts=np.array([0, 3, 3, 3]),
        category=np.array([0, 0, 1], np.int32),
        count=np.array([1, 2, 4], np.float32),
        offset=np.full((3, 2), np.nan, np.float32),
        area_km2=np.array([0.5, 0.5, 0], np.float32),
        unit=np.array(["", "", ""], object),
    )
    found = region_vectors(bags, np.array([[1, 0], [0.5, -1]], np.float32))
    first = [math.log(1 + 6) + 0.5 * math.log(1 + 8), -math.log(1 + 8)]
    assert found.dtype == np.float32
    assert np.allclose(found[0], first)
    assert (found[1] == 0).all(), "it is known to hold none"
    assert np.allclose(found[2], np.array(first) / 2), "unknown: the mean of the others"


def test_regions_without_any_known_poi_are_zeros() -> None:
    assert (region_vectors(PoiBags.empty(3), np.ones((2, 4), np.float32)) == np.zeros((3, 4))).all()


def tables_of(points: np.ndarray, area: Polygon) -> PoiTables:
    """Make tables of one source of points that is complete within ``area``."""
    frame = gpd.GeoDataFrame(
        {"category": np.arange(len(points), dtype=np.int32) % 2, "source": np.int32(0), "row": np.arange(len(points))},
        geometry=gpd.points_from_xy(*points.T),
        crs="EPSG:32611",
    )
    units = gpd.GeoDataFrame({"unit": [], "source": [], "area_km2": []}, geometry=[], crs="EPSG:32611")
    taxonomy = Taxonomy(("food", "shop"), ("bar", "kiosk"))
    return PoiTables(taxonomy, frame, units, np.zeros((0, 2), np.float32), (Source("pois.csv", area=area),))


def test_the_context_of_a_region_without_known_points_is_the_mean_of_the_others() -> None:
    places = np.random.default_rng(0).random((30, 2)) * 3000
    regions = gpd.GeoDataFrame(geometry=gpd.points_from_xy(*places.T).buffer(100), crs="EPSG:32611")
    far = gpd.GeoDataFrame(geometry=gpd.points_from_xy([9e5], [0]).buffer(100), crs="EPSG:32611")
    tables = tables_of(np.random.default_rng(1).random((200, 2)) * 3000, box(0, 0, 3000, 3000))
    alone = points_around(tables, regions, [300.0]).vectors
    found = points_around(tables, pd.concat([regions, far], ignore_index=True), [300.0]).vectors
    assert alone.shape[1] > 0
    assert np.allclose(found[:30], alone), "a region of which nothing is known changes nothing"
    assert np.allclose(found[30], alone.mean(0), atol=1e-6)


def test_there_is_no_context_without_places_of_pois() -> None:
    regions = gpd.GeoDataFrame(geometry=gpd.points_from_xy([0, 900], [0, 0]).buffer(100), crs="EPSG:32611")
    elsewhere = tables_of(np.array([[5e5, 0.0], [5e5, 9.0]]), box(4e5, -10, 6e5, 10))
    assert points_around(elsewhere, regions, [300.0]).vectors.shape == (2, 0)
    assert points_around(elsewhere, regions, []).vectors.shape == (2, 0)
