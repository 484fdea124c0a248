"""Names of folds as people write them; the audit of a file of splits reads a column as a score's folds are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import PredefinedSplit

from mmgr.errors import SplitError
from mmgr.evaluate import LeaveOneGroupOut, OwnFolds
from mmgr.evaluate.audit import read_split
from mmgr.evaluate.names import fold_names, names_of, role_of


@pytest.mark.parametrize(
    ("names", "tested"),
    [
        (["Train", "Test"], [["Test"]]),
        (["train", "valid", "test"], [["test"]]),
        (["TRAINING", "dev", "TESTING"], [["TESTING"]]),
        (["train_set", "val", "hold-out"], [["hold-out"]]),
        (["north", "south", "west"], [["north"], ["south"], ["west"]]),
        (["1", "2"], [["1"], ["2"]]),
        (["-1", "0", "1"], [["0"], ["1"]]),
        (["-1", "0"], [["0"]]),
        (["True", "False"], [["True"]]),
        (["false", "true"], [["true"]]),
    ],
)
def test_audit_and_score_read_a_column_of_folds_alike(
    tmp_path: Path, names: list[str], tested: list[list[str]]
) -> None:
    column = np.repeat(names, 6)
    folds = OwnFolds(column, np.zeros((len(column), 2)))
    assert [sorted(set(column[test])) for _, test in folds.split()] == tested
    assert all(len(train) + len(test) == len(column) for train, test in folds.split())
    pd.DataFrame({"id": range(len(column)), "split": column}).to_csv(tmp_path / "s.csv", index=False)
    read = read_split(tmp_path / "s.csv")
    for (train, test), (own_train, own_test) in zip(read.folds, folds.split(), strict=True):
        np.testing.assert_array_equal(train, own_train)
        np.testing.assert_array_equal(test, own_test)


@pytest.mark.parametrize("values", [[-1, 0, 1], [-1.0, 0.0, 1.0]])
def test_fold_minus_one_is_never_tested_as_in_scikit_learn(values: list[float]) -> None:
    column = np.repeat(values, 6)
    own, trusted = OwnFolds(column, np.zeros((18, 2))), PredefinedSplit(column)
    assert own.get_n_splits() == trusted.get_n_splits() == 2
    for one, other in zip(own.split(), trusted.split(), strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_nothing_but_minus_one_is_no_split(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"has 0 fold\(s\)"):
        OwnFolds([-1] * 12, np.zeros((12, 2)))
    pd.DataFrame({"id": range(12), "fold": -1}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(SplitError, match=r"s.csv: column `fold` has no fold that is tested"):
        read_split(tmp_path / "s.csv")


@pytest.mark.parametrize("dtype", [bool, object, "boolean"])
def test_what_is_true_is_tested_in_one_fold(dtype: Any) -> None:
    marks = pd.array([True] * 5 + [False] * 7, dtype=dtype)
    ((train, test),) = OwnFolds(marks, np.zeros((12, 2))).split()
    assert (test.tolist(), train.tolist()) == (list(range(5)), list(range(5, 12)))


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("is_test", [True, False, None], ["test", "train", ""]),
        ("hard", [True, False, None], ["test", "train", ""]),
        ("is_train", [True, False, None], ["train", "test", ""]),
        ("is_test", [1, 0, 0], ["test", "train", "train"]),
        ("train", [1.0, 0.0, np.nan], ["train", "test", ""]),
        ("fold", [1, 0, 0], ["1", "0", "0"]),
        ("is_test", [2, 1, 0], ["2", "1", "0"]),
        ("fold", [-1, 0, None], ["-1", "0", ""]),
    ],
)
def test_a_column_of_marks_is_read_by_its_name(column: str, cells: list[object], expected: list[str]) -> None:
    assert fold_names(np.array(cells, object), column=column).tolist() == expected


def test_parts_beside_other_names_are_no_folds(tmp_path: Path) -> None:
    column = np.repeat(["train", "test", "unused"], 6)
    with pytest.raises(SplitError, match=r"parts of one split \(test, train\) beside others \(unused\)"):
        OwnFolds(column, np.zeros((18, 2)))
    pd.DataFrame({"id": range(18), "split": column}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(SplitError, match=r"s.csv: .* beside others \(unused\)"):
        read_split(tmp_path / "s.csv")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["train", "tset"], r"has 'train', as parts .*, beside 'tset' \(did you mean 'test'\?\)"),
        (["Training", "Tets"], r"has 'Training', .* beside 'Tets' \(did you mean 'test'\?\)"),
        (["trian", "test"], r"has 'test', .* beside 'trian' \(did you mean 'train'\?\)"),
        (["train", "val", "hodlout"], r"has 'train', 'val', .* beside 'hodlout' \(did you mean 'holdout'\?\)"),
        (["train", "tset", "spare"], r"beside 'spare', 'tset' \(did you mean 'test'\?\)"),
        (["train", "north"], r"beside 'north', which is no part"),
        (["dev", "1", "-1"], r"has 'dev', .* beside '1', which"),
    ],
)
def test_a_mistyped_part_is_no_fold(tmp_path: Path, names: list[str], said: str) -> None:
    column = np.repeat(names, 6)
    with pytest.raises(SplitError, match=said):
        OwnFolds(column, np.zeros((len(column), 2)))
    pd.DataFrame({"id": range(len(column)), "split": column}).to_csv(tmp_path / "s.csv", index=False)
    with pytest.raises(SplitError, match=rf"s\.csv: .*{said}"):
        read_split(tmp_path / "s.csv")


def test_folds_of_which_one_is_called_as_a_part_is_stay_folds() -> None:
    column = np.repeat(["dev", "north", "south"], 6)
    assert OwnFolds(column, np.zeros((18, 2))).names == ("dev", "north", "south")


def test_words_beside_a_part_do_not_change_it() -> None:
    assert {role_of(name) for name in ("train_ids", "trainIdx", "is_train", " Train ", "training-set")} == {"train"}
    assert {role_of(name) for name in ("test ids", "held_out", "Hold-Out", "test_mask")} == {"test"}
    assert {role_of(name) for name in ("", "id", "split", "test1", "trains", "north", "train_labels")} == {None}


@pytest.mark.parametrize("none", [None, np.nan, pd.NA, ""])
def test_no_name_is_none(none: object) -> None:
    names = np.array(["a"] * 6 + ["b"] * 6 + [none] * 6, object)
    np.testing.assert_array_equal(names_of(names), ["a"] * 6 + ["b"] * 6 + [""] * 6)
    centres = np.zeros((18, 2))
    groups = LeaveOneGroupOut(names, centres)
    assert groups.groups == ("a", "b")
    own = OwnFolds(names, centres)
    assert own.names == ("a", "b")
    for splitter in (groups, own):
        assert all(set(range(12, 18)) <= set(train) for train, _ in splitter.split())


def test_numbers_that_are_missing_are_no_group() -> None:
    assert LeaveOneGroupOut([1.0] * 6 + [2.0] * 6 + [np.nan] * 6, np.zeros((18, 2))).groups == ("1.0", "2.0")
