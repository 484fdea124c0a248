"""Labelled points: each is counted once where regions meet, and links the regions that overlap on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from mmgr.actions.report import labelled_sentence
from mmgr.config import Config, Evaluate, Task
from mmgr.errors import SplitError
from mmgr.evaluate import Units, check_splits, read_units, task_units
from mmgr.evaluate.audit.labels import label_sources, one_source

CRS = "EPSG:32611"
X, Y = 500_000.0, 3_800_000.0
SIDE = 12
Grid = Callable[..., gpd.GeoDataFrame]
Read = Callable[..., Units]


@pytest.fixture
def read(tmp_path: Path, task: Callable[..., Task]) -> Read:
    """Units of some regions, from points in metres from the grid's south-west corner."""

    def call(regions: gpd.GeoDataFrame, xy: np.ndarray, label: Any, **settings: Any) -> Units:
        path = tmp_path / "points.csv"
        pd.DataFrame({"x": X + xy[:, 0], "y": Y + xy[:, 1], "label": label}).to_csv(path, index=False)
        given = {"kind": "point_shares", "path": path, "column": "label", "x": "x", "y": "y", "crs": CRS}
        return read_units(task(**given | settings), regions)

    return call


def corners() -> np.ndarray:
    """All corners of cells inside the grid."""
    at = np.arange(1, SIDE) * 100.0
    return np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2)


def crossing(units: Units) -> list[int]:
    """Pairs of a training and a test unit of each random fold that share a point."""
    (plan,) = check_splits(units, Evaluate(splits=("random",), folds=3, seeds=1), edge=100.0, seed=0)
    shared = (units.sources @ units.sources.T).toarray()
    return [int(shared[np.ix_(train, test)].sum()) for train, test in plan.folds[0]]


def test_a_point_on_borders_counts_in_the_first_region_alone(grid: Grid, read: Read) -> None:
    at = corners()
    units = read(grid(SIDE, SIDE), at, np.arange(len(at)) % 3)
    # a corner is the north-east one of the first of its four regions
    assert set(units.ids) == {f"r{SIDE * row + column}" for row in range(SIDE - 1) for column in range(SIDE - 1)}
    assert (units.target.max(axis=1) == 1).all()
    assert units.sources is None


def test_a_point_inside_one_region_is_not_of_another_that_it_touches(grid: Grid, read: Read) -> None:
    regions = grid(SIDE, SIDE)
    wide = regions.geometry.to_numpy().copy()
    wide[1] = shapely.box(X + 50, Y, X + 200, Y + 100)  # reaches into r0
    inside = np.stack([regions.centroid.x - X, regions.centroid.y - Y], axis=1)
    units = read(regions.set_geometry(wide), np.vstack([inside + 10, [[100.0, 50.0]]]), ["a", "b"] * 72 + ["c"])
    holders = [name for name, row in zip(units.ids, units.target, strict=True) if row[units.classes.index("c")]]
    assert holders == ["r1"]


def test_a_report_counts_points_and_claims_no_area(grid: Grid, read: Read) -> None:
    regions = grid(4, 4)
    centres = np.stack([regions.centroid.x - X, regions.centroid.y - Y], axis=1)
    times = np.arange(16) % 4 + 1
    units = read(regions, np.repeat(centres, times, axis=0), np.repeat(["a", "b"] * 8, times))
    facts = units.facts()
    assert facts["points"] == {"lowest": 1, "median": 2.5, "highest": 4}
    assert "coverage" not in facts
    assert labelled_sentence(facts) == "16 of 16 regions have a label, from 1 to 4 points each (2.5 in the median)"


def test_points_in_overlapping_regions_are_never_on_both_sides(grid: Grid, read: Read) -> None:
    regions = grid(SIDE, SIDE)
    footprints = regions.set_geometry(regions.buffer(30, join_style="mitre"))
    at = corners()
    units = read(footprints, at, np.arange(len(at)) % 3)
    assert units.sources is not None
    assert units.sources.shape == (SIDE * SIDE, len(at))
    assert crossing(units) == [0, 0, 0]
    finding = one_source(units, label_sources(units.task, units, footprints), [], scope="")
    assert "at most 4 units share one" in finding.text


def test_the_audit_names_points_on_both_sides(grid: Grid, read: Read) -> None:
    regions = grid(SIDE, SIDE)
    footprints = regions.set_geometry(regions.buffer(30, join_style="mitre"))
    at = corners()
    units = read(footprints, at, np.arange(len(at)) % 3)
    half = (np.arange(SIDE * SIDE) < 72, np.arange(SIDE * SIDE) >= 72)
    folds = [(np.flatnonzero(half[0]), np.flatnonzero(half[1]))]
    finding = one_source(units, label_sources(units.task, units, footprints), folds, scope="")
    assert finding.status == "named"
    assert finding.numbers["shared"] == SIDE
    assert "of test units take their label from a point that gives one to a training unit too" in finding.text
    alone = read(regions, at, np.arange(len(at)) % 3)
    finding = one_source(alone, label_sources(alone.task, alone, regions), folds, scope="")
    assert (finding.status, finding.text) == ("pass", "Each labelled point counts in one region only.")


def test_a_column_of_the_points_names_folds_and_regions_of_several_are_left_out(
    grid: Grid, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    regions = grid(6, 4)
    centres = np.repeat(np.stack([regions.centroid.x, regions.centroid.y], axis=1), 2, axis=0)
    fold = np.repeat(["north", "south", "", "west"], 12).astype(object)
    fold[5] = "south"  # the second point of r2
    fold[13] = None  # of r6, whose other point is of the south
    frame = pd.DataFrame({"x": centres[:, 0], "y": centres[:, 1], "label": ["a", "b", "b"] * 16, "fold": fold})
    frame.to_csv(tmp_path / "points.csv", index=False)
    task = {
        "name": "use", "kind": "point_shares", "path": tmp_path / "points.csv", "column": "label", "x": "x", "y": "y",
        "crs": CRS,
    }  # fmt: skip

    def config(column: str, **changes: Any) -> Config:
        return Config.model_validate(
            {
                "regions": {"size": 100},
                "pois": {"sources": [{"path": tmp_path / "p.csv", "first_level": "a"}]},
                "tasks": [task | changes],
                "evaluate": {"splits": ["column"], "column": column, "buffer": 0},
            }
        )

    with caplog.at_level("INFO", "mmgr"):
        units = task_units(config("fold"), config("fold").tasks[0], regions)
    assert list(units.ids) == [f"r{number}" for number in range(24) if number != 2]
    assert list(units.own_folds) == [*["north"] * 5, *["south"] * 6, *[""] * 6, *["west"] * 6]
    assert units.points.tolist() == [2.0] * 23
    assert units.features(np.arange(24.0)[:, None])[2, 0] == 3
    assert "1 of 24 regions hold points of several folds of `fold`, such as r2, and are left out" in caplog.text
    assert "6 units have no fold in `fold`" in caplog.text
    with pytest.raises(SplitError, match=r"`evaluate.column: part` is not in .*points.csv"):
        task_units(config("part"), config("part").tasks[0], regions)


def test_groups_of_a_task_do_not_move_the_folds_of_its_points(grid: Grid, tmp_path: Path) -> None:
    regions = grid(6, 4)
    at = np.stack([regions.centroid.x, regions.centroid.y], axis=1)
    frame = pd.DataFrame({"x": at[:, 0], "y": at[:, 1], "label": ["a", "b"] * 12, "fold": regions.index})
    frame.to_csv(tmp_path / "points.csv", index=False)
    config = Config.model_validate(
        {
            "regions": {"size": 100},
            "pois": {"sources": [{"path": tmp_path / "p.csv", "first_level": "a"}]},
            "tasks": [
                {
                    "name": "use", "kind": "point_class", "path": tmp_path / "points.csv", "column": "label", "x": "x",
                    "y": "y", "crs": CRS, "groups": ["east"],
                }
            ],
            "evaluate": {"splits": ["column"], "column": "fold"},
        }
    )  # fmt: skip
    units = task_units(config, config.tasks[0], regions)
    assert len(units) == 12
    assert list(units.own_folds) == list(units.ids)
