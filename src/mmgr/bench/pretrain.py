"""Pre-training beside its bare step on random tensors, its reader alone, and the published way."""

from __future__ import annotations

import multiprocessing
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mmgr.bench.machine import machine, software
from mmgr.bench.published import PublishedStep, PublishedViews
from mmgr.bench.rates import Span, Stopwatch, in_turns, median_rate, median_ratio, wait_until_made
from mmgr.bench.sample import PIXELS, category_table, sample_patches, sample_store
from mmgr.console import quiet
from mmgr.learn.checkpoints import Cadence, Progress
from mmgr.learn.compile import compiled
from mmgr.learn.data import READ_AHEAD, Batch, Batches, readers
from mmgr.learn.devices import choose_device, uses_bfloat16
from mmgr.learn.manners import quiet_lightning
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.learn.training import Training
from mmgr.memory import kept_memory
from mmgr.stages import peak_rss_mb

WARM_UP = 1
"""Steps of each round that are not counted: memory is asked for, kernels are chosen, the first batch is read."""


def bench_pretrain(
    *,
    encoder: str = "resnet50",
    crop: int = 224,
    batch: int = 32,
    steps: int = 4,
    rounds: int = 3,
    pixels: int = PIXELS,
    device: str = "auto",
    compile_encoder: bool = False,
    reference_steps: int = 1,
    workers: int = 6,
    seed: int = 0,
) -> dict[str, Any]:
    """Train on real patches of a region store, and time it in turns with what it is compared with.

    The clocks of trainings run in the middle of an epoch: while they do, as many batches are read, or made, as are
    trained on. *Bare* is the same model, batch, precision, losses and optimiser on random views that lie in memory.
    *Reader* reads the batches of a whole epoch while nobody trains: a training waits for its batches unless this is
    well above its own rate, since on a CPU both share the cores, and on a GPU the host has other work, too.
    *Reference* is the published way (:mod:`mmgr.bench.published`), in a process of its own. The monitor's readings,
    which are part of the model's losses, are in both of the first two; checkpoints and held-out regions, which epochs
    end with, are in none.

    Parameters
    ----------
    encoder, crop, batch
        Of the recipe `mmgr`, which is trained otherwise as it is.
    steps
        Steps of a round that are timed, after one that is not.
    rounds
        Turns; results are medians over them.
    pixels
        Edge of a stored patch.
    device
        `auto`, `cpu`, `cuda`.
    compile_encoder
        Whether the image encoder is compiled, for both of the first two.
    reference_steps
        As ``steps``, of the published way; 0 leaves it out.
    workers
        Processes that make its views.
    seed
        Of weights, POIs and views.

    Returns
    -------
    ``regions_per_second``, ``bare_regions_per_second``, their ``ratio`` (median of the rounds'), ``cpu_ratio`` (the
    same by the time of this process's threads), ``reader_regions_per_second``, ``reference_regions_per_second``,
    ``speedup`` over it, ``cpu_speedup`` (its workers' time not counted), ``peak_rss_mb`` after the first training, and
    what was measured on what.

    Raises
    ------
    ConfigError
        If there is no such encoder or device.
    """
    place = choose_device(device)
    choices = {"encoder": encoder, "weights": "random", "crop": crop, "batch_size": batch, "compile": compile_encoder}
    recipe = Recipe.model_validate(RECIPES["mmgr"].model_dump() | choices | {"epochs": 1, "held_out": 0.0})
    table, measured_on = category_table(seed), machine()
    with tempfile.TemporaryDirectory(prefix="mmgr-bench-") as name, quiet(), quiet_lightning():
        folder = Path(name)
        model = seeded_model(recipe, table, 3, seed)  # before the store: a wrong name is told at once
        ahead = READ_AHEAD + readers(pinned=place.type == "cuda")
        store = sample_store(folder, batch * (WARM_UP + steps + ahead), pixels=pixels, seed=seed)
        model.standardise_densities(store.bags)
        batches = _Counted(store, recipe, seed)
        training = _Timed(model, batches, seed, folder, Cadence("1000000000 steps"))
        training.counted, training.ahead, training.timed = batches, ahead, steps
        # alone, before there is anything else in memory
        training.measure(place)
        memory = peak_rss_mb()
        ways: dict[str, Callable[[], Span]] = {
            "real": partial(training.measure, place),
            "bare": partial(_Bare(model, batches, place).measure, steps),
            "reader": partial(_read, batches, place),
        }
        if reference_steps:
            images = folder / "patches.npy"
            np.save(images, sample_patches(pixels))
            pois = next(iter(batches.epoch(0))).pois
            ways["reference"] = Published(
                images, pois, encoder, crop, table, place, steps=reference_steps, workers=workers
            ).alone
        found = in_turns(rounds, ways)
    result: dict[str, Any] = {
        "regions_per_second": median_rate(found["real"]),
        "bare_regions_per_second": median_rate(found["bare"]),
        "ratio": median_ratio(found["real"], found["bare"]),
        "cpu_ratio": median_ratio(found["real"], found["bare"], cpu=True),
        "reader_regions_per_second": median_rate(found["reader"]),
    }
    if reference_steps:
        result["reference_regions_per_second"] = median_rate(found["reference"])
        result["speedup"] = median_ratio(found["real"], found["reference"])
        result["cpu_speedup"] = median_ratio(found["real"], found["reference"], cpu=True)
    return result | {
        "peak_rss_mb": memory,
        "encoder": encoder,
        "crop": crop,
        "batch": batch,
        "pixels": pixels,
        "steps": steps,
        "rounds": rounds,
        "compile": compile_encoder,
        "precision": "bf16" if uses_bfloat16(recipe, place) else "fp32",
        "device": str(place),
        "threads": torch.get_num_threads(),
        "rates": {name: [round(span.rate, 4) for span in spans] for name, spans in found.items()},
        "machine": measured_on | {"load_after": machine()["load"]},
        "software": software("torch", "timm", "lightning"),
    }


class _Counted(Batches):
    """Batches that are counted when they are made, whichever thread makes them."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.made = 0
        """How many so far."""
        self._lock = threading.Lock()

    def _batch(self, *given: Any, **named: Any) -> Batch:
        batch = super()._batch(*given, **named)
        with self._lock:
            self.made += 1
        return batch


class _Timed(Training):
    """A training that times steps in the middle of an epoch, and leaves nothing behind.

    Its clock runs from one moment to another at which the reader is as far ahead as it goes, so that a first step that
    takes long, as when an encoder is compiled, gives nothing away: what the reader has made by then is made again
    before the clock stops.
    """

    counted: _Counted
    """The batches."""
    ahead = READ_AHEAD + 1
    """Batches that are read ahead of the one that is trained on, when the reader is as far ahead as it goes."""
    timed = 1
    """Steps that are timed."""

    def measure(self, device: torch.device) -> Span:
        """Train until the clock has stopped."""
        self._watch = Stopwatch(device)
        self._before = self.counted.made
        self.run(device)
        return self._span

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Start the clock after the first steps, and stop it when as many batches are made as are trained on."""
        super().on_train_batch_end(outputs, batch, batch_idx)
        done = batch.step + 1
        if done == WARM_UP:
            wait_until_made(self._before + done + self.ahead, lambda: self.counted.made)
            self._before = self.counted.made
            self._watch.start()
        if done == WARM_UP + self.timed:
            wait_until_made(self._before + self.timed, lambda: self.counted.made)
            self._span = self._watch.stop(self.timed * self.recipe.batch_size)
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Forget what was gathered: an epoch's end is not what is measured."""
        self.monitor = type(self.monitor)()

    def _save(self, progress: Progress) -> None:
        """Write no checkpoint."""


class _Bare:
    """The step with everything in memory: what the model, its losses and its optimiser cost alone."""

    def __init__(self, model: MultiModalModel, batches: Batches, device: torch.device) -> None:
        self._model, self._device = model, device
        self._batches = batches

    @kept_memory()
    def measure(self, steps: int) -> Span:
        """Train on the same random views, step by step."""
        recipe = self._batches.recipe
        model = self._model.to(self._device).train()
        first = next(iter(self._batches.epoch(0))).to(self._device)
        views = tuple(
            torch.randn(len(first.rows), model.bands, recipe.crop, recipe.crop, device=self._device) for _ in range(2)
        )
        kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
        optimiser = kind(
            [weight for weight in model.parameters() if weight.requires_grad],
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=self._device.type == "cuda" or None,
        )
        watch = Stopwatch(self._device)
        with compiled(model, self._device) if recipe.compile else nullcontext():
            for step in range(WARM_UP + steps):
                if step == WARM_UP:
                    watch.start()
                optimiser.zero_grad()
                parts = model.losses((views[0], views[1]), first.pois, first.not_negative, first.near)
                parts.total.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
        return watch.stop(steps * recipe.batch_size)


@kept_memory()
def _read(batches: Batches, device: torch.device) -> Span:
    """Read an epoch as a training does, and do nothing with it."""
    watch = Stopwatch(device)
    regions = sum(len(batch.rows) for batch in batches.epoch(0, pinned=device.type == "cuda"))
    return watch.stop(regions)


@dataclass(frozen=True)
class Published:
    """The published way, with the POIs of regions that ours is trained on."""

    images: Path
    """Array file of patches."""
    pois: PoiBatch
    """Of a batch."""
    encoder: str
    crop: int
    table: NDArray[np.float32]
    device: torch.device
    steps: int
    workers: int

    def alone(self) -> Span:
        """Measure it as the program of its own that it is, whose memory is not as ours has left it."""
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            return process.submit(self._on_threads, torch.get_num_threads()).result()

    def _on_threads(self, threads: int) -> Span:
        torch.set_num_threads(threads)
        return self.measure()

    def measure(self) -> Span:
        """Train on views that workers make; the time in which they start and end is not counted."""
        watch, size = Stopwatch(self.device), len(self.pois)
        trained = PublishedStep(self.encoder, self.crop, self.table, self.device)
        made = PublishedViews(self.images, crop=self.crop, batch=size, steps=WARM_UP + self.steps, workers=self.workers)
        with closing(made) as views:
            for _ in range(WARM_UP):
                trained.step(next(views), self.pois)
            views.wait()
            watch.start()
            for _ in range(self.steps):
                trained.step(next(views), self.pois)
            views.wait()
            return watch.stop(self.steps * size)
