"""One small training loop for the published methods beside ours: what differs between them is an objective.

Order of regions, dates and views are those of :mod:`mmgr.learn.pretrain`: functions of (seed, epoch, step) alone. So is
the learning rate. A killed training begins anew; these rows have no checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from mmgr.console import track
from mmgr.errors import MmgrError
from mmgr.learn.augment import make_views, seeded_draw
from mmgr.learn.data import Batch, Batches, Purpose, seed_for
from mmgr.learn.devices import choose_device
from mmgr.learn.recipes import Augmentation, Recipe
from mmgr.memory import kept_memory

PARTNERS = 20
"""Purpose of the random numbers that choose partners; those of :class:`mmgr.learn.data.Purpose` are smaller."""


class Objective(Protocol):
    """What is minimised."""

    def modules(self) -> nn.ModuleList:
        """Return all networks, for their mode and device."""

    def learned(self) -> list[nn.Parameter]:
        """Return the weights that the optimiser moves."""

    def loss(self, batch: Batch) -> Tensor:
        """Return the loss of a batch on the networks' device, a scalar."""

    def after_step(self, progress: float) -> None:
        """Do what follows each step of the optimiser, at a part of the training, ``0 < progress <= 1``."""


@dataclass(frozen=True, slots=True)
class Views:
    """Makes views as the recipe has them, from a seed."""

    recipe: Recipe
    seed: int

    def of(self, patches: Tensor, batch: Batch, number: int, choices: Augmentation | None = None) -> Tensor:
        """Return view ``number`` of the batch's patches, shape ``(B, H, W, C)`` to ``(B, C, crop, crop)``.

        ``choices`` replaces the recipe's augmentation.
        """
        seed = seed_for(Purpose.VIEWS, self.seed, batch.epoch, 8 * batch.step + number)
        drawn = seeded_draw(len(patches), choices or self.recipe.augmentation, seed)
        return make_views(patches, drawn, self.recipe.crop)


def partner_generator(seed: int, batch: Batch) -> np.random.Generator:
    """Return the generator that chooses the partners of a batch's regions."""
    return np.random.default_rng(np.random.SeedSequence([seed % 2**63, batch.epoch, batch.step, PARTNERS]))


def partner_patches(batches: Batches, rows: np.ndarray, random: np.random.Generator) -> Tensor:
    """Read one patch of each of some regions, of a random date, shape ``(B, H, W, C)``, uint8."""
    views = batches.store.patches(rows)
    return torch.from_numpy(np.stack([dates[random.integers(len(dates))] for dates in views]))


@kept_memory()
def train(objective: Objective, batches: Batches, recipe: Recipe, *, seed: int, device: str, what: str) -> None:
    """Train for the recipe's epochs with its optimiser; the networks end on the CPU, in evaluation mode.

    Raises
    ------
    MmgrError
        If the loss is no longer finite.
    """
    place, networks = choose_device(device), objective.modules()
    networks.to(place).train()
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    optimiser = kind(objective.learned(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    total = recipe.epochs * batches.steps
    steps = (batch for epoch in range(recipe.epochs) for batch in batches.epoch(epoch))
    for done, batch in enumerate(track(steps, what, total=total)):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate_at((done + 0.5) / total)
        (number,) = seed_for(Purpose.DROPOUT, seed, batch.epoch, batch.step).generate_state(1, np.uint64)
        with torch.random.fork_rng(devices=[place] if place.type == "cuda" else []):
            torch.manual_seed(int(number >> 1))
            loss = objective.loss(batch.to(place))
        if not math.isfinite(float(loss.detach())):
            raise MmgrError(
                f"the loss is {float(loss.detach())} in epoch {batch.epoch + 1}, step {batch.step + 1}; "
                "try a lower `pretrain.learning_rate`."
            )
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
        optimiser.step()
        objective.after_step((done + 1) / total)
    networks.cpu().eval()
