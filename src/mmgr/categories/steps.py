"""Steps of walks as machine code: one file, since Numba's cache notices changes within a file only."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled

TRIES = 8
"""Rejected draws after which a step looks at all edges: rare, unless ``p`` or ``q`` is extreme."""
BLOCK = 256
"""Starts that a thread takes at a time."""


class Ground(NamedTuple):
    """What walks go over. POIs stand in the order of their vertices; a *place* is a POI's rank in it."""

    indptr: NDArray[np.int64]
    """Where each vertex's edges begin, shape ``(v + 1,)``."""
    indices: NDArray[np.int32]
    """Vertex at the other end of each edge, sorted within a vertex, shape ``(e,)``."""
    sums: NDArray[np.float64]
    """First-order weights, each added to those before it at its vertex, shape ``(e,)``."""
    firsts: NDArray[np.int64]
    """First place of each vertex, shape ``(v + 1,)``."""
    pois: NDArray[np.int32]
    """POI of each place, shape ``(n,)``."""
    vertex: NDArray[np.int32]
    """Vertex of each POI, shape ``(n,)``."""


class Rule(NamedTuple):
    """How walkers choose."""

    walks: int
    """Walks from each POI."""
    length: int
    """POIs in a walk, the start included."""
    back: float
    """``a_b`` of the previous vertex; the three are scaled so that the largest is 1."""
    near: float
    """``a_b`` of the previous vertex's neighbours."""
    beyond: float
    """``a_b`` of all others."""
    least: float
    """The smallest of the three."""
    seed: np.uint64
    """Start of all streams."""


@compiled(parallel=True)
def decay_across(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    cells: NDArray[np.int64],
    decay: float,
    weights: NDArray[np.float64],
) -> None:
    """Multiply the weights of edges between two cells by ``decay``, in place; ``cells`` has shape ``(v, 2)``."""
    for tail in numba.prange(len(cells)):
        for edge in range(indptr[tail], indptr[tail + 1]):
            head = indices[edge]
            if cells[tail, 0] != cells[head, 0] or cells[tail, 1] != cells[head, 1]:
                weights[edge] *= decay


@compiled(parallel=True)
def running_sums(indptr: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Add up each vertex's weights from its first edge on, shape ``(e,)``."""
    sums = np.empty_like(weights)
    for vertex in numba.prange(len(indptr) - 1):
        total = 0.0
        for edge in range(indptr[vertex], indptr[vertex + 1]):
            total += weights[edge]
            sums[edge] = total
    return sums


@compiled(parallel=True)
def walk_places(ground: Ground, rule: Rule, start: int, stop: int) -> NDArray[np.int32]:
    """Walk from the places ``start`` to ``stop``; return the POIs met, shape ``(walkers, length)``."""
    # taken out of their tuple once: to take one counts its users, in which threads wait for each other
    indptr, indices, sums, firsts, pois, vertex = ground
    met = np.full(((stop - start) * rule.walks, rule.length), -1, np.int32)
    for walker in numba.prange(len(met)):
        place = start + walker // rule.walks
        stream = _stream(rule, pois[place], walker % rule.walks)
        _walk(indptr, indices, sums, firsts, rule, place, vertex[pois[place]], stream, met, walker)
        for step in range(rule.length):
            if met[walker, step] >= 0:
                met[walker, step] = pois[met[walker, step]]
    return met


@compiled(parallel=True)
def count_places(
    ground: Ground, rule: Rule, category: NDArray[np.int32], start: int, stop: int, pairs: NDArray[np.int64]
) -> None:
    """Walk from the places ``start`` to ``stop`` and add the pairs of their categories to ``pairs``.

    ``category`` is that of each place. ``pairs`` has one matrix for each thread, so that none waits
    for another; their sum is of whole numbers and therefore the same however they are shared out.
    """
    indptr, indices, sums, firsts, pois, vertex = ground
    for block in numba.prange(-(-(stop - start) // BLOCK)):
        thread = numba.get_thread_id()
        met = np.empty((1, rule.length), np.int32)
        for place in range(start + block * BLOCK, min(start + (block + 1) * BLOCK, stop)):
            for number in range(rule.walks):
                stream = _stream(rule, pois[place], number)
                reached = _walk(indptr, indices, sums, firsts, rule, place, vertex[pois[place]], stream, met, 0)
                for step in range(1, reached):
                    pairs[thread, category[place], category[met[0, step]]] += 1


@compiled()
def _stream(rule: Rule, poi: int, number: int) -> np.uint64:
    """Return the start of one walker's stream, which depends on nothing but the seed, its POI and its number."""
    return _mix(_mix(rule.seed) + np.uint64(np.int64(poi) * rule.walks + number))


@compiled(inline=True)
def _walk(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    sums: NDArray[np.float64],
    firsts: NDArray[np.int64],
    rule: Rule,
    place: int,
    here: int,
    stream: np.uint64,
    met: NDArray[np.int32],
    row: int,
) -> int:
    """Write the places that one walker meets to a row of ``met``; return how many they are."""
    before, counter = -1, 0
    met[row, 0] = place
    for step in range(1, rule.length):
        ahead, counter = _step(indptr, indices, sums, rule, here, before, stream, counter)
        if ahead < 0:
            return step
        before, here = here, ahead
        first = firsts[here]
        several = firsts[here + 1] - first
        if several > 1:
            counter += 1
            first += int(_uniform(stream, counter) * several)
        met[row, step] = first
    return rule.length


@compiled(inline=True)
def _step(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    sums: NDArray[np.float64],
    rule: Rule,
    here: int,
    before: int,
    stream: np.uint64,
    counter: int,
) -> tuple[int, int]:
    """Choose the next vertex, -1 where no edge has weight; return it and the last counter used.

    An edge is drawn by its first-order weight and kept with a chance of its ``a_b``: what is kept
    has the product as its chance, and most steps look at one candidate instead of all.
    """
    first, end = indptr[here], indptr[here + 1]
    total = sums[end - 1] if end > first else 0.0
    if total <= 0.0:
        return -1, counter
    for _ in range(TRIES):
        counter += 1
        candidate = int(indices[_rank(sums, _uniform(stream, counter) * total, first, end - 1)])
        if before < 0:
            return candidate, counter
        counter += 1
        chance = _uniform(stream, counter)
        if chance < rule.least or chance < _bias(indptr, indices, rule, candidate, before):
            return candidate, counter
    # what follows rejected draws is independent of them: the same chances, computed in full
    counter += 1
    return _step_in_full(indptr, indices, sums, rule, here, before, _uniform(stream, counter)), counter


@compiled()
def _step_in_full(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    sums: NDArray[np.float64],
    rule: Rule,
    here: int,
    before: int,
    draw: float,
) -> int:
    """Choose the next vertex by the weights of all edges, -1 where none has weight."""
    goal = np.inf
    for _ in range(2):  # the first turn adds up, the second finds
        total, below = 0.0, 0.0
        for edge in range(indptr[here], indptr[here + 1]):
            total += (sums[edge] - below) * _bias(indptr, indices, rule, indices[edge], before)
            below = sums[edge]
            if total > goal:
                return int(indices[edge])
        goal = draw * total
    return -1


@compiled(inline=True)
def _bias(indptr: NDArray[np.int64], indices: NDArray[np.int32], rule: Rule, candidate: int, before: int) -> float:
    if candidate == before:
        return rule.back
    end = indptr[before + 1]
    edge = _rank(indices, candidate - 1, indptr[before], end)
    return rule.near if edge < end and indices[edge] == candidate else rule.beyond


@compiled()
def _rank(rising: NDArray[np.float64] | NDArray[np.int32], value: float, first: int, end: int) -> int:
    """Return the first place in ``rising[first:end]`` that holds more than ``value``, ``end`` if none does."""
    while end - first > 16:
        middle = (first + end) // 2
        if rising[middle] > value:
            end = middle
        else:
            first = middle + 1
    # few are counted faster than halved: no branch to guess
    place = first
    for other in range(first, end):
        place += rising[other] <= value
    return place


@compiled()
def _uniform(stream: np.uint64, counter: int) -> float:
    """Return number ``counter`` of a stream, in ``[0, 1)``.

    52 random bits, so that the number times a total is less than the total, rounded or not.
    """
    bits = _mix(stream + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(12)) * 2.0**-52


@compiled()
def _mix(bits: np.uint64) -> np.uint64:
    """Scramble 64 bits (the finaliser of SplitMix64; Steele et al. 2014)."""
    bits += np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))
