"""Encoders of a region's set of POIs, each with its distance; and the heads that train them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn.functional import embedding

from mmgr.learn.encoders import Set2Set

KNOTS = 12
"""Bumps on the axis of log distance that tell an encoder how far a POI is."""
NEAREST, FARTHEST = 50.0, 6400.0
"""Metres at which the first and the last bump stand."""
LEAST = 30.0
"""Metres that are added before the logarithm of a distance; below it, places of POIs are seldom exact."""
FIRST_FLOOR = -2.0
"""Log weight that an empty surrounding has at first, beside which a POI on the spot has about 0."""
LARGEST = 20.0
"""Largest logit of a POI, whose exponential float32 still adds up exactly enough."""


@dataclass(frozen=True, slots=True)
class PoiSets:
    """The ``k`` nearest POIs of ``n`` regions, the nearest first."""

    category: Tensor
    """Category of each, shape ``(n, k)``, int64."""
    distance: Tensor
    """Distance from the region's centre in metres, shape ``(n, k)``, float32."""

    def __len__(self) -> int:
        return len(self.category)

    def take(self, rows: Tensor | slice) -> PoiSets:
        """Return the sets of some regions."""
        return PoiSets(self.category[rows], self.distance[rows])

    def everything(self) -> Tensor:
        """Return the weight of each POI where none is left out, shape ``(n, 1, k)``."""
        return torch.ones_like(self.distance)[:, None]


def nearest_pois(
    centres: NDArray[np.float64], xy: NDArray[np.float64], category: NDArray[np.int32], neighbours: int
) -> PoiSets:
    """Find the POIs nearest to each centre.

    Parameters
    ----------
    centres, xy
        Places of the regions, shape ``(n, 2)``, and of the POIs, shape ``(m, 2)``, in metres.
    category
        Category of each POI, shape ``(m,)``.
    neighbours
        How many; all POIs where there are fewer.
    """
    # POIs of one place are told apart by nothing but their category: the order of the table must not matter
    order = np.lexsort((category, xy[:, 1], xy[:, 0]))
    distance, found = cKDTree(xy[order]).query(centres, np.arange(1, min(neighbours, len(xy)) + 1))
    return PoiSets(
        torch.from_numpy(category[order][found].astype(np.int64)), torch.from_numpy(distance.astype(np.float32))
    )


class AttentionPool(nn.Module):
    """Learned queries that look at a set at their own reach, and say how much they saw.

    Query ``h`` weighs POI ``i`` of category ``c`` at distance ``d`` by

        e_hi = w_i * exp(q_h . vector_c - d^2 / (2 r_h^2) + f_h(log d)),

    with a reach ``r_h`` and a function ``f_h`` of the distance of its own. It returns the log of the sum of
    the weights, and the mean of one learned value of the categories under them. A softmax alone would
    forget the sum, which is a density: how much there is is what a set of POIs tells best.

    Every query also sees a place without POIs, whose weight is learned; so an empty set has an answer.
    """

    def __init__(self, dimensions: int, queries: int, scales: tuple[float, ...]) -> None:
        super().__init__()
        self.features = 2 * queries
        self.query = nn.Linear(dimensions, queries)
        self.value = nn.Linear(dimensions, queries)
        # category vectors have length 1, so these queries differ by some units between categories
        nn.init.normal_(self.query.weight, std=2.0)
        nn.init.zeros_(self.query.bias)
        nn.init.normal_(self.value.weight)
        self.log_reach = nn.Parameter(torch.tensor([math.log(scales[h % len(scales)]) for h in range(queries)]))
        self.by_distance = nn.Parameter(torch.zeros(KNOTS, queries))
        self.floor = nn.Parameter(torch.full((queries,), FIRST_FLOOR))

    def forward(self, vectors: Tensor, sets: PoiSets, weight: Tensor) -> Tensor:
        """Read ``V`` views of ``B`` sets.

        Parameters
        ----------
        vectors
            Vectors of the categories, shape ``(categories, dimensions)``.
        sets
            ``B`` sets of ``k`` POIs.
        weight
            How many POIs each stands for in each view, 0 where it is left out, shape ``(B, V, k)``.

        Returns
        -------
        Shape ``(B, V, features)``.
        """
        # the weights of POIs are the same in all views, which are then but two products of matrices
        logits = embedding(sets.category, self.query(vectors))  # (B, k, H)
        logits = logits - 0.5 * (sets.distance[..., None] / self.log_reach.exp()).square()
        logits = logits + distance_bumps(sets.distance) @ self.by_distance
        seen = logits.clamp(max=LARGEST).exp()
        total = weight @ seen + self.floor.exp()  # (B, V, H)
        mean = weight @ (seen * embedding(sets.category, self.value(vectors))) / total
        return torch.cat([total.log(), mean], -1)


class SetReader(nn.Module):
    """Set2Set over the POIs of a set, each its category vector and its distance."""

    def __init__(self, dimensions: int, channels: int, steps: int) -> None:
        super().__init__()
        self.features = 2 * channels
        self.by_category = nn.Linear(dimensions, channels)
        self.by_distance = nn.Linear(KNOTS, channels)
        self.set2set = Set2Set(channels, steps)

    def forward(self, vectors: Tensor, sets: PoiSets, weight: Tensor) -> Tensor:
        """Read ``V`` views of ``B`` sets; arguments and result are those of :meth:`AttentionPool.forward`."""
        items = embedding(sets.category, self.by_category(vectors)) + self.by_distance(distance_bumps(sets.distance))
        size, views, _ = weight.shape
        region, view, place = weight.nonzero(as_tuple=True)  # (m,) each
        read = self.set2set(
            torch.relu(items)[region, place], region * views + view, weight[region, view, place], size * views
        )
        return read.reshape(size, views, -1)  # type: ignore[no-any-return]  # torch has no types here


class Projections(NamedTuple):
    """What heads make of ``V`` views of ``B`` regions."""

    vectors: Tensor
    """What is kept, shape ``(B, V, dimensions)``."""
    contrasted: Tensor
    """What the contrast compares, shape ``(B, V, projection)``."""
    densities: Tensor
    """Guess of the log densities, shape ``(B, V, targets)``."""


class PoiSetModel(nn.Module):
    """An encoder of sets, the vector that it ends in, and the two heads that are thrown away.

        set -> encoder -> standardise, tanh -> linear -> vector -> ReLU, linear -> contrast
                                                                -> linear       -> log densities

    Parameters
    ----------
    encoder
        :class:`AttentionPool` or :class:`SetReader`.
    dimensions
        Length of the vector.
    targets
        How many log densities are guessed.
    """

    def __init__(self, encoder: AttentionPool | SetReader, dimensions: int, targets: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.BatchNorm1d(encoder.features)
        self.to_vector = nn.Linear(encoder.features, dimensions)
        self.to_contrast = nn.Sequential(nn.ReLU(), nn.Linear(dimensions, 2 * dimensions))
        self.to_densities = nn.Linear(dimensions, targets)

    def forward(self, vectors: Tensor, sets: PoiSets, weight: Tensor) -> Projections:
        """Read ``V`` views of ``B`` sets; arguments are those of :meth:`AttentionPool.forward`."""
        read: Tensor = self.encoder(vectors, sets, weight)  # (B, V, features)
        # one odd downtown or one empty cell of sea must not decide everything
        squashed = torch.tanh(self.norm(read.flatten(0, 1))).view_as(read)
        made = self.to_vector(squashed)
        return Projections(made, self.to_contrast(made), self.to_densities(made))


def distance_bumps(distance: Tensor) -> Tensor:
    """Return how near each distance is to each of some distances, evenly spaced in logarithm, ``(..., KNOTS)``."""
    knots = torch.linspace(math.log(NEAREST), math.log(FARTHEST), KNOTS, device=distance.device)
    step = math.log(FARTHEST / NEAREST) / (KNOTS - 1)
    return torch.exp(-0.5 * (((distance + LEAST).log()[..., None] - knots) / step).square())


def thinned(sets: PoiSets, keep: float, generator: torch.Generator) -> Tensor:
    """Draw two thinnings of each set, as different as ``keep`` allows, shape ``(B, 2, k)``.

    Each keeps a POI with probability ``keep``; up to 0.5 no POI is in both. What is kept stands for ``1 / keep``
    POIs, so that densities are those of the whole set on average. A view that nothing is left of keeps nothing.
    """
    chance = torch.rand(sets.distance.shape, generator=generator)
    return torch.stack([chance < keep, chance >= 1 - keep], 1).float() / keep
