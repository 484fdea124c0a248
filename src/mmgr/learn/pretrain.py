"""Pre-training: the loop, its checkpoints, and how it is resumed to the same bits.

Nothing random depends on what came before: the order of regions, their dates, their views and dropout are
functions of (seed, epoch, step), the learning rate is one of the step. So the weights, the optimiser and the
number of epochs done are all that a checkpoint needs, and a killed run ends as one never killed would.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr.console import log, track
from mmgr.errors import ArtefactError, ConfigError, MmgrError
from mmgr.files import write_aside
from mmgr.learn.augment import draw, make_views
from mmgr.learn.data import Batch, Batches, Purpose, seed_for
from mmgr.learn.model import MultiModalModel, choose_device, seeded_model, uses_bfloat16
from mmgr.learn.monitor import EpochRow, Monitor
from mmgr.learn.recipes import Recipe
from mmgr.learn.resume import checkpoint_path, checkpoints, claim, identity, newest_intact
from mmgr.store import RegionStore

if TYPE_CHECKING:  # Numba, which fits category vectors, loads slowly
    from mmgr.categories import CategoryVectors

KEPT_CHECKPOINTS = 2
"""The newest, and one to fall back on."""


def pretrain(
    store: RegionStore,
    vectors: CategoryVectors | None,
    recipe: Recipe,
    *,
    folder: Path,
    seed: int,
    device: str = "auto",
) -> MultiModalModel:
    """Train the encoders without labels, or go on from the newest intact checkpoint in ``folder``.

    Parameters
    ----------
    store
        Regions with patches and POIs.
    vectors
        Category vectors of the store's taxonomy; may be None for a recipe without POIs.
    recipe
        Every choice.
    folder
        Gets ``run.json`` (what is trained), ``checkpoints/`` and ``monitor.csv``.
    seed
        Decides everything random.
    device
        `auto`, `cpu`, `cuda`, `cuda:1`.

    Returns
    -------
    The trained model, in evaluation mode, on the CPU.

    Raises
    ------
    ConfigError
        If the recipe needs POIs and the store has none.
    OtherTrainingError
        If ``folder`` holds another training.
    ArtefactError
        If the store has too few regions.
    MmgrError
        If the loss is no longer finite; names the batch's regions.
    """
    place = choose_device(device)
    table = _category_table(store, vectors, recipe)
    batches = Batches(store, recipe, seed)
    claim(folder, identity(store, table, recipe, seed, bfloat16=uses_bfloat16(recipe, place)))
    model = seeded_model(recipe, table, store.info.bands, seed)
    model.standardise_densities(store.bags)
    training = Training(model, batches, seed, folder)
    if recipe.epochs:
        log.info("recipe %s on %d regions: %s", recipe.name, len(batches.rows), recipe.model_dump(exclude={"name"}))
        with _quiet_lightning():
            training.run(place)
        log.info("pre-training ended: %s", training.monitor.sentence())
    return model.cpu().eval()


class Training(pl.LightningModule):  # type: ignore[misc]  # Lightning has no types here
    """One step, one epoch, one checkpoint of pre-training; Lightning has the loop."""

    def __init__(self, model: MultiModalModel, batches: Batches, seed: int, folder: Path) -> None:
        super().__init__()
        self.model, self.batches, self.recipe, self.seed = model, batches, model.recipe, seed
        self.monitor = Monitor()
        self.folder = folder
        self._bar: Iterator[int] = iter(())
        self._started = 0.0

    def run(self, device: torch.device) -> None:
        """Train all epochs that are not done."""
        trainer = pl.Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=1 if device.index is None else [device.index],
            max_epochs=self.recipe.epochs,
            reload_dataloaders_every_n_epochs=1,  # each epoch has its own order
            default_root_dir=self.folder,
            # logs, checkpoints and bars are our own
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        done, checkpoint = newest_intact(self.folder / "checkpoints")
        steps = range(done * self.batches.steps, self.recipe.epochs * self.batches.steps)
        self._bar = track(steps, "pre-training")
        next(self._bar, None)
        try:
            trainer.fit(self, ckpt_path=checkpoint)
        finally:
            self._bar = iter(())  # takes the bar away

    # the step

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the loss of a batch."""
        views = self._view(batch.first, batch, 0), self._view(batch.second, batch, 1)
        with self._seeded_dropout(batch):
            parts = self.model.losses(views, batch.pois, batch.not_negative, batch.near)
        if not torch.isfinite(parts.total):
            names = ", ".join(str(name) for name in self.batches.store.regions.index[batch.rows])
            raise MmgrError(
                f"the loss is {float(parts.total.detach())} in epoch {batch.epoch + 1}, step {index + 1}. "
                f"Try a lower `pretrain.learning_rate` or `precision: fp32`; the batch's regions are {names}."
            )
        self.monitor.add(parts, len(batch.rows))
        return parts.total

    def _view(self, patches: Tensor, batch: Batch, number: int) -> Tensor:
        """Make one view of each patch, shape ``(B, C, crop, crop)``."""
        (seed,) = seed_for(Purpose.VIEWS, self.seed, batch.epoch, 2 * batch.step + number).generate_state(1, np.uint64)
        generator = torch.Generator().manual_seed(int(seed >> 1))
        return make_views(patches, draw(len(patches), self.recipe.augmentation, generator), self.recipe.crop)

    @contextlib.contextmanager
    def _seeded_dropout(self, batch: Batch) -> Iterator[None]:
        (seed,) = seed_for(Purpose.DROPOUT, self.seed, batch.epoch, batch.step).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(seed >> 1))
            yield

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Make the optimiser; the learning rate is set step by step."""
        kind = torch.optim.AdamW if self.recipe.optimiser == "adamw" else torch.optim.Adam
        learned = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return kind(learned, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Set the learning rate of this step."""
        done = batch.epoch * self.batches.steps + batch_idx
        # the middle of the step: neither the first step of a warm-up nor the last of a cosine is 0
        rate = self.recipe.learning_rate_at((done + 0.5) / (self.recipe.epochs * self.batches.steps))
        for group in self.optimizers().param_groups:
            group["lr"] = rate

    def on_train_batch_end(self, *_: Any) -> None:
        """Move the bar."""
        next(self._bar, None)

    # the data

    def train_dataloader(self) -> Iterable[Batch]:
        """Return the batches of the current epoch."""
        return _Epoch(self.batches, self.current_epoch)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:  # noqa: ARG002 - Lightning's name
        """Move a batch."""
        return batch.to(device)

    # the epoch

    def on_train_epoch_start(self) -> None:
        """Start the clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """Write the epoch's checkpoint and its row of the monitor."""
        seconds = time.perf_counter() - self._started
        row = self.monitor.end_epoch(learning_rate=self.optimizers().param_groups[0]["lr"], seconds=seconds)
        folder = self.folder / "checkpoints"
        with write_aside(checkpoint_path(folder, row.epoch)) as aside:
            self.trainer.save_checkpoint(aside)
        for _, old in checkpoints(folder)[KEPT_CHECKPOINTS:]:
            old.unlink()
        self.monitor.write(self.folder / "monitor.csv")
        log.debug("epoch %d: loss %.3f, %s", row.epoch, row.loss, self.monitor.sentence())

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the monitor with the weights: its rows end where they do."""
        checkpoint["monitor"] = [asdict(row) for row in self.monitor.rows]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with the monitor of the checkpoint."""
        self.monitor = Monitor([EpochRow(**row) for row in checkpoint["monitor"]])


@dataclass(frozen=True, slots=True)
class _Epoch:
    """The batches of one epoch, as Lightning wants them."""

    batches: Batches
    epoch: int

    def __len__(self) -> int:
        return self.batches.steps

    def __iter__(self) -> Iterator[Batch]:
        return self.batches.epoch(self.epoch)


def _category_table(store: RegionStore, vectors: CategoryVectors | None, recipe: Recipe) -> NDArray[np.float32] | None:
    """Return the category vectors that the recipe needs, checked against the store."""
    if not recipe.uses_pois:
        return None
    if vectors is None or not store.bags.present.any():
        raise ConfigError(
            f"the recipe {recipe.name} contrasts images with POIs, but {store.path} has none; add `pois`, or set "
            "`pretrain.recipe: simclr`, which learns from images alone."
        )
    if vectors.taxonomy != store.info.taxonomy:
        raise ArtefactError(
            f"the category vectors are of {len(vectors.taxonomy)} other categories than the "
            f"{len(store.info.taxonomy)} of {store.path}; run `mmgr categories` again."
        )
    return vectors.vectors


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning from telling of devices and of its paid services."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Lightning 2.6 asks PyTorch 2.15 in a way that it will drop
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
