from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from mmgr.evaluate.tuning import choose, inner_folds


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.integers(6, 80), st.integers(2, 12))
def test_groups_stay_whole_and_each_unit_is_held_once(seed: int, units: int, groups: int) -> None:
    number = np.random.default_rng(seed).integers(0, groups, units)
    parts = inner_folds(number, units=units, seed=seed)
    assert sorted(np.concatenate([held for _, held in parts])) == list(range(units))
    for fit, held in parts:
        assert len(fit) >= 1
        assert not set(fit) & set(held)
        if len(np.unique(number)) > 1:
            assert not set(number[fit]) & set(number[held])


def test_linked_units_are_never_on_both_sides() -> None:
    linked = sparse.csr_array(np.eye(20, dtype=bool) | np.eye(20, k=1, dtype=bool) | np.eye(20, k=-1, dtype=bool))
    for fit, held in inner_folds(np.arange(20) // 5, units=20, seed=0, linked=linked):
        assert np.abs(fit[:, None] - held[None]).min() > 1


def test_where_all_units_are_linked_something_is_left_to_fit_on() -> None:
    linked = sparse.csr_array(np.ones((8, 8), bool))
    assert all(len(fit) for fit, _ in inner_folds(None, units=8, seed=0, linked=linked))


def test_too_few_units_have_no_inner_folds() -> None:
    assert inner_folds(None, units=3, seed=0) == ()


@pytest.mark.parametrize(("inner", "chosen"), [([(np.array([0]), np.array([1]))] * 2, 3), ([], 5)])
def test_the_candidate_of_the_least_error_is_chosen_or_the_first(
    inner: list[tuple[np.ndarray, np.ndarray]], chosen: int
) -> None:
    assert choose((5, 3, 4), lambda number, _fit, _held: abs(number - 3.2), inner) == chosen
