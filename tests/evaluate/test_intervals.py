from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.model_selection import KFold

from mmgr.config import Evaluate
from mmgr.evaluate import (
    IntervalScore,
    Units,
    predict_everywhere,
    predict_intervals,
    score_intervals,
)
from mmgr.evaluate import calibration as module
from mmgr.evaluate.calibration import Calibration, calibrate_inside, calibrate_on_all, calibration_folds
from mmgr.evaluate.intervals import number_bounds
from mmgr.evaluate.plans import check_splits
from mmgr.evaluate.probes import make_probe
from mmgr.evaluate.splits import block_of
from mmgr.evaluate.tuning import inner_folds

Make = Callable[..., Units]
SETTINGS = Evaluate(seeds=1, probes=("ridge",), splits=("blocks",))


def smooth_field(places: np.ndarray, rng: np.random.Generator, reach: float) -> np.ndarray:
    """Draw a Gaussian field whose correlation falls to 1/e over ``reach``."""
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    return np.linalg.cholesky(np.exp(-distance / reach) + 1e-9 * np.eye(len(places))) @ rng.normal(size=len(places))


def town(units: Make, *, seed: int, side: int = 16, **settings: Any) -> tuple[Units, np.ndarray]:
    """A town whose label is half explained by its vectors; the rest varies smoothly, as vectors of no use do."""
    rng = np.random.default_rng(seed)
    places = units(side).centres / 100
    fields = np.stack([smooth_field(places, rng, 5.0) for _ in range(25)], axis=1)
    return units(side, values=np.exp(6 + fields[:, 0] + fields[:, 1]), **settings), fields[:, 1:].astype(np.float32)


def test_bounds_are_those_of_cv_plus_with_blocks_as_folds(units: Make) -> None:
    some, X = town(units, seed=0, side=10, transform="none")
    folds = calibration_folds(some, np.arange(100), SETTINGS, edge=100, block=200.0, seed=0)
    assert folds is not None
    groups = block_of(some.centres, 200.0)
    calibration = Calibration(
        X,
        some.target,
        folds,
        lambda rows: inner_folds(groups[rows], units=len(rows), seed=0),
        make_probe("ridge", seed=0),
    )
    found = number_bounds(calibration, X[:5], [0.8, 0.9])
    # Barber et al. 2021, equation 3.2, written out, each probe tuned on the blocks of its training units
    models = [
        make_probe("ridge", seed=0).fit(
            X[train], some.target[train], inner=inner_folds(groups[train], units=len(train), seed=0)
        )
        for train, _ in folds
    ]
    for place, level in enumerate([0.8, 0.9]):
        for row in range(5):
            low, high = [], []
            for model, (_, test) in zip(models, folds, strict=True):
                at, residual = model.predict(X[[row]])[0], np.abs(some.target[test] - model.predict(X[test]))
                low += list(at - residual)
                high += list(at + residual)
            rank = int(np.ceil(level * 101))
            # labels are in the hundreds; one row alone is multiplied in another order than five at once
            assert found[row, 0, place] == pytest.approx(np.sort(low)[100 - rank], rel=1e-5, abs=1e-3)
            assert found[row, 1, place] == pytest.approx(np.sort(high)[rank - 1], rel=1e-5, abs=1e-3)


def test_blocks_make_honest_intervals_where_random_folds_make_narrow_ones(
    units: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    towns = [town(units, seed=seed, side=13) for seed in range(2)]

    def coverage() -> float:
        return float(np.mean([score_intervals(u, X, SETTINGS, edge=100, seed=0)[1].coverage for u, X in towns]))

    honest = coverage()
    monkeypatch.setattr(
        module,
        "calibration_folds",
        lambda _, rows, *__, **___: list(KFold(5, shuffle=True, random_state=0).split(rows)),
    )
    optimistic = coverage()
    assert honest > 0.85
    assert optimistic < honest - 0.05


def test_coverage_is_counted_on_units_that_had_no_part_in_the_interval(units: Make) -> None:
    some, X = town(units, seed=1)
    low, high = score_intervals(some, X, SETTINGS, edge=100, seed=0, features_name="vectors")
    assert [(r.task, r.split, r.features, r.level) for r in (low, high)] == [
        ("population", "blocks", "vectors", 0.8),
        ("population", "blocks", "vectors", 0.9),
    ]
    assert low.coverage < high.coverage
    assert low.width < high.width
    assert 0 < low.width_share < high.width_share < 1.2
    assert low.lowest_fold <= low.coverage
    assert set(low.groups) == {"west", "east"}
    assert np.mean(list(low.groups.values())) == pytest.approx(low.coverage)
    assert np.mean(list(low.thirds.values())) == pytest.approx(low.coverage, abs=0.01)
    assert high.n_units == 256


def test_labels_that_say_nothing_get_intervals_as_wide_as_the_labels(units: Make) -> None:
    rng = np.random.default_rng(0)
    some = units(16, values=rng.normal(0, 1, 256), kind="polygon_rate")
    (record,) = score_intervals(
        some, rng.normal(size=(256, 4)).astype(np.float32), SETTINGS.model_copy(update={"intervals": (0.9,)}),
        edge=100, seed=0,
    )  # fmt: skip
    assert record.coverage == pytest.approx(0.9, abs=0.06)
    assert record.width == pytest.approx(2 * 1.645, rel=0.15), "the 5th to the 95th percentile of a normal label"


def test_every_prediction_lies_in_its_interval_on_the_labels_scale(units: Make) -> None:
    some, X = town(units, seed=2)
    X[7] = np.nan
    predicted = predict_everywhere(some, X)
    found = predict_intervals(some, X, predicted, SETTINGS, edge=100, seed=0)
    assert found is not None
    assert found.level == 0.9
    known = np.isfinite(predicted)
    assert np.isnan(found.lower[7])
    assert np.isnan(found.upper[7])
    assert (found.lower[known] <= predicted[known]).all()
    assert (predicted[known] <= found.upper[known]).all()
    assert (found.lower[known] >= 0).all(), "an amount is never below 0"
    assert (found.width[known] > 0).all()


def test_calibration_keeps_the_buffer_and_gives_way_only_where_it_must(units: Make) -> None:
    some = units(12)
    rows = np.arange(144)
    folds = calibration_folds(some, rows, SETTINGS, edge=100, block=None, seed=0)
    assert folds is not None
    for train, test in folds:
        apart = np.linalg.norm(some.centres[train][:, None] - some.centres[test][None], axis=2).min()
        assert apart >= 199
    assert sorted(np.concatenate([test for _, test in folds])) == rows.tolist()
    tiny = calibration_folds(units(4), np.arange(16), SETTINGS, edge=100, block=None, seed=0)
    assert tiny is not None, "without the buffer"


def test_no_interval_is_made_of_too_few_units(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    some = units(4)
    X = np.random.default_rng(0).normal(size=(16, 2)).astype(np.float32)
    strict = SETTINGS.model_copy(update={"intervals": (0.99,)})
    with caplog.at_level("WARNING", logger="mmgr"):
        assert predict_intervals(some, X, np.ones(16), strict, edge=100, seed=0) is None
    assert "too few" in caplog.text
    assert score_intervals(some, X, strict, edge=100, seed=0) == []
    assert score_intervals(some, X, SETTINGS.model_copy(update={"intervals": ()}), edge=100, seed=0) == []


def test_random_folds_are_no_place_to_measure_coverage(units: Make) -> None:
    some, X = town(units, seed=0, side=10)
    both = SETTINGS.model_copy(update={"splits": ("blocks", "random")})
    assert {record.split for record in score_intervals(some, X, both, edge=100, seed=0)} == {"blocks"}


RECORD = IntervalScore(
    task="population", split="blocks", features="vectors", probe="ridge", level=0.9, coverage=0.851,
    coverage_std=float("nan"), lowest_fold=0.6, width=1200.0, width_median=900.0, width_share=0.4, n_units=120, seeds=1,
    folds=5, groups={"north": 0.93, "south": 0.72}, thirds={"low": 0.9, "middle": 0.9, "high": 0.7},
)  # fmt: skip


def test_a_shortfall_is_said_plainly() -> None:
    assert not RECORD.reached
    assert RECORD.sentence == (
        "90% intervals held for 85% of 120 held-out units (60% in the worst fold): NOT reached. The intervals are too "
        "narrow for places never seen. Short by more than 5 points in south (72%). Short by more than 5 points where "
        "predictions are high (70%)."
    )


def test_what_shares_and_sets_do_not_promise_is_said_plainly() -> None:
    shares = replace(RECORD, label="shares", classes={"home": 0.95, "work": 0.75}, together=0.66, groups={}, thirds={})
    assert shares.sentence == (
        "90% intervals of 2 shares held, on average over these, for 85% of 120 held-out units (60% in the worst fold): "
        "NOT reached. All shares of a unit were inside at once for 66%, which no level promises. The intervals are too "
        "narrow for places never seen. Short by more than 5 points for the share of work (75%)."
    )
    assert not replace(shares, coverage=0.92).reached, "no mean makes up for a class"
    sets = replace(RECORD, label="class", classes={"home": 0.95, "work": 0.75}, empty=0.03, groups={}, thirds={})
    assert sets.sentence == (
        "90% sets of classes held the class of 85% of 120 held-out units (60% in the worst fold): NOT reached. "
        "For 3.0% no class passed: they are shown as sets of all classes, and not counted as held. The sets are too "
        "small for places never seen. Short by more than 5 points for units that are work (75%)."
    )
    assert replace(sets, coverage=0.92).reached
    assert "NOT" not in replace(sets, coverage=0.92).sentence
    back = IntervalScore.from_json(shares.to_json())
    assert back.to_json() == shares.to_json()
    assert np.isnan(back.empty)


def test_records_of_numbers_written_before_are_read() -> None:
    new = {"label", "classes", "together", "empty"}
    old = {key: value for key, value in RECORD.to_json().items() if key not in new}
    assert IntervalScore.from_json(old).to_json() == RECORD.to_json()


def test_records_survive_json() -> None:
    value = RECORD.to_json()
    assert value["coverage_std"] is None
    assert value["reached"] is False
    back = IntervalScore.from_json(value)
    assert back.to_json() == value
    assert np.isnan(back.coverage_std)


def test_the_probe_of_the_intervals_is_that_of_the_map(units: Make) -> None:
    some, X = town(units, seed=3, side=12)
    predicted = predict_everywhere(some, X)
    calibration = calibrate_on_all(some, X, SETTINGS, edge=100, seed=0)
    assert calibration is not None
    own = calibration.fit(np.arange(len(some)))
    np.testing.assert_allclose(some.untransform(own.predict(X)), predicted, rtol=1e-5)


def test_units_of_one_coarse_label_cell_calibrate_together(units: Make) -> None:
    some = units(12)
    cell = (np.arange(144) % 12 // 4) + 3 * (np.arange(144) // 12 // 4)
    coarse = replace(some, sources=sparse.csr_array((np.ones(144), (np.arange(144), cell))))
    folds = calibration_folds(coarse, np.arange(144), SETTINGS, edge=100, block=None, seed=0)
    assert folds is not None
    for train, test in folds:
        assert not set(cell[train]) & set(cell[test])


def test_probes_of_intervals_tune_as_those_of_the_scores_do(units: Make) -> None:
    some, X = town(units, seed=0)
    shared = sparse.csr_array((sparse.eye_array(256) + sparse.eye_array(256, k=1)) / 2)
    coarse = replace(some, weights=shared)  # each unit has a region in common with the next, across blocks
    (plan,) = check_splits(coarse, SETTINGS, edge=100, seed=0)
    train, _ = plan.folds[0][0]
    calibration = calibrate_inside(coarse, X, plan, train, SETTINGS, edge=100, seed=0, tuning_seed=3)
    assert calibration is not None
    rest, _ = calibration.folds[0]
    linked = coarse.linked.toarray()
    for fit, held in calibration.inner(rest):
        assert not set(plan.groups[train[rest[fit]]]) & set(plan.groups[train[rest[held]]])
        assert not linked[np.ix_(train[rest[fit]], train[rest[held]])].any(), "one region on both sides"
    for ours, theirs in zip(calibration.inner(rest), plan.inner(coarse, train[rest], 3), strict=True):
        np.testing.assert_array_equal(ours[1], theirs[1])


def test_without_groups_or_with_one_a_probe_tunes_on_blocks_of_its_units(units: Make) -> None:
    some = units(12)
    (plan,) = check_splits(some, SETTINGS, edge=100, seed=0)
    rows = np.flatnonzero(some.group == "west")
    centres = some.centres[rows]

    def beside_fitted(groups: np.ndarray | None, **changed: bool) -> float:
        inner = replace(plan, groups=groups, **changed).inner(some, rows, 0)
        assert sorted(np.concatenate([held for _, held in inner])) == list(range(len(rows)))
        near = [np.linalg.norm(centres[h][:, None] - centres[f][None], axis=2).min(axis=1) < 101 for f, h in inner]
        return float(np.concatenate(near).mean())

    for groups in (None, np.zeros(144, np.int64)):
        assert beside_fitted(groups) < 0.85
        assert beside_fitted(groups, optimistic=True) > 0.95, "a random split asks about neighbours of known units"
