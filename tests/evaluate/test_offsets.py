"""Probes may have an offset for each group of regions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest

from mmgr.benchmark.concatenation import predict_concatenated
from mmgr.config import Config, Evaluate
from mmgr.evaluate import (
    Units,
    area_of_applicability,
    check_splits,
    make_probe,
    own_folds,
    predict_everywhere,
    predict_intervals,
    r2,
    score_features,
)
from mmgr.evaluate.intervals import Intervals

SIDE = 16
BLOCKS = Evaluate(splits=("blocks",), seeds=1, probes=("ridge",), block=400.0, intervals=(0.8,))
MakeUnits = Callable[..., Units]


@pytest.fixture
def cities(units: MakeUnits) -> tuple[Units, Units, np.ndarray]:
    """Two cities whose labels differ by what no vector tells: without offsets, with them, and vectors."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(SIDE**2, 4)).astype(np.float32)
    plain = units(SIDE, values=np.ones(SIDE**2))
    y = X[:, 0] + 3 * (plain.group == "west") + 0.3 * rng.normal(size=SIDE**2)
    plain = replace(plain, values=np.exp(6 + y))
    return plain, replace(plain, region_group=plain.group), X


def test_a_unit_shows_its_group_beside_its_vector(cities: tuple[Units, Units, np.ndarray]) -> None:
    plain, offset, X = cities
    assert (plain.offsets, offset.offsets) == ((), ("east", "west"))
    assert np.array_equal(plain.inputs(X), X)
    seen = offset.inputs(X)
    assert np.array_equal(seen[:, :4], X)
    assert np.array_equal(seen[:, 4:], np.stack([offset.group == "east", offset.group == "west"], 1))
    assert np.array_equal(offset.vectors_of(seen), X)
    assert np.array_equal(plain.vectors_of(X), X)
    assert plain.input_parts((1, 3), 4) == (1, 3)
    assert offset.input_parts((1, 3), 6) == (1, 3, 2)
    assert offset.input_parts((), 6) == (4, 2)


def test_one_group_has_no_offset_and_a_group_without_labels_none_of_its_own(
    cities: tuple[Units, Units, np.ndarray],
) -> None:
    _, offset, X = cities
    assert replace(offset, group=np.full(len(offset), "here", object)).offsets == ()
    third = np.where(np.arange(SIDE**2) < SIDE, "north", offset.group).astype(object)
    seen = replace(offset, region_group=third).region_inputs(X)
    assert (seen[:SIDE, 4:] == 0).all()
    assert (seen[SIDE:, 4:].sum(axis=1) == 1).all()


def test_few_labels_or_many_groups_have_no_offset(cities: tuple[Units, Units, np.ndarray]) -> None:
    _, offset, X = cities
    count = len(offset)
    few = np.where(np.arange(count) < 4, "hamlet", offset.group).astype(object)
    some = replace(offset, group=few, region_group=few)
    assert some.offsets == ("east", "west")
    assert (some.inputs(X)[:4, 4:] == 0).all()
    for groups in (count, 51):  # places of their own, and quarters of five
        names = np.array([f"g{number % groups}" for number in range(count)], object)
        assert replace(offset, group=names, region_group=names).offsets == ()
    fifty = np.array([f"g{number % 50}" for number in range(count)], object)
    assert len(replace(offset, group=fifty, region_group=fifty).offsets) == 50


@pytest.mark.parametrize("probe", ["ridge", "mlp", "knn", "boosting"])
def test_a_difference_between_cities_that_no_vector_tells_is_found(
    cities: tuple[Units, Units, np.ndarray], probe: str
) -> None:
    settings = BLOCKS.model_copy(update={"probes": (probe,)})
    found = [score_features(some, {"v": cities[2]}, settings, edge=100, seed=0).records[0] for some in cities[:2]]
    assert found[1].value > found[0].value + 0.3
    assert [record.offsets for record in found] == [0, 2]


def test_under_groups_an_unseen_city_gets_no_offset(cities: tuple[Units, Units, np.ndarray]) -> None:
    """It is predicted from the other city alone, whose indicator never varies: as without offsets."""
    settings = Evaluate(splits=("groups",), seeds=1, probes=("ridge",))
    found = [score_features(some, {"v": cities[2]}, settings, edge=100, seed=0).held_out for some in cities[:2]]
    # no more than by the penalty, which is chosen among others where parts are weighed
    assert np.abs(np.log(found[0]["predicted"] / found[1]["predicted"])).max() < 0.1


@pytest.mark.parametrize("name", ["ridge", "mlp", "knn"])
def test_a_column_that_never_varied_tells_nothing(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)).astype(np.float32)
    X[:, 2] = 0
    probe = make_probe(name, seed=0).fit(X, X[:, 0])  # type: ignore[arg-type]
    asked = X.copy()
    asked[:, 2] = 1
    assert np.array_equal(probe.predict(asked), probe.predict(X))


def test_maps_intervals_and_applicability_see_the_groups_of_all_regions(
    cities: tuple[Units, Units, np.ndarray],
) -> None:
    plain, offset, X = cities
    labelled = np.random.default_rng(1).random(SIDE**2) < 0.6
    some, without = offset.only(labelled), plain.only(labelled)
    values = predict_everywhere(some, X)
    assert values.shape == (SIDE**2,)
    rest = ~labelled
    truth = np.log(offset.values)
    assert r2(truth[rest], np.log(values[rest])) > r2(truth[rest], np.log(predict_everywhere(without, X)[rest])) + 0.3
    intervals = predict_intervals(some, X, values, BLOCKS, edge=100.0, seed=0)
    wide = predict_intervals(without, X, predict_everywhere(without, X), BLOCKS, edge=100.0, seed=0)
    assert isinstance(intervals, Intervals)
    assert isinstance(wide, Intervals)
    widths = [np.median(np.log(found.upper) - np.log(found.lower)) for found in (intervals, wide)]
    assert widths[0] < 0.7 * widths[1]
    folds = [(np.flatnonzero(some.group != name), np.flatnonzero(some.group == name)) for name in some.offsets]
    area = area_of_applicability(some, X, folds)
    assert np.isfinite(area.dissimilarity).all()


def test_a_published_protocol_sees_no_offsets(cities: tuple[Units, Units, np.ndarray]) -> None:
    settings = Evaluate(splits=(), protocol="regiondcl")
    values = [score_features(some, {"v": cities[2]}, settings, edge=100, seed=0).records for some in cities[:2]]
    assert [record.value for record in values[0]] == pytest.approx([record.value for record in values[1]], rel=1e-9)
    assert {record.offsets for records in values for record in records} == {0}


def test_rows_side_by_side_have_each_offset_once(cities: tuple[Units, Units, np.ndarray]) -> None:
    plain, offset, X = cities
    found = {}
    for name, some in (("plain", plain), ("offset", offset)):
        (plan,) = check_splits(some, BLOCKS, edge=100.0, seed=0)
        images, pois = ({"row": some.inputs(part)} for part in (X[:, :2], X[:, 2:]))
        predicted = predict_concatenated(some, [images, pois], plan, "ridge", 0).predicted
        found[name] = r2(some.target, predicted[0])
        whole = score_features(some, {"v": X}, BLOCKS, edge=100, seed=0, parts={"v": (2, 2)}).records[0].value
        assert found[name] == pytest.approx(whole)
    assert found["offset"] > found["plain"] + 0.3


@pytest.mark.parametrize("asked", [{}, {"group_offsets": True}, {"group_offsets": False}])
def test_the_configuration_has_them_unless_it_says_no(
    grid: Callable[..., gpd.GeoDataFrame],
    cities: tuple[Units, Units, np.ndarray],
    asked: dict[str, bool],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "mmgr")
    regions = grid(SIDE, SIDE)
    config = Config.model_validate({"images": {"path": "x"}, "regions": {"size": 100}, "evaluate": asked})
    for groups, offsets in ((cities[0].group, ("east", "west")), (np.full(SIDE**2, "here", object), ())):
        units = replace(cities[0], group=groups)
        monkeypatch.setattr(own_folds, "read_units", lambda *_, units=units: units)
        found = own_folds.task_units(config, units.task, regions).offsets
        assert found == (offsets if asked.get("group_offsets", True) else ())
    lines = [line for line in caplog.messages if "no group has an offset: all labels lie in one" in line]
    assert len(lines) == (asked == {"group_offsets": True}), "only who asks by name is told"
