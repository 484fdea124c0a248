"""Tile2Vec: tiles that lie near each other should look alike, distant ones should not (Jean et al. 2019).

    loss = max(0, |f(anchor) - f(near)|^2 - |f(anchor) - f(distant)|^2 + margin) + l2 * mean |f|^2

after the authors' code. What differs: tiles are the regions' patches, not cut anywhere; a near tile is that of one of a
few near regions, and where a region has none within reach, another crop of its own patch.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn

from mmgr.benchmark.loop import Views, partner_generator, partner_patches, train
from mmgr.benchmark.rows import Context, Made
from mmgr.learn.data import Batch, Batches
from mmgr.learn.embed import embed
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.recipes import Augmentation

MARGIN = 10.0
"""By how much a distant tile is to lie further away, in squared distance of features."""
L2 = 0.01
"""Weight of the features' squared length, lest they grow without bound."""
NEAR = 8
"""At most as many neighbours: the ring around a cell of a grid."""
REACH = 1.5
"""How far centres of near regions lie apart, in edges of a region: cells that share an edge or a corner."""
TURNS = Augmentation(area=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0, gray=0.0, vertical_flip=0.5, quarter_turns=True)
"""Tiles are flipped and turned, and nothing else."""
CROPS = TURNS.model_copy(update={"area": (0.5, 1.0), "ratio": (3 / 4, 4 / 3)})
"""What stands in for a near tile where there is none."""


class Neighbours:
    """Draws a near and a distant region for each of a batch.

    Parameters
    ----------
    centres
        Centres of all regions in metres, shape ``(n, 2)``.
    rows
        The regions that may be drawn, shape ``(m,)``.
    edge
        Edge of a region in metres.
    """

    def __init__(self, centres: NDArray[np.float64], rows: NDArray[np.int64], edge: float) -> None:
        self.rows = rows
        count = min(NEAR + 1, len(rows))
        distance, found = cKDTree(centres[rows]).query(centres, k=np.arange(1, count + 1))
        found = rows[found]
        near = (distance <= REACH * edge) & (found != np.arange(len(centres))[:, None])
        self._near = [own[some] for own, some in zip(found, near, strict=True)]

    def near(self, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Return a near region of each, or itself where it has none, shape ``(B,)``."""
        return np.array([random.choice(self._near[row]) if len(self._near[row]) else row for row in rows], np.int64)

    def distant(self, rows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
        """Return a region of each that is neither itself nor near, shape ``(B,)``; any other where all are near."""
        return np.array([self._far(int(row), random) for row in rows], np.int64)

    def _far(self, row: int, random: np.random.Generator) -> int:
        out = np.setdiff1d(self.rows, [*self._near[row], row])
        return int(random.choice(out if len(out) else np.setdiff1d(self.rows, [row])))


class Tile2Vec:
    """The objective, on the encoder's features themselves."""

    def __init__(self, model: MultiModalModel, batches: Batches, centres: NDArray[np.float64], views: Views) -> None:
        self.model, self.batches, self.views = model, batches, views
        self.neighbours = Neighbours(centres, batches.rows, batches.store.info.edge)

    def modules(self) -> nn.ModuleList:
        """Return the network."""
        return nn.ModuleList([self.model])

    def learned(self) -> list[nn.Parameter]:
        """Return the encoder's weights."""
        return list(self.model.image_encoder.parameters())

    def loss(self, batch: Batch) -> Tensor:
        """Return the mean loss of the batch's triplets."""
        random = partner_generator(self.views.seed, batch)
        near, far = self.neighbours.near(batch.rows, random), self.neighbours.distant(batch.rows, random)
        place = batch.first.device
        patches = [partner_patches(self.batches, rows, random).to(place) for rows in (near, far)]
        own = torch.from_numpy(near == batch.rows).to(place)[:, None, None, None]
        anchor = self.views.of(batch.first, batch, 0, TURNS)
        other = self.views.of(patches[0], batch, 1, TURNS)
        if bool(own.any()):
            other = torch.where(own, self.views.of(batch.first, batch, 3, CROPS), other)
        distant = self.views.of(patches[1], batch, 2, TURNS)
        return triplet_loss(*self.model.encode_images(torch.cat([anchor, other, distant])).chunk(3))

    def after_step(self, progress: float) -> None:
        """Do nothing."""


def triplet_loss(anchor: Tensor, near: Tensor, distant: Tensor) -> Tensor:
    """Return the loss of ``B`` triplets of features, shape ``(B, F)`` each."""
    apart = (anchor - near).square().sum(1) - (anchor - distant).square().sum(1)  # (B,)
    length = sum(features.square().sum(1) for features in (anchor, near, distant)) / 3
    return (apart + MARGIN).clamp(min=0).mean() + L2 * torch.as_tensor(length).mean()


def tile2vec(context: Context) -> Made:
    """Train Tile2Vec and return the encoder's features."""
    recipe, store = context.recipe, context.store
    batches = Batches(store, recipe, context.seed)
    model = seeded_model(recipe, None, store.info.bands, context.seed)
    objective = Tile2Vec(model, batches, context.centres, Views(recipe, context.seed))
    train(objective, batches, recipe, seed=context.seed, device=context.device, what="Tile2Vec")
    vectors = embed(objective.model, store, recipe, device=context.device).image
    note = f"whole patches, flipped and turned; margin {MARGIN:g}"
    return Made(vectors, sum(weight.numel() for weight in objective.learned()), note)
