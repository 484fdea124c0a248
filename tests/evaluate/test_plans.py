"""How units are held out: the size and shape of blocks, the user's own folds, published protocols, parts of labels."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import h3
import numpy as np
import pytest
import rasterio
from pydantic import ValidationError
from rasterio.transform import from_origin
from scipy import sparse
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import cross_val_score

from mmgr.config import Config, Evaluate, Task
from mmgr.errors import SplitError
from mmgr.evaluate import (
    OwnFolds,
    Scores,
    Units,
    check_splits,
    choose_block,
    get_protocol,
    score_features,
    task_units,
)
from mmgr.evaluate.blocks import make_blocks
from mmgr.evaluate.curves import drawing

Make = Callable[..., Units]
BLOCKS = Evaluate(splits=("blocks",), seeds=1, folds=3, probes=("ridge",))


def alike(units: Make, reach: float, side: int = 24, seed: int = 0) -> Units:
    """Labels whose covariance is spherical and 0 beyond ``reach`` metres."""
    some = units(side)
    h = np.minimum(np.linalg.norm(some.centres[:, None] - some.centres[None], axis=2) / reach, 1.0)
    root = np.linalg.cholesky(1 - 1.5 * h + 0.5 * h**3 + 1e-8 * np.eye(len(h)))
    return replace(some, values=np.exp(root @ np.random.default_rng(seed).normal(size=len(h))))


def test_blocks_are_as_wide_as_labels_are_alike(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    some = alike(units, 500)
    with caplog.at_level("INFO", "mmgr"):
        (plan,) = check_splits(some, BLOCKS, edge=100, seed=0)
    assert plan.chosen_by == "variogram"
    assert some.variogram is not None
    assert plan.block == some.variogram.range == pytest.approx(500, rel=0.4)
    assert "(labels are alike up to" in caplog.text


def test_a_range_that_leaves_too_few_blocks_gives_way_to_the_extent(units: Make) -> None:
    some = alike(units, 2000)
    settings = BLOCKS.model_copy(update={"folds": 8})
    blocks = make_blocks(some, settings, edge=100)
    assert blocks.chosen_by == "extent"
    assert blocks.size == choose_block(some.centres, edge=100, folds=8)
    assert re.search(r"alike up to (more than )?[\d,]+ m, but so large blocks would be \d", blocks.why)


@pytest.mark.parametrize("settings", [{"block": 200.0}, {"folds": 8}], ids=["given", "extent"])
def test_blocks_smaller_than_labels_are_alike_are_warned_of_with_both_numbers(
    units: Make, caplog: pytest.LogCaptureFixture, settings: dict[str, Any]
) -> None:
    some = alike(units, 2000)
    blocks = make_blocks(some, BLOCKS.model_copy(update=settings), edge=100)
    assert some.variogram is not None
    assert blocks.size < some.variogram.range
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert f"blocks of {blocks.size:,.0f} m are smaller than" in record.getMessage()
    assert f"{some.variogram.range:,.0f} m, so that" in record.getMessage()


def test_blocks_as_wide_as_the_range_are_not_warned_of(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    make_blocks(alike(units, 500), BLOCKS, edge=100)
    make_blocks(alike(units, 500), BLOCKS.model_copy(update={"block": 1000.0}), edge=100)
    make_blocks(units(16), BLOCKS.model_copy(update={"block": 150.0}), edge=100)
    assert not caplog.text


def test_labels_without_a_range_take_blocks_from_the_extent_and_given_ones_are_taken(units: Make) -> None:
    noise = units(16)
    assert make_blocks(noise, BLOCKS, edge=100).chosen_by == "extent"
    assert "no more alike than any two" in make_blocks(noise, BLOCKS, edge=100).why
    given = make_blocks(noise, BLOCKS.model_copy(update={"block": 400.0}), edge=100)
    assert (given.size, given.chosen_by) == (400.0, "given")


def test_hexagons_have_about_the_area_of_the_block_and_stay_whole(units: Make) -> None:
    some = units(24)
    settings = BLOCKS.model_copy(update={"block_shape": "h3", "block": 330.0, "buffer": 0.0})
    (plan,) = check_splits(some, settings, edge=100, seed=0)
    # resolution 9: hexagons of 0.105 km2 on average
    assert plan.block == pytest.approx(np.sqrt(h3.average_hexagon_area(9, unit="m^2")))
    degrees = some.geometry.centroid.to_crs(4326)
    cells = np.array([h3.latlng_to_cell(p.y, p.x, 9) for p in degrees])
    for train, test in plan.folds[0]:
        assert not set(cells[train]) & set(cells[test])
        assert len(train) + len(test) == len(some)


@pytest.fixture
def configured(tmp_path: Path, grid: Callable[..., gpd.GeoDataFrame]) -> Callable[..., tuple[Config, gpd.GeoDataFrame]]:
    """A configuration whose labels and regions have columns of folds."""

    def make(*, column: str = "district", labels: dict[str, Any], regions: dict[str, Any] | None = None) -> Any:
        cells = grid(10, 4)
        frame = cells.reset_index(drop=True).assign(people=np.arange(40.0), **labels)
        frame.to_file(tmp_path / "labels.gpkg")
        places = {"kind": "grid", "size": 100}
        if regions is not None:
            cells.reset_index().assign(**regions).to_file(tmp_path / "regions.gpkg")
            places = {"kind": "polygons", "path": tmp_path / "regions.gpkg", "id": "region_id"}
        config = Config.model_validate(
            {
                "regions": places,
                "pois": {"sources": [{"path": tmp_path / "p.csv", "first_level": "a"}]},
                "tasks": [
                    {"name": "people", "kind": "polygon_rate", "path": tmp_path / "labels.gpkg", "column": "people"}
                ],
                "evaluate": {"splits": ["column"], "column": column, "seeds": 2, "probes": ["ridge"], "buffer": 0},
            }
        )
        return config, cells

    return make


def test_a_column_of_the_labels_names_the_folds(configured: Callable[..., Any]) -> None:
    district = np.repeat(["north", "south", "", "west"], 10)
    config, cells = configured(labels={"district": district})
    units = task_units(config, config.tasks[0], cells)
    np.testing.assert_array_equal(units.own_folds, district)
    (plan,) = check_splits(units, config.evaluate, edge=100, seed=0)
    assert plan.repeats_itself
    assert [set(district[test]) for _, test in plan.folds[0]] == [{"north"}, {"south"}, {"west"}]
    assert all("" in set(district[train]) for train, _ in plan.folds[0])
    scores = score_features(units, {"x": np.arange(40.0)[:, None]}, config.evaluate, edge=100, seed=0)
    assert scores.records[0].n_units == 30


def test_parts_called_train_and_test_are_one_fold(configured: Callable[..., Any]) -> None:
    part = np.repeat(["train", "test", "validation", "train"], 10)
    config, cells = configured(labels={"other": 1}, regions={"district": part})
    units = task_units(config, config.tasks[0], cells)
    (plan,) = check_splits(units, config.evaluate, edge=100, seed=0)
    ((train, test),) = plan.folds[0]
    assert set(part[test]) == {"test"}
    assert len(train) == 30


@pytest.mark.parametrize("column", ["is_test", "is_train"])
def test_a_column_of_true_and_false_is_one_fold(configured: Callable[..., Any], column: str) -> None:
    marks = np.arange(40) % 4 == 0
    config, cells = configured(column=column, labels={column: marks})
    (plan,) = check_splits(task_units(config, config.tasks[0], cells), config.evaluate, edge=100, seed=0)
    ((train, test),) = plan.folds[0]
    assert set(marks[test]) == {column == "is_test"}
    assert len(train) + len(test) == 40


def test_units_of_fold_minus_one_are_never_tested(
    configured: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    fold = np.repeat([-1, 0, 1, 2], 10)
    config, cells = configured(labels={"district": fold})
    caplog.set_level("INFO")
    (plan,) = check_splits(task_units(config, config.tasks[0], cells), config.evaluate, edge=100, seed=0)
    assert [set(fold[test]) for _, test in plan.folds[0]] == [{0}, {1}, {2}]
    assert all(-1 in fold[train] for train, _ in plan.folds[0])
    assert "10 units have no fold in `district`, or -1, and are always trained on" in caplog.text


def test_a_column_that_no_file_has_is_named(configured: Callable[..., Any]) -> None:
    config, cells = configured(labels={"other": 1})
    with pytest.raises(SplitError, match=r"`evaluate.column: district` is not in .*labels.gpkg"):
        task_units(config, config.tasks[0], cells)
    both, cells = configured(labels={"other": 1}, regions={"other": 1})
    with pytest.raises(SplitError, match=r"`evaluate.column: district` is in neither .*labels.gpkg nor .*regions.gpkg"):
        task_units(both, both.tasks[0], cells)
    one, cells = configured(labels={"district": 7})
    with pytest.raises(SplitError, match=r"has 1 fold\(s\) \(7\) on labelled units"):
        check_splits(task_units(one, one.tasks[0], cells), one.evaluate, edge=100, seed=0)
    with pytest.raises(ValidationError, match="needs `column`"):
        Evaluate(splits=("column",))
    with pytest.raises(SplitError, match="none called `test`"):
        OwnFolds(["train", "train"], np.zeros((2, 2)))


def test_a_raster_on_a_grid_has_no_column_of_folds(configured: Callable[..., Any], tmp_path: Path) -> None:
    config, cells = configured(labels={"other": 1})
    west, _, _, north = cells.total_bounds
    profile = {"driver": "GTiff", "count": 1, "height": 4, "width": 10, "dtype": "uint8", "crs": cells.crs}
    with rasterio.open(tmp_path / "l.tif", "w", **profile, transform=from_origin(west, north, 100, 100)) as raster:
        raster.write(np.arange(40, dtype=np.uint8).reshape(4, 10), 1)
    task = Task.model_validate({"name": "people", "kind": "raster_mean", "path": tmp_path / "l.tif"})
    with pytest.raises(
        SplitError, match="district`: no file can have it, as labels are a raster and regions of no file"
    ):
        task_units(config, task, cells)


def test_own_folds_work_in_cross_validation_of_scikit_learn(units: Make) -> None:
    centres = units(8).centres
    names = np.where(centres[:, 0] > np.median(centres[:, 0]), "a", "b")
    folds = OwnFolds(names, centres, buffer=150)
    assert len(cross_val_score(LinearRegression(), centres, centres.sum(axis=1), cv=folds)) == folds.get_n_splits() == 2


@pytest.mark.parametrize("protocol", ["cityrep-trees", "regiondcl-blocks"])
def test_a_published_protocol_is_scored_beside_the_splits_as_it_scores_itself(units: Make, protocol: str) -> None:
    some = units(14)
    assert some.scale == "log1p"
    some = replace(some, centres=some.centres * 10)  # 14 km, for blocks of 5 km
    X = np.stack([np.log(some.values), np.random.default_rng(0).normal(size=196)], axis=1).astype(np.float32)
    settings = BLOCKS.model_copy(update={"protocol": protocol, "block": 3000.0, "buffer": 0.0})
    scores = score_features(some, {"x": X}, settings, edge=1000, seed=0)
    blocks, published = scores.records
    assert (blocks.split, published.split, published.probe) == ("blocks", protocol, protocol)
    # a protocol scores the label as it is, whatever scale the task has: published scores do
    assert (blocks.scale, published.scale) == ("log1p", "as given")
    itself = get_protocol(protocol).score(X, some.values, some.centres, kind="number")
    assert published.seeds == len(itself)
    assert published.metrics["r2"].value == pytest.approx(np.mean([one["r2"] for one in itself]), rel=1e-5)
    assert published.optimistic == get_protocol(protocol).optimistic
    rows, predicted = next(iter(get_protocol(protocol).predict(X, some.values, some.centres, kind="number")))
    kept = scores.held_out.query("split == @protocol").set_index("id")["predicted"]
    np.testing.assert_allclose(kept[some.ids[rows]], predicted)


def test_a_published_split_with_a_label_cell_on_both_sides_is_optimistic(
    units: Make, caplog: pytest.LogCaptureFixture
) -> None:
    some = units(20)
    x, y = (np.arange(400) % 20, np.arange(400) // 20)
    cell = (y // 3) * 7 + x // 3  # label cells of 3 x 3 regions, which blocks of 2 x 2 cut through
    coarse = replace(some, sources=sparse.csr_array((np.ones(400), (np.arange(400), cell))))
    settings = BLOCKS.model_copy(update={"splits": (), "protocol": "cityrep-trees"})
    (plan,) = check_splits(coarse, settings, edge=100, seed=0)
    folds = [fold for (fold,) in plan.folds]
    shared = sum(int(np.isin(cell[test], cell[train]).sum()) for train, test in folds)
    assert shared
    assert plan.optimistic
    assert f"{shared} of {sum(len(test) for _, test in folds)} tested units share a region, label cell" in caplog.text
    caplog.clear()
    (plain,) = check_splits(some, settings, edge=100, seed=0)
    assert not plain.optimistic
    assert not caplog.text
    for (one,), (two,) in zip(plan.folds, plain.folds, strict=True):  # the split stays as published
        assert all(map(np.array_equal, one, two))


def test_a_protocol_alone_has_no_label_curve(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    some = units(20)
    settings = BLOCKS.model_copy(update={"splits": (), "protocol": "cityrep-trees", "fractions": (0.1, 1.0)})
    scores = score_features(some, {"x": some.centres - some.centres.mean(axis=0)}, settings, edge=100, seed=0)
    assert not scores.curves
    assert "no label curve, for `fractions` needs a split beside the protocol" in caplog.text


def test_random_folds_keep_units_of_one_region_apart(units: Make) -> None:
    some = units(10)
    shared = np.kron(np.eye(50), np.ones((2, 1)))  # two units stand for each of 50 regions
    polygons = replace(some, weights=sparse.csr_array(shared), kind="polygons")
    (plan,) = check_splits(polygons, BLOCKS.model_copy(update={"splits": ("random",)}), edge=100, seed=0)
    for train, test in plan.folds[0]:
        assert not set(train // 2) & set(test // 2)
    (plain,) = check_splits(some, BLOCKS.model_copy(update={"splits": ("random",)}), edge=100, seed=0)
    assert all(len(train) + len(test) == 100 for train, test in plain.folds[0])


def test_a_protocol_that_does_not_know_the_label_says_so(units: Make) -> None:
    plain = units(12, kind="polygon_rate")
    zone = Task.model_validate({"name": "z", "path": "x", "kind": "polygon_class", "column": "z"})
    some = replace(plain, task=zone, values=np.eye(2)[np.arange(144) % 2], classes=("a", "b"))
    with pytest.raises(SplitError, match=r"task z, protocol regiondcl: .* knows numbers and shares, no classes"):
        check_splits(some, BLOCKS.model_copy(update={"protocol": "regiondcl"}), edge=100, seed=0)


def test_more_labels_score_better_and_all_of_them_as_the_score_itself(units: Make) -> None:
    rng = np.random.default_rng(0)
    some = units(16)
    X = np.column_stack([np.log(some.values) + 0.3 * rng.normal(size=256), rng.normal(size=(256, 12))]).astype(
        np.float32
    )
    settings = BLOCKS.model_copy(update={"fractions": (0.05, 0.3, 1.0), "seeds": 2})
    scores = score_features(some, {"x": X}, settings, edge=100, seed=0)
    few, more, everything = scores.curves
    assert [score.fraction for score in scores.curves] == [0.05, 0.3, 1.0]
    plan = check_splits(some, settings, edge=100.0, seed=0)[0]
    sizes = np.array([len(train) for folds in plan.folds for train, _ in folds])
    expected = [np.maximum(np.ceil(part * sizes), 5).mean() for part in (0.05, 0.3, 1.0)]
    np.testing.assert_allclose([score.trained for score in scores.curves], expected)
    heads = [f"{part}% ({size:.0f} units)" for part, size in zip((5, 30, 100), expected, strict=True)]
    assert f"| Features | {' | '.join(heads)} |" in scores.to_markdown()
    read = Scores.from_json(scores.to_json())
    np.testing.assert_allclose([score.trained for score in read.curves], expected)
    assert few.value < more.value < everything.value
    assert everything.value == pytest.approx(scores.records[0].value)
    assert few.n_units == 256
    assert "With a part of the labels (R2, ridge):" in scores.to_markdown()


@pytest.mark.parametrize("by", ["units", "blocks"])
def test_parts_of_labels_are_nested_and_blocks_stay_whole(units: Make, by: Any) -> None:
    some = units(16)
    (plan,) = check_splits(some, BLOCKS.model_copy(update={"block": 300.0}), edge=100, seed=0)
    train = plan.folds[0][0][0]
    tenth, half = (set(drawing(plan, part, by, seed=1)(train, 0, 0)) for part in (0.1, 0.5))
    assert tenth < half < set(train)
    assert plan.groups is not None
    if by == "units":
        assert (len(tenth), len(half)) == (np.ceil(0.1 * len(train)), np.ceil(0.5 * len(train)))
    else:
        drawn = set(plan.groups[list(half)])
        assert half == {row for row in train if plan.groups[row] in drawn}
    assert drawing(plan, 0.1, by, seed=1)(train, 0, 0).tolist() == sorted(tenth)
    assert set(drawing(plan, 0.1, by, seed=1)(train, 1, 0)) != tenth


def test_a_protocol_is_enough_but_nothing_is_not(units: Make) -> None:
    (plan,) = check_splits(units(12), Evaluate(splits=(), protocol="cityrep"), edge=100, seed=0)
    assert plan.kind == "cityrep"
    with pytest.raises(ValidationError, match="name a split"):
        Evaluate(splits=())
    with pytest.raises(SplitError, match="neither a split nor a protocol"):
        check_splits(units(12), Evaluate().model_copy(update={"splits": ()}), edge=100, seed=0)
