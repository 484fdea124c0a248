from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone

from mmgr.evaluate.networks import HiddenLayerProbe, cityrep_probe, regiondcl_probe


@pytest.fixture
def points() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(600, 3)).astype(np.float32)


def small(kind: str = "number", **parameters: object) -> HiddenLayerProbe:
    return HiddenLayerProbe(kind, **({"hidden": 64, "learning_rate": 1e-2, "batch": 64} | parameters))  # type: ignore[arg-type]


def test_learns_a_product_that_no_linear_probe_can(points: np.ndarray) -> None:
    y = points[:, 0] * points[:, 1]
    probe = small().fit(points[:400], y[:400], validation=(points[400:500], y[400:500]))
    error = y[500:] - probe.predict(points[500:])
    assert np.mean(error**2) < 0.1 * y[500:].var()


def test_learns_classes_by_their_own_names(points: np.ndarray) -> None:
    y = np.where(points[:, 0] ** 2 > 0.5, 7, np.where(points[:, 1] > 0, 3, 30))
    probe = small("class").fit(points[:500], y[:500])
    assert np.mean(probe.predict(points[500:]) == y[500:]) > 0.9


def test_learns_shares_that_sum_to_one(points: np.ndarray) -> None:
    y = np.exp(points) / np.exp(points).sum(axis=1, keepdims=True)
    predicted = regiondcl_probe(0).fit(points[:500], y[:500]).predict(points[500:])
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-12)
    assert np.abs(predicted - y[500:]).sum(axis=1).mean() < 0.15


def test_repeats_to_the_bit_and_leaves_the_global_state_alone(points: np.ndarray) -> None:
    y = points[:, 0]
    before = torch.get_rng_state()
    first = small(random_state=5).fit(points, y).predict(points)
    torch.rand(3)
    state = torch.get_rng_state()
    np.testing.assert_array_equal(small(random_state=5).fit(points, y).predict(points), first)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(before, state)  # only by the line between
    assert not np.array_equal(small(random_state=6).fit(points, y).predict(points), first)


def test_starts_and_steps_as_a_plain_loop_of_pytorch_does(points: np.ndarray) -> None:
    X, y = torch.from_numpy(points), torch.from_numpy(points[:, :1] * 2)
    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Linear(3, 16), torch.nn.ReLU(), torch.nn.Linear(16, 1))
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    for _ in range(4):
        for rows in torch.randperm(len(X)).split(100):
            optimiser.zero_grad()
            torch.nn.functional.mse_loss(network(X[rows]), y[rows]).backward()
            optimiser.step()
    probe = small(hidden=16, batch=100, epochs=4, random_state=3).fit(points, points[:, 0] * 2)
    np.testing.assert_allclose(probe.predict(points), network(X).detach().numpy()[:, 0], atol=1e-5)


def test_keeps_the_weights_of_the_lowest_validation_loss(points: np.ndarray) -> None:
    noise = np.random.default_rng(1).normal(size=600)
    held = points[300:], noise[300:]
    probe = small(epochs=40, patience=3).fit(points[:300], noise[:300], validation=held)
    best = int(np.argmin(probe.losses_))
    assert len(probe.losses_) == best + 4
    assert np.mean((probe.predict(held[0]) - held[1]) ** 2) == pytest.approx(probe.losses_[best], rel=1e-5)


def test_the_learning_rate_falls_in_steps(points: np.ndarray) -> None:
    still = small(epochs=3, decay=0.0, decay_every=2).fit(points, points[:, 0])
    assert still.losses_[2] == still.losses_[1] != still.losses_[0]


def test_is_cloned_and_published_sizes_are_those_of_the_papers() -> None:
    probe = clone(cityrep_probe("class", 42))
    assert (probe.hidden, probe.batch, probe.epochs, probe.patience, probe.random_state) == (1024, 512, 100, 10, 42)
    shares = regiondcl_probe(1)
    assert (shares.hidden, shares.activation, shares.batch, shares.decay_every) == (512, "sigmoid", 64, 10)


@pytest.mark.parametrize(
    ("X", "y", "words"),
    [
        (np.zeros(3), np.zeros(3), r"shape \(n, d\)"),
        (np.full((3, 1), np.nan), np.zeros(3), "3 of 3 vectors are not finite"),
        (np.zeros((3, 1)), np.zeros(2), "do not fit"),
        (np.zeros((3, 1)), np.zeros((3, 2)), "do not fit"),
    ],
)
def test_refuses_what_does_not_fit(X: np.ndarray, y: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        small().fit(X, y)


def test_refuses_validation_of_another_width(points: np.ndarray) -> None:
    with pytest.raises(ValueError, match="validation has 2 features, training 3"):
        small().fit(points, points[:, 0], validation=(points[:, :2], points[:, 0]))
