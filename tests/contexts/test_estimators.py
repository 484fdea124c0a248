"""Vectors of regions with scikit-learn's manners, beside plain loops."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import geopandas as gpd
import numba
import numpy as np
import pandas as pd
import pytest
import shapely
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from mmgr.categories import OneHotVectors, SkipGramVectors, TfidfVectors
from mmgr.contexts import ContextDensities, ContextVectors, CountTable, RegionMean, make_region_vectors
from mmgr.contexts.estimator import RegionEstimator
from mmgr.errors import ConfigError, MmgrError, PoiError, RegionError

NAMES = (("food", "bar"), ("food", "café"), ("shop", "books"), ("shop", "shoes"), ("sight", "castle"))
SCALES = (200.0, 600.0)


def poi_table(count: int = 300, crs: Any = 32648) -> gpd.GeoDataFrame:
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(NAMES), count)
    xy = random.uniform([370_000, 140_000], [372_000, 142_000], (count, 2))
    names = {"first_level": [NAMES[k][0] for k in chosen], "second_level": [NAMES[k][1] for k in chosen]}
    return gpd.GeoDataFrame(names, geometry=gpd.points_from_xy(*xy.T), crs=crs)


def grid(cells: int = 12, crs: Any = 32648) -> gpd.GeoDataFrame:
    """Cells of 250 m, of which a third lies beyond the POIs."""
    edges = np.arange(cells) * 250.0
    shapes = [shapely.box(x, y, x + 250, y + 250) for y in 140_000 + edges for x in 370_000 + edges]
    return gpd.GeoDataFrame({"name": [f"cell{n}" for n in range(len(shapes))]}, geometry=shapes, crs=crs).set_index(
        "name"
    )


POIS = poi_table()
ALL: list[RegionEstimator] = [
    ContextVectors(POIS, scales=SCALES),
    ContextVectors(POIS, scales=SCALES, dimensions=3),
    ContextVectors(POIS, scales=SCALES, dimensions=None),
    ContextDensities(POIS, scales=SCALES),
    ContextDensities(POIS, "tf-idf", scales=SCALES),
    CountTable(POIS, (300.0, 900.0)),
    RegionMean(POIS, OneHotVectors()),
    RegionMean(POIS, SkipGramVectors(6, iterations=5, random_state=0), radius=300.0, weighting="tf-idf"),
    RegionMean(POIS, "one-hot", radius=(300.0, 900.0)),
]


def names_of(estimator: RegionEstimator) -> str:
    return type(estimator).__name__


def inside(regions: gpd.GeoDataFrame) -> list[gpd.GeoDataFrame]:
    return [POIS[POIS.intersects(shape)] for shape in regions.geometry]


def distances(regions: gpd.GeoDataFrame) -> NDArray[np.float64]:
    centres, points = regions.geometry.centroid, POIS.geometry
    return np.hypot(
        centres.x.to_numpy()[:, None] - points.x.to_numpy(), centres.y.to_numpy()[:, None] - points.y.to_numpy()
    )


def category_of_pois() -> NDArray[np.int64]:
    return np.array([NAMES.index(pair) for pair in zip(POIS["first_level"], POIS["second_level"], strict=True)])


@pytest.mark.parametrize("estimator", ALL, ids=names_of)
def test_each_region_has_a_finite_vector_and_each_dimension_a_name(estimator: RegionEstimator) -> None:
    regions = grid()
    given = estimator.get_params()
    frame = clone(estimator).set_output(transform="pandas").fit_transform(regions)
    assert list(frame.index) == list(regions.index)
    assert frame.columns.is_unique
    assert (frame.dtypes == np.float32).all()
    assert np.isfinite(frame.to_numpy()).all()
    assert estimator.get_params() == given
    assert not hasattr(estimator, "taxonomy_")


@pytest.mark.parametrize("estimator", ALL, ids=names_of)
def test_a_region_has_the_same_vector_whoever_comes_with_it(estimator: RegionEstimator) -> None:
    regions = grid()
    fitted = clone(estimator).fit(regions)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_allclose(again.transform(regions[40:60]), fitted.transform(regions)[40:60], atol=1e-5)


@pytest.mark.parametrize("estimator", [e for e in ALL if getattr(e, "radius", 1) is not None], ids=names_of)
def test_polygons_points_and_centres_give_the_same(estimator: RegionEstimator) -> None:
    regions = grid()
    points = regions.geometry.centroid
    table = pd.DataFrame({"x": points.x, "y": points.y})
    expected = clone(estimator).fit_transform(regions)
    for same in (regions.geometry, points, table, table.to_numpy()):
        assert (clone(estimator).fit_transform(same) == expected).all()


def test_log_densities_are_those_of_the_formula() -> None:
    regions = grid()
    found = ContextDensities(POIS, scales=SCALES, floor=0.01).set_output(transform="pandas").fit_transform(regions)
    one = np.eye(5)[category_of_pois()]
    for h in SCALES:
        density = np.exp(-(distances(regions) ** 2) / 2 / h**2) @ one / (2 * np.pi * h**2) * 1e6
        for k, (first, second) in enumerate(NAMES):
            column = found[f"category_{first}/{second}_{h:g}m"]
            np.testing.assert_allclose(column, np.log(0.01 + density[:, k]), atol=0.01)
        food = found[f"first_level_food_{h:g}m"]
        np.testing.assert_allclose(food, np.log(0.01 + density[:, :2].sum(axis=1)), atol=0.01)
        np.testing.assert_allclose(found[f"all_{h:g}m"], np.log(0.01 + density.sum(axis=1)), atol=0.01)


def test_log_densities_are_projected_on_category_vectors() -> None:
    regions = grid()
    table = ContextDensities(POIS, scales=SCALES, levels=("category",)).fit_transform(regions).reshape(-1, 2, 5)
    vectors = SkipGramVectors(6, iterations=5, random_state=0).fit(POIS)
    for given in (vectors, vectors.to_vectors(), clone(vectors)):
        found = ContextDensities(POIS, given, scales=SCALES).fit_transform(regions)
        np.testing.assert_allclose(found, (table @ vectors.vectors_).reshape(-1, 12), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [RegionMean, ContextDensities])
def test_a_clone_has_the_same_vectors_and_only_category_vectors_are_frozen(kind: type[RegionEstimator]) -> None:
    elsewhere = SkipGramVectors(6, iterations=5, random_state=0).fit(POIS[:150])
    here = clone(elsewhere).fit(POIS)
    assert (elsewhere.vectors_ != here.vectors_).any()
    of_estimator = kind(POIS, elsewhere)
    for estimator in (of_estimator, clone(of_estimator)):
        assert (estimator.fit(grid()).vectors_ == here.vectors_).all()
    frozen = kind(POIS, elsewhere.to_vectors())
    for estimator in (frozen, clone(frozen)):
        assert (estimator.fit(grid()).vectors_ == elsewhere.vectors_).all()


def test_the_plain_table_counts_within_radii() -> None:
    regions = grid()
    found = CountTable(POIS, (300.0, 900.0)).fit_transform(regions)
    one = np.eye(5)[category_of_pois()]
    counts = np.hstack([(distances(regions) <= radius) @ one for radius in (300.0, 900.0)])
    np.testing.assert_allclose(found, np.log1p(counts), rtol=1e-6)


def test_a_mean_of_one_hot_vectors_is_shares_and_zeros_without_pois(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")
    regions = grid()
    found = RegionMean(POIS, "one-hot").fit_transform(regions)
    for row, pois in enumerate(inside(regions)):
        share = [(pois["first_level"] == name).mean() if len(pois) else 0 for name in ("food", "shop", "sight")]
        share += [(pois["second_level"] == name).mean() if len(pois) else 0 for _, name in NAMES]
        np.testing.assert_allclose(found[row], share, atol=1e-6)
    empty = sum(len(pois) == 0 for pois in inside(regions))
    assert empty > 0
    assert f"{empty} of 144 regions have no POI: their vectors are zeros" in caplog.text


def test_tf_idf_weighs_pois_by_their_category() -> None:
    regions = grid()
    idf = np.diag(TfidfVectors(cell=500.0).fit(POIS).vectors_)
    found = make_region_vectors("tf-idf", POIS, vectors="one-hot", cell=500.0).fit(regions)
    weight = idf[category_of_pois()]
    held = np.array([POIS.intersects(shape).to_numpy() for shape in regions.geometry])
    expected = (held * weight) @ np.eye(5)[category_of_pois()]
    total = expected.sum(axis=1, keepdims=True)
    expected = np.divide(expected, total, out=np.zeros_like(expected), where=total > 0)
    np.testing.assert_allclose(found.transform(regions)[:, 3:], expected, atol=1e-6)


def test_a_radius_weighs_pois_around_the_centre_by_distance() -> None:
    regions = grid(8)
    found = RegionMean(POIS, "one-hot", radius=400.0).fit_transform(regions)[:, 3:]
    weight = np.exp(-(distances(regions) ** 2) / 2 / 400.0**2)
    np.testing.assert_allclose(
        found, weight @ np.eye(5)[category_of_pois()] / weight.sum(axis=1, keepdims=True), atol=1e-3
    )


def test_context_vectors_are_components_of_squashed_standardised_log_densities() -> None:
    regions = grid()
    table = ContextDensities(POIS, scales=SCALES).fit_transform(regions).astype(np.float64)
    squashed = np.tanh((table - table.mean(axis=0)) / table.std(axis=0) / 2)
    kept = ContextVectors(POIS, scales=SCALES, dimensions=None).fit_transform(regions)
    np.testing.assert_allclose(kept, squashed, atol=1e-4)
    found = ContextVectors(POIS, scales=SCALES, dimensions=4).fit_transform(regions)
    left, lengths, _ = np.linalg.svd(squashed - squashed.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left * lengths)[:, :4], atol=1e-3)
    whole = ContextVectors(POIS, scales=SCALES).fit_transform(regions)
    assert whole.shape == (144, 18)  # all there are
    linear = ContextVectors(POIS, scales=SCALES, dimensions=None, squash=1e4).fit_transform(regions)
    np.testing.assert_allclose(1e4 * linear, (table - table.mean(axis=0)) / table.std(axis=0), atol=1e-2)
    assert (ContextVectors(POIS, scales=SCALES).fit_transform(regions) == whole).all()


def test_region_vectors_live_in_a_pipeline_and_a_grid_search() -> None:
    regions = grid()
    y = np.log((distances(regions) < 400).sum(axis=1) + 1)
    pipeline = make_pipeline(ContextVectors(POIS, scales=SCALES), Ridge())
    search = GridSearchCV(
        pipeline, {"contextvectors__dimensions": [1, 12]}, cv=KFold(3, shuffle=True, random_state=0)
    ).fit(regions, y)
    assert search.best_params_ == {"contextvectors__dimensions": 12}
    nested = RegionMean(POIS, OneHotVectors()).set_params(vectors__level_weights=(0.0, 2.0))
    assert nested.fit_transform(regions).max() == 2


@pytest.mark.parametrize(
    ("regions", "message"),
    [
        (grid(crs=None), "regions have no CRS"),
        (grid(crs=4326), "in degrees"),
        (grid(crs=2229), "US survey foot, not metres"),
        (grid(crs=32649), r"UTM zone 49N, but the POIs in .*48N; use regions\.to_crs\(pois\.crs\)"),
        (grid()[:0], "no regions"),
        (gpd.GeoSeries({"a": shapely.box(0, 0, 1, 1), "b": shapely.Polygon()}, crs=32648), r"1 of 2 .*\(index b\)"),
        (gpd.GeoSeries({"a": shapely.box(0, 0, 1, 1), "b": None}, crs=32648), r"no geometry, .*\(index b\)"),
        (gpd.GeoSeries([shapely.LineString([(0, 0), (1, 1)])] * 9, crs=32648), r"9 of 9 .*0, 1, 2, 3, 4 and 4 more"),
        (np.array([[0.0, np.nan], [1.0, 1.0]]), r"centres that are missing or infinite \(index 0\)"),
        (np.zeros((3, 3)), r"shape \(n, 2\), at least one; got ndarray of shape \(3, 3\)"),
        ("cells.gpkg", "got str"),
        (grid(1), "at least two"),
    ],
)
def test_faults_of_regions_are_named(regions: Any, message: str) -> None:
    with pytest.raises(RegionError, match=message):
        ContextVectors(POIS).fit(regions)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (ContextVectors(POIS[:0]), PoiError, "no POIs"),
        (ContextVectors(POIS.drop(columns="first_level")), PoiError, "no column 'first_level'"),
        (ContextVectors(POIS, floor=0), ConfigError, "`floor` is positive.*got 0"),
        (ContextVectors(POIS, dimensions=0), ConfigError, "`dimensions` is at least 1"),
        (ContextVectors(POIS, squash=0), ConfigError, "`squash` is a positive number .* got 0"),
        (ContextVectors(POIS, scales=(-1,)), ConfigError, "scales are positive"),
        (ContextDensities(POIS, levels="second"), ConfigError, "`levels` are some of"),
        (ContextDensities(POIS, 3), ConfigError, "`vectors` of ContextDensities .* got int"),
        (RegionMean(POIS, "skipgram"), ConfigError, "did you mean 'skip-gram'"),
        (RegionMean(POIS, "one-hot", weighting="idf"), ConfigError, "'tf-idf' or None; got 'idf'"),
        (RegionMean(POIS, "one-hot", cell=0), ConfigError, "`cell` is positive metres"),
    ],
)
def test_faults_of_parameters_are_named(estimator: RegionEstimator, error: type[MmgrError], message: str) -> None:
    with pytest.raises(error, match=message):
        estimator.fit(grid())


def test_points_have_nothing_inside() -> None:
    fitted = RegionMean(POIS, "one-hot").fit(grid())
    with pytest.raises(RegionError, match="regions must be polygons; name a `radius`"):
        fitted.transform(grid().geometry.centroid)


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    regions = grid(30)
    threads = numba.get_num_threads()
    found = []
    try:
        for count in (1, min(2, threads)):
            numba.set_num_threads(count)
            with threadpool_limits(count):
                found.append(ContextVectors(POIS, scales=SCALES, dimensions=5).fit_transform(regions))
    finally:
        numba.set_num_threads(threads)
    assert (found[0] == found[1]).all()


def test_the_far_tail_of_a_category_is_not_stretched() -> None:
    regions = grid()
    odd = gpd.GeoDataFrame(
        {"first_level": ["sight"], "second_level": ["lighthouse"]},
        geometry=gpd.points_from_xy([370_000 - 6.0 * 200.0], [141_000.0]),
        crs=32648,
    )
    pois = gpd.GeoDataFrame(pd.concat([POIS, odd], ignore_index=True), crs=32648)
    estimator = ContextVectors(pois, scales=(200.0,), dimensions=None).set_output(transform="pandas")
    column = estimator.fit_transform(regions)["category_sight/lighthouse_200m"]
    assert 0 <= column.max() - column.min() < 0.01
