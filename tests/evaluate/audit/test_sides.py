from __future__ import annotations

import numpy as np
import pytest
import shapely

from mmgr.evaluate.audit.sides import membership, nearness, shared_by_sides, within_reach


def row_of_squares(count: int, gap: float = 0.0) -> np.ndarray:
    x = np.arange(count) * (10.0 + gap)
    return np.asarray(shapely.box(x, 0, x + 10, 10))


def fold(train: list[int], test: list[int]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(np.array(train), np.array(test))]


def test_neighbours_touch_and_share_no_ground() -> None:
    near = nearness(row_of_squares(6), fold([0, 1, 2], [3, 4, 5]), limit=10)
    assert (near.nearest, near.touching, near.overlapping) == (0.0, 1, 0)
    assert near.near == 1, "the next one lies exactly at the limit"
    assert near.median == 10.0
    assert near.tested == 3


def test_overlapping_outlines_share_ground() -> None:
    near = nearness(row_of_squares(4, gap=-2), fold([0, 1], [2, 3]))
    assert (near.touching, near.overlapping) == (1, 1)


def test_each_fold_is_counted() -> None:
    folds = fold([0], [1]) + fold([1], [0]) + fold([0], [3])
    near = nearness(row_of_squares(4), folds)
    assert (near.tested, near.touching, near.nearest) == (3, 2, 0.0)


def test_what_both_sides_hold_is_counted_by_tested_unit() -> None:
    held = membership([["a"], ["b"], ["a", "b"], [], ["c"]])
    shared = shared_by_sides(held, fold([0, 4], [1, 2, 3]))
    assert (shared.count, shared.tested) == (1, 3)
    assert shared_by_sides(held, fold([0, 1], [4])).count == 0
    assert shared_by_sides(membership([[], []]), fold([0], [1])).count == 0


def test_reach_is_between_centres() -> None:
    centres = np.array([[0.0, 0.0], [3.0, 4.0], [30.0, 40.0]])
    assert within_reach(centres, fold([0], [1, 2]), 5.0).count == 0
    assert within_reach(centres, fold([0], [1, 2]), 5.1).share == pytest.approx(0.5)
