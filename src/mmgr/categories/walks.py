"""Random walks over the POI graph (Huang et al. 2022; node2vec's second-order bias)."""

from __future__ import annotations

from collections.abc import Iterator

import numba
import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled
from mmgr.categories.graph import PoiGraph, distance_weights
from mmgr.config import Categories
from mmgr.console import track

CHUNK = 2**18
"""POIs whose walks are in memory at once."""


def edge_weights(graph: PoiGraph, *, cell: float, decay: float) -> NDArray[np.float64]:
    """Return ``a_d * a_r`` of each edge, shape ``(e,)``.

    Parameters
    ----------
    graph
        The graph.
    cell
        Edge in metres of the square regions that walks count.
    decay
        ``a_r`` of an edge between two regions; it is 1 inside one.
    """
    cells = np.floor(graph.xy / cell).astype(np.int64)
    inside = (cells[graph.tails] == cells[graph.indices]).all(axis=1)
    return distance_weights(graph) * np.where(inside, 1.0, decay)


def random_walks(
    graph: PoiGraph, weights: NDArray[np.float64], settings: Categories, *, seed: int, chunk: int = CHUNK
) -> Iterator[NDArray[np.int32]]:
    """Walk from every POI; yield the walks of ``chunk`` POIs at a time.

    A step's weight is ``weights * a_b``: ``a_b`` is ``1 / p`` back to the previous vertex, 1 to its
    neighbours and ``1 / q`` beyond. At a vertex with several POIs the walk meets one of them, each
    with the same chance. Every walker has a random stream of its own, made from the seed, its number
    and a counter, so the walks are the same for any number of threads.

    Parameters
    ----------
    graph
        The graph.
    weights
        First-order weight of each edge, as of :func:`edge_weights`, shape ``(e,)``.
    settings
        ``walks`` a POI, ``length`` of a walk (the start included), ``p`` and ``q``.
    seed
        Start of all streams.
    chunk
        POIs a batch.

    Yields
    ------
    POIs met, shape ``(walkers, length)``: the start first, ``-1`` after the end of a walk that
    found no way on. The walks of one POI stand together.
    """
    count = len(graph.vertex)
    pois = np.argsort(graph.vertex, kind="stable").astype(np.int32)
    firsts = np.concatenate([[0], np.cumsum(np.bincount(graph.vertex, minlength=len(graph.xy)))]).astype(np.int64)
    for start in track(range(0, count, chunk), "walking", total=-(-count // chunk)):
        yield _walk_all(
            # walkers start in the order of the vertices: neighbours are near in memory
            pois[start : start + chunk],
            graph.vertex,
            firsts,
            pois,
            graph.indptr,
            graph.indices,
            weights,
            settings.walks,
            settings.length,
            1 / settings.p,
            1 / settings.q,
            np.uint64(seed % 2**64),
        )


@compiled(parallel=True)
def _walk_all(
    starts: NDArray[np.int32],
    vertex: NDArray[np.int32],
    firsts: NDArray[np.int64],
    pois: NDArray[np.int32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float64],
    walks: int,
    length: int,
    back: float,
    beyond: float,
    seed: np.uint64,
) -> NDArray[np.int32]:
    met = np.full((len(starts) * walks, length), -1, np.int32)
    most = np.diff(indptr).max() if len(indptr) > 1 else 0
    for walker in numba.prange(len(starts) * walks):
        poi = starts[walker // walks]
        stream = _mix(_mix(seed) + np.uint64(np.int64(poi) * walks + walker % walks))
        here, before = int(vertex[poi]), -1
        met[walker, 0] = poi
        sums = np.empty(most)
        for step in range(1, length):
            ahead = _step(here, before, indptr, indices, weights, back, beyond, _uniform(stream, 2 * step), sums)
            if ahead < 0:
                break
            before, here = here, ahead
            several = firsts[here + 1] - firsts[here]
            one = 0 if several == 1 else min(int(_uniform(stream, 2 * step + 1) * several), several - 1)
            met[walker, step] = pois[firsts[here] + one]
    return met


@compiled()
def _step(
    here: int,
    before: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    weights: NDArray[np.float64],
    back: float,
    beyond: float,
    draw: float,
    sums: NDArray[np.float64],
) -> int:
    """Choose the next vertex; -1 where no edge has weight. ``sums`` is room for a vertex's edges."""
    first, count = indptr[here], indptr[here + 1] - indptr[here]
    place = indptr[before] if before >= 0 else 0
    total = 0.0
    for edge in range(count):
        bias, place = _bias(indices[first + edge], before, indptr, indices, place, back, beyond)
        total += weights[first + edge] * bias
        sums[edge] = total
    if total <= 0.0:
        return -1
    goal = draw * total  # less than the total, unless rounded up to it
    for edge in range(count - 1):
        if goal < sums[edge]:
            return int(indices[first + edge])
    return int(indices[first + count - 1])


@compiled()
def _bias(
    candidate: int,
    before: int,
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    place: int,
    back: float,
    beyond: float,
) -> tuple[float, int]:
    """Return ``a_b`` of a candidate and where to go on in the previous vertex's sorted neighbours."""
    if before < 0:
        return 1.0, place
    if candidate == before:
        return back, place
    end = indptr[before + 1]
    while place < end and indices[place] < candidate:
        place += 1
    near = place < end and indices[place] == candidate
    return (1.0 if near else beyond), place


@compiled()
def _uniform(stream: np.uint64, counter: int) -> float:
    """Return number ``counter`` of a stream, in ``[0, 1)`` with 53 random bits."""
    bits = _mix(stream + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


@compiled()
def _mix(bits: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of SplitMix64; Steele et al. 2014)."""
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
