"""The measurement of pre-training, through the command line."""

from __future__ import annotations

import json
import multiprocessing
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmgr import cli
from mmgr.bench.pretrain import Published, bench_pretrain
from mmgr.bench.published import PublishedStep, PublishedViews
from mmgr.bench.rates import Span, Stopwatch, in_turns, median_rate, median_ratio, wait_until_made
from mmgr.bench.sample import CATEGORIES, category_table, sample_store
from mmgr.learn.data import Batch, Batches
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.training import Training

SMALL = ("--encoder", "test_resnet", "--crop", "32", "--batch", "6", "--steps", "2", "--rounds", "1", "--pixels", "48")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def call(*words: str | Path) -> int:
    try:
        cli.main(["bench", "pretrain", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_training_is_compared_with_its_bare_step_and_the_published_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call(*SMALL, "--workers", "0", "--device", "cpu", "--json", "numbers.json") == 0
    measured = json.loads((tmp_path / "numbers.json").read_text())
    real, bare = measured["regions_per_second"], measured["bare_regions_per_second"]
    assert measured["ratio"] == pytest.approx(real / bare, abs=0.002)
    assert measured["speedup"] == pytest.approx(real / measured["reference_regions_per_second"], abs=0.002)
    assert measured["cpu_ratio"] > 0
    assert measured["reader_regions_per_second"] > 0
    assert measured["peak_rss_mb"] > 100
    assert (measured["encoder"], measured["crop"], measured["batch"], measured["device"]) == (
        "test_resnet",
        32,
        6,
        "cpu",
    )
    assert {"cores", "load", "load_after"} <= set(measured["machine"])
    assert {"torch", "timm", "lightning"} <= set(measured["software"])
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.json"]  # nothing of the training is left


def test_the_published_way_may_be_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*SMALL, "--reference-steps", "0", "--device", "cpu") == 0
    printed = capsys.readouterr().out
    assert "ratio" in printed
    assert "speedup" not in printed


def test_an_unknown_encoder_is_one_message(capfd: pytest.CaptureFixture[str]) -> None:
    assert call("--encoder", "resnet5O") == 2
    assert "resnet50" in capfd.readouterr().err


def test_the_published_step_learns(tmp_path: Path) -> None:
    """Its weights move, those of both encoders: it is no dummy that is fast."""
    store = sample_store(tmp_path, 8, pixels=48)
    np.save(tmp_path / "patches.npy", np.stack([patches[0] for patches in store.patches(range(8))]))
    views = next(PublishedViews(tmp_path / "patches.npy", crop=32, batch=8, steps=1, workers=0))
    assert [view.shape for view in views] == [(8, 3, 32, 32)] * 2
    assert not torch.equal(views[0], views[1])
    step = PublishedStep("test_resnet", 32, category_table(), torch.device("cpu"))
    weights = [w for part in step.parts for w in part.parameters()]
    before = [w.detach().clone() for w in weights]
    for _ in range(2):  # the last norm of a block begins at zero, and lets nothing through in the first step
        step.step(views, PoiBatch.from_bags(store.bags, CATEGORIES))
    moved = [not torch.equal(w, b) for w, b in zip(weights, before, strict=True)]
    assert np.mean(moved) > 0.9


@pytest.mark.parametrize("pause", [0.0, 0.2])
def test_the_clock_of_a_training_sees_as_many_batches_read_as_trained_on(
    pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the first step takes, as when an encoder is compiled, and whichever of reader and steps is faster."""
    batch, steps = 4, 4
    read: list[int] = []
    found: list[int] = []
    make, train = Batches._batch, Training.training_step
    reader = threading.Lock()

    def slowly_made(batches: Batches, *given: Any, **named: Any) -> Batch:
        made = make(batches, *given, **named)
        with reader:  # as one reader, however many threads there are
            time.sleep(pause)
            read.append(given[1])
        return made

    def slow_at_first(training: Training, some: Batch, index: int) -> torch.Tensor:
        time.sleep(pause / 2 if index else 6 * pause)
        return train(training, some, index)

    class Watch(Stopwatch):
        def start(self) -> None:
            found.append(len(read))
            super().start()

        def stop(self, regions: int) -> Span:
            found.append(len(read))
            return super().stop(regions)

    monkeypatch.setattr(Batches, "_batch", slowly_made)
    monkeypatch.setattr(Training, "training_step", slow_at_first)
    monkeypatch.setattr("mmgr.bench.pretrain.Stopwatch", Watch)
    small = {"encoder": "test_resnet", "crop": 32, "batch": batch, "pixels": 32}
    measured = bench_pretrain(**small, steps=steps, rounds=1, device="cpu", reference_steps=0)
    assert found[1] - found[0] == steps
    if pause:
        fastest = batch / pause
        assert measured["regions_per_second"] <= fastest
        assert 0.8 * fastest < measured["reader_regions_per_second"] <= fastest
    assert measured["rates"]["reader"] == pytest.approx([measured["reader_regions_per_second"]], rel=1e-3)


def test_waiting_for_what_nobody_makes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgr.bench.rates._PATIENCE", 0.05)
    made = iter([0, 1, 1, 2])
    wait_until_made(2, lambda: next(made))
    with pytest.raises(RuntimeError, match=r"nothing was made in 0 s; has what makes it been killed\?"):
        wait_until_made(3, lambda: 2)


def test_the_clock_of_the_published_way_sees_views_made_and_no_worker_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources: list[PublishedViews] = []
    made: list[int] = []
    alive: list[bool] = []

    class Views(PublishedViews):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            sources.append(self)

    class Watch(Stopwatch):
        def start(self) -> None:
            super().start()
            made.extend(source.made for source in sources)

        def stop(self, regions: int) -> Span:
            made.extend(source.made for source in sources)
            alive.extend(bool(multiprocessing.active_children()) for _ in sources)
            return super().stop(regions)

    monkeypatch.setattr("mmgr.bench.pretrain.PublishedViews", Views)
    monkeypatch.setattr("mmgr.bench.pretrain.Stopwatch", Watch)
    store = sample_store(tmp_path, 4, pixels=32)
    np.save(tmp_path / "patches.npy", np.stack([patches[0] for patches in store.patches(range(4))]))
    pois, table = PoiBatch.from_bags(store.bags, CATEGORIES), category_table()
    cpu = torch.device("cpu")
    Published(tmp_path / "patches.npy", pois, "test_resnet", 32, table, cpu, steps=3, workers=1).measure()
    assert made == [4 * (1 + 2), 4 * (1 + 2 + 3)]  # one warms up, two are ahead, three are timed
    assert alive == [True]
    assert not multiprocessing.active_children()


def test_rates_are_medians_over_rounds() -> None:
    spans = iter([Span(10, seconds, 2 * seconds) for seconds in (1.0, 2.0, 4.0, 1.0, 1.0, 10.0)])
    found = in_turns(3, {"a": lambda: next(spans), "b": lambda: next(spans)})
    assert [span.seconds for span in found["a"]] == [1, 4, 1]
    assert median_rate(found["a"]) == 10
    assert median_ratio(found["a"], found["b"]) == 2  # of 2, 1/4 and 10
    assert median_ratio(found["b"], found["a"], cpu=True) == 0.5
