"""What a run knows of the POIs around its regions: points in one place, counts in another."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from mmgr.contexts import ContextVectors
from mmgr.contexts.around import counts_around, log_densities, points_around
from mmgr.pois.tables import PoiTables, Source
from mmgr.store import PoiBags
from mmgr.taxonomy import Taxonomy

CRS = "EPSG:32632"
RNG = np.random.default_rng(3)
TAXONOMY = Taxonomy(("food", "food", "shop"), ("bar", "cafe", "kiosk"))
PLACES = RNG.uniform(0, 3000, (300, 2))
LOW = np.stack(np.meshgrid(np.arange(0, 3000, 500.0), np.arange(0, 3000, 500.0)), -1).reshape(-1, 2)


def tables(*, points: bool = True, counts: bool = True) -> PoiTables:
    """Points in the west, 3 km wide; 36 polygons with counts in the east, 100 km away."""
    frame = gpd.GeoDataFrame(
        {"category": np.arange(300, dtype=np.int32) % 3, "source": np.int32(0), "row": np.arange(300)},
        geometry=gpd.points_from_xy(*PLACES.T),
        crs=CRS,
    )
    units = gpd.GeoDataFrame(
        {"unit": [f"t{n}" for n in range(36)], "source": np.ones(36, np.int32), "area_km2": np.full(36, 0.25)},
        geometry=[box(x + 1e5, y, x + 1e5 + 500, y + 500) for x, y in LOW],
        crs=CRS,
    )
    matrix = np.random.default_rng(0).poisson(4, (36, 3)).astype(np.float32)
    sources = (Source("pois.csv", area=box(0, 0, 3000, 3000)), Source("tracts.gpkg"))
    return PoiTables(
        TAXONOMY, frame if points else frame[:0], units if counts else units[:0], matrix[: 36 if counts else 0], sources
    )


def regions() -> gpd.GeoDataFrame:
    """40 in the west, 40 in the east, and one where nothing is known."""
    x, y = np.random.default_rng(1).uniform(200, 2800, (2, 80))
    x[40:] += 1e5
    shapes = [box(a - 100, b - 100, a + 100, b + 100) for a, b in zip(x, y, strict=True)]
    group = np.repeat(["west", "east", "nowhere"], [40, 40, 1])
    return gpd.GeoDataFrame({"group": group}, geometry=[*shapes, box(5e5, 0, 5e5 + 200, 200)], crs=CRS)


def test_each_kind_has_its_mean_where_it_is_unknown() -> None:
    points, counts = points_around(tables(), regions(), [300.0]), counts_around(tables(), regions(), [300.0])
    assert points.known.tolist() == [True] * 40 + [False] * 41
    assert counts.known.tolist() == [False] * 40 + [True] * 40 + [False]
    for found in (points, counts):
        assert found.vectors.shape[1] > 0
        assert np.ptp(found.vectors[found.known], axis=0).max() > 0
        assert np.ptp(found.vectors[~found.known], axis=0).max() == 0
        np.testing.assert_allclose(found.vectors[80], found.vectors[found.known].mean(0), atol=1e-6)


def test_a_kind_that_is_not_there_has_no_column() -> None:
    for found in (
        points_around(tables(points=False), regions(), "auto"),
        counts_around(tables(counts=False), regions(), "auto"),
        points_around(tables(), regions(), ()),
        counts_around(tables(), regions(), ()),
        counts_around(tables(), regions()[79:], "auto"),  # one region alone
    ):
        assert found.vectors.shape[1] == 0
        assert not found.known.any()
        assert found.metres == ()


def test_points_are_seen_as_the_estimator_sees_them() -> None:
    frame = tables().points
    frame["first_level"] = np.array(TAXONOMY.first, object)[frame["category"]]
    frame["second_level"] = np.array(TAXONOMY.second, object)[frame["category"]]
    direct = ContextVectors(frame, scales=[300.0]).fit_transform(regions()[:40])
    found = points_around(tables(), regions(), [300.0]).vectors[:40]
    apart = [np.linalg.norm(some[:, None] - some[None], axis=2) for some in (direct, found)]
    factor = apart[1].sum() / apart[0].sum()  # columns of equal weight: the same distances but for one factor
    np.testing.assert_allclose(apart[1], factor * apart[0], atol=1e-3)


def test_scales_are_chosen_for_each_kind() -> None:
    counts, points = (see(tables(), regions(), "auto").metres for see in (counts_around, points_around))
    assert counts == pytest.approx((125.0,)), (
        "a quarter of the polygons' width; the next is more than a sixteenth of 2.6 km"
    )
    assert points[0] != counts[0]
    assert counts_around(tables(), regions(), (200.0, 400.0)).metres == (200.0, 400.0)


def test_the_counts_around_tell_regions_of_one_polygon_apart() -> None:
    shapes = [box(1e5 + 1000, 1000, 1e5 + 1150, 1150), box(1e5 + 1300, 1300, 1e5 + 1450, 1450)]  # of one tract
    far = [box(1e5 + 40, 40, 1e5 + 190, 190), box(1e5 + 2000, 700, 1e5 + 2150, 850)]
    frame = gpd.GeoDataFrame({"group": ["a"] * 4}, geometry=[*shapes, *far], crs=CRS)
    found = counts_around(tables(points=False), frame, [250.0]).vectors
    assert np.linalg.norm(found[0] - found[1]) > 0.1


def test_log_densities_hold_each_category_each_first_level_and_all() -> None:
    bags = PoiBags(
        starts=np.array([0, 2, 2, 2]),
        category=np.array([0, 2], np.int32),
        count=np.array([1, 3], np.float32),
        offset=np.full((2, 2), np.nan, np.float32),
        area_km2=np.array([0.5, 0.5, 0], np.float32),
        unit=np.full(3, "", object),
    )
    found = log_densities(bags, TAXONOMY)
    np.testing.assert_allclose(found[0], np.log(0.1 + np.array([2, 0, 6, 2, 6, 8])), rtol=1e-5)
    np.testing.assert_allclose(found[1], np.log(0.1), rtol=1e-5)
    assert np.isnan(found[2]).all()
