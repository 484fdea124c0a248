"""Processes that share each batch train what one process does."""

from __future__ import annotations

import csv
import json
import math
import os
import pickle
import shutil
import socket
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import kills
import mortals
import numpy as np
import pytest
import torch
from learn_samples import Vectors, make_store, small_recipe

import mmgr
from mmgr import cli
from mmgr.actions.pretrain import _label_probe
from mmgr.errors import ConfigError, MmgrError
from mmgr.learn import data
from mmgr.learn.data import Batches
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.parallel import check_agreement, check_devices, has_batch_norm, share_statistics
from mmgr.learn.pretrain import _take_part, pretrain
from mmgr.learn.together import NOBODY_ELSE, Member, borrowed
from mmgr.processes import Processes
from mmgr.store import RegionStore


def curve(folder: Path) -> dict[str, np.ndarray]:
    """Return the monitor's columns, without those of time."""
    with (folder / "monitor.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in rows[0] if name not in {"seconds", "regions_per_second"}]
    return {name: np.array([float(row[name] or math.nan) for row in rows]) for name in names}


def assert_same_curve(one: Path, other: Path) -> None:
    a, b = curve(one), curve(other)
    assert list(a) == list(b)
    for name in a:
        assert np.allclose(a[name], b[name], atol=1e-4, rtol=1e-4, equal_nan=True), (name, a[name], b[name])


@pytest.fixture
def without_batch_norm(city_yaml: Path) -> Path:
    """36 regions in batches of 15, 15 and 6: 15 are not shared evenly by 2."""
    text = city_yaml.read_text().replace("test_resnet", "test_convnext, precision: fp32")
    text = text.replace("batch_size: 16", "batch_size: 15")
    city_yaml.write_text(text[: text.index("tasks:")])
    return city_yaml


@pytest.mark.slow
def test_the_command_with_two_devices_gives_the_losses_of_one_process(without_batch_norm: Path) -> None:
    one = mmgr.Run(without_batch_norm)
    for stage in ("build", "categories", "pretrain"):
        one.do(stage)
    two = without_batch_norm.with_name("two.yaml")
    two.write_text(without_batch_norm.read_text().replace("output: output", "output: two"))
    with pytest.raises(SystemExit) as stop:
        cli.main(["--quiet", "run", str(two), "--devices", "2"])
    assert not stop.value.code
    folder = without_batch_norm.parent
    assert_same_curve(folder / "output" / "pretrain", folder / "two" / "pretrain")
    written = [
        sorted(str(path.relative_to(root)) for path in root.rglob("*"))
        for root in (folder / "output" / "pretrain", folder / "two" / "pretrain")
    ]
    assert written[0] == written[1], "the first process alone writes"
    # the ledger knows no difference
    assert all(status.up_to_date for status in mmgr.Run(two).plan())
    records = [json.loads((folder / out / "stages" / "pretrain.json").read_text()) for out in ("output", "two")]
    assert [record["processes"] for record in records] == [1, 2]
    assert records[0]["identity"]["settings"] == records[1]["identity"]["settings"]
    hashes = [json.loads((folder / out / "bundle" / "manifest.json").read_text()) for out in ("output", "two")]
    assert hashes[0]["provenance"]["training"] == hashes[1]["provenance"]["training"]


@pytest.mark.slow
def test_machines_that_share_a_folder_train_as_one_process(without_batch_norm: Path) -> None:
    for stage in ("build", "categories"):
        mmgr.Run(without_batch_norm).do(stage)
    folder = without_batch_norm.parent
    shutil.copytree(folder / "output", folder / "two")
    two = without_batch_norm.with_name("two.yaml")
    two.write_text(without_batch_norm.read_text().replace("output: output", "output: two"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    command = [sys.executable, "-c", "from mmgr.cli import main; main()", "pretrain", str(two), "--nodes", "2"]
    other = subprocess.Popen(command, env=os.environ | meeting | {"NODE_RANK": "1"}, stderr=subprocess.PIPE, text=True)
    first = Processes.here(1, 2, meeting | {"NODE_RANK": "0"})
    mmgr.Run(two, processes=first).do("pretrain")
    printed = other.communicate(timeout=300)[1]
    assert other.returncode == 0, printed
    mmgr.Run(without_batch_norm).do("pretrain")
    assert "takes part as machine 1 of 2" in " ".join(printed.split())
    assert_same_curve(folder / "output" / "pretrain", folder / "two" / "pretrain")
    (status,) = [status for status in mmgr.Run(two).plan() if status.stage == "pretrain"]
    assert status.up_to_date
    with pytest.raises(ConfigError, match=r"several machines train together in `pretrain`; run the other stages"):
        mmgr.Run(two, processes=Processes(1, 2, 0, "localhost:1")).all()


@pytest.mark.slow
def test_two_processes_of_which_some_are_killed_end_with_the_same_bits(
    tmp_path: Path, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "regions.lance", 20)
    recipe = small_recipe(encoder="test_convnext", epochs=kills.EPOCHS)
    paths = [str(Path(__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))  # workers find `mortals`

    def train(name: str) -> MultiModalModel:
        pair = {"device": "cpu", "checkpoint_every": "2 steps", "processes": Processes(2)}
        return pretrain(store, vectors, recipe, folder=tmp_path / name, seed=3, **pair)

    straight = train("straight").state_dict()
    points = (
        mortals.the_second_dies_at_once,
        mortals.the_first_dies_in_an_epoch,
        mortals.the_first_dies_while_it_writes,
    )
    for point in points:
        with monkeypatch.context() as killing:
            killing.setattr("mmgr.learn.pretrain._take_part", point)
            with pytest.raises(MmgrError, match=r"of 2 on this machine was killed"):
                train("killed")
    found = train("killed").state_dict()
    assert found.keys() == straight.keys()
    assert all(torch.equal(found[name], straight[name]) for name in straight)
    one, other = curve(tmp_path / "straight"), curve(tmp_path / "killed")
    assert all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


@pytest.mark.slow
def test_more_processes_than_regions_and_another_number_after_a_stop(tmp_path: Path, vectors: Vectors) -> None:
    # 32 regions are held out; of the others' last batch, of two, the third process has nothing
    store = make_store(tmp_path / "regions.lance", 64)
    choices = {"batch_size": 10, "mask_near": 600.0, "mask_alike": 0.9, "learn_temperature": True, "epochs": 3}
    choices |= {"held_out": 0.5}
    recipe = small_recipe(encoder="test_convnext", **choices)
    around = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
    around[::5] = np.nan
    same = {"seed": 0, "around": around, "device": "cpu"}
    one = pretrain(store, vectors, recipe, folder=tmp_path / "one", **same)
    pretrain(store, vectors, recipe, folder=tmp_path / "three", processes=Processes(3), **same)
    assert_same_curve(tmp_path / "one", tmp_path / "three")
    assert np.isfinite(curve(tmp_path / "three")["held_out_poi_retrieval"]).all()
    temperature = curve(tmp_path / "three")["temperature"]
    assert abs(temperature[0] - temperature[-1]) > 1e-4
    # what three processes began, one goes on with
    newest = tmp_path / "three" / "checkpoints" / "epoch-0003.ckpt"
    newest.unlink()
    resumed = pretrain(store, vectors, recipe, folder=tmp_path / "three", **same)
    assert newest.exists()
    assert_same_curve(tmp_path / "one", tmp_path / "three")
    for wanted, found in zip(one.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(wanted, found, atol=2e-3), "Adam takes steps of one size, however small a gradient is"


def test_the_one_who_waits_has_no_model_and_lends_what_lies_around(
    tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = np.random.default_rng(0).normal(size=(len(store), 4)).astype(np.float32)
    made: list[weakref.ref[MultiModalModel]] = []
    paths: list[Path] = []

    def noted(*arguments: Any) -> MultiModalModel:
        model = seeded_model(*arguments)
        made.append(weakref.ref(model))
        return model

    def look(function: object, arguments: tuple[Any, ...], *_: object, **__: object) -> None:
        assert function is _take_part
        assert [model() for model in made] == [None]
        paths.append(arguments[-1]["around"])
        found = borrowed(paths[0])
        assert isinstance(found, np.memmap)
        assert np.array_equal(found, around)
        assert not found.flags.writeable
        assert len(pickle.dumps(arguments)) < 10_000

    monkeypatch.setattr("mmgr.learn.pretrain.seeded_model", noted)
    monkeypatch.setattr("mmgr.learn.pretrain.run_together", look)
    pair = {"around": around, "device": "cpu", "processes": Processes(2)}
    # nobody has trained, so that the one who waited does
    model = pretrain(store, vectors, small_recipe(epochs=1), folder=tmp_path, seed=0, **pair)
    assert model is made[1]()
    assert not paths[0].exists()


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_of_a_batch_are_the_whole_batch(
    store: RegionStore, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "LEAST_HELD_OUT", 2)
    recipe = small_recipe(batch_size=9, mask_near=1100.0, held_out=0.1)
    members = [Batches(store, recipe, 4, rank=rank, processes=processes) for rank in range(processes)]
    for whole, *shares in zip(*(batches.epoch(1) for batches in (Batches(store, recipe, 4), *members)), strict=True):
        sizes = [share.share.own.stop - share.share.own.start for share in shares]
        assert sum(sizes) == len(whole.rows)
        assert max(sizes) - min(sizes) <= 1
        for share, size in zip(shares, sizes, strict=True):
            own = share.share.own
            assert len(share.rows) == max(size, 1), "encoders need a region"
            assert np.array_equal(share.rows[:size], whole.rows[own])
            assert torch.equal(share.first[:size], whole.first[own])
            assert torch.equal(share.second[:size], whole.second[own])
            assert torch.equal(share.pois.log_density[:size], whole.pois.log_density[own])
            assert torch.equal(share.near, whole.near[own])
            assert torch.equal(share.not_negative, whole.not_negative[own])
    for batches in members:
        (held_out,) = batches.held_out_batches()
        assert np.array_equal(held_out.rows, batches.held_out), "what is measured is measured by one"
        assert len(held_out.rows) == held_out.share.total == 2


def test_batch_norms_see_the_whole_batch_on_gpus_and_are_warned_of_on_cpus(
    vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    pair = Member(0, 0, Processes(2))
    model = seeded_model(small_recipe(encoder="resnet18"), vectors.vectors, 3, seed=0).eval()
    assert has_batch_norm(model)
    assert not has_batch_norm(seeded_model(small_recipe(encoder="test_convnext"), vectors.vectors, 3, seed=0))
    images = torch.randn(2, 3, 32, 32)
    before, weights = model.encode_images(images), set(model.state_dict())
    share_statistics(model, NOBODY_ELSE, torch.device("cuda", 0))
    share_statistics(model, Member(1, 1, Processes(2)), torch.device("cpu"))
    assert not caplog.text
    share_statistics(model, pair, torch.device("cpu"))
    assert "the encoder resnet18 has batch norms, and on the CPU each process" in caplog.text
    assert not [m for m in model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    share_statistics(model, pair, torch.device("cuda", 0))
    assert [m for m in model.modules() if isinstance(m, torch.nn.SyncBatchNorm)]
    assert not [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert set(model.state_dict()) == weights, "a checkpoint fits any number of processes"
    assert torch.equal(model.encode_images(images), before)


def test_a_process_without_a_device_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(torch.device("cuda"), Processes(2))
    check_devices(torch.device("cpu"), Processes(64))
    with pytest.raises(ConfigError, match="3 processes need as many GPUs, and this machine has 2"):
        check_devices(torch.device("cuda"), Processes(3))
    for name in ("cuda:1", "mps"):
        with pytest.raises(ConfigError, match=f"pretrain.device is '{name}'"):
            check_devices(torch.device(name), Processes(2))


def test_machines_that_would_train_something_else_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    others: list[dict[str, object]] = []
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda found, own: found.__setitem__(slice(None), [*others, own])
    )
    training = {"seed": 0, "store": "ab", "software": "1"}
    member = Member(3, 1, Processes(2, 2, 1, "localhost:1"))
    others[:] = [training] * 3
    check_agreement(member, training)
    with pytest.raises(ConfigError, match=r"the first machine differs from machine 1: seed, machine 1: store\.$"):
        check_agreement(member, training | {"seed": 1, "store": "cd"})


def test_a_look_at_labels_can_be_sent_to_the_process_that_takes_it(city_yaml: Path) -> None:
    city_yaml.write_text(city_yaml.read_text().replace("epochs: 2", "epochs: 2, probe_every: 1"))
    run = mmgr.Run(city_yaml)
    run.do("build")
    probe = _label_probe(run.config, RegionStore(run.layout.regions))
    sent = pickle.loads(pickle.dumps(probe))
    features = np.random.default_rng(0).normal(size=(36, 4)).astype(np.float32)
    wanted = probe.score(features[:, :2], features)
    assert set(wanted) == {"r2_population", "r2_population_image"}
    assert sent.score(features[:, :2], features) == wanted


def test_a_look_at_labels_waits_for_no_published_protocol(city_yaml: Path) -> None:
    text = city_yaml.read_text().replace("epochs: 2", "epochs: 2, probe_every: 1")
    city_yaml.write_text(text)
    run = mmgr.Run(city_yaml)
    run.do("build")
    alone = run.config.evaluate.model_copy(update={"splits": (), "protocol": "cityrep"})
    probe = _label_probe(run.config.model_copy(update={"evaluate": alone}), RegionStore(run.layout.regions))
    ((_, asked),) = probe.score.args[0]
    assert (asked.splits, asked.protocol) == (("blocks",), None)
