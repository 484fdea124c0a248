"""Parts of vectors are weighed against each other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.linear_model import Ridge

from mmgr.config import Evaluate
from mmgr.evaluate import Units, make_probe, predict_everywhere, r2, score_features
from mmgr.evaluate.linear import ALPHAS, ridge_path
from mmgr.evaluate.parts import MOST_COMPONENTS, WEIGHTS, PartWeights
from mmgr.evaluate.probes import PrincipalComponents
from mmgr.evaluate.tuning import inner_folds

RNG = np.random.default_rng


def town(telling: int, silent: int, *, rows: int = 300, seed: int = 0) -> tuple[NDArray[np.float64], ...]:
    """Return columns of which the first part tells the label and the second nothing, and the label."""
    rng = RNG(seed)
    X = rng.normal(size=(rows, telling + silent))
    y = X[:, :telling] @ rng.normal(size=telling) / np.sqrt(telling) + 0.5 * rng.normal(size=rows)
    return X, y


def test_the_path_is_ridge_regression_of_each_label_with_each_penalty() -> None:
    X, y = town(4, 3, rows=60)
    labels = np.column_stack([y, X[:, 5] - y])
    for rows in (40, 5):  # more rows than columns, and fewer
        found = ridge_path(X[:rows], labels[:rows], X[40:], ALPHAS[3:6])
        assert found.shape == (20, 2, 3)
        for number, alpha in enumerate(ALPHAS[3:6]):
            expected = Ridge(alpha=alpha).fit(X[:rows], labels[:rows]).predict(X[40:])
            assert np.allclose(found[..., number], expected, atol=1e-8)


def test_a_part_that_tells_nothing_weighs_little() -> None:
    X, y = town(5, 60)
    first, second = PartWeights((5, 60)).fit(X, y).weights_
    assert first == 1
    assert second <= 0.25
    turned = PartWeights((60, 5)).fit(np.roll(X, 60, axis=1), y).weights_
    assert turned[1] == 1
    assert turned[0] <= 0.25


def test_parts_that_tell_as_much_weigh_the_same() -> None:
    X, y = town(10, 0)
    assert PartWeights((5, 5)).fit(X, y).weights_ == (1, 1)


def test_the_weights_are_those_with_the_least_error_on_the_inner_folds() -> None:
    X, y = town(5, 40, rows=120)
    inner = inner_folds(np.arange(120) // 12, units=120, seed=0)

    def error(weights: tuple[float, float]) -> float:
        weighed = X * np.repeat(weights, (5, 40))
        return min(
            sum(
                ((Ridge(alpha=alpha).fit(weighed[fit], y[fit]).predict(weighed[held]) - y[held]) ** 2).sum()
                for fit, held in inner
            )
            for alpha in ALPHAS
        )

    first = min(((w, 1.0) for w in WEIGHTS), key=error)
    best = min(((first[0], w) for w in WEIGHTS if first[0] or w), key=error)
    found = PartWeights((5, 40)).fit(X, y, inner=inner).weights_
    assert found == tuple(weight / max(best) for weight in best)


def test_weights_multiply_the_columns_of_their_part() -> None:
    X, y = town(2, 30)
    weights = PartWeights((2, 30)).fit(X, y)
    seen = weights.transform(X)
    assert np.allclose(seen[:, :2], X[:, :2] * weights.weights_[0])
    assert np.allclose(seen[:, 2:], X[:, 2:] * weights.weights_[1])
    assert clone(weights).get_params() == weights.get_params()


def test_three_parts_of_several_labels_a_wide_part_and_few_units() -> None:
    X, y = town(4, 8)
    wide = RNG(1).normal(size=(300, MOST_COMPONENTS + 20))
    found = PartWeights((4, 8, wide.shape[1])).fit(np.hstack([X, wide]), np.column_stack([y, -y])).weights_
    assert found[0] == 1
    assert max(found[1:]) <= 0.5
    assert PartWeights((4, 8)).fit(X[:3], y[:3]).weights_ == (1, 1)
    with pytest.raises(ValueError, match=r"parts of \(4, 9\) columns, but X has 12"):
        PartWeights((4, 9)).fit(X, y)


@pytest.mark.parametrize("name", ["ridge", "mlp", "knn"])
def test_a_probe_that_knows_the_parts_predicts_better(name: str) -> None:
    X, y = town(4, 80, rows=400)
    X, told = X.astype(np.float32), y
    scores = [
        r2(told[300:], make_probe(name, seed=0, parts=parts).fit(X[:300], told[:300]).predict(X[300:]))  # type: ignore[arg-type]
        for parts in ((), (4, 80))
    ]
    assert scores[1] > scores[0] + 0.02


@pytest.mark.parametrize("name", ["forest", "boosting"])
def test_trees_see_columns_as_they_are(name: str) -> None:
    X, y = town(4, 10)
    plain, parted = (make_probe(name, seed=0, parts=parts).fit(X, y).predict(X[:9]) for parts in ((), (4, 10)))  # type: ignore[arg-type]
    assert np.allclose(plain, parted)


def test_shares_are_weighed_too_and_unknown_values_filled() -> None:
    X, y = town(4, 60)
    shares = np.column_stack([1 / (1 + np.exp(-2 * y)), 1 - 1 / (1 + np.exp(-2 * y))])
    X[::7, 3] = np.nan
    probe = make_probe("softmax", seed=0, kind="shares", parts=(4, 60)).fit(X, shares)
    assert probe.features_[-1].weights_[1] <= 0.25
    assert np.allclose(probe.predict(X).sum(axis=1), 1)


def test_components_of_parts_do_not_mix_them() -> None:
    X, _ = town(3, 6)
    X[:, 3:] += X[:, :1]  # parts that correlate
    found = PrincipalComponents(parts=(3, 6)).fit(X)
    assert sum(found.widths_) == len(found.components_)
    assert (found.components_[: found.widths_[0], 3:] == 0).all()
    assert (found.components_[found.widths_[0] :, :3] == 0).all()
    assert all(size >= 1 for size in found.widths_)
    assert np.isclose(np.mean(found.transform(X).var(axis=0)), 1, atol=1e-5)


def test_scores_curves_and_maps_use_the_parts(units: Callable[..., Units]) -> None:
    X, y = town(4, 60, rows=256)
    some, X = units(16, values=np.exp(5 + y)), X.astype(np.float32)
    settings = Evaluate(splits=("blocks",), seeds=1, probes=("ridge",), fractions=(1.0,))
    scores = score_features(some, {"weighed": X, "not": X}, settings, edge=100, seed=0, parts={"weighed": (4, 60)})
    worth = {record.features: record.value for record in scores.records}
    assert worth["weighed"] > worth["not"] + 0.02
    assert {curve.features: curve.value for curve in scores.curves} == pytest.approx(worth)
    plain, weighed = (predict_everywhere(some, X, parts=parts) for parts in ((), (4, 60)))
    assert not np.allclose(plain, weighed)
