from __future__ import annotations

from collections.abc import Callable
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy import sparse

from mmgr.benchmark.concatenation import best_of, predict_concatenated
from mmgr.config import Evaluate, Task
from mmgr.evaluate import SplitPlan, Units, check_splits, side_by_side

MakeUnits = Callable[[np.ndarray], Units]
SETTINGS = Evaluate(folds=3, seeds=2, block=300.0, buffer=0.0)


@pytest.fixture
def units() -> MakeUnits:
    def make(values: np.ndarray) -> Units:
        x, y = np.meshgrid(np.arange(12) * 100.0, np.arange(12) * 100.0)
        cells = gpd.GeoSeries(shapely.box(x.ravel(), y.ravel(), x.ravel() + 100, y.ravel() + 100), crs="EPSG:32611")
        given: Any = {"name": "rate", "path": "labels.gpkg", "kind": "polygon_rate", "column": "rate"}
        return Units(
            task=Task.model_validate(given),
            ids=np.arange(144).astype(object),
            geometry=cells,
            centres=shapely.get_coordinates(cells.centroid.to_numpy()),
            group=np.full(144, "", object),
            values=values,
            weights=sparse.csr_array(sparse.eye_array(144)),
            coverage=np.ones(144),
        )

    return make


def plan_of(units: Units) -> SplitPlan:
    (plan,) = check_splits(units, SETTINGS, edge=100.0, seed=0)
    return plan


def test_the_row_that_predicts_inside_the_training_units_is_chosen(units: MakeUnits) -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=144)
    own = units(y)
    images = {"noise": rng.normal(size=(144, 3)), "signal": np.stack([y + rng.normal(0, 0.2, 144), y], 1)}
    pois = {"only": rng.normal(size=(144, 2))}
    found = predict_concatenated(own, [images, pois], plan_of(own), "ridge", 0)
    assert found.chosen[0] == {"signal": 6}
    assert found.chosen[1] == {"only": 6}
    assert found.predicted.shape == (2, 144)
    assert np.isfinite(found.predicted).all()
    assert np.corrcoef(found.predicted[0], y)[0, 1] > 0.95


def test_no_test_unit_has_a_part_in_the_choice(units: MakeUnits) -> None:
    """A row that knows the test units alone is not chosen, and changing test units changes no choice."""
    rng = np.random.default_rng(1)
    y = rng.normal(size=144)
    own = units(y)
    plan = plan_of(own)
    good = (y + rng.normal(0, 1.0, 144))[:, None]
    for number, (train, test) in enumerate(plan.folds[0]):
        inner = plan.inner(own, train, 0)
        oracle = rng.normal(size=(144, 1))
        oracle[test, 0] = 10 * y[test]  # what a choice by test units would take
        tables = {"oracle of the test units": oracle, "good": good}
        assert best_of(own, tables, plan, train, inner, 0) == "good", number
        # labels and vectors of all units that are not trained on, replaced
        rest = np.setdiff1d(np.arange(144), train)
        other_y, other = y.copy(), {name: table.copy() for name, table in tables.items()}
        other_y[rest] = 1e6
        for table in other.values():
            table[rest] = np.nan
        changed = units(other_y)
        assert best_of(changed, other, plan, train, inner, 0) == "good"


def test_of_equals_and_of_one_the_first_is_taken(units: MakeUnits) -> None:
    y = np.random.default_rng(2).normal(size=144)
    own = units(y)
    plan = plan_of(own)
    train = plan.folds[0][0][0]
    inner = plan.inner(own, train, 0)
    same = y[:, None]
    assert best_of(own, {"one": same, "two": same}, plan, train, inner, 0) == "one"
    assert best_of(own, {"alone": same}, plan, train, inner, 0) == "alone"


def test_processes_and_repetitions_change_nothing(units: MakeUnits, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=144)
    own = units(y)
    groups = [
        {"a": rng.normal(size=(144, 3)), "b": (y + rng.normal(size=144))[:, None]},
        {"c": rng.normal(size=(144, 2))},
    ]
    here = predict_concatenated(own, groups, plan_of(own), "ridge", 0)
    monkeypatch.setattr(side_by_side, "_LOOK", -1.0)
    monkeypatch.setattr(side_by_side, "_WORTH", -1.0)
    monkeypatch.setattr(side_by_side, "cpu_count", lambda: 2)
    there = predict_concatenated(own, groups, plan_of(own), "ridge", 0)
    np.testing.assert_array_equal(here.predicted, there.predicted)
    assert here.chosen == there.chosen
    # folds that are the same whatever the seed are chosen in once
    own.group[:] = np.repeat(["north", "south"], 72)
    settings = Evaluate(splits=("groups",), seeds=3, buffer=0.0)
    (plan,) = check_splits(own, settings, edge=100.0, seed=0)
    twice = predict_concatenated(own, groups, plan, "ridge", 0)
    assert sum(twice.chosen[0].values()) == 2
    np.testing.assert_array_equal(twice.predicted[2], twice.predicted[0])
    assert np.isfinite(twice.predicted).all()
