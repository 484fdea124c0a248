"""Walks, beside the chances that the definition gives for every step."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from mmgr.categories.cooccurrence import cooccurrence_along_walks, cooccurrence_of_walks
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


def values_of_steps(
    vertices: NDArray[np.int32], chances: dict[tuple[int, int], NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The p-value of a chi-square test for each pair (previous, here) that had a choice."""
    counts = {pair: np.zeros(len(chance)) for pair, chance in chances.items()}
    triples = zip(vertices[:, :-2].ravel(), vertices[:, 1:-1].ravel(), vertices[:, 2:].ravel(), strict=True)
    for before, here, ahead in triples:
        counts[int(before), int(here)][ahead] += 1
    values = []
    for pair, chance in chances.items():
        possible = chance > 1e-9
        assert counts[pair][~possible].sum() == 0
        # rare ones together, as the test's own rule wants expected counts of 5 and more
        rare = possible & (chance * counts[pair].sum() < 5)
        expected = np.append(chance[possible & ~rare], chance[rare].sum()) * counts[pair].sum()
        observed = np.append(counts[pair][possible & ~rare], counts[pair][rare].sum())
        many = expected >= 5
        if many.sum() > 1:
            scale = observed[many].sum() / expected[many].sum()
            values.append(chisquare(observed[many], expected[many] * scale).pvalue)
    return np.array(values)


# the last three reject most draws, so that many steps are chosen in full
@pytest.mark.parametrize(
    ("p", "q"), [(0.5, 0.5), (1.0, 1.0), (4.0, 0.25), (0.25, 3.0), (0.01, 1.0), (200.0, 200.0), (0.02, 50.0)]
)
def test_steps_follow_the_exhaustive_chances(p: float, q: float) -> None:
    graph = delaunay_graph(XY)
    walks = graph.vertex[walks_of(XY, cell=100, p=p, q=q, region_decay=0.4, walks=4000, length=10)]
    values = values_of_steps(walks, exhaustive_chances(graph, cell=100, decay=0.4, p=p, q=q))
    # fixed seed: the smallest of some twenty p-values
    assert min(values) > 0.01 / len(values)
    assert 0.2 < np.mean(values) < 0.8


@pytest.mark.parametrize("wrong", [{"p": 0.6}, {"q": 0.6}, {"decay": 0.5}, {"cell": 50.0}])
def test_the_comparison_would_notice_other_chances(wrong: dict[str, float]) -> None:
    graph = delaunay_graph(XY)
    walks = graph.vertex[walks_of(XY, cell=100, p=0.5, q=0.5, region_decay=0.4, walks=4000, length=10)]
    right = {"cell": 100.0, "decay": 0.4, "p": 0.5, "q": 0.5}
    assert min(values_of_steps(walks, exhaustive_chances(graph, **(right | wrong)))) < 1e-9


@pytest.mark.parametrize(("p", "q"), [(0.5, 0.5), (100.0, 100.0)])
def test_steps_around_a_vertex_with_many_neighbours_follow_the_exhaustive_chances(p: float, q: float) -> None:
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    wheel = np.concatenate([[[0.0, 0]], 500 * np.stack([np.cos(angle), np.sin(angle)], axis=1)])
    graph = delaunay_graph(wheel)
    assert np.diff(graph.indptr).max() == 40
    walks = graph.vertex[walks_of(wheel, cell=300, p=p, q=q, region_decay=0.4, walks=2000, length=10)]
    values = values_of_steps(walks, exhaustive_chances(graph, cell=300, decay=0.4, p=p, q=q))
    assert min(values) > 0.01 / len(values)
    assert 0.3 < np.mean(values) < 0.7


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


@pytest.mark.slow
def test_walks_are_the_same_bits_for_any_layer_and_number_of_threads() -> None:
    code = (
        "import hashlib, numba, numpy as np\n"
        "from mmgr.categories.graph import delaunay_graph\n"
        "from mmgr.categories.walks import edge_weights, random_walks\n"
        "from mmgr.config import Categories\n"
        "graph = delaunay_graph(np.random.default_rng(0).uniform(0, 5000, (3000, 2)))\n"
        "walks = random_walks(graph, edge_weights(graph, cell=500, decay=0.4), Categories(), seed=7)\n"
        "print(hashlib.sha256(np.concatenate(list(walks)).tobytes()).hexdigest(), numba.threading_layer())"
    )
    printed = []
    for layer, threads in [("workqueue", 1), ("workqueue", 3), ("omp", 2)]:
        environment = os.environ | {"NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": str(threads)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
        # not every machine has OpenMP
        assert run.returncode == 0 or (layer == "omp" and "omp" in run.stderr), run.stderr
        printed += [run.stdout.split()] if run.returncode == 0 else []
    digest, *others = {digest for digest, _ in printed}
    assert not others
    # the same without AVX2 and FMA in NumPy, and with the plainest processor of numba's compiler
    if platform.machine() in {"x86_64", "AMD64"}:
        assert digest == "85c6d7107e9372f396f4700f0bd95e8167755a911409f9371f2fa63f560f2c72"
    assert "workqueue" in {layer for _, layer in printed}


def test_counting_along_walks_is_counting_the_walks() -> None:
    rng = np.random.default_rng(0)
    graph = delaunay_graph(np.round(rng.uniform(0, 100, (3000, 2))) * 50)  # many coincide
    weights, settings = edge_weights(graph, cell=500, decay=0.4), Categories(walks=3, length=7)
    category = rng.integers(0, 12, 3000).astype(np.int32)
    counted = cooccurrence_of_walks(random_walks(graph, weights, settings, seed=5), category, categories=12)
    threads = numba.get_num_threads()
    try:
        for number in range(1, threads + 1):
            numba.set_num_threads(number)
            at_once = cooccurrence_along_walks(graph, weights, category, settings, categories=12, seed=5)
            assert (at_once == counted).all()
    finally:
        numba.set_num_threads(threads)
    assert counted.sum() == 3000 * 3 * 6


def test_a_walk_that_ends_early_gives_the_pairs_that_it_has() -> None:
    xy = np.array([[10.0, 10], [20, 30], [250, 20], [260, 20], [5, 400]])
    graph = delaunay_graph(xy)
    weights, settings = edge_weights(graph, cell=100, decay=0.0), Categories(walks=2, length=4)
    category = np.array([0, 1, 2, 2, 3], np.int32)
    pairs = cooccurrence_along_walks(graph, weights, category, settings, categories=4, seed=0)
    # two regions of two POIs, where each walk goes to and fro; the last POI is alone in its region
    assert pairs.tolist() == [[2, 4, 0, 0], [4, 2, 0, 0], [0, 0, 12, 0], [0, 0, 0, 0]]


def test_steps_never_go_along_an_edge_without_weight() -> None:
    graph = delaunay_graph(np.random.default_rng(3).uniform(0, 1000, (300, 2)))
    weights = np.where(np.random.default_rng(4).uniform(0, 1, len(graph.indices)) < 0.6, 0.0, 1.0)
    allowed = {
        (int(tail), int(head))
        for tail, head, weight in zip(graph.tails, graph.indices, weights, strict=True)
        if weight > 0
    }
    for p, q in [(0.5, 0.5), (100.0, 100.0)]:
        walks = np.concatenate(list(random_walks(graph, weights, Categories(walks=20, p=p, q=q), seed=1)))
        steps = [step for walk in walks for step in pairwise(graph.vertex[walk[walk >= 0]].tolist())]
        assert len(steps) > 1000
        assert set(steps) <= allowed


def test_walks_need_nothing_of_their_settings_but_four_numbers() -> None:
    graph = delaunay_graph(XY)
    weights = edge_weights(graph, cell=100, decay=0.4)
    plain = SimpleNamespace(walks=2, length=5, p=0.5, q=2.0)
    batches = [list(random_walks(graph, weights, own, seed=1)) for own in (plain, Categories(**vars(plain)))]
    assert (batches[0][0] == batches[1][0]).all()


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
