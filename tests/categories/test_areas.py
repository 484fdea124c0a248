"""Which POIs belong to one city, beside brute force."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage

from mmgr.categories import Place2VecVectors, SkipGramVectors
from mmgr.categories.areas import study_areas
from mmgr.categories.contexts import nearest_contexts, walk_contexts
from mmgr.categories.estimator import CategoryEstimator
from mmgr.categories.places import Places
from mmgr.config import Categories
from mmgr.errors import ConfigError
from mmgr.taxonomy import Taxonomy


def two_towns(apart: float, count: int = 60) -> NDArray[np.float64]:
    """Two towns of 1 km with exactly ``apart`` metres of emptiness between them."""
    town = np.concatenate([np.random.default_rng(1).uniform(0, 1000, (count, 2)), [[0.0, 500], [1000, 500]]])
    return np.concatenate([town, town + np.array([1000 + apart, 0])])


def same(area: NDArray[np.int32]) -> NDArray[np.bool_]:
    return np.asarray(area[:, None] == area[None])


@pytest.mark.parametrize(("apart", "areas"), [(24_999, 1), (25_001, 2), (30_000, 2), (45_000, 2), (60_000, 2)])
@pytest.mark.parametrize("stray", [None, 10_000.0, 17_321.0, 24_000.0])
def test_true_distance_decides_wherever_the_grid_begins(apart: float, areas: int, stray: float | None) -> None:
    towns = two_towns(apart)
    xy = towns if stray is None else np.concatenate([towns, [[-stray, 300.0]]])
    assert len(np.unique(study_areas(xy)[: len(towns)])) == areas


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.floats(3, 40))
def test_areas_are_those_of_single_linkage(seed: int, count: int, wide: float) -> None:
    xy = np.random.default_rng(seed).uniform(0, wide, (count, 2)) * 1000
    expected = fcluster(linkage(xy, "single"), 2500.0, criterion="distance")
    area = study_areas(xy, gap=2500.0)
    assert (same(area) == same(expected)).all()
    moved = study_areas(xy + np.random.default_rng(seed).uniform(-1e6, 1e6, 2), gap=2500.0)
    assert (same(moved) == same(area)).all()
    assert sorted(np.unique(area)) == list(range(area.max() + 1))


def test_areas_hold_together_below_the_gap() -> None:
    chain = np.stack([np.arange(0, 100, 0.9), np.zeros(112)], axis=1)
    assert study_areas(chain, gap=1.0).max() == 0
    assert len(np.unique(study_areas(np.array([[0.0, 0], [1.1, 0]]), gap=1.0))) == 2
    assert study_areas(np.zeros((0, 2))).shape == (0,)


def test_squares_at_the_ends_of_two_columns_do_not_meet() -> None:
    # were the squares numbered without empty rows between columns, the top of one would follow on the foot of the next
    corners = np.array([[0.0, 0.0], [0.0, 9e4], [9e3, 0.0], [9e3, 9e4]])
    assert (same(study_areas(corners)) == (corners[:, 1][:, None] == corners[:, 1][None])).all()


@pytest.mark.parametrize("gap", [25_000.0, 50_000.0])
@pytest.mark.parametrize("method", ["skip-gram", "place2vec"])
def test_no_context_reaches_over_a_gap_that_the_user_chose(gap: float, method: str) -> None:
    xy = two_towns(45_000, 3)
    category = np.repeat([0, 1], len(xy) // 2).astype(np.int32)
    places = Places(Taxonomy(("a", "b"), ("a", "b")), xy, category, np.zeros((0, 2)))
    chosen = Categories(method=method, gap=gap, neighbours=9, region_decay=1.0)  # type: ignore[arg-type]
    contexts = nearest_contexts(places, chosen)
    if method == "skip-gram":
        contexts = walk_contexts(places, chosen, cell=250, seed=0)
    assert (contexts.pairs[0, 1] > 0) == (gap > 45_000)
    assert contexts.shared[0, 1] == (gap > 45_000)


@pytest.mark.parametrize("kind", [SkipGramVectors, Place2VecVectors])
def test_estimators_take_the_gap(kind: type[CategoryEstimator]) -> None:
    xy = two_towns(45_000, 3)
    table = pd.DataFrame({"x": xy[:, 0] + 3e5, "y": xy[:, 1], "first_level": np.repeat(["a", "b"], len(xy) // 2)})
    for gap in (25_000.0, 50_000.0):
        pairs = kind(4, iterations=1, gap=gap, random_state=0).fit(table).to_vectors().cooccurrence  # type: ignore[call-arg]
        assert pairs is not None
        assert (pairs[0, 1] > 0) == (gap > 45_000)
    with pytest.raises(ConfigError, match=r"`gap`.*got 0"):
        kind(4, gap=0).fit(table)  # type: ignore[call-arg]
