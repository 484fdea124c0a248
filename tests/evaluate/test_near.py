"""Files of labels may reach around the world: what is far from the regions is counted and left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely

from mmgr.config import Config, Task
from mmgr.errors import InputError, LabelError
from mmgr.evaluate import read_units
from mmgr.evaluate.audit.labels import label_sources
from mmgr.evaluate.near import near_polygons
from mmgr.evaluate.own_folds import task_units

DEGREES = "EPSG:4326"
Grid = Callable[..., gpd.GeoDataFrame]

NOWHERE = shapely.segmentize(shapely.box(-35, -5, -25, 5), 0.1)
"""A quarter round the Earth from the meridian of UTM zone 11."""
CROSSED = shapely.box(-180, -90, 180, -60)
"""Valid in degrees; without area in UTM."""
LINE = shapely.LineString([(20, 0), (21, 1)])


def near(shapes: list[Any], regions: gpd.GeoSeries, crs: Any = DEGREES) -> list[int]:
    """Return which of some shapes are near."""
    frame = gpd.GeoDataFrame(geometry=shapes, crs=crs)
    return near_polygons(frame, regions, path=Path("world.gpkg"), what="labels").index.tolist()


@pytest.fixture
def world(grid: Grid, tmp_path: Path) -> Path:
    """A file of labels for 16 regions, which has features elsewhere, too."""
    own = grid(4, 4).to_crs(DEGREES).geometry
    shapes = [NOWHERE, *own, CROSSED, LINE]
    frame = gpd.GeoDataFrame({"people": np.arange(len(shapes)) + 1.0, "fold": "a"}, geometry=shapes, crs=DEGREES)
    frame.loc[9:, "fold"] = "b"
    frame.to_file(tmp_path / "world.gpkg")
    return tmp_path / "world.gpkg"


def test_labels_of_the_whole_world_serve_one_city(
    grid: Grid, world: Path, task: Callable[..., Task], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mmgr")
    settings = task(path=world, units="regions", density=False)
    units = read_units(settings, grid(4, 4))
    np.testing.assert_allclose(units.values, np.arange(16) + 2.0, rtol=1e-6)
    assert caplog.text.count("3 of 19 features of") == 1
    sources = label_sources(settings, units, grid(4, 4))
    assert sources.held is not None
    assert sources.held.shape == (16, 16)


def test_folds_of_the_whole_world_serve_one_city(grid: Grid, world: Path) -> None:
    told = {"name": "people", "kind": "polygon_total", "path": world, "column": "people", "units": "regions"}
    config = Config.model_validate(
        {"regions": {"kind": "polygons", "path": world}, "pois": {"sources": [{"path": world, "first_level": "fold"}]},
         "tasks": [told], "evaluate": {"splits": ["column"], "column": "fold"}}
    )  # fmt: skip
    assert list(task_units(config, config.tasks[0], grid(4, 4)).own_folds) == ["a"] * 8 + ["b"] * 8


def test_folds_that_are_all_far_away_are_none(grid: Grid, world: Path, tmp_path: Path) -> None:
    gpd.GeoDataFrame({"fold": ["a", "b"]}, geometry=[NOWHERE, CROSSED], crs=DEGREES).to_file(tmp_path / "far.gpkg")
    gpd.read_file(world).drop(columns="fold").to_file(world)
    told = {"name": "people", "kind": "polygon_total", "path": world, "column": "people", "units": "regions"}
    config = Config.model_validate(
        {"regions": {"kind": "polygons", "path": tmp_path / "far.gpkg"}, "tasks": [told],
         "pois": {"sources": [{"path": world, "first_level": "people"}]},
         "evaluate": {"splits": ["column"], "column": "fold"}}
    )  # fmt: skip
    assert set(task_units(config, config.tasks[0], grid(4, 4)).own_folds) == {""}


def test_labels_that_are_all_far_away_are_refused_with_both_extents(
    grid: Grid, task: Callable[..., Task], tmp_path: Path
) -> None:
    frame = gpd.GeoDataFrame({"people": [1.0, 2.0]}, geometry=[NOWHERE, shapely.box(20, 0, 21, 1)], crs=DEGREES)
    frame.to_file(tmp_path / "far.gpkg")
    with pytest.raises(LabelError, match=r"labels span lon -35\.0000 to 21\.0000, .* regions lon -117\.0000"):
        read_units(task(path=tmp_path / "far.gpkg"), grid(4, 4))


def test_near_features_that_are_no_polygons_are_still_named(grid: Grid) -> None:
    regions = grid(4, 4)
    across = shapely.get_exterior_ring(regions.to_crs(DEGREES).geometry.iloc[0])
    with pytest.raises(InputError, match="1 features that are no polygons"):
        near([LINE, across, *regions.to_crs(DEGREES).geometry], regions.geometry)


@pytest.mark.parametrize("turn", [0, 360])
def test_regions_on_the_date_line_have_neighbours_on_both_sides(turn: int) -> None:
    fiji = gpd.GeoSeries([shapely.box(179.9, -17, 180.1, -16.8)], crs=DEGREES).to_crs("EPSG:32760").geometry
    east, west, far = (shapely.box(x, -17, x + 0.1, -16.9) for x in (179.9, turn - 180, 90))
    assert near([far, east, west], fiji) == [1, 2]


def test_longitudes_from_0_to_360_are_the_same_places(grid: Grid) -> None:
    own = grid(4, 4).to_crs(DEGREES).translate(360)
    assert near([*own, NOWHERE], grid(4, 4).geometry) == list(range(16))


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:32611", "ESRI:54009"])
def test_files_in_metres_are_searched_as_well(grid: Grid, crs: str) -> None:
    own = grid(4, 4).to_crs(crs).geometry
    assert near([*own, own.iloc[0].buffer(1), shapely.box(9e6, 1e6, 9.1e6, 1.1e6)], grid(4, 4).geometry, crs) == list(
        range(17)
    )


def test_a_crs_in_which_the_regions_are_nowhere_hides_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Of a city a quarter round the Earth, zone 26 has no place at the equator, nor that city's zone of this one."""
    regions = gpd.GeoSeries([shapely.box(-120.01, 0, -120, 0.01)], crs=DEGREES).to_crs("EPSG:32611").geometry
    frame = gpd.GeoSeries([shapely.box(-27.1, 0, -27, 0.1)], crs=DEGREES).to_crs("EPSG:32626")
    assert near(list(frame), regions, "EPSG:32626") == []
    assert "1 features of world.gpkg reach places that the regions' CRS does not have" in caplog.text


def test_infinite_coordinates_are_no_place(grid: Grid) -> None:
    own = list(grid(4, 4).geometry)
    bad = shapely.Polygon([(0, 0), (np.inf, 0), (1, 1)])
    assert near([bad, *own], grid(4, 4).geometry, grid(4, 4).crs) == list(range(1, 17))
