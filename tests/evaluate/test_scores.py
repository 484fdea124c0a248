from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from sklearn import metrics as trusted
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler

from mmgr.config import Evaluate
from mmgr.errors import SplitError
from mmgr.evaluate import Units, score_features
from mmgr.evaluate.splits import SpatialBlocks
from mmgr.evaluate.tuning import inner_folds

Make = Callable[..., Units]
RIDGE = Evaluate(probes=("ridge",), seeds=2)


def city(units: Make, side: int = 16, **settings: object) -> tuple[Units, dict[str, np.ndarray]]:
    """Labels that follow a smooth field, features that show it, and features of noise."""
    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.normal(size=(side, side)), 1.0).ravel()
    field /= field.std()
    some = units(side, values=np.exp(5 + field), **settings)
    shown = np.stack([field, field**2, rng.normal(size=side**2)], axis=1) + 0.2 * rng.normal(size=(side**2, 3))
    return some, {"shown": shown.astype(np.float32), "noise": rng.normal(size=(side**2, 5)).astype(np.float32)}


def test_features_that_show_the_label_beat_noise_under_each_split_and_probe(units: Make) -> None:
    some, features = city(units)
    scores = score_features(some, features, Evaluate(seeds=2), edge=100, seed=0)
    frame = scores.to_frame().set_index(["features", "split", "probe"]).sort_index()
    assert len(frame) == 2 * 2 * 2
    assert (frame.loc["shown", "r2"] > 0.6).all()
    assert (frame.loc["noise", "r2"] < 0.1).all()
    assert set(frame["scale"]) == {"log1p"}
    assert set(frame["n_units"]) == {256}
    blocks = frame.xs("blocks", level="split")
    assert some.variogram is not None
    # labels smoothed over 100 m: blocks of their range, which is wider than three regions
    assert set(blocks["block"]) == {some.variogram.range}
    assert set(blocks["block_chosen_by"]) == {"variogram"}
    assert (frame.loc["noise", "moran_p"] < 0.05).all()
    assert set(frame["buffer"]) == {100.0}


def test_a_score_is_what_a_plain_loop_gives(units: Make) -> None:
    """Ridge under blocks, tuned on blocks, written out with scikit-learn alone; the folds are ours."""
    some, features = city(units)
    settings = Evaluate(probes=("ridge",), seeds=1, splits=("blocks",), block=400, buffer=100)
    score = score_features(some, features, settings, edge=100, seed=3).records[0]
    X, y = features["shown"], np.log1p(some.values)
    predicted, single = np.zeros(len(y)), []
    splitter = SpatialBlocks(some.centres, block=400, folds=5, buffer=199.99, seed=3)
    for train, test in splitter.split():
        scaler = StandardScaler().fit(X[train])
        scaled = scaler.transform(X[train])
        inner = inner_folds(splitter.blocks[train], units=len(train), seed=3)
        for fit, held in inner:
            assert not set(splitter.blocks[train][fit]) & set(splitter.blocks[train][held])
        search = GridSearchCV(
            Ridge(), {"alpha": np.logspace(-2, 6, 17)}, cv=list(inner), scoring="neg_mean_squared_error"
        )
        ridge = search.fit(scaled, y[train])
        held = np.clip(scaler.transform(X[test]), scaled.min(axis=0) - 2, scaled.max(axis=0) + 2)
        predicted[test] = np.clip(ridge.predict(held), y[train].min(), y[train].max())
        single.append(trusted.r2_score(y[test], predicted[test]))
    r2, rmse, mae = (score.metrics[name] for name in ("r2", "rmse", "mae"))
    assert r2.value == score.r2 == pytest.approx(trusted.r2_score(y, predicted), rel=1e-4)
    assert rmse.value == pytest.approx(trusted.root_mean_squared_error(y, predicted), rel=1e-4)
    assert mae.value == pytest.approx(trusted.mean_absolute_error(y, predicted), rel=1e-4)
    assert r2.folds == pytest.approx(np.mean(single), rel=1e-3)
    assert r2.folds_std == pytest.approx(np.std(single, ddof=1), rel=1e-3)
    assert np.isnan(r2.std)


def test_the_buffer_lies_between_the_borders_of_units(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    some, features = city(units)
    settings = Evaluate(probes=("ridge",), seeds=1, splits=("groups",), buffer=100)
    with caplog.at_level("INFO", "mmgr"):
        score_features(some, features, settings, edge=100, seed=0)
    # halves of 16 x 8 cells: one column of 16 touches the other half and is left out
    assert "split groups: 2 folds, buffer 100 m (leaves out 16 of 256 units a fold)" in caplog.text


def test_all_feature_sets_and_seeds_are_repeatable(units: Make) -> None:
    some, features = city(units)
    settings = Evaluate(seeds=2, splits=("blocks",))
    once = score_features(some, features, settings, edge=100, seed=0)
    again = score_features(some, dict(reversed(features.items())), settings, edge=100, seed=0)
    by_name = {(r.features, r.probe): r for r in again.records}
    assert all(by_name[r.features, r.probe] == r for r in once.records)
    assert all(record.metrics["r2"].std > 0 for record in once.records)


def test_units_of_unknown_features_are_scored_with_the_training_mean(units: Make) -> None:
    some, features = city(units)
    shown = features["shown"].copy()
    shown[::5] = np.nan
    scores = score_features(some, {"half": shown}, RIDGE, edge=100, seed=0)
    assert {record.n_units for record in scores.records} == {256}
    assert all(0.3 < record.r2 < 0.95 for record in scores.records)


def test_features_that_are_unknown_everywhere_are_not_scored(units: Make, caplog: pytest.LogCaptureFixture) -> None:
    some, features = city(units)
    nothing = np.full((256, 2), np.nan, np.float32)
    with caplog.at_level("INFO", "mmgr"):
        scores = score_features(some, features | {"POI only": nothing}, RIDGE, edge=100, seed=0)
    assert "POI only" not in set(scores.to_frame()["features"])
    assert "POI only are unknown for all units" in caplog.text
    with pytest.raises(SplitError, match="no feature set is known"):
        score_features(some, {"POI only": nothing}, RIDGE, edge=100, seed=0)


def test_random_folds_are_marked_and_optimistic(units: Make) -> None:
    some, features = city(units)
    settings = Evaluate(splits=("random", "blocks"), probes=("ridge",), seeds=1)
    # coordinates alone tell of a smooth label only where neighbours are trained on
    where = {"place": np.sin(some.centres @ np.random.default_rng(0).normal(0, 0.01, (2, 80))).astype(np.float32)}
    random, blocks = score_features(some, where | features, settings, edge=100, seed=0).records[::3]
    assert (random.split, random.optimistic, random.buffer) == ("random", True, 0.0)
    assert (blocks.split, blocks.optimistic) == ("blocks", False)
    assert random.r2 > blocks.r2


def test_held_out_predictions_are_of_the_main_features_on_the_labels_scale(units: Make) -> None:
    some, features = city(units)
    held_out = score_features(some, features, RIDGE, edge=100, seed=0, main="shown").held_out
    assert list(held_out.columns) == ["task", "split", "id", "observed", "predicted", "class"]
    assert set(held_out["class"]) == {""}
    assert held_out.groupby("split").size().to_dict() == {"blocks": 256, "groups": 256}
    part = held_out[held_out["split"] == "blocks"].set_index("id").loc[some.ids]
    np.testing.assert_array_equal(part["observed"], some.values)
    assert np.corrcoef(np.log(part["predicted"] + 1), np.log(part["observed"]))[0, 1] > 0.7
    assert (held_out["predicted"] >= 0).all()


def test_a_fold_of_one_unit_has_no_r2_and_does_no_harm(units: Make) -> None:
    some, features = city(units, side=4)
    settings = Evaluate(folds=16, block=100, buffer=0, probes=("ridge",), seeds=1, splits=("blocks",))
    score = score_features(some, features, settings, edge=100, seed=0).records[0]
    assert np.isnan(score.metrics["r2"].folds)
    assert np.isfinite(score.r2)


def test_twenty_units_can_be_scored(units: Make) -> None:
    some, features = city(units, side=5)
    scores = score_features(some, features, Evaluate(seeds=1), edge=100, seed=0)
    assert all(np.isfinite(record.r2) for record in scores.records)


def test_groups_are_left_out_by_default_only_where_there_are_two(units: Make) -> None:
    some, features = city(units)
    one = replace(some, group=np.full(len(some), "", object))
    assert {record.split for record in score_features(one, features, RIDGE, edge=100, seed=0).records} == {"blocks"}
    with pytest.raises(SplitError, match=r"task population, split groups: .* there are \(none\): 256"):
        score_features(one, features, Evaluate(splits=("groups",)), edge=100, seed=0)


def test_more_folds_than_blocks_name_the_task(units: Make) -> None:
    some, features = city(units)
    with pytest.raises(SplitError, match=r"task population, split blocks: blocks of 1000 m hold the 256 units in 4"):
        score_features(some, features, Evaluate(block=1000), edge=100, seed=0)


def test_an_area_too_small_for_a_buffer_is_scored_without_one_and_told(
    units: Make, caplog: pytest.LogCaptureFixture
) -> None:
    some, features = city(units)
    settings = Evaluate(probes=("ridge",), seeds=1, splits=("blocks",))
    with caplog.at_level("WARNING", "mmgr"):
        scores = score_features(some, features, settings, edge=700, seed=0)
    assert {record.buffer for record in scores.records} == {0.0}
    assert "read the scores as optimistic" in caplog.text


def test_a_buffer_that_the_user_asked_for_is_never_dropped(units: Make) -> None:
    some, features = city(units)
    settings = Evaluate(probes=("ridge",), seeds=1, splits=("blocks",), buffer=5000)
    with pytest.raises(SplitError, match="within the buffer of"):
        score_features(some, features, settings, edge=100, seed=0)
