"""The POI graph, beside brute force and for every odd arrangement of points."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations, permutations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mmgr.categories.graph import PoiGraph, delaunay_graph, distance_weights
from mmgr.errors import PoiError

Point = tuple[Fraction, Fraction]


def edges_of(graph: PoiGraph) -> set[tuple[int, int]]:
    return {(int(i), int(j)) for i, j in zip(graph.tails, graph.indices, strict=True)}


def empty_circle_edges(xy: NDArray[np.float64]) -> set[tuple[int, int]]:
    """The definition: three points form a triangle if their circle holds no fourth.

    In fractions, since three points of the outline that all but lie in a line have a circle of a thousand kilometres.
    """
    points = [(Fraction(x), Fraction(y)) for x, y in xy.tolist()]
    edges = set()
    for corners in combinations(range(len(points)), 3):
        one, two, three = (points[corner] for corner in corners)
        turn = (two[0] - one[0]) * (three[1] - one[1]) - (two[1] - one[1]) * (three[0] - one[0])
        others = [point for number, point in enumerate(points) if number not in corners]
        if turn and all(inside(one, two, three, point) * turn <= 0 for point in others):
            edges |= set(permutations(corners, 2))
    return edges


def inside(one: Point, two: Point, three: Point, point: Point) -> Fraction:
    """Return a number above 0 for a point inside the circle of three that turn to the left."""
    (a, b, c), (d, e, f), (g, h, i) = (
        (x - point[0], y - point[1], (x - point[0]) ** 2 + (y - point[1]) ** 2) for x, y in (one, two, three)
    )
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32 - 1), st.integers(3, 14))
@example(8575, 5)  # a circle with a radius of 769 km
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


@pytest.mark.parametrize("apart", [24_000.0, 26_000.0, 45_000.0, 80_000.0])
def test_two_cities_are_one_area_below_the_gap_and_two_above(apart: float) -> None:
    city = np.concatenate([np.random.default_rng(1).uniform(0, 1000, (40, 2)), [[0.0, 500], [1000, 500]]])
    graph = delaunay_graph(np.concatenate([city, city + np.array([1000 + apart, 0])]), gap=25_000)
    assert len(graph.diagonals) == (1 if apart < 25_000 else 2)
    assert (graph.lengths.max() >= apart) == (apart < 25_000)


def test_points_of_many_cities_keep_their_own_coordinates() -> None:
    rng = np.random.default_rng(5)
    xy = rng.uniform(0, 800, (300, 2)) + rng.integers(0, 4, (300, 1)) * np.array([200_000, 70_000])
    graph = delaunay_graph(xy)
    assert len(graph.diagonals) == 4
    assert graph.xy[graph.vertex] == pytest.approx(xy)
    assert graph.lengths == pytest.approx(np.hypot(*(graph.xy[graph.tails] - graph.xy[graph.indices]).T))
    alone = {pair for number in range(4) for pair in apart_edges(graph, number)}
    assert edges_of(graph) == alone


def apart_edges(graph: PoiGraph, number: int) -> set[tuple[int, int]]:
    own = np.flatnonzero(graph.area == number)
    single = delaunay_graph(graph.xy[own])
    names = own[np.argsort(single.vertex)]  # vertex of the small graph -> vertex of the large one
    return {(int(names[i]), int(names[j])) for i, j in edges_of(single)}


def test_each_edge_stands_once_in_the_row_of_either_end_in_rising_order() -> None:
    graph = delaunay_graph(np.round(np.random.default_rng(2).uniform(0, 30, (2000, 2))) * 10)
    edges = list(zip(graph.tails.tolist(), graph.indices.tolist(), strict=True))
    assert edges == sorted(set(edges))
    assert set(edges) == {(j, i) for i, j in edges}
    assert all(i != j for i, j in edges)
    assert graph.indptr[-1] == len(graph.indices)


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_pois_that_all_coincide_are_one_vertex_without_edges(count: int) -> None:
    graph = delaunay_graph(np.full((count, 2), 4_321_000.0))
    assert len(graph.xy) == 1
    assert (graph.vertex == 0).all()
    assert len(graph.indices) == 0
    assert graph.diagonals.tolist() == [0.0]


@pytest.mark.parametrize("width", [1e-6, 1e-3, 0.02, 0.1, 1.0])
def test_points_nearly_in_a_line_are_all_joined(width: float) -> None:
    rng = np.random.default_rng(6)
    along, across = rng.uniform(0, 20_000, 400), rng.normal(0, width, 400)
    xy = np.stack([0.8 * along - 0.6 * across, 0.6 * along + 0.8 * across], axis=1) + 500_000
    graph = delaunay_graph(xy)
    assert np.diff(graph.indptr).min() >= 1
    links = csr_array((np.ones(len(graph.indices)), graph.indices, graph.indptr), shape=(len(graph.xy),) * 2)
    assert connected_components(links, directed=False)[0] == 1


def test_close_pairs_in_a_wide_area_are_all_joined() -> None:
    rng = np.random.default_rng(7)
    xy = rng.uniform(0, 100_000, (3000, 2))
    xy = np.concatenate([xy, xy + rng.uniform(0.02, 0.05, xy.shape)])
    graph = delaunay_graph(xy)
    assert np.diff(graph.indptr).min() >= 1
    pairs = np.sort(graph.vertex.reshape(2, -1).T, axis=1)
    joined = edges_of(graph)
    assert all((int(i), int(j)) in joined for i, j in pairs)


def test_far_coordinates_have_the_graph_of_near_ones() -> None:
    near = np.random.default_rng(8).uniform(0, 5000, (200, 2))
    far = near + np.array([2**33, -(2**33)])
    moved = delaunay_graph(far)
    assert edges_of(moved) == edges_of(delaunay_graph(far - far.min(axis=0)))
    assert moved.lengths.max() < 5000


@pytest.mark.parametrize(("value", "expected"), [(np.nan, "nan"), (np.inf, "inf")])
def test_coordinates_that_are_no_numbers_are_refused_by_place(value: float, expected: str) -> None:
    xy = np.zeros((5, 2))
    xy[3, 1] = value
    with pytest.raises(
        PoiError, match=rf"1 POIs have no finite coordinates, the first is number 3 \(x 0.0, y {expected}"
    ):
        delaunay_graph(xy)


def test_coordinates_wider_than_the_earth_are_refused() -> None:
    with pytest.raises(PoiError, match="metres as units"):
        delaunay_graph(np.array([[0.0, 0], [0, 5e7]]))


def test_distance_weights_are_those_of_the_paper() -> None:
    graph = delaunay_graph(np.array([[0.0, 0], [300, 0], [0, 400]]))
    expected = {length: np.log((1 + 500**1.5) / (1 + length**1.5)) for length in (300, 400)}
    for length, weight in zip(graph.lengths, distance_weights(graph), strict=True):
        if length < 499:
            assert weight == pytest.approx(expected[round(length)])
        else:
            assert 0 < weight < 1e-100
