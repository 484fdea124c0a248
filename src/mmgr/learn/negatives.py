"""Which regions of a batch are no negatives of each other: those that a loss should not push apart."""

from __future__ import annotations

from functools import cached_property, reduce

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree
from torch import Tensor

from mmgr.learn.recipes import Recipe
from mmgr.store import PoiBags, RegionStore

ROUNDING = 1e-6
"""Similarities of equal POIs fall short of 1 by less than this."""


class Negatives:
    """Says of the regions of a batch which are no negatives of each other, as a recipe wants it.

    Parameters
    ----------
    store
        The regions.
    recipe
        ``mask_same_unit`` and ``mask_alike`` are about POIs, so that they are for the inter-modal loss alone;
        ``mask_near`` is for both losses.
    surrounded
        Regions that are told apart by what lies around them, whatever lies inside, shape ``(n,)``; by default none.
    """

    def __init__(self, store: RegionStore, recipe: Recipe, surrounded: NDArray[np.bool_] | None = None) -> None:
        self.store, self.recipe = store, recipe
        self.surrounded = np.zeros(len(store), bool) if surrounded is None else surrounded

    def near(self, own: NDArray[np.int64], rows: NDArray[np.int64]) -> Tensor | None:
        """Return which regions of a batch lie near which own ones.

        Parameters
        ----------
        own
            Rows of this process's regions, shape ``(b,)``.
        rows
            Rows of the whole batch, shape ``(B,)``.

        Returns
        -------
        Shape ``(b, B)``, bool, true for a region and itself; None where the recipe masks nothing.
        """
        distance = self.recipe.mask_near
        if distance is None:
            return None
        here, there = cKDTree(self._centres[own]), cKDTree(self._centres[rows])
        # a list of the pairs that are near: a table of distances would take eight times the mask's memory
        pairs = here.sparse_distance_matrix(there, distance, output_type="ndarray")
        pairs = pairs[pairs["v"] < distance]
        found = np.zeros((len(own), len(rows)), bool)
        found[pairs["i"], pairs["j"]] = True
        return torch.from_numpy(found)

    def inter(self, own: NDArray[np.int64], rows: NDArray[np.int64], near: Tensor | None) -> Tensor | None:
        """Return the pairs that are no negatives of images with POIs, ``near`` ones included, as :meth:`near` does."""
        found = [] if near is None else [near]
        if self.recipe.mask_same_unit:
            same = self._same.T  # (2, n)
            found.extend(torch.from_numpy((n[own, None] == n[rows]) & (n[own, None] >= 0)) for n in same)
        if self.recipe.mask_alike is not None:
            vectors = (torch.from_numpy(self._vectors[some].toarray()) for some in (own, rows))
            found.append(next(vectors) @ next(vectors).T >= self.recipe.mask_alike - ROUNDING)
        return reduce(torch.logical_or, found) if found else None

    @cached_property
    def _centres(self) -> NDArray[np.float64]:
        centres = self.store.regions.geometry.centroid
        return np.column_stack([centres.x, centres.y])

    def indistinct(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say which pairs of ``b`` regions POIs cannot tell apart, whatever the recipe masks, shape ``(b, b)``."""
        numbers = self._same[rows]  # (b, 2)
        return np.asarray(((numbers[:, None] == numbers[None]) & (numbers >= 0)).any(2))

    @cached_property
    def _same(self) -> NDArray[np.int64]:
        return np.where(self.surrounded[:, None], -1, same_pois(self.store.bags))

    @cached_property
    def _vectors(self) -> csr_array:
        return poi_vectors(self.store.bags, len(self.store.info.taxonomy))


def same_pois(bags: PoiBags) -> NDArray[np.int64]:
    """Give regions that POIs cannot tell apart a number in common.

    Returns
    -------
    Shape ``(n, 2)``: a number of the polygon that the counts come from, and one of the POIs themselves
    (categories and counts); -1 where there is no polygon, or no POI.
    """
    polygons: dict[str, int] = {}
    contents: dict[tuple[bytes, bytes], int] = {}
    result = np.full((len(bags), 2), -1, np.int64)
    for region in np.flatnonzero(bags.present):
        entries = slice(bags.starts[region], bags.starts[region + 1])
        categories, place = np.unique(bags.category[entries], return_inverse=True)
        content = (categories.tobytes(), np.bincount(place, weights=bags.count[entries]).tobytes())
        result[region, 1] = contents.setdefault(content, len(contents))
        if bags.unit[region]:
            result[region, 0] = polygons.setdefault(bags.unit[region], len(polygons))
    return result


def poi_vectors(bags: PoiBags, categories: int) -> csr_array:
    """Describe each region's POIs by a vector whose products are cosines, shape ``(n, categories)``, float32.

    An entry is ``log(1 + count)`` times the category's rarity ``ln((1 + n) / (1 + regions that have it)) + 1``
    (TF-IDF with sublinear counts): ten restaurants are not ten times one, and what every region has tells least.
    A region without POIs has zeros.
    """
    table = csr_array((bags.count, (bags.owner, bags.category)), shape=(len(bags), categories), dtype=np.float64)
    table.sum_duplicates()
    table.eliminate_zeros()
    frequency = np.bincount(table.indices, minlength=categories)
    rarity = np.log((1 + len(bags)) / (1 + frequency)) + 1
    table.data = np.log1p(table.data) * rarity[table.indices]
    length = np.sqrt(np.asarray(table.multiply(table).sum(1)).ravel())
    table.data /= np.repeat(length, np.diff(table.indptr))
    return table.astype(np.float32)
