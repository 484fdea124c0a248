"""Squashed components of a table."""

from __future__ import annotations

import numpy as np

from mmgr.contexts.around import squashed_vectors
from mmgr.contexts.squashed import LEAST_SPREAD, SquashedComponents

TABLE = np.random.default_rng(0).lognormal(size=(60, 5)).astype(np.float32)


def expected(table: np.ndarray, squash: float = 1.0) -> np.ndarray:
    values = table.astype(np.float64)
    return np.tanh((values - values.mean(0)) / np.maximum(values.std(0), LEAST_SPREAD) / squash)


def test_columns_are_standardised_and_squashed_and_turned_into_components() -> None:
    squashed = expected(TABLE)
    np.testing.assert_allclose(SquashedComponents.of(TABLE, None)(TABLE), squashed, atol=1e-5)
    found = SquashedComponents.of(TABLE, 3)(TABLE)
    left, lengths, _ = np.linalg.svd(squashed - squashed.mean(0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found), np.abs(left * lengths)[:, :3], atol=1e-4)
    assert found.dtype == np.float32
    gentle = SquashedComponents.of(TABLE, None, squash=3.0)(TABLE)
    np.testing.assert_allclose(gentle, expected(TABLE, 3.0), atol=1e-5)
    before = SquashedComponents.of(TABLE, 5, squash=3.0)(TABLE)
    np.testing.assert_allclose((before**2).sum(), ((gentle - gentle.mean(0)) ** 2).sum(), rtol=1e-4)


def test_what_all_but_never_varies_is_not_stretched() -> None:
    table = np.hstack([TABLE, 1 + 1e-5 * TABLE[:, :1]])
    assert np.abs(SquashedComponents.of(table, None)(table)[:, 5]).max() < 0.05


def test_no_rows_have_no_vectors_and_parts_are_the_whole() -> None:
    squash = SquashedComponents.of(TABLE, 2)
    assert squash(TABLE[:0]).shape == (0, 2)
    assert SquashedComponents.of(TABLE, None)(TABLE[:0]).shape == (0, 5)
    many = np.tile(TABLE, (100, 1))
    assert np.array_equal(squash(many)[:60], squash(TABLE)), "6,000 rows go in two parts"


def test_the_only_zoo_is_no_direction_of_its_own() -> None:
    """Three categories that one region alone has: plain columns would put it far from all others."""
    rare = np.zeros((60, 3), np.float32)
    rare[0] = 4
    table = np.hstack([np.log(TABLE), rare])

    def how_far(vectors: np.ndarray) -> float:
        length = np.linalg.norm(vectors - vectors.mean(0), axis=1)
        return float(length[0] / np.median(length))

    assert how_far((table - table.mean(0)) / table.std(0)) > 5
    assert how_far(squashed_vectors(table, np.ones(60, bool), 8)) < 2


def test_a_region_that_is_not_known_holds_the_mean_of_the_others() -> None:
    known = np.arange(60) % 3 > 0
    table = np.where(known[:, None], TABLE, np.nan)
    found = squashed_vectors(table, known, 4)
    assert found.shape == (60, 4)
    np.testing.assert_allclose(found[~known], np.tile(found[known].mean(0), (20, 1)), atol=1e-6)
    assert np.array_equal(found[known], squashed_vectors(TABLE[known], np.ones(40, bool), 4))


def test_what_fewer_than_two_regions_know_tells_nothing_apart() -> None:
    for count in (0, 1):
        assert squashed_vectors(TABLE, np.arange(60) < count, 4).shape == (60, 0)
