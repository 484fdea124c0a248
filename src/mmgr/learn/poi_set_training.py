"""Training of an encoder of POI sets: two halves of one region's POIs should agree."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import mse_loss
from torch.optim import AdamW
from torch.optim.lr_scheduler import OneCycleLR

from mmgr.contexts.estimators import FLOOR
from mmgr.learn.losses import nt_xent
from mmgr.learn.poi_set_data import PoiParts, PoiSets, thinned
from mmgr.learn.poi_set_encoders import AttentionPool, KernelPool, PoiSetModel, Projections, SetReader

CHUNK = 512
"""Regions that are encoded at once; a bound on memory."""
CHANNELS, READS = 64, 3
"""Width of an item that Set2Set reads, and how often it reads."""
QUERIES = 64
"""Learned queries of the attention."""
MOST_GRADIENT = 1.0
"""Length that gradients are cut to: one odd batch must not undo many."""
WARM_UP = 0.1
"""Share of the steps in which the step size rises."""


@dataclass(frozen=True, slots=True)
class SetTraining:
    """The choices of a training; see :class:`mmgr.learn.poi_sets.PoiSetVectors` for what they mean."""

    steps: int
    batch_size: int
    temperature: float
    learning_rate: float
    keep: float
    contrast: float
    side: float
    apart: float
    seed: int


def new_model(
    encoder: str,
    sets: PoiSets | PoiParts,
    target: Tensor,
    *,
    category_dimensions: int,
    dimensions: int,
    scales: tuple[float, ...],
    seed: int,
) -> PoiSetModel:
    """Make a model whose first weights depend on data and seed alone; the global generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(sets, PoiParts):
            # the guess is of what the whole set reads as, so that principal components are a start for both
            model = PoiSetModel(KernelPool(sets.densities.sum(1), FLOOR), dimensions, target.shape[1])
            model.start_from_components(target)
            return model
        if encoder == "set2set":
            return PoiSetModel(SetReader(category_dimensions, CHANNELS, READS), dimensions, target.shape[1])
        return PoiSetModel(AttentionPool(category_dimensions, QUERIES, scales), dimensions, target.shape[1])


def train(
    model: PoiSetModel,
    vectors: Tensor,
    sets: PoiSets | PoiParts,
    centres: Tensor,
    target: Tensor,
    settings: SetTraining,
) -> NDArray[np.float32]:
    """Train a model in place.

    Parameters
    ----------
    model
        What is trained.
    vectors
        Vectors of the categories, shape ``(categories, d)``; they stay as they are.
    sets
        POIs of the ``n`` regions.
    centres
        Their centres in metres, shape ``(n, 2)``.
    target
        Log densities that the side task guesses, shape ``(n, targets)``.
    settings
        How.

    Returns
    -------
    Contrast, its chance and the side task's error at each step, shape ``(steps, 3)``.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    # fused and foreach steps differ in their last bits between machines; one loop does not
    optimiser = AdamW(model.parameters(), settings.learning_rate, foreach=False)
    schedule = OneCycleLR(optimiser, settings.learning_rate, total_steps=settings.steps + 1, pct_start=WARM_UP)
    model.train()
    seen = np.zeros((settings.steps, 3), np.float32)
    for step, rows in enumerate(batches(len(sets), settings, generator)):
        some = sets.take(rows)
        made = model(vectors, some, thinned(some, settings.keep, generator))
        loss, seen[step] = _loss(made, centres[rows], target[rows], settings)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no types here
        torch.nn.utils.clip_grad_norm_(model.parameters(), MOST_GRADIENT, foreach=False)
        optimiser.step()
        schedule.step()
    return seen


@torch.no_grad()
def encode(model: PoiSetModel, vectors: Tensor, sets: PoiSets | PoiParts) -> NDArray[np.float32]:
    """Return the vector of each whole set, shape ``(n, dimensions)``."""
    model.eval()
    parts = [sets.take(slice(start, start + CHUNK)) for start in range(0, len(sets), CHUNK)]
    made = [model(vectors, part, part.everything()).vectors[:, 0] for part in parts]
    return np.asarray(torch.cat(made).numpy(), np.float32)


def batches(regions: int, settings: SetTraining, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the rows of each step; a region comes again only when fewer than a batch have not come."""
    size = min(settings.batch_size, regions)
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(settings.steps):
        if len(waiting) < size:
            waiting = torch.randperm(regions, generator=generator)
        yield waiting[:size]
        waiting = waiting[size:]


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute in one thread of torch inside, so that sums have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _loss(
    made: Projections, centres: Tensor, target: Tensor, settings: SetTraining
) -> tuple[Tensor, tuple[float, float, float]]:
    """Return the loss of a batch, and its parts as numbers."""
    near = torch.cdist(centres, centres) < settings.apart  # (B, B)
    contrast = nt_xent(
        made.contrasted[:, 0], made.contrasted[:, 1], temperature=settings.temperature, not_negative=near
    )
    error = mse_loss(made.densities, target[:, None].expand_as(made.densities))
    loss = settings.contrast * contrast.loss + settings.side * error
    return loss, (contrast.loss.item(), contrast.chance.item(), error.item())
