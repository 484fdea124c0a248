"""Which categories meet which: on walks (Huang et al. 2022), and among nearest POIs (Yan et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmgr.categories.areas import AREA_GAP, study_areas
from mmgr.categories.cooccurrence import cooccurrence_along_walks, cooccurrence_of_counts
from mmgr.categories.graph import delaunay_graph
from mmgr.categories.places import Places
from mmgr.categories.walks import edge_weights
from mmgr.config import Categories

NEAR = 1.0
"""Metres: nearer POIs weigh as if they were this far, or one that coincides would outweigh all others."""


@dataclass(frozen=True, slots=True)
class Contexts:
    """Pairs of categories, of all sources together."""

    pairs: NDArray[np.float64]
    """Pairs of target (row) and context (column), shape ``(n, n)``."""
    shared: NDArray[np.bool_]
    """Whether two categories occur in one study area, so that they could have met, shape ``(n, n)``."""


def walk_contexts(places: Places, settings: Categories, *, cell: float, seed: int) -> Contexts:
    """Pair each POI with those that random walks from it meet, and within polygons where only counts are known.

    A walk that finds no way on, as from a POI alone in its study area, gives the pairs it has. A
    category that is on no walk has no pairs.

    Parameters
    ----------
    places
        The POIs.
    settings
        ``walks``, ``length``, ``p``, ``q``, ``region_decay`` and ``gap``.
    cell
        Edge in metres of the regions that walks seldom leave.
    seed
        Start of the walks.
    """
    categories = len(places.taxonomy)
    pairs = np.zeros((categories, categories))
    area = np.zeros(0, np.int32)
    if len(places.xy):
        graph = delaunay_graph(places.xy, gap=settings.gap)
        weights = edge_weights(graph, cell=cell, decay=settings.region_decay)
        pairs += cooccurrence_along_walks(graph, weights, places.category, settings, categories=categories, seed=seed)
        area = graph.area[graph.vertex]
    pairs += _count_pairs(places, settings, contexts=settings.walks * (settings.length - 1))
    return Contexts(pairs, _shared(places, area))


def nearest_contexts(places: Places, settings: Categories) -> Contexts:
    """Pair each POI with its nearest ones, the nearer the heavier (Place2Vec).

    ``C_jk = K * sum_i sum_m w_im / sum_m w_im`` over the POIs ``i`` of category ``j`` and, among
    the ``K`` nearest other POIs of ``i``, those ``m`` of category ``k``; ``w_im = max(d_im, 1 m) ^ -power``.
    So each POI weighs the same, whether it lies downtown or in the country. POIs of other study
    areas are no contexts. Where only counts are known, the contexts of a POI are drawn from its
    polygon and those that touch it, as for walks.

    Parameters
    ----------
    places
        The POIs.
    settings
        ``neighbours`` (``K``), ``power`` and ``gap``; ``region_decay`` for counts.
    """
    categories = len(places.taxonomy)
    pairs = np.zeros((categories, categories))
    area = study_areas(places.xy, gap=settings.gap)
    if len(places.xy) > 1:
        nearest, weight = nearest_pois(places.xy, k=settings.neighbours, power=settings.power, gap=settings.gap)
        target = np.repeat(places.category.astype(np.int64), nearest.shape[1])
        keys = target * categories + places.category[nearest.ravel()]
        sums = np.bincount(keys, weights=weight.ravel(), minlength=categories**2)
        pairs += settings.neighbours * sums.reshape(categories, categories)
    pairs += _count_pairs(places, settings, contexts=settings.neighbours)
    return Contexts(pairs, _shared(places, area))


def nearest_pois(
    xy: NDArray[np.float64], *, k: int, power: float, gap: float = AREA_GAP
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the nearest other POIs of each and their weights, which sum to 1, or to 0 for a POI alone.

    Both have shape ``(n, min(k, n - 1))``; where fewer are nearer than ``gap``, the rest have the weight 0.
    """
    k = min(k, len(xy) - 1)
    distance, nearest = cKDTree(xy).query(xy, k=k + 1, distance_upper_bound=gap)
    # among POIs that coincide the POI itself need not come first, or not come at all
    own = nearest == np.arange(len(xy))[:, None]
    own[~own.any(axis=1), -1] = True
    nearest, distance = nearest[~own].reshape(-1, k), distance[~own].reshape(-1, k)
    weight = np.where(np.isfinite(distance), np.maximum(distance, NEAR) ** -power, 0.0)
    total = weight.sum(axis=1, keepdims=True)
    return np.where(nearest < len(xy), nearest, 0), weight / np.where(total > 0, total, 1.0)


def _count_pairs(places: Places, settings: Categories, *, contexts: float) -> NDArray[np.float64]:
    """Return the pairs within and between polygons, shape ``(n, n)``."""
    if not len(places.counts):
        return np.zeros((len(places.taxonomy),) * 2)
    return cooccurrence_of_counts(
        places.counts, places.polygons, places.source, decay=settings.region_decay, contexts=contexts
    )


def _shared(places: Places, area: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return which categories share a study area of points or a file of counts, shape ``(n, n)``."""
    categories = len(places.taxonomy)
    areas = np.zeros((int(area.max(initial=-1)) + 1, categories), bool)
    areas[area, places.category] = True
    files = [places.counts[places.source == number].any(axis=0)[None] for number in np.unique(places.source)]
    presence = np.concatenate([areas, *files]).astype(np.float64)
    return np.asarray(presence.T @ presence > 0)
