"""Walks, beside the chances that the definition gives for every step."""

from __future__ import annotations

from itertools import pairwise

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from mmgr.categories.graph import PoiGraph, delaunay_graph
from mmgr.categories.walks import edge_weights, random_walks
from mmgr.config import Categories

XY = np.array([[0.0, 0], [100, 10], [210, 0], [90, 120], [180, 110], [60, 60]])


def walks_of(xy: NDArray[np.float64], *, seed: int = 0, cell: float = 1e6, **choices: float) -> NDArray[np.int32]:
    settings = Categories(**choices)
    graph = delaunay_graph(xy)
    weights = edge_weights(graph, cell=cell, decay=settings.region_decay)
    return np.concatenate(list(random_walks(graph, weights, settings, seed=seed)))


def exhaustive_chances(
    graph: PoiGraph, *, cell: float, decay: float, p: float, q: float
) -> dict[tuple[int, int], NDArray[np.float64]]:
    """Chance of each next vertex after each pair (previous, here), by the definition alone."""
    count = len(graph.xy)
    linked = np.zeros((count, count), bool)
    linked[graph.tails, graph.indices] = True
    diagonal = np.hypot(*(graph.xy.max(axis=0) - graph.xy.min(axis=0)))
    chances = {}
    for before in range(count):
        for here in np.flatnonzero(linked[before]):
            weight = np.zeros(count)
            for ahead in np.flatnonzero(linked[here]):
                a_d = np.log((1 + diagonal**1.5) / (1 + np.hypot(*(graph.xy[here] - graph.xy[ahead])) ** 1.5))
                a_b = 1 / p if ahead == before else (1.0 if linked[before, ahead] else 1 / q)
                same = (graph.xy[here] // cell == graph.xy[ahead] // cell).all()
                weight[ahead] = a_d * a_b * (1.0 if same else decay)
            chances[before, int(here)] = weight / weight.sum()
    return chances


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (4.0, 0.25), (0.25, 3.0)])
def test_steps_follow_the_exhaustive_chances(p: float, q: float) -> None:
    graph = delaunay_graph(XY)
    chances = exhaustive_chances(graph, cell=100, decay=0.4, p=p, q=q)
    walks = graph.vertex[walks_of(XY, cell=100, p=p, q=q, region_decay=0.4, walks=4000, length=10)]
    counts = {pair: np.zeros(len(XY)) for pair in chances}
    for before, here, ahead in zip(walks[:, :-2].ravel(), walks[:, 1:-1].ravel(), walks[:, 2:].ravel(), strict=True):
        counts[int(before), int(here)][ahead] += 1
    values = []
    for pair, chance in chances.items():
        possible = chance > 1e-9
        assert counts[pair][~possible].sum() == 0
        if possible.sum() > 1:
            observed = counts[pair][possible]
            values.append(chisquare(observed, chance[possible] / chance[possible].sum() * observed.sum()).pvalue)
    # fixed seed: the smallest of some twenty p-values
    assert min(values) > 0.01 / len(values)
    assert 0.2 < np.mean(values) < 0.8


def test_the_first_step_has_no_bias_of_second_order() -> None:
    graph = delaunay_graph(XY)
    start = int(np.flatnonzero(graph.vertex == 0)[0])
    walks = walks_of(XY, p=0.01, q=0.01, walks=20_000, length=2)
    steps = graph.vertex[walks[walks[:, 0] == start][:, 1]]
    edges = slice(graph.indptr[0], graph.indptr[1])
    weights = edge_weights(graph, cell=1e6, decay=1.0)[edges]
    observed = np.bincount(steps, minlength=len(XY))[graph.indices[edges]]
    assert chisquare(observed, weights / weights.sum() * observed.sum()).pvalue > 0.01


def test_walks_are_the_same_bits_for_any_number_of_threads_and_chunks() -> None:
    xy = np.random.default_rng(0).uniform(0, 5000, (500, 2))
    settings, graph = Categories(), delaunay_graph(xy)
    weights = edge_weights(graph, cell=500, decay=0.4)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = np.concatenate(list(random_walks(graph, weights, settings, seed=7)))
        numba.set_num_threads(min(2, threads))
        together = np.concatenate(list(random_walks(graph, weights, settings, seed=7, chunk=33)))
    finally:
        numba.set_num_threads(threads)
    assert (alone == together).all()
    assert (alone != np.concatenate(list(random_walks(graph, weights, settings, seed=8)))).any()


def test_every_poi_starts_its_walks_and_every_step_is_an_edge() -> None:
    xy = np.round(np.random.default_rng(0).uniform(0, 20, (200, 2))) * 100  # many coincide
    graph = delaunay_graph(xy)
    walks = walks_of(xy, walks=3, length=6)
    assert walks.shape == (600, 6)
    assert (np.bincount(walks[:, 0], minlength=200) == 3).all()
    edges = set(zip(graph.tails.tolist(), graph.indices.tolist(), strict=True))
    assert all(step in edges for walk in graph.vertex[walks].tolist() for step in pairwise(walk))


def test_a_vertex_with_several_pois_shows_each_with_the_same_chance() -> None:
    walks = walks_of(np.array([[0.0, 0], [100, 0], [100, 0], [100, 0]]), walks=3000, length=2)
    met = np.bincount(walks[walks[:, 0] == 0][:, 1], minlength=4)
    assert met[0] == 0
    assert chisquare(met[1:]).pvalue > 0.01


def test_walks_from_a_lone_vertex_end_at_once() -> None:
    walks = walks_of(np.array([[5.0, 5], [5, 5]]), walks=2, length=4)
    assert walks[:, 1:].tolist() == [[-1] * 3] * 4


def test_walks_never_cross_where_the_decay_is_zero() -> None:
    xy = np.array([[10.0, 10], [20, 30], [110, 10], [130, 40], [250, 20]])
    walks = walks_of(xy, cell=100, region_decay=0.0, walks=200, length=5)
    cells = np.append(xy[:, 0] // 100, -1)[walks]
    assert ((cells == cells[:, :1]) | (walks < 0)).all()
    assert (walks[walks[:, 0] == 4][:, 1:] == -1).all()  # alone in its region


def test_two_pois_alone_still_meet() -> None:
    assert walks_of(np.array([[0.0, 0], [100, 0]]), walks=1, length=4).tolist() == [[0, 1, 0, 1], [1, 0, 1, 0]]
