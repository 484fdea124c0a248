"""BYOL: one network predicts what a slow average of itself says of another view (Grill et al. 2020).

    online:  view -> encoder -> projector -> predictor -> q
    target:  view -> encoder -> projector -> z          weights: moving average of the online ones, no gradient

    loss = 2 - 2 cos(q(v1), z(v2)), and the same with the views swapped

There are no negatives. What is kept is the online encoder.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from mmgr.benchmark.loop import Views, train
from mmgr.benchmark.rows import Context, Made
from mmgr.learn.data import Batch, Batches
from mmgr.learn.embed import embed
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.recipes import Recipe

MOMENTUM = 0.99
"""Of the moving average at first, rising to 1 as a cosine; the paper's for trainings of a few hundred epochs."""
HIDDEN, PROJECTION = 1024, 256
"""Width of the two heads; the paper has 4096 and 256, for a ResNet-50."""


class Byol:
    """The objective; the model's image head takes the place of the projector.

    Parameters
    ----------
    model
        The online network, of a recipe for images alone.
    views
        Makes the two views.
    seed
        Of the heads' first weights.
    """

    def __init__(self, model: MultiModalModel, views: Views, seed: int) -> None:
        self.views = views
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model.image_head = _head(model.image_features)
            self.predictor = _head(PROJECTION)
        self.online = model
        self.target = copy.deepcopy(model).requires_grad_(requires_grad=False)

    def modules(self) -> nn.ModuleList:
        """Return all networks; the target normalises by its batches, too."""
        return nn.ModuleList([self.online, self.predictor, self.target])

    def learned(self) -> list[nn.Parameter]:
        """Return the online weights."""
        networks = (self.online.image_encoder, self.online.image_head, self.predictor)
        return [weight for network in networks for weight in network.parameters()]

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean over regions of both directions, between 0 and 8."""
        v1, v2 = self.views.of(batch.first, batch, 0), self.views.of(batch.second, batch, 1)
        q1, q2 = (self.predictor(_project(self.online, view)) for view in (v1, v2))  # (B, 256) each
        with torch.no_grad():
            z1, z2 = (_project(self.target, view) for view in (v1, v2))
        return (2 - 2 * cosine_similarity(q1, z2) + 2 - 2 * cosine_similarity(q2, z1)).mean()

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the target: ``target = tau * target + (1 - tau) * online`` (eq. 1), ``tau`` rising to 1."""
        tau = 1 - (1 - MOMENTUM) * (math.cos(math.pi * progress) + 1) / 2
        for slow, fast in zip(self.target.parameters(), self.online.parameters(), strict=True):
            slow.lerp_(fast, 1 - tau)


def byol(context: Context) -> Made:
    """Train BYOL and return the online encoder's features."""
    recipe, store = context.recipe, context.store
    batches = Batches(store, recipe, context.seed)
    objective = _new(recipe, store.info.bands, context.seed)
    train(objective, batches, recipe, seed=context.seed, device=context.device, what="BYOL")
    vectors = embed(objective.online, store, recipe, device=context.device).image
    return Made(vectors, sum(weight.numel() for weight in objective.learned()), f"momentum {MOMENTUM} to 1")


def _new(recipe: Recipe, bands: int, seed: int) -> Byol:
    return Byol(seeded_model(recipe, None, bands, seed), Views(recipe, seed), seed + 1)


def _project(model: MultiModalModel, views: Tensor) -> Tensor:
    projected: Tensor = model.image_head(model.encode_images(views))
    return projected


def _head(features: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(features, HIDDEN, bias=False), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, PROJECTION)
    )
