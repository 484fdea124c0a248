from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from mmgr.evaluate import kl_divergence
from mmgr.learn.goals import NumberGoal, SharesGoal, goal_of


def test_numbers_are_learned_in_variances_of_the_training_labels() -> None:
    labels = np.array([1.0, 3.0, 5.0, 7.0])
    goal = goal_of(labels)
    assert isinstance(goal, NumberGoal)
    wanted = goal.wanted(labels)
    assert wanted.shape == (4, goal.outputs) == (4, 1)
    assert (wanted.mean(), wanted.std()) == pytest.approx((0, 1), abs=1e-6)
    assert goal.predicted(wanted.astype(np.float64)) == pytest.approx(labels)
    mean = np.zeros((4, 1))
    assert goal.error(mean, labels) == pytest.approx(1.0), "the mean explains nothing"
    assert float(goal.loss(torch.from_numpy(mean), torch.from_numpy(wanted))) == pytest.approx(1.0)
    assert goal_of(np.full(3, 2.0)).predicted(np.zeros((3, 1))) == pytest.approx([2, 2, 2])


def test_shares_are_learned_by_their_divergence() -> None:
    random = np.random.default_rng(0)
    shares, outputs = random.dirichlet(np.ones(4), 9), random.normal(size=(9, 4))
    shares[0] = [0, 1, 0, 0]
    goal = goal_of(shares)
    assert isinstance(goal, SharesGoal)
    assert goal.outputs == 4
    predicted = goal.predicted(outputs)
    assert predicted == pytest.approx(np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True))
    assert goal.error(outputs, shares) == pytest.approx(kl_divergence(shares, predicted))
    loss = float(goal.loss(torch.from_numpy(outputs), torch.from_numpy(shares)))
    assert loss == pytest.approx(kl_divergence(shares, predicted))


def test_for_classes_the_divergence_is_the_cross_entropy_with_the_same_gradient() -> None:
    classes = torch.tensor([0, 2, 1, 2])
    shares = np.eye(3)[classes]
    outputs = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    goal = goal_of(shares)
    loss = goal.loss(outputs, torch.from_numpy(shares))
    plain = cross_entropy(outputs, classes)
    assert float(loss.detach()) == pytest.approx(float(plain.detach()))
    (one,), (other,) = torch.autograd.grad(loss, outputs), torch.autograd.grad(plain, outputs)
    torch.testing.assert_close(one, other)


def test_a_share_predicted_as_nearly_nothing_has_a_finite_error() -> None:
    outputs = np.array([[0.0, 2000.0]])
    assert goal_of(np.eye(2)).error(outputs, np.array([[1.0, 0.0]])) == pytest.approx(2000)
