from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from scipy import sparse

from mmgr.benchmark.concatenation import NAME
from mmgr.benchmark.scoring import Scored, Scorer, read_from_files
from mmgr.config import Evaluate, Task
from mmgr.evaluate import Units, read_units, score_features


def shares(folder: Path) -> Units:
    """144 regions with shares of three classes."""
    labels = folder / "labels.gpkg"
    labels.write_bytes(b"labels")
    x, y = np.meshgrid(np.arange(12) * 100.0, np.arange(12) * 100.0)
    cells = gpd.GeoSeries(shapely.box(x.ravel(), y.ravel(), x.ravel() + 100, y.ravel() + 100), crs="EPSG:32611")
    given = {"name": "use", "path": labels, "kind": "polygon_shares", "column": "use"}
    return Units(
        task=Task.model_validate(given),
        ids=np.arange(144).astype(object),
        geometry=cells,
        centres=shapely.get_coordinates(cells.centroid.to_numpy()),
        group=np.full(144, "", object),
        values=np.random.default_rng(0).dirichlet(np.ones(3), 144),
        weights=sparse.csr_array(sparse.eye_array(144)),
        coverage=np.ones(144),
        classes=("a", "b", "c"),
    )


def test_scores_and_differences_are_those_of_the_evaluation(tmp_path: Path) -> None:
    units = shares(tmp_path)
    settings = Evaluate(folds=3, seeds=2, block=300.0, buffer=0.0, probes=("ridge",), splits=("blocks",))
    rng = np.random.default_rng(1)
    features = {name: rng.normal(size=(144, 4)).astype(np.float32) for name in ("image", "poi", "mmgr")}
    rows = [Scored(name, vectors) for name, vectors in features.items()]
    scorer = Scorer(tmp_path / "predictions", settings, "ridge", 100.0, 0)
    found, chosen = scorer.score(units.task, units, rows, [["image"], ["poi"]], "mmgr")
    expected = score_features(units, features, settings, edge=100.0, seed=0, main="mmgr")
    own = {score.features: score for score in found.records}
    for score in expected.records:
        assert own[score.features].metrics == score.metrics
        assert own[score.features].probe == score.probe == "softmax"
    known = {(d.other, d.metric): d for d in found.differences}
    assert all(known[d.other, d.metric] == d for d in expected.differences)
    assert chosen == {"blocks": [{"image": 6}, {"poi": 6}]}
    # what is read again is what was made
    again, chosen_again = scorer.score(units.task, units, rows, [["image"], ["poi"]], "mmgr")
    assert again.records == found.records
    assert chosen_again == chosen
    assert NAME in own
    # and other vectors of a row of the same name are scored anew
    features |= {"poi": rng.normal(size=(144, 4)).astype(np.float32)}
    rows = [Scored(name, vectors) for name, vectors in features.items()]
    changed, _ = scorer.score(units.task, units, rows, [], "mmgr")
    expected = score_features(units, features, settings, edge=100.0, seed=0, main="mmgr")
    assert [score.metrics for score in changed.records] == [score.metrics for score in expected.records]


def census(folder: Path, people: np.ndarray) -> Units:
    """Read 100 regions' labels from a shapefile, whose values lie in a file beside it."""
    x, y = np.meshgrid(np.arange(10) * 100.0, np.arange(10) * 100.0)
    cells = shapely.box(x.ravel(), y.ravel(), x.ravel() + 100, y.ravel() + 100)
    gpd.GeoDataFrame({"people": people}, geometry=cells, crs="EPSG:32611").to_file(folder / "census.shp")
    regions = gpd.GeoDataFrame({"group": ""}, index=[f"r{n}" for n in range(100)], geometry=cells, crs="EPSG:32611")
    given = {"name": "rate", "path": folder / "census.shp", "kind": "polygon_rate", "column": "people"}
    return read_units(Task.model_validate(given), regions.rename_axis("region_id"))


def test_new_values_of_a_shapefile_are_scored_anew(tmp_path: Path) -> None:
    settings = Evaluate(folds=3, seeds=1, block=200.0, buffer=0.0, probes=("ridge",), splits=("blocks",))
    scorer = Scorer(tmp_path / "predictions", settings, "ridge", 100.0, 0)
    rng = np.random.default_rng(0)
    vectors, old, new = rng.normal(size=(100, 4)).astype(np.float32), *rng.normal(size=(2, 100))
    rows = [Scored("mmgr", vectors)]
    for people in (old, new):
        units = census(tmp_path, people)
        scores, _ = scorer.score(units.task, units, rows, [], "mmgr")
        expected = score_features(units, {"mmgr": vectors}, settings, edge=100.0, seed=0)
        assert scores.records[0].r2 == expected.records[0].r2


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.full((144, 3), 1 / 3)},
        {"own_folds": np.full(144, "a", object)},
        {"group": np.full(144, "city", object)},
        {"sources": sparse.csr_array(sparse.eye_array(144))},
        {"weights": sparse.csr_array(sparse.eye_array(144))[::-1]},
        {"classes": ("a", "b", "d")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_predictions_are_known_by_all_that_was_read_of_units(tmp_path: Path, change: dict[str, Any]) -> None:
    units = shares(tmp_path)
    assert read_from_files(units) == read_from_files(shares(tmp_path))
    assert read_from_files(replace(units, **change)) != read_from_files(units)
