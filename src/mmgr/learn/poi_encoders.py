"""The POI encoder: a region's POIs, as a set, become one vector."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from mmgr.learn.set_pools import MeanPool, QueryPool, Set2Set

PoiPool = Literal["set2set", "mean", "attention"]
"""How a set is read; each is a module of :mod:`mmgr.learn.set_pools`."""

WAVELENGTHS = (8.0, 4.0, 2.0, 1.0, 0.5)
"""Wavelengths of the sines that tell places apart, in edges of the view: from far around it to its quarters."""
_HIDDEN = 128


class PoiEncoder(nn.Module):
    """A pool over the category vectors of a region's POIs, with or without their places.

    The category vectors are learned beforehand (Huang et al. 2022) and stay as they are. With places, what a
    small network makes of a POI's vector and place is added to its vector; the network begins silent.

    Parameters
    ----------
    vectors
        Category vectors, shape ``(categories, dimensions)``.
    pool
        `set2set`, `mean` or `attention`.
    steps
        Steps of Set2Set.
    heads
        Queries of attention.
    positions
        Whether places matter.
    """

    def __init__(
        self, vectors: Tensor, *, pool: PoiPool = "set2set", steps: int = 5, heads: int = 4, positions: bool = False
    ) -> None:
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", vectors.float())  # (categories, dimensions)
        dimensions = vectors.shape[1]
        self.pool: Set2Set | MeanPool | QueryPool
        if pool == "set2set":
            self.pool = Set2Set(dimensions, steps)
        else:
            self.pool = MeanPool(dimensions) if pool == "mean" else QueryPool(dimensions, heads)
        self.by_place: nn.Sequential | None = None
        if positions:
            last = nn.Linear(_HIDDEN, dimensions)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            self.by_place = nn.Sequential(nn.Linear(dimensions + 4 * len(WAVELENGTHS), _HIDDEN), nn.ReLU(), last)

    @property
    def features(self) -> int:
        """Length of the output."""
        return self.pool.features

    def forward(
        self, category: Tensor, count: Tensor, owner: Tensor, regions: int, place: Tensor | None = None
    ) -> Tensor:
        """Encode the POIs of ``B`` regions.

        Parameters
        ----------
        category, count, owner
            Category of each entry, how many POIs it stands for, and its region, shape ``(m,)`` each.
        regions
            ``B``.
        place
            Where each entry lies in the view (:attr:`mmgr.learn.data.PoiBatch.place`), shape ``(m, 2)``; needed
            with positions alone.

        Returns
        -------
        Shape ``(B, features)``.
        """
        items = self.vectors[category]
        if self.by_place is not None:
            if place is None:
                raise ValueError("this encoder reads places of POIs, and got none")
            items = items + self.by_place(torch.cat([items, place_code(place)], 1))
        output: Tensor = self.pool(items, owner, count, regions)
        return output


def place_code(place: Tensor) -> Tensor:
    """Tell a place by sines and cosines of several wavelengths about the view's centre.

    Parameters
    ----------
    place
        Right and down, as parts of the view's edge, shape ``(m, 2)``; NaN where unknown.

    Returns
    -------
    Shape ``(m, 4 * len(WAVELENGTHS))``; zeros, which are no place's code, where unknown.
    """
    wave = 2 * math.pi / torch.tensor(WAVELENGTHS, device=place.device)
    angle = ((place - 0.5)[..., None] * wave).flatten(1)  # (m, 2 * wavelengths)
    return torch.nan_to_num(torch.cat([angle.sin(), angle.cos()], 1))
