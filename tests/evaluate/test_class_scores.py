"""Scores of classes and shares: the probes that suit them, under blocks, beside plain loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from scipy.ndimage import gaussian_filter
from sklearn.metrics import accuracy_score, f1_score
from sklearn.model_selection import cross_val_score

from mmgr.config import Evaluate, LabelKind
from mmgr.evaluate import Units, make_probe, predict_everywhere, score_features
from mmgr.evaluate.metrics import measure
from mmgr.evaluate.plans import check_splits
from mmgr.evaluate.probes import ProbeName, probe_names

Make = Callable[..., Units]
PROBES: tuple[ProbeName, ...] = ("ridge", "mlp", "forest", "boosting", "knn")


def town(units: Make, kind: str, side: int = 12) -> tuple[Units, np.ndarray]:
    """Three classes that follow smooth fields, and features that show the fields."""
    rng = np.random.default_rng(0)
    fields = np.stack([gaussian_filter(rng.normal(size=(side, side)), 1.2).ravel() for _ in range(3)], axis=1)
    fields /= fields.std(axis=0)
    shares = np.exp(1.5 * fields)
    shares /= shares.sum(axis=1, keepdims=True)
    if kind == "class":
        shares = np.eye(3)[shares.argmax(axis=1)]
    settings = {"kind": f"polygon_{kind}", "column": "zone"}
    plain = units(side, values=np.ones(side**2), **settings | {"kind": "polygon_rate"})
    task = plain.task.model_copy(update={"kind": f"polygon_{kind}"})
    some = replace(plain, task=task, values=shares, classes=("home", "work", "park"))
    return some, (fields + 0.2 * rng.normal(size=fields.shape)).astype(np.float32)


@pytest.mark.parametrize("kind", ["class", "shares"])
def test_every_probe_learns_classes_and_shares_on_blocks(units: Make, kind: str) -> None:
    some, X = town(units, kind, side=14)
    settings = Evaluate(probes=PROBES, seeds=1, splits=("blocks",), folds=2, block=350)
    scores = score_features(some, {"shown": X}, settings, edge=100, seed=0)
    linear = "logistic" if kind == "class" else "softmax"
    assert {record.probe for record in scores.records} == {linear, "mlp", "forest", "boosting", "knn"}
    names = ("macro_f1", "accuracy") if kind == "class" else ("l1", "kl", "cosine", "chebyshev", "canberra")
    blind = measure(some.task.label, names[-1], some.target, np.tile(some.target.mean(axis=0), (196, 1)))
    for record in scores.records:
        assert tuple(record.metrics) == names
        found = record.metrics[names[-1]].value
        assert found > blind + 0.1 if kind == "class" else found < 0.8 * blind, record.probe


@pytest.mark.parametrize("kind", ["class", "shares"])
def test_classes_that_only_test_units_have_are_named_with_counts(
    units: Make, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    some, X = town(units, kind)
    corner = np.flatnonzero((some.centres < some.centres.min(axis=0) + 150).all(axis=1))  # 4 regions of one block
    values = np.pad(some.values, ((0, 0), (0, 1)))
    values[corner] = [0.0, 0.0, 0.0, 1.0]
    rare = replace(some, values=values, classes=(*some.classes, "port"))
    settings = Evaluate(probes=("ridge",), seeds=2, splits=("blocks", "groups"), folds=3, block=300, fractions=(0.5,))
    scores = score_features(rare, {"shown": X}, settings, edge=100, seed=0)
    # each of the two seeds tests the block once, in one fold; groups are the same for all seeds
    assert [record.unseen for record in scores.records] == [{"port": 8}, {"port": 4}]
    assert [record.unseen for record in scores.curves] == [{}]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    told = [text for text in warnings if "no training unit has them" in text]
    assert len(told) == 2
    assert "split blocks" in told[0]
    assert "port (8 of 8 tested units)" in told[0]
    caplog.clear()
    plain = score_features(some, {"shown": X}, settings, edge=100, seed=0)
    assert all(record.unseen == {} for record in plain.records)
    assert "no training unit has them" not in caplog.text


def test_features_that_show_shares_are_clearly_ahead_of_noise(units: Make) -> None:
    some, X = town(units, "shares")
    noise = np.random.default_rng(1).normal(size=X.shape).astype(np.float32)
    settings = Evaluate(probes=("softmax",), seeds=2, splits=("blocks",))
    scores = score_features(some, {"shown": X, "noise": noise}, settings, edge=100, seed=0)
    (difference,) = [d for d in scores.differences if d.metric == "l1"]
    by = {record.features: record.value for record in scores.records}
    # less is better: a lower L1 is ahead
    assert difference.difference == pytest.approx(by["shown"] - by["noise"], abs=0.02)
    assert difference.high < 0
    assert difference.clear
    assert difference.ahead
    assert difference.pairs == 10


def test_a_score_of_classes_is_what_scikit_learn_finds_in_the_held_out_predictions(units: Make) -> None:
    some, X = town(units, "class")
    scores = score_features(
        some, {"shown": X}, Evaluate(probes=("knn",), seeds=1, splits=("blocks",)), edge=100, seed=0
    )
    held = scores.held_out.pivot(index="id", columns="class", values=["observed", "predicted"]).loc[some.ids]
    observed, predicted = (held[part][list(some.classes)].to_numpy(float) for part in ("observed", "predicted"))
    assert observed.shape == (144, 3)
    np.testing.assert_allclose(predicted.sum(axis=1), 1.0)
    y, p = observed.argmax(axis=1), predicted.argmax(axis=1)
    record = scores.records[0]
    assert record.metrics["accuracy"].value == pytest.approx(accuracy_score(y, p))
    assert record.metrics["macro_f1"].value == pytest.approx(f1_score(y, p, average="macro"))


def test_a_fold_that_lacks_a_class_still_predicts_shares_of_all(units: Make) -> None:
    some, X = town(units, "class")
    values = np.where(np.arange(144)[:, None] < 60, [1.0, 0, 0], [0, 1.0, 0])
    values[-3:] = [0, 0, 1.0]
    rare = replace(some, values=values)
    settings = Evaluate(probes=PROBES, seeds=1, splits=("blocks",), folds=3)
    assert all(np.isfinite(r.value) for r in score_features(rare, {"x": X}, settings, edge=100, seed=0).records)


@pytest.mark.parametrize("kind", ["class", "shares"])
def test_every_region_gets_shares_that_sum_to_one(units: Make, kind: str) -> None:
    some, X = town(units, kind)
    X[5] = np.nan
    for probe in PROBES if kind == "class" else ("ridge", "mlp"):
        predicted = predict_everywhere(some, X, probe=probe)
        assert predicted.shape == (144, 3)
        assert np.isnan(predicted[5]).all()
        np.testing.assert_allclose(np.delete(predicted, 5, axis=0).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("name", PROBES)
def test_probes_of_numbers_and_shares_work_in_cross_validation_of_scikit_learn(name: ProbeName) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 4))
    shares = rng.dirichlet(np.ones(3), 40)
    for kind, y in (("number", X[:, 0]), ("shares", shares)):
        assert len(cross_val_score(make_probe(name, seed=0, kind=kind), X, y, cv=2)) == 2


@pytest.mark.parametrize(
    ("kind", "names"),
    [("number", ("ridge", "mlp")), ("class", ("logistic", "mlp")), ("shares", ("softmax", "mlp"))],
)
def test_a_linear_probe_has_the_name_that_suits_the_label(kind: LabelKind, names: tuple[str, ...]) -> None:
    assert probe_names(("ridge", "softmax", "mlp", "logistic"), kind) == names


@pytest.mark.parametrize("split", ["blocks", "random"])
def test_units_of_one_coarse_cell_are_never_trained_on_and_tested(units: Make, split: str) -> None:
    some = units(16)
    x, y = ((some.centres - some.centres.min(axis=0)) / 100).round().astype(int).T
    cell = x // 4 + 4 * (y // 4)
    coarse = replace(some, sources=sparse.csr_array(np.eye(16)[cell]))
    settings = Evaluate(splits=(split,), seeds=2, buffer=0, folds=4, block=300 if split == "blocks" else None)
    (plan,) = check_splits(coarse, settings, edge=100, seed=0)
    for folds in plan.folds:
        for train, test in folds:
            assert not set(cell[train]) & set(cell[test])
            # whole cells are tested, and no unit is left out
            assert len(train) + len(test) == 256
            for fit, held in plan.inner(coarse, train, 0):
                assert not set(cell[train][fit]) & set(cell[train][held])
    (apart,) = check_splits(some, settings, edge=100, seed=0)
    assert any(set(cell[train]) & set(cell[test]) for train, test in apart.folds[0])
