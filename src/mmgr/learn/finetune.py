"""Fine-tuning: the image encoder itself, or its last blocks, learns a label from the units of a fold.

It starts where the probe ends: a linear probe of the frozen features is the first head, since one of random weights
would first spoil the features (Kumar et al. 2022, arXiv 2202.10054). Then AdamW trains head and encoder, each block
more slowly than the one after it. The best epoch on units kept apart is taken; epoch 0, the probe, is one of them, so
that fine-tuning which helps nothing leaves the probe, fitted on all training units. Whoever calls brings the probe.

A unit is the weighted mean of its regions' features, as it is for probes. In training a unit of many regions is shown
by a few of them, drawn anew in each epoch by their weights; for its prediction all are seen. Views are whole
patches, turned and flipped as in pre-training, and nothing else: the label belongs to the whole region, and may depend
on its colours and its light.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from mmgr.config import Finetune
from mmgr.errors import MmgrError
from mmgr.learn.augment import make_views, seeded_draw
from mmgr.learn.data import Purpose, prefetched, seed_for
from mmgr.learn.devices import choose_device
from mmgr.learn.goals import Goal, Labels, goal_of
from mmgr.learn.held_out import evaluating
from mmgr.learn.label_probe import image_features
from mmgr.learn.layers import keep_statistics
from mmgr.learn.learner import Learner
from mmgr.learn.model import MultiModalModel
from mmgr.memory import kept_memory
from mmgr.store import RegionStore

SHOWN = 4
"""As many regions show a unit of many in a step of training."""
WARMUP = 0.1
"""Part of the training in which the learning rate rises from 0."""

STILL = 1e-3
"""Standard deviation, of standardised features, below which one does not vary."""

Rows = NDArray[np.int64]
Start = Callable[[Rows, NDArray[np.float32], NDArray[np.float32]], tuple[Labels, Labels]]
"""Fits a linear head: of units (as rows of the samples, shape ``(m,)``), their standardised features, shape ``(m, d)``,
and what the outputs should be, shape ``(m, k)``, it makes weights, shape ``(d, k)``, and intercepts, shape ``(k,)``.
Shares of classes are the softmax of the outputs."""


@dataclass(frozen=True, slots=True)
class Samples:
    """``u`` labelled units over the ``n`` regions of a store."""

    weights: sparse.csr_array
    """Share of each region in each unit, shape ``(u, n)``."""
    target: Labels
    """The label on the scale that is fitted and scored: a number, shape ``(u,)``, or the share of each class, shape
    ``(u, k)``."""
    beside: NDArray[np.float32]
    """Features that the head sees beside the image's, such as those of POIs and which group a unit is of, shape ``(u,
    P)``; NaN where unknown."""


@dataclass(frozen=True, slots=True)
class FoldResult:
    """What fine-tuning on a fold's training units predicts."""

    predicted: Labels
    """Of the units asked for: numbers on the target's scale and within the range of the training labels, or shares that
    sum to 1."""
    epoch: int
    """The epoch that was taken; 0 is the probe, which no epoch was better than."""
    losses: tuple[float, ...]
    """Loss on the units kept apart after each epoch, from epoch 0 on: the mean squared error in variances of the label,
    or the mean Kullback-Leibler divergence in nats."""


class FineTuner:
    """Fine-tunes copies of one model, fold by fold.

    Parameters
    ----------
    model
        A trained model; it is not changed.
    store
        The regions. Those without an image have no part in a unit.
    samples
        The labelled units.
    settings
        How.
    device
        `auto`, `cpu`, `cuda`, `cuda:1`.
    """

    def __init__(
        self, model: MultiModalModel, store: RegionStore, samples: Samples, settings: Finetune, *, device: str = "auto"
    ) -> None:
        self.device = choose_device(device)
        self.model = model.to(self.device).eval()
        self.store, self.samples, self.settings = store, samples, settings
        seen = sparse.csr_array(samples.weights * (store.views > 0))
        seen.eliminate_zeros()
        total = np.asarray(seen.sum(axis=1)).ravel()
        self.has_image = total > 0
        scale = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
        self.weights = sparse.csr_array(seen * scale[:, None])  # rows sum to 1, or to 0 without an image
        whole = {"area": (1.0, 1.0), "ratio": (1.0, 1.0), "gray": 0.0, "jitter": 0.0}
        self.views = model.recipe.augmentation.model_copy(update=whole)

    @kept_memory()
    def fold(self, train: Rows, stop: Rows, wanted: Rows, *, start: Start, seed: int) -> FoldResult:
        """Fine-tune on some units and predict others.

        Parameters
        ----------
        train, stop
            Units to learn from, and units of the training fold that choose the epoch; without the latter the last
            epoch is taken.
        wanted
            Units to predict; their labels are not looked at.
        start
            Fits the probe that the head starts as.
        seed
            Of the order of units, the regions and dates that show them, views and dropout.

        Raises
        ------
        MmgrError
            If features or the loss are not finite, or no training unit has an image.
        """
        labels = self.samples.target[np.concatenate([train, stop])]
        train, stop = train[self.has_image[train]], stop[self.has_image[stop]]
        if len(train) < 2:
            raise MmgrError(f"fine-tuning: {len(train)} training units have an image; at least 2 are needed.")
        goal = goal_of(self.samples.target[train])
        learner = self._begin(start, goal, train)
        optimiser = learner.optimiser(self.settings)
        losses = [self._error(learner, goal, stop)] if len(stop) else []
        epoch, best = 0, learner.snapshot()
        for done in range(1, self.settings.epochs + 1):
            self._learn(learner, goal, optimiser, train, done - 1, seed)
            if len(stop):
                losses.append(self._error(learner, goal, stop))
            if not len(stop) or losses[-1] < losses[epoch]:
                epoch, best = done, learner.snapshot()
            elif done - epoch >= self.settings.patience:
                break
        if epoch:
            learner.load_state_dict(best)
        else:
            every = np.sort(np.concatenate([train, stop]))
            goal = goal_of(self.samples.target[every])
            learner = self._begin(start, goal, every)
        # without an image nothing is known of a unit but what is usual
        predicted = np.repeat(labels.mean(axis=0, keepdims=True), len(wanted), axis=0)
        known = self.has_image[wanted]
        if known.any():
            predicted[known] = goal.predicted(self._outputs(learner, wanted[known]))
        if labels.ndim == 1:
            predicted = np.clip(predicted, labels.min(), labels.max())
        return FoldResult(predicted, epoch, tuple(losses))

    @cached_property
    def frozen(self) -> NDArray[np.float32]:
        """Image features of all units before any fine-tuning, shape ``(u, F)``: the same for all folds."""
        return self._features(self.model, np.arange(len(self.has_image)))

    def _features(self, model: MultiModalModel, units: Rows) -> NDArray[np.float32]:
        """Return the image features of units, shape ``(len(units), F)``; zeros without an image."""
        weights = self.weights[units]
        regions = np.unique(weights.indices).astype(np.int64)
        with evaluating(model):
            parts = [part for _, part in image_features(model, self.store, regions, self.device)]
        found = np.concatenate(parts) if parts else np.zeros((0, model.image_features), np.float32)
        if not np.isfinite(found).all():
            if model is self.model:
                raise MmgrError(
                    "the features of the model that fine-tuning begins with are not finite: its weights, or what it is "
                    "shown, are spoilt. Use another `pretrain.bundle` or `pretrain.weights`, or train it anew: `mmgr "
                    "pretrain --force`."
                )
            raise _gone_astray("the features of whole units in fine-tuning are not finite")
        return np.asarray(weights[:, regions] @ found, np.float32)

    def _begin(self, start: Start, goal: Goal, train: Rows) -> Learner:
        """Begin with a probe of frozen features, fitted on training units."""
        inputs = np.concatenate([self.frozen[train], self.samples.beside[train]], axis=1)
        learner = Learner(self.model, inputs, goal.outputs).to(self.device)
        with torch.no_grad():
            X = learner.standardised(torch.from_numpy(inputs).to(self.device)).cpu().numpy()
            X[:, X.std(axis=0) < STILL] = 0.0  # no weight: in training it may come to vary by any amount
            weights, intercepts = start(train, X, goal.wanted(self.samples.target[train]))
            learner.head.weight.copy_(torch.from_numpy(np.ascontiguousarray(weights.T)))
            learner.head.bias.copy_(torch.from_numpy(intercepts))
        return learner

    def _learn(
        self, learner: Learner, goal: Goal, optimiser: torch.optim.Optimizer, train: Rows, epoch: int, seed: int
    ) -> None:
        """Train one epoch."""
        learner.model.image_encoder.train()
        keep_statistics(learner.model.image_encoder)
        steps = self._steps(train, epoch, seed)
        count = -(-len(train) // self.settings.batch_size)
        target = goal.wanted(self.samples.target)
        for step, (units, shown, patches) in enumerate(prefetched(steps)):
            progress = (epoch * count + step + 0.5) / (self.settings.epochs * count)
            for group in optimiser.param_groups:
                group["lr"] = group["rate"] * _rate_at(progress)
            drawn = seeded_draw(len(patches), self.views, seed_for(Purpose.VIEWS, seed, epoch, step))
            views = make_views(patches.to(self.device), drawn, self.model.whole_edge)
            with _seeded(seed_for(Purpose.DROPOUT, seed, epoch, step), self.device):
                features = learner.model.encode_images(views)  # (m, F)
            place = f"in epoch {epoch + 1}, step {step + 1}"
            if not torch.isfinite(features).all():  # the head would take them for the training mean
                raise _gone_astray(f"the loss of fine-tuning is nan {place}: the encoder's features are not finite")
            beside = torch.from_numpy(self.samples.beside[units]).to(self.device)
            found = learner.learning(torch.from_numpy(shown).to(self.device) @ features, beside)
            loss = goal.loss(found, torch.from_numpy(target[units]).to(self.device))
            if not torch.isfinite(loss):
                raise _gone_astray(f"the loss of fine-tuning is {float(loss.detach())} {place}")
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call] # torch has no types here
            optimiser.step()

    def _steps(self, train: Rows, epoch: int, seed: int) -> Iterator[tuple[Rows, NDArray[np.float32], Tensor]]:
        """Yield units, the weights of the regions that show them, shape ``(B, m)``, and a patch of each region."""
        order = np.random.default_rng(seed_for(Purpose.ORDER, seed, epoch)).permutation(train)
        for step, start in enumerate(range(0, len(order), self.settings.batch_size)):
            random = np.random.default_rng(seed_for(Purpose.DATES, seed, epoch, step))
            units = order[start : start + self.settings.batch_size]
            regions, shown = _shown(self.weights[units], random)
            patches = [views[random.integers(len(views))] for views in self.store.patches(regions)]
            yield units, shown, torch.from_numpy(np.stack(patches))

    def _error(self, learner: Learner, goal: Goal, units: Rows) -> float:
        return goal.error(self._outputs(learner, units), self.samples.target[units])

    def _outputs(self, learner: Learner, units: Rows) -> NDArray[np.float64]:
        """Return the head's outputs for all regions of units, shape ``(len(units), k)``."""
        features = torch.from_numpy(self._features(learner.model, units)).to(self.device)
        with torch.no_grad():
            found = learner(features, torch.from_numpy(self.samples.beside[units]).to(self.device))
        return np.asarray(found.double().cpu().numpy(), np.float64)


def _gone_astray(what: str) -> MmgrError:
    """Return the error of a training that leads nowhere."""
    return MmgrError(f"{what}; set a lower `finetune.learning_rate`.")


def _shown(weights: sparse.csr_array, random: np.random.Generator) -> tuple[Rows, NDArray[np.float32]]:
    """Choose the regions that show each of ``B`` units, and what they weigh in it, shape ``(B, m)``."""
    regions, shown = [], []
    for unit in range(weights.shape[0]):
        own = slice(weights.indptr[unit], weights.indptr[unit + 1])
        names, share = weights.indices[own], weights.data[own]
        if len(names) > SHOWN:  # drawn by weight, each counts as much: their mean is right on average
            names = random.choice(names, SHOWN, p=share / share.sum())
            share = np.full(SHOWN, 1 / SHOWN)
        regions.append(names)
        shown.append(share)
    table = np.zeros((len(regions), sum(map(len, regions))), np.float32)
    ends = np.cumsum([len(names) for names in regions])
    for row, (share, end) in enumerate(zip(shown, ends, strict=True)):
        table[row, end - len(share) : end] = share
    return np.concatenate(regions).astype(np.int64), table


def _rate_at(progress: float) -> float:
    """Return the part of the learning rate at a part of the training: a rise, then half a cosine."""
    if progress < WARMUP:
        return progress / WARMUP
    return 0.5 * (1 + math.cos(math.pi * (progress - WARMUP) / (1 - WARMUP)))


@contextlib.contextmanager
def _seeded(seed: np.random.SeedSequence, device: torch.device) -> Iterator[None]:
    """Let dropout draw from a seed of its own, and leave the global generator as it was."""
    (number,) = seed.generate_state(1, np.uint64)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(number >> 1))
        yield
