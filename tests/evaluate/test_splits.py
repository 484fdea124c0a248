from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.spatial.distance import cdist
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score

from mmgr.errors import SplitError
from mmgr.evaluate import LeaveOneGroupOut, OwnFolds, RandomFolds, SpatialBlocks, choose_block


def scattered(seed: int, units: int, extent: float = 10_000.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, extent, (units, 2))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 10_000),
    units=st.integers(40, 300),
    block=st.floats(300, 2500),
    folds=st.integers(2, 6),
    buffer=st.floats(0, 600),
)
def test_blocks_partition_the_units_stay_whole_and_keep_the_buffer(
    seed: int, units: int, block: float, folds: int, buffer: float
) -> None:
    centres = scattered(seed, units)
    splitter = SpatialBlocks(centres, block=block, folds=folds, buffer=buffer, seed=seed)
    cell = np.floor((centres - centres.min(axis=0)) / block)
    tested = []
    for train, test in splitter.split():
        tested.extend(test)
        assert len(test)
        assert not set(train) & set(test)
        assert cdist(centres[train], centres[test]).min() >= buffer
        # no block is split
        assert not {tuple(c) for c in cell[test]} & {tuple(c) for c in np.delete(cell, test, axis=0)}
        # nothing else is left out
        rest = np.setdiff1d(np.arange(units), np.concatenate([train, test]))
        assert (cdist(centres[rest], centres[test]).min(axis=1) < buffer).all() if len(rest) else True
    assert sorted(tested) == list(range(units))


def test_folds_are_balanced_and_change_with_the_seed() -> None:
    centres = scattered(1, 600)
    folds = [SpatialBlocks(centres, block=500, folds=5, seed=seed).fold for seed in (0, 1)]
    for fold in folds:
        assert np.bincount(fold).min() > 100
    assert (folds[0] != folds[1]).any()
    np.testing.assert_array_equal(folds[0], SpatialBlocks(centres, block=500, folds=5, seed=0).fold)


def test_splitters_work_in_cross_validation_of_scikit_learn() -> None:
    centres = scattered(2, 200)
    X, y = centres, centres @ [1.0, 2.0]
    for splitter in (
        SpatialBlocks(centres, block=1000, folds=4, buffer=300),
        LeaveOneGroupOut(np.where(centres[:, 0] > 5000, "east", "west"), centres),
        RandomFolds(200, folds=4),
    ):
        scores = cross_val_score(LinearRegression(), X, y, cv=splitter)
        assert len(scores) == splitter.get_n_splits()
        assert scores == pytest.approx(1.0)
        assert cross_val_predict(LinearRegression(), X, y, cv=splitter) == pytest.approx(y)


def test_a_search_inside_folds_takes_the_centres_of_its_units() -> None:
    centres = scattered(4, 200)
    X = np.random.default_rng(0).normal(size=(200, 5))
    y = X @ np.arange(5.0) + np.random.default_rng(1).normal(size=200)
    outer = SpatialBlocks(centres, block=2500, folds=3, buffer=300)
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1000.0]}, cv=SpatialBlocks(centres, block=1000, folds=4, seed=2))
    scores = cross_val_score(search, X, y, cv=outer, params={"groups": centres})
    for score, (train, test) in zip(scores, outer.split(), strict=True):
        inner = list(SpatialBlocks(centres[train], block=1000, folds=4, seed=2).split())
        alone = GridSearchCV(Ridge(), {"alpha": [0.1, 1000.0]}, cv=inner).fit(X[train], y[train])
        assert score == alone.score(X[test], y[test])
    with pytest.raises(SplitError, match="takes the centres of these rows as `groups`"):
        search.fit(X[:150], y[:150])
    linked = SpatialBlocks(centres, block=1000, folds=4, linked=sparse.csr_array(sparse.eye_array(200)))
    with pytest.raises(SplitError, match="`linked` and `blocks` are of all units"):
        next(linked.split(X[:150], groups=centres[:150]))


def test_only_random_folds_are_optimistic() -> None:
    assert RandomFolds.optimistic
    assert not SpatialBlocks.optimistic
    assert not LeaveOneGroupOut.optimistic


def test_units_that_share_a_region_are_never_on_both_sides() -> None:
    centres = scattered(3, 60)
    pairs = sparse.csr_array(np.kron(np.eye(30, dtype=int), np.ones((2, 2), int)) > 0)
    for train, test in SpatialBlocks(centres, block=1000, folds=5, linked=pairs).split():
        assert not set(train // 2) & set(test // 2)


def test_fewer_blocks_than_folds_is_an_error_with_both_numbers() -> None:
    with pytest.raises(SplitError, match=r"blocks of 6000 m hold the 80 units in 4 blocks, fewer than 5 folds"):
        SpatialBlocks(scattered(0, 80), block=6000, folds=5)


def test_fewer_units_than_folds_is_an_error() -> None:
    with pytest.raises(SplitError, match="3 labelled units are fewer than 5 folds"):
        SpatialBlocks(scattered(0, 3), block=100, folds=5)
    with pytest.raises(SplitError, match="3 labelled units are fewer than 5 folds"):
        choose_block(scattered(0, 3), edge=100, folds=5)


def test_a_buffer_that_leaves_nothing_to_train_on_is_an_error() -> None:
    splitter = SpatialBlocks(scattered(0, 80), block=2000, folds=5, buffer=20_000)
    with pytest.raises(
        SplitError, match=r"leaves 0 to train on, .* \d+ lie within the buffer of 20000 m: make `buffer`"
    ):
        list(splitter.split())


def test_shared_regions_that_leave_nothing_to_train_on_are_the_cause_that_is_named() -> None:
    centres = scattered(0, 80)
    everywhere = sparse.csr_array(np.ones((80, 80), bool))
    with pytest.raises(
        SplitError, match=r"leaves 0 to train on, fewer than 5; \d+ share a region, label cell"
    ) as found:
        list(SpatialBlocks(centres, block=2000, folds=5, linked=everywhere).split())
    assert "buffer" not in str(found.value)
    with pytest.raises(SplitError, match=r"tests 28 of 30 units and leaves 2 to train on.* there are no others\."):
        list(OwnFolds(["test"] * 28 + ["train"] * 2, centres[:30]).split())


def test_features_of_another_length_are_refused() -> None:
    with pytest.raises(SplitError, match="80 units, but X has 79 rows"):
        next(SpatialBlocks(scattered(0, 80), block=1000).split(np.zeros((79, 1))))


def test_sparse_features_are_counted_by_their_rows() -> None:
    centres = scattered(0, 80)
    for splitter in (SpatialBlocks(centres, block=1000), RandomFolds(80), OwnFolds(["a", "b"] * 40, centres)):
        dense = list(splitter.split(np.ones((80, 2))))
        for one, other in zip(splitter.split(sparse.csr_array(np.ones((80, 2)))), dense, strict=True):
            np.testing.assert_array_equal(one[1], other[1])
    assert len(list(SpatialBlocks(centres, block=1000).split([[0.0]] * 80))) == 5
    with pytest.raises(SplitError, match="80 units, but X has 79 rows"):
        next(SpatialBlocks(centres, block=1000).split(sparse.csr_matrix((79, 1))))


def test_small_groups_and_units_without_a_group_are_always_trained_on(caplog: pytest.LogCaptureFixture) -> None:
    groups = np.array(["a"] * 6 + ["b"] * 7 + ["tiny"] * 2 + [""] * 9)
    centres = np.arange(48.0).reshape(24, 2) * 1000
    with caplog.at_level("INFO", "mmgr"):
        splitter = LeaveOneGroupOut(groups, centres)
    folds = list(splitter.split())
    assert splitter.groups == ("a", "b")
    assert [set(groups[test]) for _, test in folds] == [{"a"}, {"b"}]
    assert all({"tiny", ""} <= set(groups[train]) for train, _ in folds)
    assert "(none) (9), tiny (2)" in caplog.text


def test_leaving_groups_out_needs_two_of_them() -> None:
    with pytest.raises(SplitError, match=r"at least 5 labelled units; there are a: 20, b: 2"):
        LeaveOneGroupOut(["a"] * 20 + ["b"] * 2, np.zeros((22, 2)))


def test_a_buffer_holds_between_groups() -> None:
    centres = np.stack([np.arange(20) * 100.0, np.zeros(20)], axis=1)
    splitter = LeaveOneGroupOut(["a"] * 10 + ["b"] * 10, centres, buffer=250)
    train, test = next(splitter.split())
    assert test.max() == 9
    assert train.min() == 12


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), units=st.integers(30, 400), folds=st.integers(2, 6))
def test_a_chosen_block_is_a_multiple_of_the_edge_with_enough_fair_blocks(seed: int, units: int, folds: int) -> None:
    centres = scattered(seed, units)
    block = choose_block(centres, edge=100, folds=folds)
    assert block % 100 == 0
    assert block <= (np.ptp(centres, axis=0).max() + 100) / 2
    sizes = np.bincount(SpatialBlocks(centres, block=block, folds=folds).blocks)
    assert len(sizes) >= 4 * folds
    assert sizes.max() <= units / folds


def test_a_chosen_block_is_the_largest_that_qualifies() -> None:
    x, y = np.meshgrid(np.arange(40) * 100.0, np.arange(40) * 100.0)
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    # by hand: 800 m makes 5 x 5 = 25 >= 20 blocks, 1200 m makes 4 x 4 = 16
    assert choose_block(centres, edge=100, folds=5) == 800


def test_units_on_one_spot_cannot_be_split_into_blocks() -> None:
    with pytest.raises(SplitError, match="1 blocks of 100 m at most, fewer than 2 folds"):
        choose_block(np.zeros((30, 2)), edge=100, folds=2)
