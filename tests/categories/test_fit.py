"""From a run's clean POIs to category vectors, by every method."""

from __future__ import annotations

import logging
from typing import Any

import geopandas as gpd
import numba
import numpy as np
import pytest
from pyproj import CRS
from shapely import box
from threadpoolctl import threadpool_limits

from mmgr.categories import CategoryVectors, fit_category_vectors
from mmgr.config import Categories
from mmgr.errors import PoiError
from mmgr.pois import PoiTables, Source
from mmgr.taxonomy import Taxonomy

UTM = CRS.from_epsg(32611)
QUICK = Categories(dimensions=16, iterations=150)


def tables_of(xy: np.ndarray, category: np.ndarray, counts: np.ndarray | None = None) -> PoiTables:
    matrix = np.zeros((0, int(category.max(initial=-1)) + 1)) if counts is None else counts
    count = matrix.shape[1]
    names = tuple(f"c{number:02}" for number in range(count))
    points = gpd.GeoDataFrame(
        {"category": category.astype(np.int32), "source": np.zeros(len(category), np.int32)},
        geometry=gpd.points_from_xy(xy[:, 0], xy[:, 1]),
        crs=UTM,
    )
    shapes = gpd.GeoSeries([box(1000 * i, 9e5, 1000 * i + 1000, 9e5 + 1000) for i in range(len(matrix))], crs=UTM)
    units = gpd.GeoDataFrame(
        {
            "unit": [str(i) for i in range(len(matrix))],
            "source": np.ones(len(matrix), np.int32),
            "area_km2": np.ones(len(matrix)),
        },
        geometry=shapes,
        crs=UTM,
    )
    first = tuple("even" if number % 2 == 0 else "odd" for number in range(count))
    return PoiTables(Taxonomy(first, names), points, units, matrix.astype(np.float32), (Source("p"), Source("c")))


def two_quarters(seed: int = 0) -> PoiTables:
    """Categories 0 to 3 lie in the west of a town, 4 to 7 in the east."""
    random = np.random.default_rng(seed)
    category = random.integers(0, 8, 800)
    xy = random.uniform(0, 1000, (800, 2)) + np.where(category < 4, 0, 1500)[:, None] * [1, 0]
    return tables_of(xy, category)


def cosines(vectors: CategoryVectors) -> np.ndarray:
    unit = vectors.vectors / np.linalg.norm(vectors.vectors, axis=1, keepdims=True)
    return np.asarray(unit @ unit.T)


def test_categories_of_one_quarter_are_closer_than_across() -> None:
    similarity = cosines(fit_category_vectors(two_quarters(), QUICK, cell=250, seed=0))
    within = np.r_[similarity[:4, :4][~np.eye(4, dtype=bool)], similarity[4:, 4:][~np.eye(4, dtype=bool)]]
    assert within.min() > similarity[:4, 4:].max()


def test_counts_alone_tell_quarters_apart_even_if_all_categories_meet() -> None:
    west, east = [20, 20, 20, 20, 1, 1, 1, 1], [1, 1, 1, 1, 20, 20, 20, 20]
    tables = tables_of(np.zeros((0, 2)), np.zeros(0, int), np.array([west] * 4 + [east] * 4))
    similarity = cosines(fit_category_vectors(tables, QUICK, cell=250, seed=0))
    assert similarity[:4, :4].min() > similarity[:4, 4:].max()


def test_points_and_counts_are_summed() -> None:
    counts = np.array([[3, 0, 2, 0, 0, 0, 0, 0]])
    alone = two_quarters()
    both = tables_of(
        np.stack([alone.points.geometry.x, alone.points.geometry.y], axis=1),
        alone.points["category"].to_numpy(),
        counts,
    )
    extra = (
        fit_category_vectors(both, QUICK, cell=250, seed=0).cooccurrence
        - fit_category_vectors(alone, QUICK, cell=250, seed=0).cooccurrence
    )
    assert extra.sum() == pytest.approx(5 * 45)
    assert extra[0, 2] == pytest.approx(3 * 45 * 2 / 4)


def test_every_poi_has_45_contexts_and_the_same_seed_the_same_bits() -> None:
    tables = two_quarters()
    one, two = (fit_category_vectors(tables, QUICK, cell=250, seed=1) for _ in range(2))
    assert one.cooccurrence.sum() == 800 * 5 * 9
    assert (one.vectors == two.vectors).all()
    assert (one.vectors != fit_category_vectors(tables, QUICK, cell=250, seed=2).vectors).any()


def test_one_category_has_a_vector() -> None:
    vectors = fit_category_vectors(
        tables_of(np.random.default_rng(0).uniform(0, 99, (9, 2)), np.zeros(9, int)), QUICK, cell=50, seed=0
    )
    assert vectors.vectors.shape == (1, 16)
    assert np.isfinite(vectors.vectors).all()
    assert vectors.neighbours(4)[0].shape == (1, 0)


def test_no_category_is_an_error() -> None:
    with pytest.raises(PoiError, match="no POI categories"):
        fit_category_vectors(tables_of(np.zeros((0, 2)), np.zeros(0, int)), QUICK, cell=50, seed=0)


def test_a_category_without_a_neighbour_gets_its_siblings_mean(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")
    counts = np.array([[3, 2, 2, 1, 0, 0]])
    vectors = fit_category_vectors(tables_of(np.zeros((0, 2)), np.zeros(0, int), counts), QUICK, cell=50, seed=0)
    assert vectors.vectors[4] == pytest.approx(vectors.vectors[[0, 2]].mean(axis=0))
    assert "2 of 6 categories have no POI" in caplog.text


def test_one_category_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    fit_category_vectors(tables_of(np.zeros((2, 2)), np.zeros(2, int)), QUICK, cell=50, seed=0)
    assert "even/c00 is the only POI category" in caplog.text


def test_a_category_without_neighbour_or_sibling_gets_the_mean_of_all() -> None:
    counts = np.array([[3, 0, 2, 0]])  # the even categories alone have POIs
    vectors = fit_category_vectors(tables_of(np.zeros((0, 2)), np.zeros(0, int), counts), QUICK, cell=50, seed=0)
    assert vectors.vectors[1] == pytest.approx(vectors.vectors[[0, 2]].mean(axis=0))


@pytest.mark.parametrize("choice", [{}, {"solver": "minibatch", "epochs": 1}])
def test_pois_in_one_place_teach_nothing(choice: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    tables = tables_of(np.full((200, 2), 5e5), np.arange(200) % 2)
    vectors = fit_category_vectors(tables, Categories.model_validate({"iterations": 9} | choice), cell=50, seed=0)
    assert vectors.vectors.shape == (2, 64)
    assert not vectors.vectors.any()
    assert "no POI has another near it" in caplog.text
    assert "they get the mean" not in caplog.text


@pytest.mark.parametrize("method", ["skip-gram", "one-hot", "tf-idf", "place2vec"])
@pytest.mark.parametrize("form", ["points", "counts", "both"])
def test_every_method_takes_points_and_counts(method: str, form: str) -> None:
    points, counts = two_quarters(), np.random.default_rng(0).integers(0, 9, (6, 8))
    xy = np.stack([points.points.geometry.x, points.points.geometry.y], axis=1)
    category = points.points["category"].to_numpy()
    if form == "counts":
        xy, category = np.zeros((0, 2)), np.zeros(0, int)
    tables = tables_of(xy, category, counts if form != "points" else np.zeros((0, 8)))
    settings = Categories.model_validate({"method": method, "iterations": 20})
    one, two = (fit_category_vectors(tables, settings, cell=250, seed=3) for _ in range(2))
    assert len(one.vectors) == 8
    assert np.isfinite(one.vectors).all()
    assert (one.vectors == two.vectors).all()
    known = np.bincount(category, minlength=8) + (0 if form == "points" else counts.sum(axis=0))
    assert one.frequency.tolist() == known.tolist()
    assert (one.cooccurrence is None) == (method in {"one-hot", "tf-idf"})


@pytest.mark.parametrize(
    "choice",
    [{}, {"solver": "minibatch", "epochs": 2}, {"method": "place2vec"}],
    ids=["matrix", "batches", "place2vec"],
)
def test_bits_do_not_depend_on_the_number_of_threads(choice: dict[str, Any]) -> None:
    settings, threads = Categories.model_validate({"iterations": 50} | choice), numba.get_num_threads()
    found = []
    try:
        for count in (1, min(2, threads)):
            numba.set_num_threads(count)
            with threadpool_limits(count):
                found.append(fit_category_vectors(two_quarters(), settings, cell=250, seed=0).vectors)
    finally:
        numba.set_num_threads(threads)
    assert (found[0] == found[1]).all()


def test_how_vectors_were_made_is_kept() -> None:
    made = fit_category_vectors(two_quarters(), QUICK, cell=250, seed=5).provenance
    assert (made["method"], made["seed"], made["cell"]) == ("skip-gram", 5, 250)
    assert made["settings"]["dimensions"] == 16
    assert made["software"]


def test_both_solvers_tell_quarters_apart() -> None:
    settings = Categories(dimensions=16, solver="minibatch", epochs=4, learning_rate=0.005)
    similarity = cosines(fit_category_vectors(two_quarters(), settings, cell=250, seed=0))
    assert similarity[:4, :4].min() > similarity[:4, 4:].max()


def test_negatives_by_frequency_order_categories_by_how_often_they_meet() -> None:
    random = np.random.default_rng(0)
    category = random.integers(0, 5, 1000)  # a chain of quarters, each of which overlaps with the next
    xy = np.stack([500 * category + 300 * random.normal(size=1000), random.uniform(0, 500, 1000)], axis=1)
    settings = Categories(dimensions=16, negatives_from="frequency", hierarchy=0)
    similarity = cosines(fit_category_vectors(tables_of(xy, category), settings, cell=250, seed=0))
    assert similarity[0, 1] > similarity[0, 2] > similarity[0, 3:].max()


def test_place2vec_tells_quarters_apart() -> None:
    settings = Categories(method="place2vec", dimensions=16, iterations=300)
    similarity = cosines(fit_category_vectors(two_quarters(), settings, cell=250, seed=0))
    assert similarity[:4, :4].min() > similarity[:4, 4:].max()
