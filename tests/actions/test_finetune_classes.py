"""Fine-tuning on classes and shares beside a number, from a configuration to the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import CITY_YAML, make_city

import mmgr
from mmgr.evaluate import check_splits, task_units
from mmgr.evaluate.linear import BlockRidge
from mmgr.evaluate.parts import PartWeights
from mmgr.evaluate.probes import Probe
from mmgr.evaluate.trials import predict_held_out
from mmgr.learn.finetune import FineTuner, FoldResult
from mmgr.learn.learner import Learner

TASKS = """\
tasks:
  - {name: zone, kind: polygon_class, path: zones.gpkg, column: zone, units: regions}
  - {name: function, kind: polygon_shares, path: zones.gpkg, columns: u_*, units: regions}
  - {name: population, kind: polygon_total, path: census.geojson, column: population, units: regions}
evaluate: {folds: 3, seeds: 1, probes: [ridge]}
finetune: {epochs: 1}
"""
METRICS = {
    "zone": {"macro_f1", "accuracy"},
    "function": {"l1", "kl", "cosine", "chebyshev", "canberra"},
    "population": {"r2", "rmse", "mae"},
}


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made city with a class and a distribution, fine-tuned in the course of its run."""
    folder = tmp_path_factory.mktemp("city")
    city = make_city(folder)
    zones = gpd.read_file(city.labels).to_crs(32632)
    centres = zones.geometry.centroid
    away = np.hypot(centres.x - 500_360, centres.y - 3_999_640) / 360
    zones["zone"] = np.select([away < 0.6, centres.x < 500_360], ["centre", "west"], "east")
    zones["u_living"], zones["u_work"] = np.clip(1.2 - away, 0, 1), np.clip(away, 0.1, 1)
    zones.to_file(folder / "zones.gpkg")
    path = folder / "city.yaml"
    path.write_text(CITY_YAML[: CITY_YAML.index("tasks:")] + TASKS, encoding="utf-8")
    mmgr.Run(path).all()
    return path


@pytest.fixture
def tuners(monkeypatch: pytest.MonkeyPatch) -> list[FineTuner]:
    """Who fine-tunes."""
    met: list[FineTuner] = []
    fold = FineTuner.fold

    def noted(self: FineTuner, *rows: Any, **given: Any) -> FoldResult:
        met.append(self)
        return fold(self, *rows, **given)

    monkeypatch.setattr(FineTuner, "fold", noted)
    return met


def test_a_run_scores_fine_tuned_classes_and_shares_beside_their_probes(ready: Path) -> None:
    run = mmgr.Run(ready)
    run.all()
    tuned = run.finetune().to_frame().set_index("task")
    probes = run.evaluate().to_frame().drop_duplicates("task").set_index("task")
    assert list(tuned.index) == ["zone", "function", "population"]
    for task, metrics in METRICS.items():
        row = tuned.loc[task]
        assert (row["features"], row["probe"]) == ("[image, POI], fine-tuned", "linear")
        assert np.isfinite(row[sorted(metrics)].astype(float)).all()
        for name in ("metric", "split", "n_units", "block", "buffer", "scale", "optimistic"):
            assert row[name] == probes.loc[task, name], (task, name)
        held = pd.read_parquet(run.layout.finetune / task / "held_out.parquet")
        if task != "population":
            np.testing.assert_allclose(held.groupby("id")["predicted"].sum(), 1.0)
        others = pd.read_parquet(run.layout.evaluation / "held_out.parquet").query("task == @task")
        keys = ["id", "class", "observed"]
        pd.testing.assert_frame_equal(
            held[keys].sort_values(keys, ignore_index=True), others[keys].sort_values(keys, ignore_index=True)
        )
    page = run.layout.report.read_text(encoding="utf-8")
    assert page.count('<th scope="row">[image, POI], fine-tuned') == 3
    assert page.count('<th scope="row">fine-tuning') == 3


def test_the_audit_says_which_labels_had_a_part(ready: Path) -> None:
    run = mmgr.Run(ready)
    run.all()
    found = [finding for finding in run.audit().findings if finding.path == "fine-tuning"]
    assert [finding.scope for finding in found] == ["zone, blocks", "function, blocks", "population, blocks"]
    assert {finding.status for finding in found} == {"pass"}
    assert all(finding.numbers["tested"] == 36 for finding in found)
    other = run.config.model_copy(update={"seed": 1})
    from mmgr.actions.finetune import fine_tuning_findings

    assert not fine_tuning_findings(other, run.layout), "of scores under other folds nothing is said"


def test_where_no_epoch_helps_the_scores_are_those_of_the_probe(
    ready: Path, tuners: list[FineTuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(_: FineTuner, learner: Learner, *__: object) -> None:
        torch.nn.init.normal_(learner.head.weight, std=1e3)

    monkeypatch.setattr(FineTuner, "_learn", spoil)
    section = "finetune: {epochs: 2, patience: 1, tasks: [zone, function, population], pois: false}"
    path = ready.with_name("wide.yaml")
    path.write_text(ready.read_text(encoding="utf-8").replace("finetune: {epochs: 1}", section), encoding="utf-8")
    run = mmgr.Run(path)
    assert set(run.finetune().to_frame()["features"]) == {"image, fine-tuned"}
    epochs = [finding.numbers["epochs"] for finding in run.audit().findings if finding.path == "fine-tuning"]
    assert epochs == [[0, 0, 0]] * 3
    regions = mmgr.RegionStore(run.layout.regions).regions
    for task, tuner in zip(run.config.tasks, tuners[::3], strict=True):
        units = task_units(run.config, task, regions)
        probe = "softmax" if units.classes else "ridge"
        (plan,) = check_splits(units, run.config.evaluate, edge=120, seed=0)
        (expected,) = predict_held_out(units, tuner.frozen, plan, probe, 0)
        held = pd.read_parquet(run.layout.finetune / task.name / "held_out.parquet")
        found = held.pivot_table(index="id", columns="class", values="predicted").loc[units.ids]
        expected = units.untransform(expected).reshape(len(units), -1)
        np.testing.assert_allclose(found[list(units.classes or [""])], expected, rtol=1e-3, atol=1e-4)


def test_fine_tuning_sees_which_city_a_unit_is_of_as_its_probes_do(
    tmp_path: Path, tuners: list[FineTuner], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two cities of one picture whose people differ tenfold: where no epoch helps, scores are those of the probe."""
    city = make_city(tmp_path)
    census = gpd.read_file(city.labels)
    west = census.to_crs(32632).centroid.x < 500_360
    census["population"] = np.where(west, 10, 1) * (100 + census["population"])
    census.to_file(city.labels)
    cells = census.to_crs(32632)[["block", "geometry"]].assign(town=np.where(west, "west", "east"))
    cells.to_file(tmp_path / "cells.gpkg")
    text = CITY_YAML.replace(
        "{kind: grid, size: 120, pixels: 32}", "{kind: polygons, path: cells.gpkg, id: block, group: town, pixels: 32}"
    )
    text = text.replace("{folds: 3, seeds: 1}", "{folds: 3, seeds: 1, probes: [ridge], splits: [blocks, groups]}")
    path = tmp_path / "city.yaml"
    path.write_text(text + "finetune: {epochs: 1}\n", encoding="utf-8")
    monkeypatch.setattr(
        FineTuner, "_learn", lambda _, learner, *__: torch.nn.init.normal_(learner.head.weight, std=1e3)
    )
    # a fold's best weight of POIs, or penalty, may be a step apart, since fine-tuning rounds labels to float32
    monkeypatch.setattr(PartWeights, "fit", _all_alike)
    monkeypatch.setattr("mmgr.evaluate.probes.ridge_probe", lambda: Probe(BlockRidge(alphas=(10.0,))))
    run = mmgr.Run(path)
    run.all()
    store = mmgr.RegionStore(run.layout.regions)
    units = task_units(run.config, run.config.tasks[0], store.regions)
    assert units.offsets == ("east", "west")
    held = pd.read_parquet(run.layout.finetune / "population" / "held_out.parquet").set_index("id")
    beside, frozen = tuners[0].samples.beside, tuners[0].frozen
    assert np.array_equal(beside[:, -2:], units.inputs(np.zeros((len(store), 0), np.float32)))
    columns = np.hstack([frozen, beside])
    parts = (frozen.shape[1], beside.shape[1] - 2)
    for plan in check_splits(units, run.config.evaluate, edge=store.info.edge, seed=0):
        (expected,) = units.untransform(predict_held_out(units, columns, plan, "ridge", 0, parts=parts))
        tuned = held[held["split"] == plan.kind].loc[units.ids, "predicted"]
        np.testing.assert_allclose(tuned, expected, rtol=1e-3)
    page = run.layout.report.read_text(encoding="utf-8")
    assert "regression on the vectors, with an offset for each of 2 groups" in page
    assert page.count("probes have an offset for each of 2 groups") == 2


def _all_alike(weights: PartWeights, *_: object, **__: object) -> PartWeights:
    weights.weights_ = (1.0,) * len(weights.widths)
    return weights
