"""Sets of classes: by the published rule, near their level, and never empty where something is predicted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mapie.classification import CrossConformalClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.model_selection import KFold, check_cv

from mmgr.config import Evaluate
from mmgr.evaluate import Units, judge_predictions, predict_everywhere, predict_intervals, score_intervals
from mmgr.evaluate import calibration as module
from mmgr.evaluate.calibration import Calibration, FoldPredictions, calibration_folds
from mmgr.evaluate.class_sets import ClassSets, class_sets, compare, filled
from mmgr.evaluate.interval_counts import summarise
from mmgr.evaluate.plans import check_splits
from mmgr.evaluate.probes import make_probe
from mmgr.evaluate.tuning import inner_folds

Make = Callable[..., tuple[Units, np.ndarray]]
SETTINGS = Evaluate(seeds=1, probes=("ridge",), splits=("blocks",))
NAMES = ("home", "work", "park")


def at_random(rows: np.ndarray) -> Any:
    return inner_folds(None, units=len(rows), seed=0)


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Exchangeable units: vectors, and a class of three drawn by its chance."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 5)).astype(np.float32)
    odds = X[:, :3] * [1.5, 1.0, 1.0] + [0.5, 0.0, -1.5] + rng.gumbel(size=(count, 3))
    return X, np.eye(3)[odds.argmax(axis=1)]


def test_a_class_is_in_where_too_few_units_score_better() -> None:
    rng = np.random.default_rng(0)
    fold = rng.integers(0, 4, 37)
    held, asked = rng.dirichlet([1, 1, 1], 37), np.tile(rng.dirichlet([1, 1, 1], 80), (4, 1, 1))
    asked[1:, :40] = rng.dirichlet([1, 1, 1], (3, 40))  # places of which the folds think alike, and others
    asked[:, 43:] = held  # ties
    observed = rng.integers(0, 3, 37)
    found = compare(FoldPredictions(fold, held, asked), observed, [0.5, 0.8, 0.9])
    assert found.shape == (80, 3, 3)
    # Romano et al. 2020, equation 9, with the score of Sadinle et al. 2019, one comparison at a time
    for place in range(80):
        for cls in range(3):
            better = 0
            for unit in range(37):
                own = 1 - held[unit, observed[unit]]
                better += own < 1 - asked[fold[unit], place, cls]
            for level, inside in zip((0.5, 0.8, 0.9), found[place, cls], strict=True):
                assert inside == (better < level * 38)


class Known(ClassifierMixin, BaseEstimator):
    """A probe as MAPIE wants a classifier: it is fitted on numbers of classes."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Known:
        self.classes_ = np.arange(3)
        self.model_ = make_probe("ridge", seed=0, kind="class").fit(X, np.eye(3)[y], inner=at_random(np.arange(len(X))))
        return self

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        return self.model_.predict(X)

    def predict(self, X: np.ndarray) -> np.ndarray:
        return self.predict_proba(X).argmax(axis=1)


def test_mapie_finds_the_same_sets_where_its_rank_is_the_published_one() -> None:
    X, y = drawn(0, 139)
    folds = list(KFold(5, shuffle=True, random_state=0).split(X[:99]))
    ours = class_sets(
        Calibration(X[:99], y[:99], folds, at_random, make_probe("ridge", seed=0, kind="class")), X[99:], [0.8, 0.9]
    )
    theirs = CrossConformalClassifier(Known(), confidence_level=[0.8, 0.9], cv=check_cv(folds))
    theirs.fit_conformalize(X[:99], y[:99].argmax(axis=1))
    np.testing.assert_array_equal(ours, theirs.predict_set(X[99:], agg_scores="crossval")[1])


def test_sets_of_exchangeable_units_hold_the_class_about_as_often_as_they_say() -> None:
    held = []
    for seed in range(4):
        X, y = drawn(seed, 1200)
        folds = list(KFold(5, shuffle=True, random_state=0).split(X[:200]))
        calibration = Calibration(X[:200], y[:200], folds, at_random, make_probe("ridge", seed=0, kind="class"))
        sets = class_sets(calibration, X[200:], [0.8, 0.9])
        held.append(sets[np.arange(1000), y[200:].argmax(axis=1)].mean(axis=0))
        assert (sets[..., 0] <= sets[..., 1]).all(), "a higher level leaves no class out that a lower one keeps"
        assert sets[..., 1].sum(axis=1).mean() < 2.5, "the sets say something"
    assert np.mean(held, axis=0) == pytest.approx([0.8, 0.9], abs=0.03)


def test_blocks_make_honest_sets_where_random_folds_make_small_ones(
    town: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = [town("class", seed=seed) for seed in range(2)]

    def coverage() -> float:
        found = [score_intervals(u, X, SETTINGS, edge=100, seed=0, probe="knn")[1] for u, X in towns]
        return float(np.mean([record.coverage for record in found]))

    honest = coverage()
    monkeypatch.setattr(
        module,
        "calibration_folds",
        lambda _, rows, *__, **___: list(KFold(5, shuffle=True, random_state=0).split(rows)),
    )
    optimistic = coverage()
    assert honest > 0.85
    assert optimistic < honest - 0.05


def test_an_empty_set_becomes_the_set_of_all_classes() -> None:
    # every class scores worse than what units truly are, since the probe was nearly always sure
    sure = FoldPredictions(np.arange(20) % 2, np.tile([0.98, 0.01, 0.01], (20, 1)), np.full((2, 1, 3), 1 / 3))
    sets = compare(sure, np.zeros(20, np.int64), [0.9])
    assert not sets.any()
    assert filled(sets).all()
    some = np.array([[[True], [False], [True]]])
    np.testing.assert_array_equal(filled(some), some)


def test_every_region_with_a_prediction_has_a_set_that_holds_it(town: Make) -> None:
    some, X = town("class", seed=1, side=12)
    X[7] = np.nan
    predicted = predict_everywhere(some, X)[:, [2, 0, 1]]  # another model's map
    found = predict_intervals(some, X, predicted, SETTINGS, edge=100, seed=0)
    assert found is not None
    assert found.level == 0.9
    known = np.arange(144) != 7
    assert found.members[np.flatnonzero(known), predicted[known].argmax(axis=1)].all()
    assert not found.members[7].any()
    assert np.isnan(found.size[7])
    assert (found.size[known] >= 1).all()
    columns = found.columns()
    assert list(columns) == ["set", "set_size", "set.home", "set.work", "set.park"]
    assert columns["set"][7] is None
    for row in np.flatnonzero(known):
        names = columns["set"][row].split(" | ")
        assert names == [name for name in NAMES if columns[f"set.{name}"][row]]
        assert columns["set_size"][row] == len(names)


def test_a_class_that_no_fold_met_can_still_be_kept(town: Make) -> None:
    some, X = town("class", seed=0, side=12)
    rare = some.values.copy()
    rare[rare[:, 2] == 1] = [1, 0, 0]
    rare[0] = [0, 0, 1]  # the fold that holds it out has not met it, and no other holds one out
    rare_units = replace(some, values=rare)
    predicted = predict_everywhere(rare_units, X)
    found = predict_intervals(rare_units, X, predicted, SETTINGS, edge=100, seed=0)
    assert found is not None
    assert found.members.shape == (144, 3)
    never = replace(some, values=np.where(rare[:, 2:] == 1, [1.0, 0, 0], rare))
    trust = judge_predictions(never, X, predict_everywhere(never, X), SETTINGS, edge=100, seed=0)
    assert isinstance(trust.intervals, ClassSets)
    assert trust.intervals.members[:, 2].mean() < 0.5, "a class that was never met is in few sets"
    assert "park" not in trust.scores[0].classes
    assert trust.applicability is not None


def test_coverage_of_sets_is_counted_by_group_and_by_true_class(town: Make) -> None:
    some, X = town("class", seed=2, side=10)
    low, high = score_intervals(some, X, SETTINGS, edge=100, seed=0, features_name="vectors")
    assert (low.task, low.split, low.features, low.probe, low.label) == (
        "use",
        "blocks",
        "vectors",
        "logistic",
        "class",
    )
    assert low.coverage <= high.coverage
    assert 1 <= low.width <= 3
    assert low.width_share == pytest.approx(low.width / 3)
    assert low.lowest_fold <= low.coverage
    assert set(low.groups) == {"west", "east"}
    assert low.thirds == {}
    assert np.isnan(low.together)
    assert 0 <= low.empty < 1
    sizes = {name: int(count) for name, count in zip(NAMES, some.values.sum(axis=0), strict=True)}
    mean = sum(share * sizes[name] for name, share in low.classes.items()) / sum(sizes[name] for name in low.classes)
    assert mean == pytest.approx(low.coverage, abs=0.02)


def test_a_set_of_all_classes_in_place_of_an_empty_one_is_no_merit(town: Make) -> None:
    some, _ = town("class", seed=0, side=10)
    (plan,) = check_splits(some, SETTINGS, edge=100, seed=0)
    passed = some.values[None, ..., None]  # each unit's true class, in a set of one
    (record,) = summarise(some, plan, [0.9], passed, features="", probe="")
    assert (record.coverage, record.width, record.empty, record.sentence[-8:]) == (1.0, 1.0, 0.0, "reached.")
    passed = passed.copy()
    passed[:, :20] = 0.0
    (record,) = summarise(some, plan, [0.9], passed, features="", probe="")
    assert record.coverage == pytest.approx(0.8)
    assert record.empty == pytest.approx(0.2)
    assert record.width == pytest.approx(0.8 + 0.2 * 3)
    assert not record.reached


def test_too_few_units_have_no_sets_and_say_so(town: Make, caplog: pytest.LogCaptureFixture) -> None:
    some, X = town("class", seed=0, side=4)
    strict = SETTINGS.model_copy(update={"intervals": (0.99,)})
    predicted = np.full((16, 3), 1 / 3)
    with caplog.at_level("WARNING", logger="mmgr"):
        assert predict_intervals(some, X, predicted, strict, edge=100, seed=0) is None
        assert score_intervals(some, X, strict, edge=100, seed=0) == []
    assert "too few labelled units for sets of classes" in caplog.text
    assert "to make sets of classes inside it" in caplog.text
    none = SETTINGS.model_copy(update={"intervals": ()})
    assert predict_intervals(some, X, predicted, none, edge=100, seed=0) is None


def test_classes_that_were_left_out_of_training_folds_do_not_stop_calibration() -> None:
    X, y = drawn(3, 60)
    y[:] = [1.0, 0.0, 0.0]
    y[::3] = [0.0, 1.0, 0.0]
    y[0] = [0.0, 0.0, 1.0]
    folds = [(np.arange(30, 60), np.arange(30)), (np.arange(30), np.arange(30, 60))]
    calibration = Calibration(X, y, folds, at_random, make_probe("ridge", seed=0, kind="class"))
    found = calibration.by_fold(X[:4])
    assert found.held[0, 2] < 0.01, "the fold that holds out the only one gives it nearly nothing"
    np.testing.assert_allclose(found.asked.sum(axis=2), 1.0)
    assert class_sets(calibration, X[:4], [0.9]).shape == (4, 3, 1)


def test_calibration_holds_every_unit_out_once(town: Make) -> None:
    some, _ = town("class", seed=0, side=12)
    folds = calibration_folds(some, np.arange(144), SETTINGS, edge=100, block=None, seed=0)
    assert folds is not None
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(144))
