from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import cross_val_score, train_test_split

from mmgr.errors import SplitError
from mmgr.evaluate.protocols import PROTOCOLS, GroupHoldOut, get_protocol, grid_blocks


@pytest.fixture
def cells() -> np.ndarray:
    """Columns and rows of a raster with a hole."""
    row, column = np.mgrid[0:37, 0:53]
    kept = (row - 18) ** 2 + (column - 20) ** 2 > 50
    return np.stack([column[kept], row[kept]], axis=1).astype(float)


def block_by_hand(x: float, y: float, places: np.ndarray) -> int:
    """Find the block by walking along its edges."""
    index = []
    for value, axis in ((x, places[:, 0]), (y, places[:, 1])):
        edges = [axis.min() + (axis.max() - axis.min()) * step / 10 for step in range(1, 10)]
        index.append(sum(value >= edge - 1e-9 for edge in edges))
    return index[1] * 10 + index[0]


def test_blocks_lie_over_the_units_own_bounding_box(cells: np.ndarray) -> None:
    moved = cells + np.array([1000, -50])
    np.testing.assert_array_equal(grid_blocks(moved), [block_by_hand(x, y, moved) for x, y in moved])


def test_cityrep_deals_blocks_as_its_benchmark_does(cells: np.ndarray) -> None:
    block = np.array([block_by_hand(x, y, cells) for x, y in cells])
    protocol = get_protocol("cityrep")
    assert protocol.seeds == (42, 24, 7, 0, 100)
    for seed, parts in zip(protocol.seeds, protocol.splitter(cells).parts(), strict=True):
        rest, test = train_test_split(sorted(set(block)), test_size=0.2, random_state=seed)
        train, validation = train_test_split(rest, test_size=0.1, random_state=seed)
        for rows, blocks in zip(parts, (train, validation, test), strict=True):
            assert rows.tolist() == [unit for unit, number in enumerate(block) if number in set(blocks)]


def test_regiondcl_deals_units_as_its_code_does() -> None:
    places = np.random.default_rng(0).uniform(0, 3e4, (100, 2))
    protocol = get_protocol("regiondcl")
    for seed, (train, validation, test) in zip(protocol.seeds, protocol.splitter(places).parts(), strict=True):
        rest, tested = train_test_split(np.arange(100), test_size=0.2, random_state=seed)
        trained, held = train_test_split(np.arange(80), test_size=0.2, random_state=seed)
        assert set(test) == set(tested)
        assert set(train) == set(rest[trained])
        assert set(validation) == set(rest[held])


def test_no_block_of_five_kilometres_is_on_two_sides() -> None:
    places = np.random.default_rng(1).uniform(0, 3e4, (300, 2))
    squares = {tuple(square) for square in np.floor((places - places.min(axis=0)) / 5000)}
    for parts in get_protocol("regiondcl-blocks").splitter(places).parts():
        sides = [{tuple(square) for square in np.floor((places[rows] - places.min(axis=0)) / 5000)} for rows in parts]
        assert sum(map(len, sides)) == len(squares) == len(set.union(*sides))


def test_a_sample_falls_into_the_parts_of_the_whole(cells: np.ndarray) -> None:
    rows = np.random.default_rng(2).choice(len(cells), 300, replace=False)
    protocol = get_protocol("cityrep")
    pairs = zip(protocol.splitter(cells).parts(), protocol.splitter(cells, rows=rows).parts(), strict=True)
    for whole, sample in pairs:
        for every, some in zip(whole, sample, strict=True):
            assert set(rows[some]) == set(rows) & set(every)


def test_scikit_learn_takes_the_split(cells: np.ndarray) -> None:
    splitter = get_protocol("cityrep").splitter(cells)
    scores = cross_val_score(Ridge(), cells, cells.sum(axis=1), cv=splitter)
    assert splitter.get_n_splits() == len(scores) == 5
    assert scores.min() > 0.99
    for (both, test), parts in zip(splitter.split(cells), splitter.parts(), strict=True):
        assert set(both) == set(parts[0]) | set(parts[1])
        assert not set(both) & set(test)


def test_numbers_are_scored_by_r2_whatever_their_scale(cells: np.ndarray) -> None:
    cells = cells[::3]
    angle = cells[:, 0] / 60
    X = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    protocol = get_protocol("cityrep")
    scores = protocol.score(X * 5, 100 + 7 * angle, cells, kind="number")
    assert [score["seed"] for score in scores] == [42, 24, 7, 0, 100]
    assert min(score["r2"] for score in scores) > 0.95
    # of unit length and z-scored: neither the vectors' scale nor the labels' matters
    others = protocol.score(X, angle, cells, kind="number")
    assert [score["r2"] for score in others] == pytest.approx([score["r2"] for score in scores], abs=1e-3)


def test_classes_are_scored_by_macro_f1(cells: np.ndarray) -> None:
    cells = cells[::3]
    y = (cells[:, 0] > cells[:, 1]).astype(int)
    scores = get_protocol("cityrep").score(cells - cells.mean(axis=0), y, cells, kind="class")
    assert min(score["macro_f1"] for score in scores) > 0.8


def test_shares_have_three_metrics() -> None:
    places = np.random.default_rng(3).uniform(0, 3e4, (60, 2))
    shares = np.random.default_rng(4).dirichlet([1, 1, 1], 60)
    scores = get_protocol("regiondcl").score(shares, shares, places, kind="shares")
    assert len(scores) == 10
    assert set(scores[0]) == {"seed", "l1", "kl", "cosine"}
    assert max(score["l1"] for score in scores) < 0.4


def test_a_forest_trains_on_all_that_is_not_tested() -> None:
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(5)
    X, places = rng.normal(size=(80, 3)).astype(np.float32), rng.uniform(0, 3e4, (80, 2))
    y = X[:, 0] + 0.1 * rng.normal(size=80)
    train, test = train_test_split(np.arange(80), test_size=0.2, random_state=1)
    train.sort()
    test.sort()
    expected = r2_score(y[test], RandomForestRegressor(100, random_state=1).fit(X[train], y[train]).predict(X[test]))
    assert get_protocol("regiondcl").score(X, y, places, kind="number")[0]["r2"] == pytest.approx(expected)


def test_trees_have_the_benchmarks_splits(cells: np.ndarray) -> None:
    scores = get_protocol("cityrep-trees").score(cells, cells[:, 0], cells, kind="number")
    assert [score["seed"] for score in scores] == list(PROTOCOLS["cityrep"].seeds)
    assert min(score["r2"] for score in scores) > 0.9


def test_refusals_name_what_is_wrong(cells: np.ndarray) -> None:
    with pytest.raises(SplitError, match="no protocol 'cityrap'; known are cityrep"):
        get_protocol("cityrap")
    with pytest.raises(SplitError, match="at least 3 groups or blocks, got 2"):
        GroupHoldOut([0, 1, 1], seeds=(0,))
    with pytest.raises(SplitError, match="1 groups, such as 9, are not among"):
        GroupHoldOut([0, 1, 9], seeds=(0,), among=[0, 1, 2])
    with pytest.raises(SplitError, match="leaves a part empty"):
        list(GroupHoldOut([0, 0, 0], seeds=(0,), among=np.arange(10)).parts())
    with pytest.raises(SplitError, match="but X has 2 rows"):
        next(GroupHoldOut([0, 1, 2], seeds=(0,)).split(np.zeros((2, 1))))
    with pytest.raises(ValueError, match="vectors, 3 labels"):
        get_protocol("cityrep").score(cells, np.zeros(3), cells, kind="number")
    with pytest.raises(ValueError, match="no shares"):
        get_protocol("cityrep-trees").score(cells, np.zeros((len(cells), 2)), cells, kind="shares")
    with pytest.raises(ValueError, match="no classes"):
        get_protocol("regiondcl").score(cells, np.zeros(len(cells)), cells, kind="class")
