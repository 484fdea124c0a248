"""The POIs around a place where they are counts of polygons."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy.stats import norm
from shapely import Polygon, box

from mmgr.contexts.counted import CUTOFF, MOST_PLACES, count_field
from mmgr.pois.tables import PoiTables, Source
from mmgr.taxonomy import Taxonomy

CRS = "EPSG:32632"


def counted(polygons: list[Polygon], matrix: list[list[float]], source: list[int] | None = None) -> PoiTables:
    """Make tables of counts alone: two categories, and sources as they are numbered."""
    source = source or [0] * len(polygons)
    counts = gpd.GeoDataFrame(
        {
            "unit": [f"t{number}" for number in range(len(polygons))],
            "source": np.array(source, np.int32),
            "area_km2": [polygon.area / 1e6 for polygon in polygons],
        },
        geometry=polygons,
        crs=CRS,
    )
    points = gpd.GeoDataFrame({"category": [], "source": [], "row": []}, geometry=[], crs=CRS)
    taxonomy = Taxonomy(("food", "shop"), ("bar", "kiosk"))
    sources = tuple(Source(f"{number}.gpkg") for number in range(max(source, default=0) + 1))
    return PoiTables(taxonomy, points, counts, np.array(matrix, np.float32).reshape(-1, 2), sources)


def counted_around(tables: PoiTables, centres: np.ndarray, scales: list[float]) -> np.ndarray:
    return count_field(tables, centres, scales).densities(centres)


def half_planes(edge: float) -> PoiTables:
    """Two squares that meet at x = 0, with 1 and 3 bars per km2."""
    west, east = box(-edge, -edge / 2, 0, edge / 2), box(0, -edge / 2, edge, edge / 2)
    km2 = edge**2 / 1e6
    return counted([west, east], [[km2, 0], [3 * km2, 0]])


@pytest.mark.parametrize("edge", [4_000.0, 400_000.0], ids=["small", "far larger than what is looked at"])
def test_near_a_border_the_mean_is_that_of_both_sides_by_their_weight(edge: float) -> None:
    x = np.array([-500.0, -150.0, -40.0, 0.0, 60.0, 200.0, 500.0])
    found = counted_around(half_planes(edge), np.column_stack([x, np.zeros(7)]), [100.0, 200.0])
    for scale, metres in enumerate((100.0, 200.0)):
        np.testing.assert_allclose(found[:, scale, 0], 1 + 2 * norm.cdf(x / metres), atol=0.02)
    assert (found[:, :, 1] == 0).all()


def test_it_is_the_weighted_mean_over_what_polygons_cover_whatever_their_shape() -> None:
    polygons = [
        Polygon([(0, 0), (700, 0), (300, 400), (0, 900)]),
        Polygon([(700, 0), (1500, 300), (900, 1000), (300, 400)]),
        shapely.MultiPolygon([box(-400, -300, -350, -250), box(1500, 1200, 1560, 1210)]),
    ]
    tables = counted(polygons, [[8, 1], [2, 5], [1, 0]])
    centres, metres = np.array([[250.0, 250.0], [800.0, 600.0], [1450.0, 300.0]]), 150.0
    found = counted_around(tables, centres, [metres])[:, 0]
    fine = np.stack(np.meshgrid(np.arange(-600, 2200, 4.0), np.arange(-600, 1700, 4.0)), -1).reshape(-1, 2)
    inside = np.stack([shapely.contains_xy(polygon, *fine.T) for polygon in polygons])  # (P, q)
    density = tables.count_matrix / np.array([[polygon.area / 1e6] for polygon in polygons])
    for centre, row in zip(centres, found, strict=True):
        distance = np.hypot(*(fine - centre).T)
        weight = inside @ (np.exp(-0.5 * (distance / metres) ** 2) * (distance <= CUTOFF * metres))
        np.testing.assert_allclose(row, weight @ density / weight.sum(), rtol=0.03)


def test_beyond_the_last_polygon_nothing_is_known_and_nothing_is_lost() -> None:
    tables = counted([box(0, 0, 1000, 1000)], [[4, 0]])
    centres = np.array([[500.0, 500], [999, 999], [1350, 500], [1000 + 4.2 * 100, 500]])
    found = counted_around(tables, centres, [100.0])[:, 0]
    np.testing.assert_allclose(found[:3, 0], 4, rtol=1e-6)  # outside is not empty: it is unknown
    assert np.isnan(found[3]).all()


def test_only_sources_that_count_a_category_have_a_say_in_it() -> None:
    here, there = box(0, 0, 500, 1000), box(500, 0, 1000, 1000)
    # both sources cover both halves; the second counts kiosks alone
    tables = counted([here, there, box(0, 0, 1000, 1000)], [[2, 0], [4, 0], [0, 7]], source=[0, 0, 1])
    found = counted_around(tables, np.array([[500.0, 500.0]]), [100.0])[0, 0]
    np.testing.assert_allclose(found, [(4 + 8) / 2, 7], rtol=1e-3)


def test_a_polygon_smaller_than_the_lattice_keeps_its_area() -> None:
    crescent = Polygon([(0, 0), (60, 0), (60, 60), (55, 5)])  # its lattice of one place lies outside
    around = box(-2000, -2000, 2000, 2000).difference(crescent)
    tables = counted([crescent, around], [[50, 0], [0, 16]])
    found = counted_around(tables, np.array([[0.0, 0.0]]), [1000.0])[0, 0]
    expected = 50 / (2 * np.pi * (norm.cdf(2) - norm.cdf(-2)) ** 2)  # of all weight in km2
    assert found[0] == pytest.approx(expected, rel=0.02)


def test_what_is_known_of_a_place_does_not_depend_on_the_others() -> None:
    tables = half_planes(4_000.0)
    centres = np.random.default_rng(0).uniform(-900, 900, (60, 2))
    together = counted_around(tables, centres, [120.0, 300.0])
    alone = np.concatenate([counted_around(tables, centres[row : row + 1], [120.0, 300.0]) for row in range(60)])
    np.testing.assert_allclose(alone, together, rtol=1e-6)
    field = count_field(tables, centres, [120.0, 300.0])
    parts = [field.densities(centres[start : start + 7]) for start in range(0, 60, 7)]
    assert np.array_equal(np.concatenate(parts), together)


def test_a_polygon_far_larger_than_what_is_seen_costs_what_is_seen() -> None:
    places = count_field(half_planes(400_000.0), np.zeros((1, 2)), [100.0]).places[0]
    assert len(places.tree.data) < MOST_PLACES / 10


def test_no_polygon_and_no_place_give_nothing() -> None:
    assert np.isnan(counted_around(counted([], []), np.zeros((2, 2)), [100.0])).all()
    assert counted_around(half_planes(1000), np.zeros((0, 2)), [100.0]).shape == (0, 1, 2)
