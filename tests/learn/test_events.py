from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from learn_samples import Vectors, scalars, small_recipe

from mmgr.errors import ConfigError
from mmgr.learn.pretrain import pretrain
from mmgr.store import RegionStore


def test_events_hold_what_the_table_holds(tmp_path: Path, wide_store: RegionStore, vectors: Vectors) -> None:
    recipe = small_recipe(held_out=0.5)
    pretrain(wide_store, vectors, recipe, folder=tmp_path, seed=0, device="cpu", tensorboard=True)
    found = scalars(tmp_path / "tensorboard")
    with (tmp_path / "monitor.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert set(found) == {name for name, value in rows[0].items() if value and name != "epoch"}
    assert {"held_out_poi_retrieval", "uniformity", "learning_rate", "regions_per_second"} <= set(found)
    for name, events in found.items():
        assert [step for step, _, _ in events] == [1, 2]
        assert [value for _, value, _ in events] == pytest.approx([float(row[name]) for row in rows], rel=1e-5)


def test_a_training_that_goes_on_shows_no_epoch_twice(
    tmp_path: Path, wide_store: RegionStore, vectors: Vectors
) -> None:
    recipe = small_recipe(epochs=3)
    pretrain(wide_store, vectors, recipe, folder=tmp_path, seed=0, device="cpu", tensorboard=True)
    whole = scalars(tmp_path / "tensorboard")
    (tmp_path / "checkpoints" / "epoch-0003.ckpt").unlink()  # as if killed in the last epoch, after its events
    pretrain(wide_store, vectors, recipe, folder=tmp_path, seed=0, device="cpu", tensorboard=True)
    again = scalars(tmp_path / "tensorboard")
    assert set(again) == set(whole)
    assert [(step, value) for step, value, _ in again["loss"]] == [(step, value) for step, value, _ in whole["loss"]]
    times = [time for _, _, time in again["loss"]]
    assert times == sorted(times)
    assert times[1] - times[0] == pytest.approx(again["seconds"][1][1], rel=1e-3), (
        "epochs lie as far apart as they took"
    )


def test_without_tensorboard_it_says_what_to_do_before_anything_is_written(
    tmp_path: Path, wide_store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"pip install 'mmgr\[tensorboard\]'"):
        pretrain(wide_store, vectors, small_recipe(), folder=tmp_path / "run", seed=0, device="cpu", tensorboard=True)
    assert not (tmp_path / "run").exists()
    pretrain(wide_store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
    assert not (tmp_path / "run" / "tensorboard").exists()
