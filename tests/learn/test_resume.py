"""A training that is killed at any point ends with the bits of one that never was."""

from __future__ import annotations

import csv
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import kills
import lance
import numpy as np
import pyarrow as pa
import pytest
import torch
from kills import EPOCHS, STEPS
from learn_samples import Vectors, make_store, scalars, small_recipe
from shapely.affinity import translate

from mmgr.errors import ArtefactError, ConfigError, OtherTrainingError
from mmgr.files import sha256
from mmgr.learn import resume
from mmgr.learn.checkpoints import Cadence, Progress, checkpoints, newest_intact, save_checkpoint
from mmgr.learn.model import MultiModalModel
from mmgr.learn.pretrain import pretrain
from mmgr.learn.training import Training
from mmgr.store import Patches, RegionStore, write_store

Trained = tuple[MultiModalModel, list[dict[str, str]]]


def same_bits(one: MultiModalModel, two: MultiModalModel) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def rows_of(folder: Path) -> list[dict[str, str]]:
    """The monitor's rows, less what depends on the clock."""
    with (folder / "monitor.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if k not in {"seconds", "regions_per_second"}} for row in rows]


@pytest.fixture(scope="module", autouse=True)
def _importable_in_a_new_process() -> None:
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, store: RegionStore, vectors: Vectors) -> Trained:
    """A training that was never killed, with no checkpoint inside an epoch."""
    folder = tmp_path_factory.mktemp("straight")
    torch.set_num_threads(1)
    return kills.train(store.path, folder, vectors.vectors, "15 min"), rows_of(folder)


@pytest.mark.parametrize("every", ["15 min", "1 steps"])
@pytest.mark.parametrize("point", kills.POINTS)
def test_killed_and_resumed_it_ends_with_the_same_bits(
    tmp_path: Path, store: RegionStore, vectors: Vectors, straight: Trained, point: Callable[[], None], every: str
) -> None:
    folder = tmp_path / "run"
    arguments = (store.path, folder, vectors.vectors, every)
    assert kills.killed(kills.train_and_die, point, *arguments), "the point was never reached"
    resumed = kills.train(*arguments)
    assert same_bits(straight[0], resumed)
    assert rows_of(folder) == straight[1]
    assert not list(folder.rglob(".*")), "what the kill left half-written is gone"
    left = {path.name for path in (folder / "checkpoints").iterdir()}
    names = {"15 min": ["epoch-0003.ckpt"], "1 steps": ["epoch-0003-step-000002.ckpt"]}[every] + ["epoch-0004.ckpt"]
    assert {name for name in left if name.endswith(".ckpt")} == set(names)


def test_a_watched_training_ends_with_the_same_bits_and_shows_no_epoch_twice(
    tmp_path: Path, wide_store: RegionStore, vectors: Vectors
) -> None:
    straight = kills.train(wide_store.path, tmp_path / "straight", vectors.vectors, "15 min", 0.5)
    arguments = (wide_store.path, tmp_path / "run", vectors.vectors, "3 steps", 0.5)
    for point in (kills.in_the_middle_of_an_epoch, kills.between_checkpoint_and_monitor):
        assert kills.killed(kills.train_and_die, point, *arguments)
    assert same_bits(straight, kills.train(*arguments))
    rows = rows_of(tmp_path / "run")
    assert rows == rows_of(tmp_path / "straight")
    assert all(float(row["uniformity"]) < 0 for row in rows)
    found, expected = (scalars(tmp_path / name / "tensorboard") for name in ("run", "straight"))
    for name in found.keys() - {"seconds", "regions_per_second"}:
        assert [event[:2] for event in found[name]] == [event[:2] for event in expected[name]]
    assert [step for step, *_ in found["loss"]] == list(range(1, EPOCHS + 1))


def test_killed_again_and_again_it_still_ends_with_the_same_bits(
    tmp_path: Path, store: RegionStore, vectors: Vectors, straight: Trained
) -> None:
    arguments = (store.path, tmp_path / "run", vectors.vectors, "2 steps")
    for point in (kills.after_the_gradient, kills.while_a_checkpoint_is_written, kills.between_checkpoint_and_monitor):
        assert kills.killed(kills.train_and_die, point, *arguments)
    resumed = kills.train(*arguments)
    assert same_bits(straight[0], resumed)
    assert rows_of(tmp_path / "run") == straight[1]


def test_what_is_done_inside_an_epoch_is_not_done_again(
    tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = (store.path, tmp_path / "run", vectors.vectors, "1 steps")
    assert kills.killed(kills.train_and_die, kills.in_the_middle_of_an_epoch, *arguments)
    assert checkpoints(tmp_path / "run" / "checkpoints")[0][0] == Progress(2, 1)
    done: list[tuple[int, int]] = []
    step = Training.training_step

    def noted(self: Training, batch: object, index: int) -> torch.Tensor:
        done.append((batch.epoch, batch.step))  # type: ignore[attr-defined]
        return step(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "training_step", noted)
    kills.train(*arguments)
    assert done == [(epoch, step) for epoch in range(EPOCHS) for step in range(STEPS)][2 * STEPS + 1 :]


@pytest.mark.parametrize("point", kills.BUNDLE_POINTS)
def test_killed_while_the_bundle_is_written_it_is_written_again(tmp_path: Path, point: Callable[[], None]) -> None:
    for name in ("straight", "killed"):
        make_store(tmp_path / name / "regions.lance", 9)
    killed, whole = tmp_path / "killed", tmp_path / "straight"
    if point is kills.while_the_old_bundle_is_aside:
        kills.act(killed, learning_rate=0.1)  # a finished training, of which the bundle is replaced
    assert kills.killed(kills.act_and_die, point, killed)
    kills.act(killed)
    kills.act(whole)
    assert sha256(killed / "bundle" / "model.safetensors") == sha256(whole / "bundle" / "model.safetensors")
    assert sorted(path.name for path in killed.iterdir()) == ["bundle", "pretrain", "regions.lance"]


class TestTorn:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for number in (1, 2):
            save_checkpoint(tmp_path, Progress(number), {"weights": torch.full((1000,), number)})
        return tmp_path

    def test_the_newest_is_used_if_it_is_intact(self, folder: Path) -> None:
        found = newest_intact(folder)
        assert found is not None
        assert (found[0], int(found[1]["weights"][0])) == (Progress(2), 2)

    def test_any_flipped_bit_and_any_cut_is_found(self, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
        newest = folder / "epoch-0002.ckpt"
        content = newest.read_bytes()
        draw = random.Random(0)
        spoiled = []
        for _ in range(100):
            bits = bytearray(content)
            bits[draw.randrange(len(bits))] ^= 1 << draw.randrange(8)
            spoiled += [bytes(bits), content[: draw.randrange(len(content))]]
        for bytes_ in [*spoiled, b"", content + b"\0"]:
            newest.write_bytes(bytes_)
            found = newest_intact(folder)
            assert found is not None
            assert (found[0], int(found[1]["weights"][0])) == (Progress(1), 1)
            newest.with_name("epoch-0002.ckpt.torn").rename(newest)
        assert "epoch-0002.ckpt is torn" in caplog.text

    def test_a_checkpoint_without_its_hash_does_not_count(self, folder: Path) -> None:
        (folder / "epoch-0002.ckpt.sha256").unlink()
        found = newest_intact(folder)
        assert found is not None
        assert found[0] == Progress(1)

    def test_where_all_are_torn_the_training_starts_afresh(self, folder: Path) -> None:
        for path in folder.glob("*.ckpt"):
            path.write_bytes(b"torn")
        assert newest_intact(folder) is None

    def test_a_resumed_training_passes_over_the_torn_one(
        self, tmp_path: Path, store: RegionStore, vectors: Vectors, straight: Trained, caplog: pytest.LogCaptureFixture
    ) -> None:
        arguments = (store.path, tmp_path / "run", vectors.vectors, "15 min")
        kills.train(*arguments)
        newest = tmp_path / "run" / "checkpoints" / "epoch-0004.ckpt"
        newest.write_bytes(newest.read_bytes()[:-100])
        assert same_bits(straight[0], kills.train(*arguments))
        assert "epoch-0004.ckpt is torn" in caplog.text

    def test_a_pickle_with_code_is_refused_and_does_not_run(self, tmp_path: Path, folder: Path) -> None:
        class Bad:
            def __reduce__(self) -> tuple[object, ...]:
                return (Path.touch, (tmp_path / "it-ran",))

        path = folder / "epoch-0003.ckpt"
        torch.save({"weights": Bad()}, path)
        for content in (path.read_bytes(), pickle.dumps(Bad(), protocol=2), pickle.dumps(Bad())):
            path.write_bytes(content)
            path.with_name("epoch-0003.ckpt.sha256").write_text(sha256(path))
            with pytest.raises(ArtefactError, match=r"epoch-0003\.ckpt is no file of tensors and plain values"):
                newest_intact(folder)
        assert not (tmp_path / "it-ran").exists()


class TestOtherTraining:
    """What an action does with a folder that holds another training."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        make_store(tmp_path / "output" / "regions.lance", 9)
        return tmp_path / "output"

    def test_an_unfinished_one_is_refused_with_the_difference_and_kept(self, folder: Path) -> None:
        assert kills.killed(kills.act_and_die, kills.while_the_bundle_is_written, folder)
        before = sorted((folder / "pretrain").rglob("*"))
        with pytest.raises(OtherTrainingError) as error:
            kills.act(folder, learning_rate=0.1, epochs=3)
        assert "2 epochs of 2 are done" in str(error.value)
        assert str(error.value).splitlines()[1:] == [
            "  recipe.epochs: 2 there, 3 now",
            "  recipe.learning_rate: 0.001 there, 0.1 now",
        ]
        assert sorted((folder / "pretrain").rglob("*")) == before
        kills.act(folder)

    def test_a_finished_one_is_replaced(self, folder: Path) -> None:
        kills.act(folder)
        kills.act(folder, epochs=1)
        assert [path.name for _, path in checkpoints(folder / "pretrain" / "checkpoints")] == ["epoch-0001.ckpt"]
        assert len(rows_of(folder / "pretrain")) == 1

    def test_one_without_a_checkpoint_is_replaced(self, tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
        pretrain(store, vectors, small_recipe(epochs=0), folder=tmp_path, seed=0, device="cpu")
        pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=1, device="cpu")
        assert json.loads((tmp_path / "run.json").read_text())["seed"] == 1

    def test_the_cadence_may_change(self, tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
        for every in ("15 min", "1 steps"):
            pretrain(
                store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, device="cpu", checkpoint_every=every
            )

    def test_other_pixels_are_another_data_set(self, tmp_path: Path, vectors: Vectors) -> None:
        stores = [make_store(tmp_path / str(seed), 9, seed=seed) for seed in (1, 2)]
        pretrain(stores[0], vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
        with pytest.raises(OtherTrainingError, match=r"\n  store: \w+ there, \w+ now$"):
            pretrain(stores[1], vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")

    @pytest.mark.parametrize("changed", ["pixels", "date", "geometry"])
    def test_one_region_that_is_not_looked_at_decides_which_data_set_it_is(
        self, tmp_path: Path, vectors: Vectors, changed: str
    ) -> None:
        count = 2 * resume.SAMPLED_ROWS
        store = make_store(tmp_path / "regions.lance", count)
        views, dates, regions = store.patches(range(count)), store.dates(), store.regions.copy()
        if changed == "pixels":
            views[1] = views[1].copy()
            views[1][0, 0, 0, 0] ^= 1
        elif changed == "date":
            dates[1] = ["2016", "2018"]
        else:
            regions.loc["r1", "geometry"] = translate(regions.loc["r1", "geometry"], 0, 1e-3)
        patches = [Patches(row, tuple(dates[row]), views[row]) for row in range(count)]
        write_store(tmp_path / "other.lance", regions=regions, patches=patches, bags=store.bags, info=store.info)
        other = RegionStore(tmp_path / "other.lance")
        assert np.flatnonzero((store.digests() != other.digests()).any(1)).tolist() == [1]
        looked_at: list[int] = []
        with pytest.MonkeyPatch.context() as watching:
            watching.setattr(RegionStore, "check_rows", lambda _, rows: looked_at.extend(rows))
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
        assert len(looked_at) == resume.SAMPLED_ROWS
        assert 1 not in looked_at
        with pytest.raises(OtherTrainingError, match=r":\n  store: \w+ there, \w+ now$"):
            pretrain(other, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")

    def test_a_region_that_is_not_what_was_written_is_refused(self, tmp_path: Path, vectors: Vectors) -> None:
        store = make_store(tmp_path / "regions.lance", 9)
        table = lance.dataset(str(store.path)).to_table()
        patches = table["patches"].to_pylist()
        patches[4][0] = bytes(len(patches[4][0]))
        field = table.schema.field("patches")
        table = table.set_column(table.schema.get_field_index("patches"), field, pa.array(patches, field.type))
        lance.write_dataset(table, str(store.path), mode="overwrite")
        with pytest.raises(ArtefactError, match=r"regions\.lance: the patches, dates or geometry of the region r4 are"):
            pretrain(
                RegionStore(store.path), vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu"
            )

    def test_changed_code_is_refused(
        self, tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        code = shutil.copytree(resume.CODE, tmp_path / "code")
        monkeypatch.setattr(resume, "CODE", code)
        pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
        pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
        losses = (code / "losses.py").read_text()
        (code / "losses.py").write_text(losses.replace("mean", "sum", 1))
        with pytest.raises(OtherTrainingError, match=r":\n  code: \w+ there, \w+ now$"):
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")
        (code / "losses.py").write_text(losses)
        pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "run", seed=0, device="cpu")

    def test_another_release_of_a_library_is_refused_and_another_build_of_it_is_not(
        self, tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        versions = {"mmgr": "0.1.0", "torch": "2.9.1+cu130", "timm": "1.0.0"}
        monkeypatch.setattr(resume, "version", versions.__getitem__)
        for torch_version in ("2.9.1+cu130", "2.9.1+cpu"):
            versions["torch"] = torch_version
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, device="cpu")
        versions["torch"], versions["timm"] = "2.10.0", "1.0.1"
        with pytest.raises(OtherTrainingError) as error:
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, device="cpu")
        assert str(error.value).splitlines()[1:] == [
            "  libraries.timm: 1.0.0 there, 1.0.1 now",
            "  libraries.torch: 2.9.1 there, 2.10.0 now",
        ]

    @pytest.mark.parametrize("key", ["software", "precision", "category_vectors"])
    def test_other_software_precision_and_vectors_are_refused(
        self, tmp_path: Path, store: RegionStore, vectors: Vectors, key: str
    ) -> None:
        pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, device="cpu")
        run = json.loads((tmp_path / "run.json").read_text())
        (tmp_path / "run.json").write_text(json.dumps(run | {key: "other"}))
        with pytest.raises(OtherTrainingError, match=rf"\n  {key}: other there, \S+ now$"):
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, device="cpu")

    def test_a_checkpoint_of_another_training_than_its_folder_says_is_refused(
        self, tmp_path: Path, store: RegionStore, vectors: Vectors
    ) -> None:
        for name, seed in (("a", 0), ("b", 1)):
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / name, seed=seed, device="cpu")
        shutil.copytree(tmp_path / "a" / "checkpoints", tmp_path / "b" / "checkpoints", dirs_exist_ok=True)
        with pytest.raises(OtherTrainingError, match=r"epoch-0001\.ckpt .* is of another training than run\.json"):
            pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path / "b", seed=1, device="cpu")


class TestCadence:
    def test_by_steps(self) -> None:
        cadence = Cadence("3 steps")
        assert [cadence.is_due_after_step() for _ in range(4)] == [False, False, True, True]
        cadence.saved()
        assert not cadence.is_due_after_step()

    def test_by_minutes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 0.0
        monkeypatch.setattr("time.monotonic", lambda: now)
        cadence = Cadence("2 min")
        now = 119
        assert not cadence.is_due_after_step()
        now = 120
        assert cadence.is_due_after_step()

    @pytest.mark.parametrize("every", ["0 min", "5", "5 hours", "min"])
    def test_anything_else_is_refused(self, every: str) -> None:
        with pytest.raises(ConfigError, match=r"every `15 min` or every `500 steps`"):
            Cadence(every)


def test_progress_is_said_in_words() -> None:
    said = [str(Progress(*done)) for done in ((0, 1), (1, 0), (2, 5))]
    assert said == ["0 epochs and 1 step", "1 epoch", "2 epochs and 5 steps"]


def test_other_pois_around_are_another_training(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    around = np.random.default_rng(0).normal(size=(len(store), 4)).astype(np.float32)
    around[1] = np.nan
    recipe = small_recipe(epochs=1)
    model = pretrain(store, vectors, recipe, folder=tmp_path, seed=0, around=around, device="cpu")  # type: ignore[arg-type]
    assert model.around == 4
    again = pretrain(store, vectors, recipe, folder=tmp_path, seed=0, around=around, device="cpu")  # type: ignore[arg-type]
    assert same_bits(model, again)
    with pytest.raises(OtherTrainingError, match="pois_around"):
        pretrain(store, vectors, recipe, folder=tmp_path, seed=0, around=2 * around, device="cpu")  # type: ignore[arg-type]
