from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import TAXONOMY, Vectors, make_bags, make_store, small_recipe

from mmgr.errors import ArtefactError, ConfigError, MmgrError
from mmgr.learn import model as module
from mmgr.learn.model import MultiModalModel
from mmgr.learn.pretrain import pretrain
from mmgr.store import PoiBags, RegionStore
from mmgr.taxonomy import Taxonomy

EPOCHS = 6


def same_bits(one: MultiModalModel, two: MultiModalModel) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "monitor.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if k not in {"seconds", "regions_per_second"}} for row in rows]


def test_training_learns_and_leaves_what_it_should(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    recipe = small_recipe(epochs=40, batch_size=20, learning_rate=1e-2)
    model = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    rows = rows_of(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == list(range(1, 41))
    assert float(rows[-1]["intra"]) < 0.9 * float(rows[-1]["intra_chance"])
    assert float(rows[-1]["inter"]) < 0.8 * float(rows[-1]["inter_chance"])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[0]["learning_rate"]) < float(rows[4]["learning_rate"]) > float(rows[-1]["learning_rate"])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoints", "monitor.csv", "run.json"]
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").iterdir())
    assert names == ["epoch-0039.ckpt", "epoch-0040.ckpt"]
    assert not model.training


@pytest.mark.parametrize("name", ["mmgr", "mmgr-2023", "simclr"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    tmp_path: Path, store: RegionStore, vectors: Vectors, name: str
) -> None:
    recipe = small_recipe(name, epochs=1)
    first, again, other = (
        pretrain(store, vectors, recipe, folder=tmp_path / folder, seed=seed, device="cpu")
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same_bits(first, again)
    assert not same_bits(first, other)


SCRIPT = """
import sys, time
from pathlib import Path
import numpy as np
import torch
torch.set_num_threads(1)
from learn_samples import TAXONOMY, Vectors, small_recipe
from mmgr.learn.pretrain import Training, pretrain
from mmgr.store import RegionStore

step = Training.training_step
def slow(self, batch, index):
    if batch.epoch >= 3:
        time.sleep(0.5)  # the test kills here, in the middle of an epoch
    return step(self, batch, index)
Training.training_step = slow
vectors = Vectors(TAXONOMY, np.load(sys.argv[3]))
pretrain(RegionStore(sys.argv[1]), vectors, small_recipe(epochs=6), folder=Path(sys.argv[2]), seed=3, device="cpu")
"""


def test_a_run_killed_in_an_epoch_ends_with_the_bits_of_one_never_killed(
    tmp_path: Path, store: RegionStore, vectors: Vectors
) -> None:
    recipe, killed = small_recipe(epochs=EPOCHS), tmp_path / "killed"
    np.save(tmp_path / "vectors.npy", vectors.vectors)
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store.path), str(killed), str(tmp_path / "vectors.npy")],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    straight = pretrain(store, vectors, recipe, folder=tmp_path / "straight", seed=3, device="cpu")
    deadline = time.monotonic() + 120
    while not (killed / "checkpoints" / "epoch-0003.ckpt").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.7)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "checkpoints" / "epoch-0004.ckpt").exists()
    resumed = pretrain(store, vectors, recipe, folder=killed, seed=3, device="cpu")
    assert same_bits(straight, resumed)
    assert rows_of(killed) == rows_of(tmp_path / "straight")


def test_dropout_is_resumed_too_and_a_torn_checkpoint_is_passed_over(
    tmp_path: Path, store: RegionStore, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    class Dropping(MultiModalModel):
        def encode_images(self, views: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().encode_images(views), 0.5, self.training)

    recipe = small_recipe(epochs=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MultiModalModel", Dropping)
        straight = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
        newest = tmp_path / "run" / "checkpoints" / "epoch-0003.ckpt"
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        aside = newest.parent / ".epoch-0004.ckpt.abc"
        aside.mkdir()
        torch.rand(7)
        resumed = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    assert "epoch-0003.ckpt is torn" in caplog.text
    assert not aside.exists()
    assert same_bits(straight, resumed)


def test_a_finished_training_is_not_done_again(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    recipe = small_recipe(epochs=2)
    first = pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu")
    rows = (tmp_path / "monitor.csv").read_text()
    assert same_bits(first, pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu"))
    assert (tmp_path / "monitor.csv").read_text() == rows


def test_another_training_in_the_folder_is_refused_with_the_difference(
    tmp_path: Path, store: RegionStore, vectors: Vectors
) -> None:
    folder = tmp_path / "run"
    pretrain(store, vectors, small_recipe(epochs=1), folder=folder, seed=0, device="cpu")
    with pytest.raises(ArtefactError) as error:
        pretrain(store, vectors, small_recipe(epochs=1, learning_rate=0.5), folder=folder, seed=7, device="cpu")
    assert str(error.value).splitlines() == [
        f"{folder} holds another training; remove it, or set another `output`:",
        "  recipe.learning_rate: 0.001 there, 0.5 now",
        "  seed: 0 there, 7 now",
    ]
    other = make_store(tmp_path / "other.lance", 9)
    with pytest.raises(ArtefactError, match=r"\n  store: \w+ there, \w+ now$"):
        pretrain(other, vectors, small_recipe(epochs=1), folder=folder, seed=0, device="cpu")


def test_a_loss_that_is_not_finite_stops_with_the_regions(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    bad = replace(vectors, vectors=np.full_like(vectors.vectors, np.inf))
    with pytest.raises(MmgrError, match=r"loss is nan in epoch 1, step 1.*regions are r\d+, ") as error:
        pretrain(store, bad, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    assert len(re.findall(r"\br\d+\b", str(error.value))) == 8


def test_a_recipe_with_pois_on_a_store_without_any_is_refused(
    tmp_path: Path, store: RegionStore, vectors: Vectors
) -> None:
    with pytest.raises(ConfigError, match=r"recipe mmgr contrasts.*set `pretrain\.recipe: simclr`"):
        pretrain(store, None, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    other = replace(vectors, taxonomy=Taxonomy(("a",), ("b",)))
    with pytest.raises(ArtefactError, match="other categories"):
        pretrain(store, other, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    assert not (tmp_path / "run.json").exists()


def test_no_epochs_give_the_untrained_model(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    model = pretrain(store, vectors, small_recipe(epochs=0), folder=tmp_path, seed=0, device="cpu")
    assert same_bits(model, pretrain(store, vectors, small_recipe(epochs=0), folder=tmp_path, seed=0, device="cpu"))


def test_two_regions_are_enough(tmp_path: Path, vectors: Vectors) -> None:
    tiny = make_store(tmp_path / "regions.lance", 2)
    assert len(TAXONOMY) == len(vectors.vectors)
    assert isinstance(make_bags(2), PoiBags)
    model = pretrain(tiny, vectors, small_recipe(), folder=tmp_path / "run", seed=0, device="cpu")
    assert all(value.isfinite().all() for value in model.state_dict().values())
