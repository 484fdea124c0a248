"""All estimators of POI categories and of regions behave as scikit-learn's do."""

from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline

from mmgr.categories import OneHotVectors, Place2VecVectors, SkipGramVectors, TfidfVectors
from mmgr.categories.estimator import CategoryEstimator
from mmgr.contexts import ContextDensities, ContextVectors, CountTable, RegionMean, make_region_vectors
from mmgr.errors import ConfigError, MmgrError, PoiError

NAMES = (("food", "bar"), ("food", "café"), ("shop", "книги"), ("shop", "靴"), ("sight", "castle"))


def _pois() -> gpd.GeoDataFrame:
    random = np.random.default_rng(0)
    chosen = [NAMES[number] for number in random.integers(0, len(NAMES), 200)]
    xy = random.uniform([370_000, 140_000], [372_000, 142_000], (200, 2))
    names = {"first_level": [a for a, _ in chosen], "second_level": [b for _, b in chosen]}
    index = [f"poi{number}" for number in range(200)]
    return gpd.GeoDataFrame(names, geometry=gpd.points_from_xy(*xy.T), crs=32648, index=index)


def _regions() -> gpd.GeoDataFrame:
    edges = np.arange(6) * 350.0
    shapes = [shapely.box(x, y, x + 350, y + 350) for y in 140_000 + edges for x in 370_000 + edges]
    return gpd.GeoDataFrame(geometry=shapes, crs=32648, index=[f"cell{number}" for number in range(36)])


POIS, REGIONS = _pois(), _regions()
QUICK = {"steps": 2, "batch_size": 8, "dimensions": 4, "scales": (300.0,), "random_state": 0}
ESTIMATORS: list[Any] = [
    SkipGramVectors(6, iterations=5, random_state=0),
    SkipGramVectors(6, solver="minibatch", epochs=1, random_state=0),
    Place2VecVectors(6, iterations=5, random_state=0),
    OneHotVectors(),
    OneHotVectors(first_level="second_level", second_level=None),
    TfidfVectors(cell=500),
    ContextVectors(POIS, scales=(300.0, 900.0), dimensions=5),
    ContextVectors(POIS, dimensions=None),
    ContextDensities(POIS),
    ContextDensities(POIS, "one-hot", scales=300.0),  # type: ignore[arg-type]
    CountTable(POIS),
    RegionMean(POIS, "one-hot"),
    RegionMean(POIS, SkipGramVectors(6, iterations=5, random_state=0), radius=(300.0, 900.0), weighting="tf-idf"),
    make_region_vectors("kernels", POIS, **QUICK),
    make_region_vectors("attention", POIS, vectors="one-hot", **QUICK),
    make_region_vectors("set2set", POIS, vectors=OneHotVectors(), **QUICK),
]


def name_of(estimator: Any) -> str:
    return type(estimator).__name__


def rows_of(estimator: Any) -> gpd.GeoDataFrame:
    return POIS if isinstance(estimator, CategoryEstimator) else REGIONS


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_nothing_comes_out_before_fit(estimator: Any) -> None:
    new = clone(estimator)
    with pytest.raises(NotFittedError):
        new.transform(rows_of(new))
    with pytest.raises(NotFittedError):
        new.get_feature_names_out()
    if isinstance(new, CategoryEstimator):
        with pytest.raises(NotFittedError):
            new.to_vectors()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_a_clone_has_the_parameters_nothing_learned_and_learns_the_same(estimator: Any) -> None:
    given = estimator.get_params(deep=False)
    fitted = clone(estimator).fit(rows_of(estimator))
    again = clone(fitted)
    assert set(vars(again)) == set(given)
    assert {key: repr(value) for key, value in again.get_params().items()} == {
        key: repr(value) for key, value in estimator.get_params().items()
    }
    assert all(again.set_params(**{key: value}) is again for key, value in given.items())
    assert all(getattr(again, key) is value for key, value in given.items())
    same = again.fit(rows_of(estimator)).transform(rows_of(estimator))
    assert (same == fitted.transform(rows_of(estimator))).all()


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_each_dimension_has_a_name_of_its_own_which_pandas_shows(estimator: Any) -> None:
    rows = rows_of(estimator)
    fitted = clone(estimator).fit(rows)
    names = list(fitted.get_feature_names_out())
    plain = fitted.transform(rows)
    assert (plain.dtype, plain.shape) == (np.float32, (len(rows), len(names)))
    assert all(isinstance(name, str) for name in names)
    assert len(set(names)) == len(names)
    frame = fitted.set_output(transform="pandas").transform(rows)
    assert list(frame.columns) == names
    assert list(frame.index) == list(rows.index)


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=name_of)
def test_it_works_among_columns_in_a_pipeline(estimator: Any) -> None:
    rows = rows_of(estimator).assign(height=1.5)
    own = [column for column in rows.columns if column != "height"]
    columns = ColumnTransformer([("vectors", clone(estimator), own), ("rest", "passthrough", ["height"])])
    pipeline = make_pipeline(columns, Ridge())
    predicted = pipeline.fit(rows, np.arange(float(len(rows)))).predict(rows)
    assert np.isfinite(predicted).all()
    names = pipeline[0].get_feature_names_out()
    assert names[-1] == "rest__height"
    assert len(names) == pipeline[0].transform(rows).shape[1]


def test_a_column_called_category_makes_no_two_names_alike() -> None:
    table = POIS.rename(columns={"first_level": "category"}).drop(columns="second_level")
    names = OneHotVectors(first_level="category").fit(table).get_feature_names_out()
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (ContextVectors(POIS, dimensions="a"), ConfigError, "`dimensions` is at least 1.*got 'a'"),  # type: ignore[arg-type]
        (ContextVectors(POIS, dimensions=2.5), ConfigError, "`dimensions` is at least 1.*got 2.5"),  # type: ignore[arg-type]
        (ContextVectors(POIS, scales="a"), ConfigError, "scales are positive metres.*got 'a'"),
        (ContextVectors(POIS, scales=[[1.0, 2.0], [3.0]]), ConfigError, "scales are positive"),  # type: ignore[list-item]
        (ContextVectors(POIS, floor="a"), ConfigError, "`floor` is positive.*got 'a'"),  # type: ignore[arg-type]
        (CountTable(POIS, radii=("a",)), ConfigError, "scales are positive"),  # type: ignore[arg-type]
        (RegionMean(POIS, "one-hot", cell="a"), ConfigError, "`cell` is positive metres; got 'a'"),  # type: ignore[arg-type]
        (RegionMean(POIS, "one-hot", weighting=["tf-idf"]), ConfigError, "'tf-idf' or None"),  # type: ignore[arg-type]
        (make_region_vectors("kernels", POIS, scales="a"), ConfigError, "scales are positive"),
        (make_region_vectors("kernels", POIS, temperature="a"), ConfigError, "`temperature` is positive .got 'a'"),
        (TfidfVectors(cell="a"), ConfigError, "`cell` is positive metres .got 'a'"),  # type: ignore[arg-type]
        (SkipGramVectors("a"), ConfigError, "`dimensions`.*got 'a'"),  # type: ignore[arg-type]
    ],
)
def test_a_parameter_of_another_type_is_one_clear_error(estimator: Any, error: type[MmgrError], message: str) -> None:
    with pytest.raises(error, match=message):
        estimator.fit(rows_of(estimator))


@pytest.mark.parametrize("make", [lambda pois: OneHotVectors().fit(pois), lambda pois: CountTable(pois).fit(REGIONS)])
def test_a_column_twice_and_a_list_as_a_name_are_named(make: Any) -> None:
    plain = pd.DataFrame({"x": POIS.geometry.x, "y": POIS.geometry.y, "first_level": POIS["first_level"]})
    twice = pd.concat([plain, plain[["first_level"]]], axis=1)
    with pytest.raises(PoiError, match="2 columns called 'first_level'"):
        make(twice)
    names: list[Any] = plain["first_level"].tolist()
    names[7] = ["food", "bar"]
    with pytest.raises(PoiError, match=r"1 of 200 POIs have a category in column 'first_level' .*\(index poi7\)"):
        make(plain.assign(first_level=names))
