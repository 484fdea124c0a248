"""How often one category is met in the context of another: from walks, and from counts in polygons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import geopandas as gpd
import numba
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.categories.graph import PoiGraph
from mmgr.categories.steps import count_places
from mmgr.categories.walks import CHUNK, WalkSettings, chunks, walking_ground, walking_rule

TOUCH = 1.0
"""Metres between two polygons that still touch: borders are often drawn twice."""


def cooccurrence_of_walks(
    walks: Iterable[NDArray[np.int32]], category: NDArray[np.int32], *, categories: int
) -> NDArray[np.float64]:
    """Count the pairs of a walk's start (target) and each POI met later (context).

    Parameters
    ----------
    walks
        POIs met, shape ``(walkers, length)`` a batch, ``-1`` after a walk's end.
    category
        Category of each POI, shape ``(n,)``.
    categories
        How many there are.

    Returns
    -------
    Pairs of target and context, shape ``(categories, categories)``, whole numbers.
    """
    pairs = np.zeros(categories**2, np.int64)
    ids = np.append(category, -1).astype(np.int64)  # the -1 of an ended walk finds the last
    for batch in walks:
        met = ids[batch]
        keys = met[:, :1] * categories + met[:, 1:]
        pairs += np.bincount(keys[met[:, 1:] >= 0], minlength=categories**2)
    return pairs.reshape(categories, categories).astype(np.float64)


def cooccurrence_along_walks(
    graph: PoiGraph,
    weights: NDArray[np.float64],
    category: NDArray[np.int32],
    settings: WalkSettings,
    *,
    categories: int,
    seed: int,
) -> NDArray[np.float64]:
    """Walk and count at once: what :func:`cooccurrence_of_walks` makes of the same walks, to the last pair.

    No walk is kept, so the memory beside the graph is that of one matrix for each thread.

    Parameters
    ----------
    graph, weights, settings, seed
        As of :func:`mmgr.categories.walks.random_walks`, which says what becomes of walks that end early.
    category
        Category of each POI, shape ``(n,)``.
    categories
        How many there are.

    Returns
    -------
    Pairs of target and context, shape ``(categories, categories)``, whole numbers.
    """
    ground, rule = walking_ground(graph, weights), walking_rule(settings, seed=seed)
    of_place = np.asarray(category, np.int32)[ground.pois]
    pairs = np.zeros((numba.get_num_threads(), categories, categories), np.int64)
    for start, stop in chunks(len(of_place), CHUNK):
        count_places(ground, rule, of_place, start, stop, pairs)
    return np.asarray(pairs.sum(axis=0), np.float64)


def cooccurrence_of_counts(
    counts: NDArray[np.floating],
    polygons: gpd.GeoSeries,
    source: NDArray[np.integer],
    *,
    decay: float,
    contexts: float,
) -> NDArray[np.float64]:
    """Return the pairs of target and context that are expected where only counts are known.

    Each POI is a target with ``contexts`` contexts, as many as its walks would give, so a polygon
    weighs by its POIs and not by their square. Its contexts are drawn evenly from the polygon's
    other POIs and, ``decay`` times as often, from the POIs of all polygons that touch it:
    ``C_jk = contexts * sum_i n_ij * (P_ik + decay * A_ik) / (1 + decay)``, with ``P`` the shares of
    the categories among the polygon's other POIs and ``A`` among those of its neighbours. Where one
    of the two holds no POI the other takes its place.

    Parameters
    ----------
    counts
        POIs of each category, shape ``(polygons, categories)``.
    polygons
        Shapes in metres.
    source
        Which file each polygon is of: only polygons of one file are neighbours.
    decay
        Weight of the neighbours beside the polygon itself.
    contexts
        Contexts of one POI: walks times (length - 1).
    """
    counts = np.asarray(counts, np.float64)
    around = adjacency(polygons, source) @ counts  # (polygons, categories)
    totals, totals_around = counts.sum(axis=1), around.sum(axis=1)
    others = totals[:, None] - np.minimum(counts, 1.0)  # a POI is no context of itself
    own_weight = np.where(others > 1e-9, 1.0, 0.0)
    around_weight = np.where(totals_around > 0, decay, 0.0)[:, None]
    both = np.maximum(own_weight + around_weight, np.finfo(float).tiny)
    targets = counts * own_weight / both / np.where(others > 1e-9, others, 1.0)
    pairs = targets.T @ counts
    np.fill_diagonal(pairs, (targets * np.maximum(counts - 1, 0)).sum(axis=0))
    shares_around = around / np.where(totals_around > 0, totals_around, 1.0)[:, None]
    pairs += (counts * around_weight / both).T @ shares_around
    return np.asarray(contexts * pairs, np.float64)


def adjacency(polygons: gpd.GeoSeries, source: NDArray[np.integer]) -> Any:
    """Return a sparse matrix with 1 where two polygons of one source touch, within :data:`TOUCH`, shape ``(n, n)``."""
    shapes = polygons.to_numpy()
    one, other = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=TOUCH)
    keep = (one != other) & (source[one] == source[other])
    return sparse.csr_array((np.ones(keep.sum()), (one[keep], other[keep])), shape=(len(shapes),) * 2)
