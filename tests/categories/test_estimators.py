"""Category vectors with scikit-learn's manners, on POI tables as users have them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from mmgr.categories import (
    CategoryVectors,
    OneHotVectors,
    Place2VecVectors,
    SkipGramVectors,
    TfidfVectors,
    make_category_vectors,
)
from mmgr.categories.estimator import CategoryEstimator
from mmgr.categories.estimators import ESTIMATORS
from mmgr.errors import ConfigError, PoiError

NAMES = (("food", "bar"), ("food", "café"), ("shop", "книги"), ("shop", "靴"), ("sight", "castle"))
ALL: list[CategoryEstimator] = [
    SkipGramVectors(8, iterations=20, random_state=0),
    SkipGramVectors(8, solver="minibatch", epochs=1, random_state=0),
    SkipGramVectors(8, negatives_from="frequency", iterations=20, random_state=0),
    Place2VecVectors(8, iterations=20, random_state=0),
    OneHotVectors(),
    TfidfVectors(),
]


def table(count: int = 300, seed: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(NAMES), count)
    xy = random.uniform([370_000, 140_000], [372_000, 142_000], (count, 2))
    names = [NAMES[number] for number in chosen]
    return pd.DataFrame(
        {"x": xy[:, 0], "y": xy[:, 1], "first_level": [a for a, _ in names], "second_level": [b for _, b in names]}
    )


def points(frame: pd.DataFrame, crs: Any = 32648) -> gpd.GeoDataFrame:
    shapes = gpd.points_from_xy(frame["x"], frame["y"])
    return gpd.GeoDataFrame(frame.drop(columns=["x", "y"]), geometry=shapes, crs=crs)


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_each_poi_has_its_categorys_vector(estimator: CategoryEstimator) -> None:
    frame = table()
    fitted = clone(estimator).fit(frame)
    found = fitted.transform(frame)
    assert fitted.vectors_.dtype == np.float32
    assert fitted.vectors_.shape == (5, len(fitted.get_feature_names_out()))
    assert (found == fitted.vectors_[fitted.taxonomy_.ids(frame["first_level"], frame["second_level"])]).all()
    assert fitted.frequency_.sum() == 300
    assert fitted.n_features_in_ == 4
    assert fitted.feature_names_in_.tolist() == list(frame.columns)
    assert len(set(fitted.get_feature_names_out())) == found.shape[1]


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_points_and_columns_of_coordinates_give_the_same_bits(estimator: CategoryEstimator) -> None:
    frame = table()
    assert (clone(estimator).fit(frame).vectors_ == clone(estimator).fit(points(frame)).vectors_).all()


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_constructors_only_store_and_pandas_output_keeps_the_index(estimator: CategoryEstimator) -> None:
    given = estimator.get_params()
    assert clone(estimator).get_params() == given
    frame = table().set_index(pd.Index([f"poi{number}" for number in range(300)]))
    found = clone(estimator).set_output(transform="pandas").fit_transform(frame)
    assert list(found.index) == list(frame.index)
    assert found.shape[0] == 300


@pytest.mark.parametrize("estimator", ALL, ids=repr)
def test_fitted_vectors_are_saved_and_loaded(estimator: CategoryEstimator, tmp_path: Path) -> None:
    fitted = clone(estimator).fit(table())
    fitted.to_vectors().save(tmp_path)
    again = CategoryVectors.load(tmp_path)
    assert (again.vectors == fitted.vectors_).all()
    assert again.taxonomy == fitted.taxonomy_
    assert ESTIMATORS[again.provenance["method"]] is type(fitted)


def test_vectors_live_in_a_pipeline_and_a_grid_search() -> None:
    frame = points(table())
    y = np.where(frame["first_level"] == "shop", 1.0, 0.0)
    pipeline = make_pipeline(SkipGramVectors(8, iterations=20, random_state=0), Ridge(alpha=1e-6))
    search = GridSearchCV(pipeline, {"skipgramvectors__dimensions": [2, 8]}, cv=3).fit(frame, y)
    assert search.best_params_ == {"skipgramvectors__dimensions": 8}
    assert search.score(frame, y) == pytest.approx(1, abs=1e-3)


def test_the_random_state_decides_the_bits() -> None:
    frame = table()
    one, two, other, generator, same = (
        SkipGramVectors(8, iterations=5, random_state=state).fit(frame)
        for state in (1, 1, 2, np.random.RandomState(3), np.random.RandomState(3))
    )
    assert (one.vectors_ == two.vectors_).all()
    assert (one.vectors_ != other.vectors_).any()
    assert (generator.vectors_ == same.vectors_).all()
    assert one.to_vectors().provenance["seed"] == 1


def test_unknown_categories_have_means_and_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    fitted = OneHotVectors().fit(table())
    new = pd.DataFrame({"first_level": ["food", "money", None], "second_level": ["diner", "atm", "bar"]})
    found = fitted.transform(new)
    assert found[0] == pytest.approx(fitted.vectors_[:2].mean(axis=0))
    assert found[1] == pytest.approx(fitted.vectors_.mean(axis=0))
    assert found[2] == pytest.approx(fitted.vectors_.mean(axis=0))
    assert caplog.text.count("unknown categories") == 1


def test_a_table_without_second_level_has_one_level() -> None:
    fitted = OneHotVectors().fit(table().drop(columns="second_level"))
    assert fitted.taxonomy_.second == ("food", "shop", "sight")
    renamed = table().rename(columns={"first_level": "kind", "second_level": "sort"})
    assert len(OneHotVectors(first_level="kind", second_level=None).fit(renamed).taxonomy_) == 3
    assert len(OneHotVectors(first_level="kind", second_level="sort").fit(renamed).taxonomy_) == 5


def test_one_hot_has_a_part_for_each_level() -> None:
    fitted = OneHotVectors(level_weights=(0.5, 2)).fit(table())
    assert fitted.vectors_[3].tolist() == [0, 0.5, 0, 0, 0, 0, 2, 0]
    assert fitted.get_feature_names_out()[[1, 6]].tolist() == ["first_level_shop", "category_shop/靴"]


@pytest.mark.parametrize("estimator", [OneHotVectors(), TfidfVectors()], ids=repr)
def test_slashes_in_names_give_no_two_dimensions_one_name(estimator: CategoryEstimator) -> None:
    frame = pd.DataFrame({"x": [1e5, 2e5], "y": 1e5, "first_level": ["a", "a/b"], "second_level": ["b/c", "c"]})
    found = estimator.fit(frame).get_feature_names_out().tolist()
    assert len(set(found)) == len(found)
    assert found[-2:] == [r"category_a/b\/c", r"category_a\/b/c"]


def test_a_column_called_category_does_not_give_two_dimensions_one_name() -> None:
    frame = pd.DataFrame({"x": [1e5, 2e5], "y": 1e5, "category": ["bar", "shop"]})
    found = OneHotVectors(first_level="category", second_level=None).fit(frame).get_feature_names_out().tolist()
    assert found == ["first_level_bar", "first_level_shop", "category_bar", "category_shop"]


def test_a_cells_sum_at_unit_length_is_scikit_learns_tf_idf() -> None:
    frame = table(60)
    cells = frame.groupby([frame["x"] // 500, frame["y"] // 500]).ngroup().to_numpy()
    vectors = TfidfVectors(cell=500).fit_transform(frame)
    category = OneHotVectors().fit(frame).taxonomy_.ids(frame["first_level"], frame["second_level"])
    counts, sums = np.zeros((cells.max() + 1, 5)), np.zeros((cells.max() + 1, 5))
    np.add.at(counts, (cells, category), 1)
    np.add.at(sums, cells, vectors)
    expected = TfidfTransformer().fit_transform(counts).toarray()
    assert sums / np.linalg.norm(sums, axis=1, keepdims=True) == pytest.approx(expected, abs=1e-6)


def test_one_argument_chooses_the_method() -> None:
    assert isinstance(make_category_vectors("place2vec", neighbours=3), Place2VecVectors)
    assert make_category_vectors(dimensions=8).get_params()["dimensions"] == 8
    with pytest.raises(ConfigError, match="did you mean 'place2vec'"):
        make_category_vectors("place2vek")
    with pytest.raises(ConfigError, match="walks"):
        make_category_vectors("one-hot", walks=3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (SkipGramVectors(walks=0), "`walks`"),
        (SkipGramVectors(solver="sgd"), "`solver`"),
        (SkipGramVectors(negatives_from="all"), "`negatives_from`"),
        (SkipGramVectors(cell=0), "`cell`"),
        (TfidfVectors(cell=float("nan")), "`cell`"),
        (Place2VecVectors(power=-1), "`power`"),
        (OneHotVectors(level_weights=(1,)), "`level_weights"),
    ],
)
def test_a_parameter_out_of_range_is_named_in_fit(wrong: CategoryEstimator, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        wrong.fit(table())


def test_one_category_has_a_vector_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    for estimator in ALL:
        alone = table().assign(first_level="food", second_level="bar")
        assert np.isfinite(clone(estimator).fit(alone).vectors_).all()
    assert caplog.text.count("is the only POI category") == len(ALL)


@pytest.mark.parametrize("estimator", ALL, ids=repr)
@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_few_pois_suffice(estimator: CategoryEstimator, count: int) -> None:
    assert np.isfinite(clone(estimator).fit(table(count)).vectors_).all()


def test_bad_tables_are_refused_in_fit() -> None:
    with pytest.raises(PoiError, match="no rows"):
        SkipGramVectors().fit(table(0))
    with pytest.raises(PoiError, match="estimate_utm_crs"):
        SkipGramVectors().fit(points(table(), 4326))


def test_places_of_one_use_are_near_in_a_real_city(shared_data: Path) -> None:
    frame = gpd.read_file(shared_data / "singapore" / "pois.geojson").to_crs(32648)
    vectors = SkipGramVectors(random_state=0).fit(frame).to_vectors()
    names, (nearest, _) = vectors.taxonomy.second, vectors.neighbours(10)
    for name, near in (("restaurant", "cafe"), ("bar", "pub"), ("attraction", "tourist_info")):
        assert near in {names[row] for row in nearest[names.index(name)]}
    assert dict(zip(names, vectors.frequency, strict=True))["supermarket"] == 28
