from __future__ import annotations

import numpy as np

from mmgr.maps.neighbours import choose_examples, nearest_neighbours


def test_neighbours_are_those_of_largest_cosine_without_the_region_itself() -> None:
    vectors = np.random.default_rng(0).normal(size=(50, 8))
    found, similarity = nearest_neighbours(vectors, [4, 7], 3)
    for place, row in enumerate([4, 7]):
        cosine = [
            -2.0 if other == row else float(v @ vectors[row] / np.linalg.norm(v) / np.linalg.norm(vectors[row]))
            for other, v in enumerate(vectors)
        ]
        wanted = sorted(range(50), key=lambda other: -cosine[other])[:3]
        assert list(found[place]) == wanted
        np.testing.assert_allclose(similarity[place], [cosine[w] for w in wanted], rtol=1e-5)


def test_regions_near_in_space_are_left_out() -> None:
    vectors = np.ones((6, 3)) + 0.01 * np.arange(6)[:, None] * [1, 0, 0]
    centres = np.column_stack([np.arange(6) * 100.0, np.zeros(6)])
    found, _ = nearest_neighbours(vectors, [0], 5, centres=centres, min_distance=250)
    assert list(found[0]) == [3, 4, 5, -1, -1]


def test_only_candidates_with_a_vector_are_found() -> None:
    vectors = np.ones((5, 3))
    vectors[1] = 0
    vectors[2] = np.nan
    found, similarity = nearest_neighbours(vectors, [0, 1], 4, candidates=[True, True, True, False, True])
    assert list(found[0]) == [4, -1, -1, -1]
    assert np.isnan(similarity[0, 1:]).all()
    assert (found[1] == -1).all(), "no direction, nothing alike"


def test_examples_are_unlike_each_other_and_the_same_for_a_seed() -> None:
    centres = 10 * np.eye(4)
    vectors = np.repeat(centres, 25, axis=0) + np.random.default_rng(0).normal(0, 0.01, (100, 4))
    chosen = choose_examples(vectors, 4, seed=3)
    assert sorted(chosen // 25) == [0, 1, 2, 3]
    np.testing.assert_array_equal(chosen, choose_examples(vectors, 4, seed=3))


def test_examples_with_an_image_come_first() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 4))
    preferred = np.arange(20) < 3
    chosen = choose_examples(vectors, 5, seed=0, preferred=preferred)
    assert set(chosen[:3]) == {0, 1, 2}
    assert len(set(chosen)) == 5


def test_no_more_examples_than_distinct_regions() -> None:
    assert len(choose_examples(np.ones((10, 3)), 4, seed=0)) == 1
    assert len(choose_examples(np.zeros((10, 3)), 4, seed=0)) == 0
