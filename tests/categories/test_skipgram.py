"""The objective on the matrix, beside sampled mini-batches and finite differences."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest

from mmgr.categories import SkipGramVectors
from mmgr.categories.skipgram import fit_skip_gram, negative_shares, skip_gram, start_vectors

ALL = np.ones((6, 6), bool)


def example() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    pairs = random.integers(1, 9, (6, 6)) * (random.random((6, 6)) < 0.5).astype(float)
    pairs[np.arange(6), np.arange(6)] += 1
    return pairs, np.array([0, 0, 1, 1, 1, 2]), random.normal(size=(6, 4)), random.normal(size=(6, 4))


def test_the_gradient_is_that_of_finite_differences() -> None:
    pairs, levels, targets, contexts = example()
    objective = skip_gram(pairs, ALL, levels, negatives=5, hierarchy=0.01)
    _, by_targets, by_contexts = objective.value_and_gradient(targets, contexts)
    for array, gradient in ((targets, by_targets), (contexts, by_contexts)):
        for place in np.ndindex(array.shape):
            kept, step = array[place], 1e-6
            array[place] = kept + step
            above = objective.value_and_gradient(targets, contexts)[0]
            array[place] = kept - step
            below = objective.value_and_gradient(targets, contexts)[0]
            array[place] = kept
            assert gradient[place] == pytest.approx((above - below) / (2 * step), abs=1e-7)


def test_sampled_mini_batches_have_the_objective_as_their_mean() -> None:
    pairs, levels, targets, contexts = example()
    negatives, draws = 3, 400_000
    random = np.random.default_rng(1)
    pair = random.choice(36, size=draws, p=pairs.ravel() / pairs.sum())
    target, context = np.divmod(pair, 6)
    loss = -np.log(1 / (1 + np.exp(-(targets[target] * contexts[context]).sum(axis=1))))
    shares = negative_shares(pairs, ALL, negatives=negatives)
    for row in range(6):
        own = np.flatnonzero(target == row)
        for _ in range(negatives):
            drawn = random.choice(6, size=len(own), p=shares[row])
            loss[own] -= np.log(1 / (1 + np.exp(contexts[drawn] @ targets[row])))
    hierarchy = sum(
        0.02 / 2 * np.sum((targets[i] - targets[j]) ** 2) for i in range(6) for j in range(6) if levels[i] == levels[j]
    )
    objective = skip_gram(pairs, ALL, levels, negatives=negatives, hierarchy=0.02)
    spread = loss.std() / np.sqrt(draws)
    assert objective.value_and_gradient(targets, contexts)[0] == pytest.approx(loss.mean() + hierarchy, abs=4 * spread)


def test_negatives_are_drawn_evenly_from_what_never_cooccurs() -> None:
    pairs = np.array([[5.0, 1, 0, 0], [1, 5, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])
    shares = negative_shares(pairs, np.ones((4, 4), bool), negatives=2)
    assert shares[0].tolist() == [0, 0, 0.5, 0.5]
    assert shares[2].tolist() == [0.5, 0.5, 0, 0]  # not itself, though it never meets its own kind


def test_never_has_the_direction_from_a_walks_start_to_what_it_meets() -> None:
    pairs = np.array([[5.0, 1, 3], [0, 5, 2], [1, 1, 5]])  # 0 met 1, but no walk from 1 met 0
    shares = negative_shares(pairs, np.ones((3, 3), bool), negatives=1)
    assert shares[1].tolist() == [1, 0, 0]
    assert shares[0, 1] < 1  # by frequency: 0 met all others


def test_of_singapores_pairs_that_never_met_a_tenth_met_the_other_way_round(shared_data: Path) -> None:
    pois = gpd.read_file(shared_data / "singapore" / "pois.geojson").to_crs(32648)
    pairs = SkipGramVectors(iterations=1, random_state=0).fit(pois).to_vectors().cooccurrence
    assert pairs is not None
    never = (pairs == 0) & ~np.eye(len(pairs), dtype=bool)
    assert (never & (pairs.T > 0)).sum() / never.sum() == pytest.approx(0.10, abs=0.01)


def test_categories_of_another_city_and_without_pois_are_no_negatives() -> None:
    pairs = np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    shared = np.array([[1, 1, 0, 1], [1, 1, 0, 1], [0, 0, 1, 0], [1, 1, 0, 1]], bool)
    assert (negative_shares(pairs, shared, negatives=5)[:2, 2:] == 0).all()


def test_a_category_that_meets_all_others_draws_by_frequency() -> None:
    pairs = np.array([[1.0, 16], [1, 0]])
    shares = negative_shares(pairs, np.ones((2, 2), bool), negatives=5)
    assert shares[0] == pytest.approx(np.array([2**0.75, 8]) / (2**0.75 + 8))


def test_too_few_negatives_are_completed_by_frequency() -> None:
    pairs = np.array([[1.0, 1, 0], [1, 1, 1], [0, 1, 1]])
    shares = negative_shares(pairs, np.ones((3, 3), bool), negatives=4)
    frequency = np.array([2, 3, 2]) ** 0.75
    assert shares[0] == pytest.approx(0.25 * np.array([0, 0, 1]) + 0.75 * frequency / frequency.sum())
    assert shares.sum(axis=1) == pytest.approx(1)


def test_negatives_by_frequency_alone_are_those_of_word2vec() -> None:
    pairs = np.array([[4.0, 12, 0], [12, 1, 0], [0, 0, 81]])
    shares = negative_shares(pairs, np.ones((3, 3), bool), negatives=5, unmet=False)
    assert shares[0] == pytest.approx(np.array([8, 13**0.75, 27]) / (8 + 13**0.75 + 27))


def test_fitting_lowers_the_objective_and_repeats_to_the_bit() -> None:
    pairs, levels, _, _ = example()
    objective = skip_gram(pairs, ALL, levels, negatives=5, hierarchy=1e-4)
    one, two = (fit_skip_gram(objective, dimensions=8, iterations=100, learning_rate=0.05, seed=3) for _ in range(2))
    assert (one == two).all()
    start = start_vectors(6, 8, seed=3)
    assert objective.value_and_gradient(*one)[0] < 0.8 * objective.value_and_gradient(*start)[0]
    other = fit_skip_gram(objective, dimensions=8, iterations=100, learning_rate=0.05, seed=4)
    assert (one != other).any()


def test_the_hierarchy_draws_siblings_together() -> None:
    pairs = np.eye(4) * 10
    levels = np.array([0, 0, 1, 1])

    def distance(hierarchy: float) -> float:
        objective = skip_gram(pairs, np.ones((4, 4), bool), levels, negatives=5, hierarchy=hierarchy)
        vectors, _ = fit_skip_gram(objective, dimensions=8, iterations=200, learning_rate=0.05, seed=0)
        return float(np.linalg.norm(vectors[0] - vectors[1]) / np.linalg.norm(vectors[0] - vectors[2]))

    assert distance(0.1) < 0.5 * distance(0.0)
