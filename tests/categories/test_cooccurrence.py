"""Pairs of categories from walks and from counts."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from mmgr.categories.cooccurrence import adjacency, cooccurrence_of_counts, cooccurrence_of_walks


def squares(*columns: float) -> gpd.GeoSeries:
    return gpd.GeoSeries([box(x, 0, x + 100, 100) for x in columns], crs=32611)


def test_the_start_is_the_target_and_the_rest_its_context() -> None:
    walks = [np.array([[0, 1, 2], [1, 0, -1]], np.int32), np.array([[2, -1, -1]], np.int32)]
    category = np.array([0, 1, 1], np.int32)
    assert cooccurrence_of_walks(walks, category, categories=2).tolist() == [[0, 2], [1, 0]]


def test_pairs_in_a_polygon_are_those_of_drawing_another_poi() -> None:
    counts = np.array([[3, 2, 0]])
    pairs = cooccurrence_of_counts(counts, squares(0), np.zeros(1, int), decay=0.4, contexts=45)
    # every ordered pair of two of the five POIs has the chance 1 / 4 of being drawn by its target
    pois = [0, 0, 0, 1, 1]
    expected = np.zeros((3, 3))
    for i, target in enumerate(pois):
        for j, context in enumerate(pois):
            expected[target, context] += 45 / 4 * (i != j)
    assert pairs == pytest.approx(expected)


def test_neighbours_weigh_by_the_decay_and_each_poi_keeps_its_budget() -> None:
    counts = np.array([[2, 0, 0], [0, 4, 0], [0, 0, 7]])
    pairs = cooccurrence_of_counts(counts, squares(0, 100, 1000), np.zeros(3, int), decay=0.4, contexts=10)
    assert pairs.sum(axis=1) == pytest.approx([20, 40, 70])
    assert pairs[0] == pytest.approx([20 / 1.4, 20 * 0.4 / 1.4, 0])
    assert pairs[2, 2] == pytest.approx(70)


def test_a_single_poi_has_only_its_neighbours_as_context() -> None:
    counts = np.array([[1, 0], [0, 3]])
    pairs = cooccurrence_of_counts(counts, squares(0, 100), np.zeros(2, int), decay=0.4, contexts=10)
    assert pairs[0] == pytest.approx([0, 10])
    alone = cooccurrence_of_counts(counts, squares(0, 500), np.zeros(2, int), decay=0.4, contexts=10)
    assert alone == pytest.approx(np.array([[0, 0], [0, 30]]))


def test_polygons_of_two_files_are_no_neighbours_and_slivers_do_not_part_them() -> None:
    touching = adjacency(squares(0, 100.5, 200), np.array([0, 0, 1])).toarray()
    assert touching.tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
