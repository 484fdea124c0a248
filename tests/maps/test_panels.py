from __future__ import annotations

import math

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from mmgr.maps.panels import enlarge, enlargement, fit_bounds, make_panels, nearest_distance, scale_bar


def test_groups_far_apart_get_a_panel_each(cities: gpd.GeoDataFrame) -> None:
    panels, left_out = make_panels(cities)
    assert [panel.name for panel in panels] == ["chico", "palm_springs", "riverside"]
    assert left_out == []
    assert sorted(np.concatenate([panel.rows for panel in panels])) == list(range(len(cities)))


def test_districts_of_one_city_share_a_map(grid: gpd.GeoDataFrame) -> None:
    districts = grid.assign(group=np.where(grid.geometry.centroid.x < 445_000, "west", "east"))
    panels, _ = make_panels(districts)
    assert len(panels) == 1


def test_of_many_groups_the_largest_are_drawn_and_the_rest_named() -> None:
    x = np.repeat(np.arange(12) * 1e5, np.arange(12) + 2) + np.tile(np.arange(6) * 300, 15)[:90]
    regions = gpd.GeoDataFrame(
        {"group": np.repeat([f"g{i:02}" for i in range(12)], np.arange(12) + 2)},
        geometry=shapely.box(x, x, x + 100, x + 100),
        crs="EPSG:32611",
    )
    panels, left_out = make_panels(regions)
    assert len(panels) == 9
    assert left_out == ["g00", "g01", "g02"]


def test_scattered_regions_are_enlarged_and_those_that_touch_are_not(
    cities: gpd.GeoDataFrame, grid: gpd.GeoDataFrame
) -> None:
    assert enlargement(cities.geometry.to_numpy()[:40], pixel=30.0) > 1
    assert enlargement(grid.geometry.to_numpy(), pixel=200.0) == 1


def test_enlarged_regions_keep_their_centres(hexagons: gpd.GeoDataFrame) -> None:
    shapes = hexagons.geometry.to_numpy()
    large = enlarge(shapes, 3)
    np.testing.assert_allclose(shapely.area(large), 9 * shapely.area(shapes))
    assert shapely.distance(shapely.centroid(large), shapely.centroid(shapes)).max() < 1e-6
    assert (shapely.area(shapes) == shapely.area(hexagons.geometry.to_numpy())).all()


def test_bounds_are_widened_to_the_shape_of_the_panel() -> None:
    west, south, east, north = fit_bounds((0, 0, 100, 400), aspect=0.5, pad=0)
    assert (north - south) / (east - west) == pytest.approx(0.5)
    assert (west + east, south + north) == (100, 400)


@pytest.mark.parametrize(("width", "text"), [(10_000, "2 km"), (700, "100 m"), (9e5, "200 km"), (3, "0.5 m")])
def test_the_scale_bar_is_a_round_length(width: float, text: str) -> None:
    length, label = scale_bar(width)
    assert label == text
    assert 0.08 * width <= length <= 0.25 * width


def test_a_single_region_has_no_neighbour() -> None:
    assert math.isinf(nearest_distance(np.array([shapely.box(0, 0, 1, 1)])))
    one = gpd.GeoDataFrame({"group": ["a"]}, geometry=[shapely.box(0, 0, 1, 1)], index=pd.Index(["x"]))
    assert len(make_panels(one)[0]) == 1
