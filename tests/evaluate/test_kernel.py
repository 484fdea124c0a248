"""Kernel regression as a probe."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import KernelCenterer

from mmgr.evaluate import make_probe, r2
from mmgr.evaluate.kernel import KernelHead
from mmgr.evaluate.protocols import get_protocol


def rings(units: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Places whose label is their distance from the middle, which no linear function knows."""
    X = np.random.default_rng(seed).normal(size=(units, 3))
    return X, 100 + 10 * np.linalg.norm(X[:, :2], axis=1)


@pytest.mark.parametrize("linear", [0.0, 0.25, 1.0])
def test_without_landmarks_it_is_kernel_ridge_regression_with_an_intercept(linear: float) -> None:
    X, y = rings(90)
    X = X * [1.0, 2.0, 0.1] + 5
    head = KernelHead(width=1.5, linear=linear, penalties=(0.4,)).fit(X[:60], y[:60])
    apart = ((X[:60, None] - X[None, :60]) ** 2).sum(axis=-1).mean()
    middle = X[:60].mean(axis=0)

    def kernel(some: np.ndarray) -> np.ndarray:
        inner = (some - middle) @ (X[:60] - middle).T
        return (1 - linear) * rbf_kernel(some, X[:60], gamma=1.5 / apart) + linear * inner / (apart / 2)

    centre = KernelCenterer().fit(kernel(X[:60]))
    trusted = KernelRidge(alpha=0.4, kernel="precomputed")
    trusted.fit(centre.transform(kernel(X[:60])), y[:60] - y[:60].mean())
    expected = trusted.predict(centre.transform(kernel(X[60:]))) + y[:60].mean()
    np.testing.assert_allclose(head.predict(X[60:]), expected, rtol=1e-6)
    assert np.trace(kernel(X[:60])) == pytest.approx(60)


def test_classes_are_logistic_regression_in_the_space_of_the_kernel() -> None:
    X, y = rings(80)
    label = np.digitize(y, np.quantile(y, [0.3, 0.7]))
    head = KernelHead(share_penalties=(0.2,)).fit(X[:60], np.eye(3)[label[:60]])
    apart = ((X[:60, None] - X[None, :60]) ** 2).sum(axis=-1).mean()
    middle = X[:60].mean(axis=0)
    everything = 0.75 * rbf_kernel(X, gamma=2 / apart) + 0.25 * (X - middle) @ (X - middle).T / (apart / 2)
    # columns whose inner products are the kernel, found without the head's own
    values, axes = np.linalg.eigh(everything)
    columns = axes * np.sqrt(np.maximum(values, 0))
    trusted = LogisticRegression(C=1 / 0.2, tol=1e-8, max_iter=10_000).fit(columns[:60], label[:60])
    np.testing.assert_allclose(head.predict(X[60:]), trusted.predict_proba(columns[60:]), atol=2e-3)


def test_what_holds_everywhere_goes_on_beyond_the_known_places() -> None:
    X = np.random.default_rng(0).normal(size=(200, 3))
    y, far = X[:, 0], np.array([[4.0, 0.0, 0.0]])
    by = {linear: KernelHead(linear=linear).fit(X, y).predict(far)[0] for linear in (0.0, 0.25)}
    assert by[0.25] > 3.5
    assert by[0.0] < 3


def test_landmarks_stand_for_all() -> None:
    X, y = rings(900)
    exact, some = (KernelHead(landmarks=number).fit(X[:700], y[:700]).predict(X[700:]) for number in (700, 200))
    assert r2(exact, some) > 0.98
    assert some.tolist() != exact.tolist()
    again = KernelHead(landmarks=200).fit(X[:700], y[:700]).predict(X[700:])
    np.testing.assert_array_equal(some, again)


def test_it_finds_what_no_linear_probe_does() -> None:
    X, y = rings(300)
    scores = {
        name: r2(y[200:], make_probe(name, seed=0).fit(X[:200], y[:200]).predict(X[200:]))
        for name in ("ridge", "kernel")
    }
    assert scores["ridge"] < 0.2
    assert scores["kernel"] > 0.7


def test_the_penalty_is_chosen_on_inner_folds() -> None:
    X, y = rings(200)
    noise = np.random.default_rng(1).permutation(y)
    assert KernelHead().fit(X, noise).penalty_ > KernelHead().fit(X, y).penalty_
    inner = [(np.arange(150), np.arange(150, 200))]
    tried = [
        float(((KernelHead(penalties=(p,)).fit(X[:150], y[:150]).predict(X[150:]) - y[150:]) ** 2).sum())
        for p in (0.1, 1.0, 10.0)
    ]
    # the scale of the kernel is that of all units here, so that the fold's own differs a little
    assert KernelHead(penalties=(0.1, 1.0, 10.0)).fit(X, y, inner=inner).penalty_ == (0.1, 1.0, 10.0)[np.argmin(tried)]
    assert KernelHead().fit(X[:2], y[:2], inner=()).penalty_ == 1.0


def test_shares_are_not_negative_and_sum_to_one() -> None:
    X, y = rings(200)
    near = (y < np.median(y)).astype(float)
    shares = np.stack([near, 1 - near, np.zeros(200)], axis=1)
    predicted = make_probe("kernel", seed=0, kind="shares").fit(X[:150], shares[:150]).predict(X[150:])
    assert (predicted >= 0).all()
    np.testing.assert_allclose(predicted.sum(axis=1), 1)
    assert (predicted[:, 0].round() == near[150:]).mean() > 0.8


@pytest.mark.parametrize("kind", ["number", "shares"])
def test_few_units_that_are_all_alike_predict_the_mean(kind: str) -> None:
    y = np.arange(5.0) if kind == "number" else np.eye(5)
    predicted = make_probe("kernel", seed=0, kind=kind).fit(np.ones((5, 40)), y).predict(np.ones((2, 40)))
    np.testing.assert_allclose(predicted, np.stack([y.mean(axis=0)] * 2))


def test_it_is_an_estimator_of_scikit_learn() -> None:
    head = KernelHead(width=3.0, landmarks=7)
    assert clone(head).get_params() == head.get_params()


def test_the_protocol_settles_everything_beforehand() -> None:
    X, y = rings(400)
    places = np.random.default_rng(2).uniform(size=(400, 2))
    protocol = get_protocol("cityrep-kernel")
    assert len(protocol.seeds) == 20
    assert not set(protocol.seeds) & set(get_protocol("cityrep").seeds)
    scores = protocol.score(X, y, places, kind="number")
    assert np.mean([score["r2"] for score in scores]) > 0.2
    assert protocol.probe("number", 0).penalties == (1.0,)
    with pytest.raises(ValueError, match="for numbers"):
        protocol.score(X, (y > 110).astype(int), places, kind="class")
