"""The training itself: one step, one epoch, one checkpoint; Lightning has the loop.

Nothing random depends on what came before: the order of regions, their dates, their views and dropout are
functions of (seed, epoch, step), the learning rate is one of the step. So the weights, the optimiser, the number
of steps done and what the monitor has gathered are all that a checkpoint needs, in the middle of an epoch too, and a
killed run ends as one never killed would.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from torch import Tensor

from mmgr.console import log, track
from mmgr.errors import OtherTrainingError
from mmgr.learn.augment import make_views
from mmgr.learn.checkpoints import Cadence, Progress, newest_intact, save_checkpoint
from mmgr.learn.compile import compiled
from mmgr.learn.data import Batch, Batches, Purpose, seed_for
from mmgr.learn.events import EventLog
from mmgr.learn.finite import FiniteCheck
from mmgr.learn.held_out import measure
from mmgr.learn.label_probe import LabelProbe, probe_labels
from mmgr.learn.manners import interruptible, quiet_lightning
from mmgr.learn.model import MultiModalModel
from mmgr.learn.monitor import Monitor
from mmgr.learn.parallel import trainer_options
from mmgr.learn.places import seen_in_views
from mmgr.learn.resume import training_hash
from mmgr.learn.together import NOBODY_ELSE, Member
from mmgr.memory import kept_memory


class Training(pl.LightningModule):  # type: ignore[misc]  # Lightning has no types here
    """One step, one epoch, one checkpoint of pre-training; Lightning has the loop."""

    def __init__(
        self,
        model: MultiModalModel,
        batches: Batches,
        seed: int,
        folder: Path,
        cadence: Cadence,
        *,
        tensorboard: bool = False,
        probe: LabelProbe | None = None,
        member: Member = NOBODY_ELSE,
    ) -> None:
        super().__init__()
        self.member = member
        self.model, self.batches, self.recipe, self.seed = model, batches, model.recipe, seed
        self.monitor = Monitor()
        self.folder, self.tensorboard, self.probe = folder, tensorboard, probe
        self._events: EventLog | None = None
        self._cadence = cadence
        self._begun = Progress()
        self._optimiser_state: dict[str, Any] | None = None
        self._bar: Iterator[int] = iter(())
        self._started = 0.0
        self._seconds_before = 0.0
        self._now: tuple[Tensor, Batch] | None = None  # the loss and the batch of this step
        self._check = FiniteCheck(later=False)

    @property
    def is_done(self) -> bool:
        """Whether no epoch is left to train."""
        return self._begun.epochs >= self.recipe.epochs

    def resume(self) -> None:
        """Go on from the newest intact checkpoint, if there is one."""
        found = newest_intact(self.folder / "checkpoints")
        if found is None:
            return
        self._begun, content = found
        if content["training"] != training_hash(self.folder):
            raise OtherTrainingError(
                f"the checkpoint {self._begun.name} in {self.folder} is of another training than run.json beside it; "
                "remove the folder, or set another `output`."
            )
        self.model.load_state_dict(content["model"])
        self._optimiser_state = content["optimiser"]
        self.monitor = Monitor.from_state(content["monitor"])
        self._seconds_before = content["seconds"]
        if self.member.writes:
            self.monitor.write(self.folder / "monitor.csv")  # a kill may have come between the two

    @quiet_lightning()
    @kept_memory()
    def run(self, device: torch.device) -> None:
        """Train all epochs that are not done."""
        if self.tensorboard and self.member.writes:
            self._events = EventLog(self.folder / "tensorboard", self.monitor.rows)
        try:
            if not self.is_done:
                self._train(device)
        finally:
            if self._events is not None:
                self._events.close()

    def _train(self, device: torch.device) -> None:
        if self._begun != Progress():
            log.info("going on after %s", self._begun)
        trainer = pl.Trainer(
            **trainer_options(self.member, device),
            max_epochs=self.recipe.epochs - self._begun.epochs,
            reload_dataloaders_every_n_epochs=1,  # each epoch has its own order
            default_root_dir=self.folder,
            # logs, checkpoints and bars are our own
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        steps = self.batches.steps
        self._bar = track(
            range(self._begun.epochs * steps + self._begun.steps, self.recipe.epochs * steps), "pre-training"
        )
        next(self._bar, None)
        try:
            with interruptible(trainer), compiled(self.model, device) if self.recipe.compile else nullcontext():
                trainer.fit(self)
        finally:
            self._bar = iter(())  # takes the bar away

    # the step

    def training_step(self, batch: Batch, index: int) -> Tensor:  # noqa: ARG002 - Lightning's name
        """Return the loss of a batch."""
        drawn, crop = batch.drawn, self.recipe.crop
        views = make_views(batch.first, drawn[0], crop), make_views(batch.second, drawn[1], crop)
        seen = None
        if self.recipe.uses_pois and self.recipe.crop_pois:
            seen = seen_in_views(batch.pois, drawn[0]), seen_in_views(batch.pois, drawn[1])
        with self._seeded_dropout(batch):
            parts = self.model.losses(views, batch.pois, batch.not_negative, batch.near, seen, batch.share)
        self._now = parts.total.detach(), batch
        if self.member.writes:
            self.monitor.add(parts, batch.share.total)
        return parts.total

    @contextlib.contextmanager
    def _seeded_dropout(self, batch: Batch) -> Iterator[None]:
        # processes drop other units: what they have are other regions
        count = self.member.rank + 1
        seed = seed_for(Purpose.DROPOUT, self.seed, batch.epoch, batch.step).generate_state(count, np.uint64)[-1]
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(seed >> 1))
            yield

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser; the learning rate is set step by step."""
        kind = torch.optim.AdamW if self.recipe.optimiser == "adamw" else torch.optim.Adam
        learned: list[Any] = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        if self.recipe.learn_temperature and self.recipe.uses_pois:
            # decay would draw its logarithm to 0: the temperature to 1
            temperature = self.model.log_temperature
            weights = [parameter for parameter in learned if parameter is not temperature]
            learned = [{"params": weights}, {"params": [temperature], "weight_decay": 0.0}]
        fused = self.device.type == "cuda"
        self._check = FiniteCheck(later=fused)
        optimiser = kind(
            learned, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay, fused=fused or None
        )
        if self._optimiser_state is not None:
            for group in self._optimiser_state["param_groups"]:
                group["fused"] = fused or None  # the device may be another one than before
            optimiser.load_state_dict(self._optimiser_state)
            self._optimiser_state = None
        return optimiser

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's name
        """Set the learning rate of this step."""
        done = batch.epoch * self.batches.steps + batch.step
        # the middle of the step: neither the first step of a warm-up nor the last of a cosine is 0
        rate = self.recipe.learning_rate_at((done + 0.5) / (self.recipe.epochs * self.batches.steps))
        for group in self.optimizers().param_groups:
            group["lr"] = rate

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stop before a loss or gradient that is not finite reaches the weights."""
        assert self._now is not None  # noqa: S101 - the step comes before
        total, batch = self._now
        epoch, step = batch.epoch, batch.step

        def regions() -> str:
            rows = self.batches.order(epoch)[step]
            return ", ".join(str(name) for name in self.batches.store.regions.index[rows])

        self._check.look(optimizer, total, f"epoch {epoch + 1}, step {step + 1}", regions)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:  # noqa: ARG002 - Lightning's names
        """Move the bar, and write a checkpoint if one is due."""
        next(self._bar, None)
        if self.member.writes and self._cadence.is_due_after_step() and batch.step + 1 < self.batches.steps:
            self._save(Progress(batch.epoch, batch.step + 1))

    # the data

    def train_dataloader(self) -> Iterable[Batch]:
        """Return the batches of the current epoch that are not done."""
        done = self._begun.steps if self.current_epoch == 0 else 0
        return _Epoch(self.batches, self._begun.epochs + self.current_epoch, done, pinned=self.device.type == "cuda")

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002 - Lightning's name
        """Move a batch; from pinned memory, while the device works."""
        return batch.to(device)

    # the epoch

    def on_train_epoch_start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter() - self._seconds_before
        self._seconds_before = 0.0

    def on_train_epoch_end(self) -> None:
        """Write the epoch's checkpoint and its row of the monitor."""
        self._check.finish()
        if not self.member.writes:
            return
        seconds = time.perf_counter() - self._started
        collapsed = bool(self.monitor.rows and self.monitor.collapse())
        row = self.monitor.end_epoch(
            learning_rate=self.optimizers().param_groups[0]["lr"],
            seconds=seconds,
            held_out=measure(self.model, self.batches, self.device),
            probes=self._look_at_labels(len(self.monitor.rows) + 1),
        )
        self._save(Progress(row.epoch))
        self.monitor.write(self.folder / "monitor.csv")
        if self._events is not None:
            self._events.add(row)
        if self.monitor.collapse() and not collapsed:
            log.warning("epoch %d: %s", row.epoch, self.monitor.collapse())
        log.debug("epoch %d: loss %.3f, %s", row.epoch, row.loss, self.monitor.sentence())

    def _look_at_labels(self, done: int) -> dict[str, float]:
        if self.probe is None or not self.probe.is_due(done, self.recipe.epochs):
            return {}
        return probe_labels(self.model, self.batches.store, self.probe, self.device)

    def _save(self, progress: Progress) -> None:
        """Write a checkpoint; the monitor is in it, since its rows and means end where the weights do."""
        self._check.finish()
        content = {
            "training": training_hash(self.folder),
            "model": self.model.state_dict(),
            "optimiser": self.trainer.optimizers[0].state_dict(),
            "monitor": self.monitor.state(),
            "seconds": time.perf_counter() - self._started if progress.steps else 0.0,
        }
        save_checkpoint(self.folder / "checkpoints", progress, content)
        self._cadence.saved()


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The batches of one epoch after the first ``done``, as Lightning wants them."""

    batches: Batches
    epoch: int
    done: int
    pinned: bool

    def __len__(self) -> int:
        return self.batches.steps - self.done

    def __iter__(self) -> Iterator[Batch]:
        return self.batches.epoch(self.epoch, self.done, pinned=self.pinned)
