"""What encoders of POI sets read: the nearest POIs, or all in random parts; and views of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor


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


@dataclass(frozen=True, slots=True)
class PoiParts:
    """All POIs around ``n`` regions, in ``P`` random parts, as densities."""

    densities: Tensor
    """POIs per km2 of each part, by scale and group, shape ``(n, P, F)``, float32."""

    def __len__(self) -> int:
        return len(self.densities)

    def take(self, rows: Tensor | slice) -> PoiParts:
        """Return the parts of some regions."""
        return PoiParts(self.densities[rows])

    def everything(self) -> Tensor:
        """Return the weight of each part where none is left out, shape ``(n, 1, P)``."""
        return torch.ones_like(self.densities[:, None, :, 0])


def thinned(sets: PoiSets | PoiParts, keep: float, generator: torch.Generator) -> Tensor:
    """Draw two thinnings of each set, as different as ``keep`` allows.

    Each keeps a POI with probability ``keep``, or this share of the parts, at least one; up to 0.5 nothing is
    in both. What is kept stands for more of its kind, so that densities are those of the whole set on average.

    Returns
    -------
    Weights, shape ``(B, 2, k)`` for POIs and ``(B, 2, P)`` for parts.
    """
    if isinstance(sets, PoiSets):
        chance = torch.rand(sets.distance.shape, generator=generator)
        return torch.stack([chance < keep, chance >= 1 - keep], 1).float() / keep
    size, parts, _ = sets.densities.shape
    place = torch.rand(size, parts, generator=generator).argsort(1)
    kept = max(round(keep * parts), 1)
    return torch.stack([place < kept, place >= parts - kept], 1).float() * (parts / kept)
