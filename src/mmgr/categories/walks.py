"""Random walks over the POI graph (Huang et al. 2022; node2vec's second-order bias)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.graph import PoiGraph, distance_weights
from mmgr.categories.steps import Ground, Rule, decay_across, running_sums, walk_places
from mmgr.console import track

CHUNK = 2**18
"""POIs whose walks are in memory at once."""


class WalkSettings(Protocol):
    """How walkers go, as in :class:`mmgr.config.Categories`."""

    @property
    def walks(self) -> int:
        """Walks from each POI."""

    @property
    def length(self) -> int:
        """POIs in a walk, the start included."""

    @property
    def p(self) -> float:
        """Return parameter: the larger, the seldomer a walk goes straight back."""

    @property
    def q(self) -> float:
        """In-out parameter: the larger, the longer a walk stays around where it was."""


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
    weights = distance_weights(graph)
    decay_across(graph.indptr, graph.indices, cells, decay, weights)
    return weights


def random_walks(
    graph: PoiGraph, weights: NDArray[np.float64], settings: WalkSettings, *, seed: int, chunk: int = CHUNK
) -> Iterator[NDArray[np.int32]]:
    """Walk from every POI; yield the walks of ``chunk`` POIs at a time.

    A step's weight is ``weights * a_b``: ``a_b`` is ``1 / p`` back to the previous vertex, 1 to its
    neighbours and ``1 / q`` beyond; the first step has no previous vertex and goes by ``weights``
    alone. At a vertex with several POIs the walk meets one of them, each with the same chance.
    Every walker has a random stream of its own, made from the seed, its POI, its number and a
    counter, so the walks are the same for any number of threads and any ``chunk``.

    A walk ends early at a vertex without an edge of positive weight: a POI with no other one around,
    or alone in its region where the decay is 0. It keeps what it met until then, and gives as many
    pairs of target and context as it has contexts; no other walk takes its place.

    Parameters
    ----------
    graph
        The graph.
    weights
        First-order weight of each edge, as of :func:`edge_weights`, shape ``(e,)``, not negative.
    settings
        ``walks`` a POI, ``length`` of a walk (the start included), ``p`` and ``q``, both positive.
    seed
        Start of all streams.
    chunk
        POIs a batch.

    Yields
    ------
    POIs met, shape ``(walkers, length)``: the start first, ``-1`` after the end of a walk that
    found no way on. The walks of one POI stand together.
    """
    ground, rule = walking_ground(graph, weights), walking_rule(settings, seed=seed)
    for start, stop in chunks(len(graph.vertex), chunk):
        yield walk_places(ground, rule, start, stop)


def walking_ground(graph: PoiGraph, weights: NDArray[np.float64]) -> Ground:
    """Prepare what walks go over; starts follow the order of the vertices, so that they are near in memory."""
    counts = np.bincount(graph.vertex, minlength=len(graph.xy))
    return Ground(
        indptr=graph.indptr,
        indices=graph.indices,
        sums=running_sums(graph.indptr, weights),
        firsts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        pois=np.argsort(graph.vertex, kind="stable").astype(np.int32),
        vertex=graph.vertex,
    )


def walking_rule(settings: WalkSettings, *, seed: int) -> Rule:
    """Bring the choices of walkers into the form of :mod:`mmgr.categories.steps`."""
    biases = np.array([1 / settings.p, 1.0, 1 / settings.q])
    back, near, beyond = (float(bias) for bias in biases / biases.max())
    least = min(back, near, beyond)
    return Rule(settings.walks, settings.length, back, near, beyond, least, np.uint64(seed % 2**64))


def chunks(count: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Yield starts and ends of ``count`` things, ``chunk`` at a time, behind a progress bar."""
    for start in track(range(0, count, chunk), "walking", total=-(-count // chunk)):
        yield start, min(start + chunk, count)
