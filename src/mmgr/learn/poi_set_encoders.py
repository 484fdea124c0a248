"""Encoders of a region's set of POIs, each with its distance; and the heads that train them."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from mmgr.learn.poi_set_data import PoiParts, PoiSets
from mmgr.learn.set_pools import Set2Set

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

LEAST_SHARE = 1e-6
"""Share of the largest variance below which a principal component is none."""


class KernelPool(nn.Module):
    """A set summed under fixed Gaussians, group by group: log densities, standardised.

    The sum over a set of a function of each member is the general form of what does not depend on the order
    (Zaheer et al. 2017, theorem 2). Here the function is fixed, so it can reach as far as it likes at no cost.
    """

    def __init__(self, whole: Tensor, floor: float) -> None:
        super().__init__()
        self.features = whole.shape[1]
        self.floor = floor
        self.mean: Tensor
        self.spread: Tensor
        level = (whole + floor).log()
        self.register_buffer("mean", level.mean(0))
        # a density that is the same everywhere tells nothing, and becomes 0
        self.register_buffer("spread", level.std(0, correction=0).clamp(min=1e-6))

    def forward(self, vectors: Tensor, sets: PoiParts, weight: Tensor) -> Tensor:  # noqa: ARG002 - as its siblings
        """Read ``V`` views of ``B`` sets: ``weight`` has shape ``(B, V, P)``, the result ``(B, V, features)``."""
        seen = weight @ sets.densities
        return ((seen + self.floor).log() - self.mean) / self.spread


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


Encoder = KernelPool | AttentionPool | SetReader


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
        One of this module. :class:`KernelPool` standardises by itself.
    dimensions
        Length of the vector.
    targets
        How many log densities are guessed.
    """

    def __init__(self, encoder: Encoder, dimensions: int, targets: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.norm = nn.Identity() if isinstance(encoder, KernelPool) else nn.BatchNorm1d(encoder.features)
        self.to_vector = nn.Linear(encoder.features, dimensions)
        self.to_contrast = nn.Sequential(nn.ReLU(), nn.Linear(dimensions, 2 * dimensions))
        self.to_densities = nn.Linear(dimensions, targets)

    def forward(self, vectors: Tensor, sets: PoiSets | PoiParts, weight: Tensor) -> Projections:
        """Read ``V`` views of ``B`` sets; arguments are those of the encoder."""
        read: Tensor = self.encoder(vectors, sets, weight)  # (B, V, features)
        # one odd downtown or one empty cell of sea must not decide everything
        squashed = torch.tanh(self.norm(read.flatten(0, 1))).view_as(read)
        made = self.to_vector(squashed)
        return Projections(made, self.to_contrast(made), self.to_densities(made))

    @torch.no_grad()
    def start_from_components(self, table: Tensor) -> None:
        """Make the vector the principal components of ``table``, and the guess their way back.

        Parameters
        ----------
        table
            What ``to_vector`` reads of the regions, shape ``(n, features)``, where it is also what is guessed.
        """
        mean = table.mean(0)
        values, axes = torch.linalg.eigh((table - mean).double().T @ (table - mean).double())
        count = min(self.to_vector.out_features, int((values > values[-1] * LEAST_SHARE).sum()))
        axes = axes.flip(1)[:, :count]
        # an axis has no direction: its largest part is positive
        axes = (axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()).to(table.dtype)
        self.to_vector.weight[:count] = axes.T
        self.to_vector.bias[:count] = -axes.T @ mean
        self.to_densities.weight[:, :count] = axes
        self.to_densities.weight[:, count:] = 0
        self.to_densities.bias[:] = mean


def distance_bumps(distance: Tensor) -> Tensor:
    """Return how near each distance is to each of some distances, evenly spaced in logarithm, ``(..., KNOTS)``."""
    knots = torch.linspace(math.log(NEAREST), math.log(FARTHEST), KNOTS, device=distance.device)
    step = math.log(FARTHEST / NEAREST) / (KNOTS - 1)
    return torch.exp(-0.5 * (((distance + LEAST).log()[..., None] - knots) / step).square())
