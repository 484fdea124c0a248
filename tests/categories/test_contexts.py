"""Pairs from walks and from nearest POIs, beside the definition in loops."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely import box

from mmgr.categories.contexts import nearest_contexts, nearest_pois, walk_contexts
from mmgr.categories.places import Places
from mmgr.config import Categories
from mmgr.taxonomy import Taxonomy


def places_of(xy: np.ndarray, category: list[int], counts: np.ndarray | None = None, categories: int = 3) -> Places:
    names = tuple("abcdef"[:categories])
    matrix = np.zeros((0, categories)) if counts is None else counts
    shapes = gpd.GeoSeries([box(100 * row, 9e5, 100 * row + 100, 9e5 + 100) for row in range(len(matrix))])
    places = Places(Taxonomy(names, names), xy, np.array(category, np.int32), matrix)
    return Places(places.taxonomy, places.xy, places.category, matrix, shapes, np.zeros(len(matrix), np.int32))


@pytest.mark.parametrize("power", [0.0, 1.0, 2.5])
def test_nearest_contexts_are_those_of_the_definition(power: float) -> None:
    random = np.random.default_rng(0)
    xy, category = random.uniform(0, 500, (40, 2)), random.integers(0, 3, 40)
    settings = Categories(method="place2vec", neighbours=4, power=power)
    expected = np.zeros((3, 3))
    for i in range(40):
        distance = np.hypot(*(xy - xy[i]).T)
        near = [m for m in np.argsort(distance) if m != i][:4]
        weight = np.array([max(distance[m], 1.0) ** -power for m in near])
        for m, share in zip(near, 4 * weight / weight.sum(), strict=True):
            expected[category[i], category[m]] += share
    assert nearest_contexts(places_of(xy, category.tolist()), settings).pairs == pytest.approx(expected)


def test_a_poi_is_no_context_of_itself_even_where_many_coincide() -> None:
    xy = np.zeros((30, 2))
    nearest, weight = nearest_pois(xy, k=4, power=1)
    assert nearest.shape == (30, 4)
    assert (nearest != np.arange(30)[:, None]).all()
    assert all(len(set(row)) == 4 for row in nearest.tolist())
    assert weight == pytest.approx(np.full((30, 4), 0.25))


def test_fewer_pois_than_neighbours_are_all_contexts() -> None:
    nearest, weight = nearest_pois(np.array([[0.0, 0], [0, 10], [0, 30]]), k=10, power=1)
    assert nearest.tolist() == [[1, 2], [0, 2], [1, 0]]
    assert weight[0] == pytest.approx([0.75, 0.25])


def test_a_poi_of_another_city_is_no_context() -> None:
    xy = np.array([[0.0, 0], [10, 0], [9e5, 0]])
    contexts = nearest_contexts(places_of(xy, [0, 1, 2]), Categories(method="place2vec"))
    assert contexts.pairs.tolist() == [[0, 10, 0], [10, 0, 0], [0, 0, 0]]
    assert contexts.shared.tolist() == [[True, True, False], [True, True, False], [False, False, True]]


def test_walks_that_end_early_give_the_pairs_they_have() -> None:
    xy = np.array([[0.0, 0], [10, 0], [9e5, 0]])  # the third has nowhere to go
    contexts = walk_contexts(places_of(xy, [0, 1, 2]), Categories(walks=2, length=4), cell=250, seed=0)
    assert contexts.pairs.sum(axis=1).tolist() == [6, 6, 0]


@pytest.mark.parametrize(("method", "budget"), [("skip-gram", 45), ("place2vec", 10)])
def test_each_poi_of_a_polygon_has_as_many_contexts_as_a_point(method: str, budget: int) -> None:
    places = places_of(np.zeros((0, 2)), [], np.array([[2.0, 3, 0], [1, 0, 4]]))
    settings = Categories.model_validate({"method": method})
    if method == "skip-gram":
        contexts = walk_contexts(places, settings, cell=250, seed=0)
    else:
        contexts = nearest_contexts(places, settings)
    assert contexts.pairs.sum(axis=1) == pytest.approx(budget * places.frequency)
    assert contexts.shared.all()
