"""PG-SimCLR: an image's positive is the image of another region with like POIs (Xi et al. 2022).

The contrast is SimCLR's. Likeness is the cosine of log counts of POIs, weighted by rarity
(:func:`mmgr.learn.negatives.poi_vectors`). A region without POIs has its own second view as positive. Regions that were
drawn as the same positive, or are each other's, are no negatives of each other.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgr.benchmark.loop import Views, partner_generator, partner_patches, train
from mmgr.benchmark.rows import Context, LeftOut, Made
from mmgr.learn.data import Batch, Batches
from mmgr.learn.embed import embed
from mmgr.learn.losses import nt_xent
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.negatives import poi_vectors
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore

ALIKE = 10
"""A positive is drawn from as many regions, those with the most like POIs."""
CHUNK = 1024
"""Regions whose likeness to all others is in memory at a time."""


class PgSimclr:
    """The objective."""

    def __init__(self, model: MultiModalModel, batches: Batches, views: Views) -> None:
        self.model, self.batches, self.views = model, batches, views
        self.alike = alike_regions(batches.store, batches.rows)

    def modules(self) -> nn.ModuleList:
        """Return the network."""
        return nn.ModuleList([self.model])

    def learned(self) -> list[nn.Parameter]:
        """Return all weights."""
        return list(self.model.parameters())

    def loss(self, batch: Batch) -> Tensor:
        """Return the contrast of first views with views of their partners."""
        random = partner_generator(self.views.seed, batch)
        partner = self.partners(batch.rows, random)
        place = batch.first.device
        own = torch.from_numpy(partner == batch.rows).to(place)[:, None, None, None]
        patches = torch.where(own, batch.second, partner_patches(self.batches, partner, random).to(place))
        views = torch.cat([self.views.of(batch.first, batch, 0), self.views.of(patches, batch, 1)])
        z1, z2 = self.model.image_head(self.model.encode_images(views)).chunk(2)  # (B, 128) each
        same = torch.from_numpy(no_negatives(batch.rows, partner)).to(place)
        return nt_xent(z1, z2, temperature=self.views.recipe.temperature, not_negative=same).loss

    def partners(self, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Draw a region with like POIs for each, or itself where it has none, shape ``(B,)``."""
        found = self.alike[rows]
        count = (found >= 0).sum(1)
        drawn = found[np.arange(len(rows)), (random.random(len(rows)) * np.maximum(count, 1)).astype(np.int64)]
        return np.asarray(np.where(count > 0, drawn, rows), np.int64)

    def after_step(self, progress: float) -> None:
        """Do nothing."""


def alike_regions(store: RegionStore, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the regions among ``rows`` whose POIs are most like each region's, shape ``(n, ALIKE)``; -1 for none."""
    vectors = poi_vectors(store.bags, len(store.info.taxonomy))
    pool = vectors[rows].T.tocsc()
    found = np.full((len(store), ALIKE), -1, np.int64)
    for start in range(0, len(rows), CHUNK):
        own = rows[start : start + CHUNK]
        likeness = (vectors[own] @ pool).toarray()  # (chunk, rows)
        likeness[np.arange(len(own)), start + np.arange(len(own))] = 0  # a region is not its own partner
        best = np.argsort(-likeness, axis=1, kind="stable")[:, :ALIKE]
        some = np.take_along_axis(likeness, best, axis=1) > 0
        found[own, : best.shape[1]] = np.where(some, rows[best], -1)
    return found


def no_negatives(rows: NDArray[np.int64], partner: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Say which pairs of a batch share a region, be it their own or their partner, shape ``(B, B)``, symmetric."""
    pairs = np.stack([rows, partner], axis=1)  # (B, 2)
    return np.asarray((pairs[:, None, :, None] == pairs[None, :, None, :]).any((2, 3)))


def pg_simclr(context: Context) -> Made:
    """Train PG-SimCLR and return the encoder's features; POIs have a part in the training alone."""
    recipe, store = context.recipe, context.store
    if not store.bags.present.any():
        raise LeftOut("no region has a POI")
    batches = Batches(store, recipe, context.seed)
    objective = _new(recipe, batches, context.seed)
    train(objective, batches, recipe, seed=context.seed, device=context.device, what="PG-SimCLR")
    vectors = embed(objective.model, store, recipe, device=context.device).image
    return Made(vectors, sum(weight.numel() for weight in objective.learned()), f"one of {ALIKE} alike regions")


def _new(recipe: Recipe, batches: Batches, seed: int) -> PgSimclr:
    return PgSimclr(seeded_model(recipe, None, batches.store.info.bands, seed), batches, Views(recipe, seed))
