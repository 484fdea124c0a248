"""Which POIs a region gets, and how dense they are there."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS
from shapely import Point, box
from shapely.geometry.base import BaseGeometry

from mmgr.pois import PoiTables, Source, make_bags
from mmgr.taxonomy import Taxonomy

UTM = CRS.from_epsg(32611)


def regions_of(*shapes: BaseGeometry) -> gpd.GeoDataFrame:
    ids = [f"r{i}" for i in range(len(shapes))]
    return gpd.GeoDataFrame({"group": ""}, index=ids, geometry=list(shapes), crs=UTM).rename_axis("region_id")


def tables_of(
    *,
    points: list[tuple[float, float, int]] = (),
    point_source: int = 0,
    area: BaseGeometry | None = None,
    units: list[tuple[str, BaseGeometry, list[float]]] = (),
    unit_sources: list[int] | None = None,
    categories: int = 3,
) -> PoiTables:
    names = tuple("abcdefgh"[:categories])
    frame = gpd.GeoDataFrame(
        {
            "category": np.array([c for _, _, c in points], np.int32),
            "source": np.full(len(points), point_source, np.int32),
        },
        geometry=[Point(x, y) for x, y, _ in points],
        crs=UTM,
    )
    shapes = gpd.GeoSeries([shape for _, shape, _ in units], crs=UTM)
    counts = gpd.GeoDataFrame(
        {
            "unit": [name for name, _, _ in units],
            "source": np.array(unit_sources or [1] * len(units), np.int32),
            "area_km2": shapes.area / 1e6,
        },
        geometry=shapes,
        crs=UTM,
    )
    matrix = np.array([row for _, _, row in units], np.float32).reshape(len(units), categories)
    sources = tuple(Source("file", area=area if number == point_source else None) for number in range(3))
    return PoiTables(Taxonomy(names, names), frame, counts, matrix, sources)


def test_points_belong_to_the_region_they_lie_in_with_their_offset() -> None:
    tables = tables_of(points=[(10, 20, 0), (160, 50, 2), (500, 50, 1)])
    bags = make_bags(tables, regions_of(box(0, 0, 100, 100), box(100, 0, 200, 100)), radius=None)
    assert bags.starts.tolist() == [0, 1, 2]
    assert bags.category.tolist() == [0, 2]
    assert bags.offset.tolist() == [[-40, -30], [10, 0]]
    assert bags.count.tolist() == [1, 1]
    assert bags.area_km2 == pytest.approx([0.01, 0.01])
    assert bags.unit.tolist() == ["", ""]


def test_a_region_without_pois_inside_the_area_has_none_and_outside_it_they_are_unknown() -> None:
    tables = tables_of(points=[(10, 10, 0)], area=box(0, 0, 1000, 1000))
    bags = make_bags(tables, regions_of(box(500, 500, 600, 600), box(2000, 0, 2100, 100)), radius=None)
    assert bags.known.tolist() == [True, False]
    assert not bags.present.any()
    assert np.isnan(bags.densities(3)[1]).all()


def test_without_an_area_the_box_around_the_points_and_one_edge_are_known() -> None:
    tables = tables_of(points=[(0, 0, 0), (1000, 1000, 0)])
    cells = regions_of(box(400, 400, 500, 500), box(1000, 0, 1100, 100), box(1100, 0, 1200, 100))
    assert make_bags(tables, cells, radius=None).known.tolist() == [True, True, False]


def test_points_within_the_radius_count_once_and_the_area_is_that_of_the_union() -> None:
    tables = tables_of(points=[(5, 5, 0), (50, 50, 1), (140, 50, 2), (300, 50, 2)])
    bags = make_bags(tables, regions_of(box(0, 0, 100, 100)), radius=100.0)
    assert sorted(bags.category.tolist()) == [0, 1, 2]  # the corner (5, 5) is 64 m from the centre
    # a disc of 100 m holds the square of 100 m whole
    assert bags.area_km2[0] == pytest.approx(np.pi * 0.01, rel=1e-3)


def test_a_region_inside_one_polygon_has_its_counts_and_density() -> None:
    tables = tables_of(units=[("t", box(0, 0, 2000, 1000), [4, 0, 6])])
    bags = make_bags(tables, regions_of(box(0, 0, 100, 100)), radius=None)
    assert bags.category.tolist() == [0, 2]  # a count of 0 is no entry
    assert bags.count.tolist() == [4, 6]
    assert bags.area_km2.tolist() == [2]
    assert bags.unit.tolist() == ["t"]
    assert np.isnan(bags.offset).all()


def test_density_across_polygons_is_the_mean_weighted_by_area() -> None:
    # 3/4 of the region in t (10 per km2), 1/4 in u (2 per km2 over a much larger polygon)
    tables = tables_of(units=[("t", box(0, 0, 1000, 1000), [10, 0, 0]), ("u", box(1000, 0, 6000, 1000), [10, 5, 0])])
    bags = make_bags(tables, regions_of(box(925, 0, 1025, 100)), radius=None)
    assert bags.densities(3)[0] == pytest.approx([0.75 * 10 + 0.25 * 2, 0.25 * 1, 0])
    assert bags.area_km2[0] == pytest.approx(0.75 * 1 + 0.25 * 5)
    assert bags.unit.tolist() == ["t"]


def test_counts_are_unknown_where_polygons_cover_less_than_half() -> None:
    tables = tables_of(units=[("t", box(0, 0, 1000, 1000), [10, 0, 0])])
    bags = make_bags(tables, regions_of(box(960, 0, 1060, 100), box(950, 0, 1050, 100)), radius=None)
    assert bags.known.tolist() == [False, True]
    assert bags.unit.tolist() == ["", "t"]


def test_files_that_count_different_things_each_keep_their_density() -> None:
    units = [("t", box(0, 0, 1000, 1000), [10, 0, 0]), ("big", box(0, 0, 2000, 1000), [0, 8, 0])]
    bags = make_bags(tables_of(units=units, unit_sources=[1, 2]), regions_of(box(0, 0, 100, 100)), radius=None)
    assert bags.densities(3)[0] == pytest.approx([10, 4, 0])


def test_points_and_counts_of_one_region_both_keep_their_density() -> None:
    tables = tables_of(points=[(50, 50, 2)], units=[("t", box(0, 0, 1000, 1000), [10, 0, 0])])
    bags = make_bags(tables, regions_of(box(0, 0, 100, 100)), radius=None)
    assert bags.area_km2 == pytest.approx([0.01])
    assert bags.densities(3)[0] == pytest.approx([10, 0, 100])
    assert bags.unit.tolist() == ["t"]


def test_counts_stand_alone_where_the_points_are_unknown() -> None:
    tables = tables_of(
        points=[(5000, 5000, 2)], area=box(4000, 4000, 6000, 6000), units=[("t", box(0, 0, 1000, 1000), [10, 0, 0])]
    )
    bags = make_bags(tables, regions_of(box(0, 0, 100, 100), box(4950, 4950, 5050, 5050)), radius=None)
    assert bags.area_km2 == pytest.approx([1, 0.01])
    assert bags.category.tolist() == [0, 2]


def test_no_pois_at_all_leave_every_region_unknown() -> None:
    bags = make_bags(tables_of(), regions_of(box(0, 0, 1, 1)), radius=5.0)
    assert not bags.known.any()


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400), st.integers(0, 2)), max_size=40),
    st.one_of(st.none(), st.floats(1, 300)),
)
def test_every_bag_is_what_a_loop_over_all_pairs_finds(
    points: list[tuple[int, int, int]], radius: float | None
) -> None:
    # half-integer edges, so that no point lies on one
    shapes = [box(x - 0.5, y - 0.5, x + 99.5, y + 99.5) for x in range(0, 400, 100) for y in range(0, 400, 100)]
    bags = make_bags(tables_of(points=points, area=box(-1e4, -1e4, 1e4, 1e4)), regions_of(*shapes), radius=radius)
    for number, shape in enumerate(shapes):
        centre = shape.centroid
        mine = sorted(
            (category, x - centre.x, y - centre.y)
            for x, y, category in points
            if shape.contains(Point(x, y)) or (radius is not None and centre.distance(Point(x, y)) <= radius)
        )
        own = slice(bags.starts[number], bags.starts[number + 1])
        found = [
            (int(c), float(dx), float(dy)) for c, (dx, dy) in zip(bags.category[own], bags.offset[own], strict=True)
        ]
        assert sorted(found) == mine
