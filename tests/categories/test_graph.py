"""The POI graph, beside brute force and for every odd arrangement of points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmgr.categories.graph import PoiGraph, delaunay_graph, distance_weights, study_areas


def edges_of(graph: PoiGraph) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in zip(graph.tails, graph.indices, strict=True)}


def empty_circle_edges(xy: NDArray[np.float64]) -> set[tuple[int, int]]:
    """The definition: three points form a triangle if their circle holds no fourth."""
    edges, count = set(), len(xy)
    for i in range(count):
        for j in range(i + 1, count):
            for k in range(j + 1, count):
                corners = xy[[i, j, k]]
                system = np.c_[2 * corners, np.ones(3)]
                if abs(np.linalg.det(system)) < 1e-9:
                    continue
                x, y, c = np.linalg.solve(system, (corners**2).sum(axis=1))
                radius2 = c + x * x + y * y
                if (((xy - [x, y]) ** 2).sum(axis=1) >= radius2 - 1e-6).all():
                    edges |= {(a, b) for a in (i, j, k) for b in (i, j, k) if a != b}
    return edges


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(3, 14))
def test_edges_are_those_of_triangles_with_empty_circles(seed: int, count: int) -> None:
    xy = np.random.default_rng(seed).uniform(0, 1000, (count, 2))
    graph = delaunay_graph(xy)
    assert edges_of(graph) == empty_circle_edges(graph.xy)
    assert graph.xy[graph.vertex] == pytest.approx(xy)


def test_lengths_and_diagonal_are_in_metres_far_from_the_origin() -> None:
    graph = delaunay_graph(np.array([[0.0, 0], [300, 0], [0, 400]]) + np.array([500_000, 4_000_000]))
    assert sorted(graph.lengths) == pytest.approx([300, 300, 400, 400, 500, 500])
    assert graph.diagonals == pytest.approx([500])


def test_coincident_pois_are_one_vertex() -> None:
    graph = delaunay_graph(np.array([[0.0, 0], [100, 0], [0, 0], [0, 100], [100, 0], [0, 0]]))
    assert len(graph.xy) == 3
    assert graph.vertex[0] == graph.vertex[2] == graph.vertex[5]
    assert graph.vertex[1] == graph.vertex[4] != graph.vertex[3]
    assert len(graph.indices) == 6


@pytest.mark.parametrize(("count", "edges"), [(0, 0), (1, 0), (2, 2), (3, 4), (50, 98)])
def test_points_in_a_line_are_joined_along_it(count: int, edges: int) -> None:
    steps = np.random.default_rng(0).permutation(count)
    graph = delaunay_graph(np.stack([3.0 * steps, 4.0 * steps], axis=1))
    assert len(graph.indices) == edges
    assert graph.lengths == pytest.approx(5)


def test_a_lattice_where_four_points_share_every_circle_is_triangulated() -> None:
    x, y = np.meshgrid(np.arange(10.0), np.arange(10.0))
    graph = delaunay_graph(np.stack([x.ravel(), y.ravel()], axis=1) * 100)
    assert len(graph.indices) / 2 == 3 * 100 - 3 - 36  # 3n - 3 - h edges, with 36 points on the hull


def test_distant_cities_are_triangulated_apart() -> None:
    city = np.random.default_rng(1).uniform(0, 3000, (60, 2))
    graph = delaunay_graph(np.concatenate([city, city + np.array([400_000, 0]), [[0, 900_000]]]))
    assert len(graph.diagonals) == 3
    assert (graph.area[graph.tails] == graph.area[graph.indices]).all()
    assert sorted(np.bincount(graph.area)) == [1, 60, 60]
    assert len(graph.indices) == 2 * len(delaunay_graph(city).indices)


def test_areas_hold_together_below_the_gap() -> None:
    chain = np.stack([np.arange(0, 100, 0.9), np.zeros(112)], axis=1)
    assert study_areas(chain, gap=1.0).max() == 0
    assert len(np.unique(study_areas(np.array([[0.0, 0], [2.9, 0]]), gap=1.0))) == 2


def test_distance_weights_are_those_of_the_paper() -> None:
    graph = delaunay_graph(np.array([[0.0, 0], [300, 0], [0, 400]]))
    expected = {length: np.log((1 + 500**1.5) / (1 + length**1.5)) for length in (300, 400)}
    for length, weight in zip(graph.lengths, distance_weights(graph), strict=True):
        if length < 499:
            assert weight == pytest.approx(expected[round(length)])
        else:
            assert 0 < weight < 1e-100
