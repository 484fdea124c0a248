"""Intervals of shares: by CV+ in deviations of a proportion, near their level for each class, within 0 and 1."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import KFold

from mmgr.config import Evaluate
from mmgr.evaluate import (
    ShareIntervals,
    Units,
    judge_predictions,
    predict_everywhere,
    predict_intervals,
    score_intervals,
)
from mmgr.evaluate import calibration as module
from mmgr.evaluate.calibration import Calibration
from mmgr.evaluate.probes import make_probe
from mmgr.evaluate.share_intervals import share_bounds
from mmgr.evaluate.tuning import inner_folds

Make = Callable[..., tuple[Units, np.ndarray]]
SETTINGS = Evaluate(seeds=1, probes=("ridge",), splits=("blocks",))
NAMES = ("home", "work", "park")


def at_random(rows: np.ndarray) -> Any:
    return inner_folds(None, units=len(rows), seed=0)


def drawn(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Exchangeable units: vectors, and shares of three classes about what the vectors say, some of them 0."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, 5)).astype(np.float32)
    mean = np.exp(X[:, :3] + [0.5, 0.0, -1.5])
    mean /= mean.sum(axis=1, keepdims=True)
    shares = np.array([rng.dirichlet(8 * row) for row in mean])
    shares[shares < 0.03] = 0
    return X, shares / shares.sum(axis=1, keepdims=True)


def calibrated(X: np.ndarray, y: np.ndarray) -> Calibration:
    folds = list(KFold(5, shuffle=True, random_state=0).split(X))
    return Calibration(X, y, folds, at_random, make_probe("ridge", seed=0, kind="shares"))


def test_bounds_are_those_of_cv_plus_in_deviations_of_a_proportion() -> None:
    X, y = drawn(0, 85)
    calibration = calibrated(X[:80], y[:80])
    found = share_bounds(calibration, X[80:], [0.8, 0.9])
    assert found.shape == (5, 3, 2, 2)
    models = [
        make_probe("ridge", seed=0, kind="shares").fit(X[rest], y[rest], inner=at_random(rest))
        for rest, _ in calibration.folds
    ]
    # Barber et al. 2021, equation 3.2, with residuals in standard deviations, one unit at a time
    for row in range(5):
        for cls in range(3):
            low, high = [], []
            for model, (_, test) in zip(models, calibration.folds, strict=True):
                at = model.predict(X[[80 + row]])[0, cls]
                for unit in test:
                    guess = model.predict(X[[unit]])[0, cls]
                    errors = abs(y[unit, cls] - guess) / (guess * (1 - guess) + 0.01) ** 0.5
                    low.append(at - errors * (at * (1 - at) + 0.01) ** 0.5)
                    high.append(at + errors * (at * (1 - at) + 0.01) ** 0.5)
            for place, level in enumerate((0.8, 0.9)):
                rank = int(np.ceil(level * 81))
                assert found[row, cls, 0, place] == pytest.approx(max(np.sort(low)[80 - rank], 0), abs=1e-5)
                assert found[row, cls, 1, place] == pytest.approx(min(np.sort(high)[rank - 1], 1), abs=1e-5)


def test_each_share_of_exchangeable_units_is_inside_about_as_often_as_said_and_all_at_once_less_often() -> None:
    held = []
    for seed in range(3):
        X, y = drawn(seed, 1200)
        bounds = share_bounds(calibrated(X[:200], y[:200]), X[200:], [0.8, 0.9])
        held.append((bounds[:, :, 0] <= y[200:, :, None]) & (y[200:, :, None] <= bounds[:, :, 1]))
    by_class = np.mean(held, axis=(0, 1))  # (k, levels)
    np.testing.assert_allclose(by_class, np.tile([0.8, 0.9], (3, 1)), atol=0.045)
    together = np.all(held, axis=2).mean(axis=(0, 1))
    assert (together < by_class.min(axis=0) - 0.02).all()


def test_blocks_make_honest_intervals_of_shares_where_random_folds_make_narrow_ones(
    town: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = [town("shares", seed=seed) for seed in range(2)]

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


def test_every_share_lies_in_its_interval_and_every_interval_between_0_and_1(town: Make) -> None:
    some, X = town("shares", seed=1, side=12)
    X[7] = np.nan
    predicted = predict_everywhere(some, X)[:, [2, 0, 1]]  # another model's map
    found = predict_intervals(some, X, predicted, SETTINGS, edge=100, seed=0)
    assert found is not None
    assert found.level == 0.9
    known = np.arange(144) != 7
    assert np.isnan(found.lower[7]).all()
    assert np.isnan(found.upper[7]).all()
    assert (found.lower[known] >= 0).all()
    assert (found.upper[known] <= 1).all()
    assert (found.lower[known] <= predicted[known]).all()
    assert (predicted[known] <= found.upper[known]).all()
    assert (found.width[known] > 0).all()
    columns = found.columns()
    assert list(columns) == [f"{end}.{name}" for end in ("lower", "upper") for name in NAMES]
    np.testing.assert_array_equal(columns["upper.work"], found.upper[:, 1])


def test_coverage_of_shares_is_counted_by_class_by_group_and_together(town: Make) -> None:
    some, X = town("shares", seed=2, side=10)
    X = X[:, :6]  # a probe of few features is fitted fast
    low, high = score_intervals(some, X, SETTINGS, edge=100, seed=0, features_name="vectors")
    assert (high.task, high.split, high.probe, high.label) == ("use", "blocks", "softmax", "shares")
    assert low.coverage < high.coverage
    assert 0 < low.width < high.width < 1
    assert set(high.classes) == set(NAMES)
    assert np.mean(list(high.classes.values())) == pytest.approx(high.coverage)
    assert high.together < min(high.classes.values())
    assert high.together >= 1 - 3 * (1 - high.coverage) - 1e-9, "by Bonferroni's inequality"
    assert set(high.groups) == {"west", "east"}
    assert np.mean(list(high.thirds.values())) == pytest.approx(high.coverage, abs=0.01)
    assert high.lowest_fold <= high.coverage
    assert np.isnan(high.empty)


def test_a_class_that_training_folds_never_met_has_intervals_too(town: Make) -> None:
    some, X = town("shares", seed=0, side=9)
    X = X[:, :6]
    shares = some.values.copy()
    shares[:, 2] = 0
    shares /= shares.sum(axis=1, keepdims=True)
    shares[0] = [0, 0, 1]
    rare = replace(some, values=shares)
    trust = judge_predictions(rare, X, predict_everywhere(rare, X), SETTINGS, edge=100, seed=0)
    assert isinstance(trust.intervals, ShareIntervals)
    assert np.isfinite(trust.intervals.lower).all()
    assert np.isfinite(trust.intervals.upper).all()
    assert (trust.intervals.upper[1:, 2] < 0.5).all(), "one unit of 81 says nothing of the others"
    assert trust.applicability is not None
    assert all(np.isfinite(score.width_share) for score in trust.scores)


def test_too_few_units_have_no_intervals_of_shares_and_say_so(town: Make, caplog: pytest.LogCaptureFixture) -> None:
    some, X = town("shares", seed=0, side=4)
    strict = SETTINGS.model_copy(update={"intervals": (0.99,)})
    with caplog.at_level("WARNING", logger="mmgr"):
        assert predict_intervals(some, X, np.full((16, 3), 1 / 3), strict, edge=100, seed=0) is None
        assert score_intervals(some, X, strict, edge=100, seed=0) == []
    assert "too few labelled units for intervals of shares" in caplog.text
    assert "to make intervals inside it" in caplog.text
