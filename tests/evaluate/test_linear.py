from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV

from mmgr.evaluate.linear import BlockRidge, SoftmaxRegression
from mmgr.evaluate.tuning import inner_folds


def sample(units: int, dims: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(units, dims))
    return X, X[:, :3] @ [1.0, -2.0, 0.5] + rng.normal(size=units)


@pytest.mark.parametrize(("units", "dims"), [(60, 8), (40, 90)])
def test_ridge_is_scikit_learns_with_the_penalty_of_a_grid_search(units: int, dims: int) -> None:
    X, y = sample(units, dims)
    inner = inner_folds(np.arange(units) // 5, units=units, seed=0)
    ours = BlockRidge().fit(X, y, inner=inner)
    search = GridSearchCV(
        Ridge(), {"alpha": np.logspace(-2, 6, 17)}, cv=list(inner), scoring=squared_error
    ).fit(X, y)  # fmt: skip
    assert ours.alpha_ == pytest.approx(search.best_params_["alpha"])
    np.testing.assert_allclose(ours.predict(X), search.predict(X), rtol=1e-6, atol=1e-8)


def squared_error(model: Ridge, X: np.ndarray, y: np.ndarray) -> float:
    return -float(((model.predict(X) - y) ** 2).sum())


@pytest.mark.parametrize("dims", [5, 200])
@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_softmax_regression_of_classes_is_scikit_learns_logistic_regression(alpha: float, dims: int) -> None:
    X, y = sample(80, dims)
    X[:, 1] *= 30
    codes = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    ours = SoftmaxRegression(alphas=(alpha,)).fit(X, np.eye(3)[codes])
    trusted = LogisticRegression(C=1 / alpha, tol=1e-8, max_iter=2000).fit(X, codes)
    np.testing.assert_allclose(ours.predict(X), trusted.predict_proba(X), atol=2e-3)


def test_softmax_regression_of_shares_is_logistic_regression_of_weighted_units() -> None:
    X, y = sample(80, 4)
    shares = np.exp(np.stack([y, -y, np.zeros(80)], axis=1))
    shares /= shares.sum(axis=1, keepdims=True)
    ours = SoftmaxRegression(alphas=(1.0,)).fit(X, shares)
    weighted = LogisticRegression(C=1.0, tol=1e-8, max_iter=2000).fit(
        np.repeat(X, 3, axis=0), np.tile(np.arange(3), 80), sample_weight=shares.ravel()
    )
    np.testing.assert_allclose(ours.predict(X), weighted.predict_proba(X), atol=2e-3)
    np.testing.assert_allclose(ours.predict(X).sum(axis=1), 1.0)


def test_softmax_regression_chooses_the_penalty_of_the_least_divergence_on_the_inner_folds() -> None:
    X, y = sample(60, 20)
    codes = np.digitize(y, [-1.0, 1.0])
    inner = inner_folds(np.arange(60) // 6, units=60, seed=1)
    ours = SoftmaxRegression().fit(X, np.eye(3)[codes], inner=inner)
    losses = []
    for alpha in ours.alphas:
        fits = [(LogisticRegression(C=1 / alpha, max_iter=2000).fit(X[fit], codes[fit]), held) for fit, held in inner]
        losses.append(sum(log_loss(codes[h], m.predict_proba(X[h]), labels=[0, 1, 2]) * len(h) for m, h in fits))
    assert ours.alpha_ == ours.alphas[int(np.argmin(losses))]


def test_features_that_are_all_alike_give_the_mean_of_shares() -> None:
    shares = np.eye(3)[np.arange(30) % 3] * 0.5 + 1 / 6
    for dims in (2, 50):
        predicted = SoftmaxRegression().fit(np.full((30, dims), 7.0), shares).predict(np.full((2, dims), 7.0))
        np.testing.assert_allclose(predicted, 1 / 3, atol=1e-6)


def test_a_class_that_is_never_met_gets_next_to_nothing() -> None:
    X, y = sample(40, 3)
    shares = np.column_stack([np.eye(2)[(y > 0).astype(int)], np.zeros(40)])
    predicted = SoftmaxRegression().fit(X, shares).predict(X)
    assert predicted[:, 2].max() < 0.01
    assert np.isfinite(predicted).all()
