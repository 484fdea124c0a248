from __future__ import annotations

import csv
import logging
import math
from dataclasses import asdict, fields
from pathlib import Path

import pytest
import torch
from learn_samples import Vectors, small_recipe

from mmgr.learn import pretrain as pretraining
from mmgr.learn.held_out import HeldOutMeasures
from mmgr.learn.model import LossParts, MultiModalModel, seeded_model
from mmgr.learn.monitor import EpochRow, Monitor, effective_rank
from mmgr.store import RegionStore


def parts(
    *,
    intra: float = 2.0,
    inter: float = math.nan,
    features: torch.Tensor | None = None,
    projections: torch.Tensor | None = None,
) -> LossParts:
    values = {field.name: torch.tensor(math.nan) for field in fields(LossParts)}
    values |= {"total": torch.tensor(intra), "intra": torch.tensor(intra), "intra_chance": torch.tensor(4.0)}
    values |= {"inter": torch.tensor(inter), "inter_chance": torch.tensor(3.0), "temperature": torch.tensor(0.2)}
    values["features"] = torch.eye(8) if features is None else features
    values["projections"] = torch.eye(8) if projections is None else projections
    return LossParts(**values)


def test_effective_rank_counts_directions() -> None:
    torch.manual_seed(0)
    assert effective_rank(torch.randn(500, 2) @ torch.randn(2, 30)) <= 2
    assert effective_rank(torch.randn(500, 2) @ torch.linalg.qr(torch.randn(30, 2))[0].T) > 1.5
    assert effective_rank(torch.randn(2000, 10)) > 9.9
    assert effective_rank(torch.ones(50, 10)) == 0
    assert effective_rank(torch.outer(torch.arange(9.0), torch.ones(4))) == pytest.approx(1, abs=1e-3)


def test_an_epoch_is_the_mean_over_regions_not_over_batches(tmp_path: Path) -> None:
    monitor = Monitor()
    monitor.add(parts(intra=1.0), 30)
    monitor.add(parts(intra=4.0), 10)
    row = monitor.end_epoch(learning_rate=0.1, seconds=2.0)
    assert (row.epoch, row.loss, row.intra, row.regions_per_second) == (1, 1.75, 1.75, 20)
    assert row.temperature == pytest.approx(0.2)
    monitor.add(parts(), 8)
    held_out = HeldOutMeasures(held_out_view_retrieval=0.5, held_out_view_retrieval_chance=0.02)
    monitor.end_epoch(learning_rate=0.1, seconds=2.0, held_out=held_out, probes={"r2_population": 0.25})
    monitor.write(tmp_path / "monitor.csv")
    with (tmp_path / "monitor.csv").open(encoding="utf-8") as stream:
        written, last = csv.DictReader(stream)
    plain = [field.name for field in fields(EpochRow)][:-2]
    assert list(written) == [*plain, *(field.name for field in fields(HeldOutMeasures)), "r2_population"]
    assert (written["epoch"], written["loss"], written["inter"], written["r2_population"]) == ("1", "1.75", "", "")
    assert (last["held_out_view_retrieval"], last["alignment"], last["r2_population"]) == ("0.5", "", "0.25")


def test_a_row_comes_back_from_a_checkpoint() -> None:
    monitor = Monitor()
    monitor.add(parts(), 8)
    row = monitor.end_epoch(learning_rate=0.1, seconds=1, held_out=HeldOutMeasures(uniformity=-1.5), probes={"r2": 0.5})
    again = EpochRow.from_plain(asdict(row))
    assert again.quantities() == row.quantities()
    assert again.held_out.uniformity == -1.5


def test_the_sentence_says_what_beats_chance_and_by_how_much() -> None:
    monitor = Monitor()
    monitor.add(parts(intra=1.92, inter=2.95), 8)
    monitor.end_epoch(learning_rate=0.1, seconds=1)
    assert monitor.sentence() == (
        "intra-modal 1.92 against 4.00 by chance; inter-modal 2.95 against 3.00 by chance (learned nothing)"
    )


def test_a_collapse_is_named() -> None:
    monitor = Monitor()
    monitor.add(parts(features=torch.ones(8, 5)), 8)
    monitor.end_epoch(learning_rate=0.1, seconds=1)
    assert "COLLAPSED (effective rank 0.0)" in monitor.sentence()


def test_what_the_losses_see_is_measured_batch_by_batch() -> None:
    monitor = Monitor()
    for number in range(2):
        # each batch lies on one point, of its own; lengths do not matter
        monitor.add(parts(projections=torch.eye(8)[number] * torch.arange(1.0, 9)[:, None]), 8)
    row = monitor.end_epoch(learning_rate=0.1, seconds=1)
    assert (row.projection_rank, row.projection_uniformity) == (0, pytest.approx(0, abs=1e-9))
    assert "COLLAPSED (effective rank of projections 0.0, uniformity of projections " in monitor.sentence()
    monitor.add(parts(), 8)
    monitor.add(parts(projections=torch.ones(1, 8)), 1)  # of one vector nothing is known
    row = monitor.end_epoch(learning_rate=0.1, seconds=1)
    # eight axes: all pairs at a squared distance of 2, in the seven directions of a simplex
    assert row.projection_uniformity == pytest.approx(-4)
    assert row.projection_rank == pytest.approx(7, rel=1e-3)
    assert not monitor.collapse()


@pytest.mark.parametrize("collapsed", [True, False])
def test_a_training_whose_projections_lie_on_one_point_is_named_though_no_region_is_held_out(
    store: RegionStore,
    vectors: Vectors,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    collapsed: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    def dead_head(*arguments: object) -> MultiModalModel:
        model = seeded_model(*arguments)  # type: ignore[arg-type]
        if collapsed:
            torch.nn.init.normal_(model.image_head[2].weight, std=1e-6)
            torch.nn.init.ones_(model.image_head[2].bias)
        return model

    monkeypatch.setattr(pretraining, "seeded_model", dead_head)
    caplog.set_level(logging.INFO, "mmgr")
    recipe = small_recipe("mmgr-2023", epochs=2, learning_rate=1e-7)
    assert not recipe.held_out
    pretraining.pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu")  # type: ignore[arg-type]
    with (tmp_path / "monitor.csv").open(encoding="utf-8") as stream:
        last = list(csv.DictReader(stream))[-1]
    assert float(last["effective_rank"]) > 5, "the features tell nothing of it"
    assert (float(last["projection_uniformity"]) > -1e-3) == collapsed
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert ["epoch 1: the image features have COLLAPSED (" in warning for warning in warnings] == [True] * collapsed
    assert ("COLLAPSED" in caplog.records[-1].getMessage()) == collapsed


def test_a_collapse_of_what_was_not_trained_on_is_named_too() -> None:
    monitor = Monitor()
    monitor.add(parts(), 8)
    held_out = HeldOutMeasures(0.1, 0.02, 0.03, 0.025, alignment=0.0, uniformity=-0.001)
    monitor.end_epoch(learning_rate=0.1, seconds=1, held_out=held_out)
    assert "a held-out region finds its other view in 10.0% against 2.0% by chance" in monitor.sentence()
    assert "a held-out region finds its POIs in 3.0% against 2.5% by chance" in monitor.sentence()
    assert monitor.sentence().count("COLLAPSED (uniformity of held-out vectors -0.00)") == 1
