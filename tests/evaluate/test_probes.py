from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score

from mmgr.evaluate import make_probe, mlp_probe, r2, ridge_probe
from mmgr.evaluate.probes import PROBE_TITLES, PrincipalComponents, ProbeName


def sample(units: int, dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(units, 5))
    X = latent @ rng.normal(size=(5, dims)) + 0.1 * rng.normal(size=(units, dims))
    return X.astype(np.float32), 1000 + 100 * latent[:, 0] + 10 * rng.normal(size=units)


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_a_probe_learns_what_is_in_the_features(name: str) -> None:
    X, y = sample(300, 60)
    model = make_probe(name, seed=0).fit(X[:200], y[:200])
    assert r2(y[200:], model.predict(X[200:])) > 0.8


@pytest.mark.parametrize("units", [5, 8, 20])
@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_a_probe_works_on_few_units_with_many_features(name: str, units: int) -> None:
    X, y = sample(units + 4, 200)
    predicted = make_probe(name, seed=0).fit(X[:units], y[:units]).predict(X[units:])
    assert predicted.shape == (4,)
    assert np.isfinite(predicted).all()


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_unknown_features_take_the_training_mean(name: str) -> None:
    X, y = sample(60, 20)
    X[::7] = np.nan
    X[:, 3] = np.nan
    model = make_probe(name, seed=0).fit(X[:40], y[:40])
    assert np.isfinite(model.predict(X[40:])).all()
    X[:, 3] = 0  # a feature that is unknown everywhere tells nothing
    mean = np.nanmean(X[:40], axis=0)
    unknown = np.full((1, 20), np.nan, np.float32)
    assert model.predict(unknown) == pytest.approx(model.predict(mean[None]), rel=1e-4)


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_features_that_never_vary_predict_the_mean(name: str) -> None:
    _, y = sample(40, 3)
    predicted = make_probe(name, seed=0).fit(np.ones((40, 3), np.float32), y).predict(np.ones((2, 3), np.float32))
    assert predicted == pytest.approx(np.full(2, y.mean()), abs=0.3 * y.std())


@pytest.mark.parametrize("kind", ["number", "shares"])
@pytest.mark.parametrize(("units", "dims", "parts"), [(90, 8, ()), (30, 90, ()), (90, 8, (3, 5)), (90, 40, (35, 5))])
def test_a_linear_probe_is_a_linear_function_of_the_features(
    kind: str, units: int, dims: int, parts: tuple[int, ...]
) -> None:
    X, y = sample(units + 20, dims)
    X = X * np.linspace(0.5, 20, dims, dtype=np.float32) + 3
    X[::7, 1] = np.nan
    X[:, 2] = 5.0
    share = 1 / (1 + np.exp((y - 1000) / 100))
    labels = y if kind == "number" else np.stack([share, 1 - share, np.zeros_like(share)], axis=1)
    probe = make_probe("ridge", seed=0, kind=kind, parts=parts).fit(X[:units], labels[:units])
    weights, intercepts = probe.linear()
    assert weights.shape == (dims, 1 if kind == "number" else 3)
    spread = 2 * np.nanstd(X[:units], axis=0)
    X[units:] = np.clip(X[units:], np.nanmin(X[:units], axis=0) - spread, np.nanmax(X[:units], axis=0) + spread)
    outputs = np.where(np.isnan(X), np.nanmean(X[:units], axis=0), X)[units:] @ weights + intercepts
    if kind == "number":
        expected, found = probe.predict(X[units:]), np.clip(outputs[:, 0], *probe.range_)
    else:
        expected, found = probe.predict(X[units:]), softmax(outputs, axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("units", "dims"), [(50, 8), (30, 90)])
def test_principal_components_are_those_of_scikit_learn_in_one_scale(units: int, dims: int) -> None:
    X, _ = sample(units, dims)
    X = X * np.linspace(0.5, 2, dims, dtype=np.float32)
    found = PrincipalComponents(smallest=0.01).fit(X)
    k = len(found.components_)
    trusted = PCA(min(X.shape)).fit(X.astype(np.float64))
    assert k == (trusted.explained_variance_ * (units - 1) / units >= 0.01).sum()
    ours = np.sort(np.abs(found.transform(X) * found.scale_), axis=1)
    np.testing.assert_allclose(ours, np.sort(np.abs(trusted.transform(X)[:, :k]), axis=1), atol=1e-3)
    assert found.transform(X).std() == pytest.approx(1.0, rel=0.02)


def test_the_seed_fixes_the_two_layer_probe() -> None:
    X, y = sample(60, 20)
    once, again, other = (mlp_probe(seed).fit(X, y).predict(X) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_probes_are_estimators_of_scikit_learn() -> None:
    X, y = sample(60, 10)
    for probe in (ridge_probe(), mlp_probe(0)):
        assert len(cross_val_score(clone(probe), X, y, cv=3)) == 3


def test_the_two_layer_probe_has_the_width_of_the_paper() -> None:
    X, y = sample(60, 10)
    network = mlp_probe(0).fit(X, y).head_.network_
    assert [layer.shape[0] for layer in network.weights_[::2]] == [1024, 1]
    assert network.activation == "relu"


def test_ridge_chooses_its_penalty_on_the_training_units() -> None:
    X, y = sample(100, 30)
    strong = ridge_probe().fit(X, np.random.default_rng(1).permutation(y)).head_.alpha_
    assert strong > ridge_probe().fit(X, y).head_.alpha_


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_an_odd_place_is_predicted_within_the_range_of_the_labels(name: ProbeName) -> None:
    X, y = sample(60, 10)
    odd = np.full((1, 10), 1e6, np.float32)
    for far in (odd, -odd):
        assert y.min() <= make_probe(name, seed=0).fit(X, y).predict(far)[0] <= y.max()


@pytest.mark.parametrize("name", ["ridge", "mlp", "knn"])
def test_a_feature_that_few_training_units_have_throws_no_prediction_far_off(name: ProbeName) -> None:
    X, y = sample(60, 10)
    X[:, 4] = 0.0
    X[7, 4] = 1e-3  # as of an encoder's output that is zero nearly everywhere
    model = make_probe(name, seed=0).fit(X[:50], y[:50])
    usual = model.predict(X[50:])
    bound = X[50:].copy()
    bound[:, 4] = 1e-3 + 2 * X[:50, 4].std()
    X[50:, 4] = 1.0
    np.testing.assert_allclose(model.predict(X[50:]), model.predict(bound), rtol=1e-5)
    assert np.abs(model.predict(X[50:]) - usual).max() < y.std()


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_features_somewhat_beyond_those_learned_from_count_as_they_are(name: ProbeName) -> None:
    X, y = sample(60, 10)
    beyond = X[:1].copy()
    beyond[:, 4] = X[:, 4].max() + 1.9 * X[:, 4].std()
    model = make_probe(name, seed=0).fit(X, y)
    plain = model.head_.predict(model.features_.transform(beyond))
    assert model.predict(beyond) == pytest.approx(np.clip(plain, y.min(), y.max()))


@pytest.mark.parametrize("name", ["ridge", "mlp", "kernel"])
def test_features_to_predict_from_are_checked_as_everywhere_in_scikit_learn(name: ProbeName) -> None:
    X, y = sample(60, 6)
    model = make_probe(name, seed=0).fit(X, y)
    with pytest.raises(ValueError, match=r"1 features, but .* expecting 6"):
        model.predict(X[:, :1])
    with pytest.raises(ValueError, match="infinity"):
        model.predict(np.full((1, 6), np.inf, np.float32))
    table = pd.DataFrame(X).astype("Float64")
    table.iloc[0, 0] = pd.NA
    assert np.isfinite(model.fit(table, y).predict(table)).all()


def test_what_was_learned_from_is_predicted_as_it_is() -> None:
    X, y = sample(80, 30)
    X[3, 5] = np.nan
    model = ridge_probe().fit(X, y)
    plain = np.clip(model.head_.predict(model.features_.transform(X)), y.min(), y.max())
    np.testing.assert_array_equal(model.predict(X), plain)


def test_each_probe_has_a_title() -> None:
    assert set(PROBE_TITLES) == set(get_args(ProbeName))
