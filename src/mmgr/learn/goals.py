"""What fine-tuning learns to predict: a number by its squared error, shares of classes by their divergence.

A goal stands between labels and the outputs of a linear head. A class is a distribution of which one share is 1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax, rel_entr, softmax
from torch import Tensor
from torch.nn.functional import kl_div, mse_loss

Labels = NDArray[np.float64]


class Goal(ABC):
    """How labels of a kind are learned by the ``k`` outputs of a head."""

    outputs: int
    """``k``."""

    @abstractmethod
    def wanted(self, labels: Labels) -> NDArray[np.float32]:
        """Return what the outputs are compared with while they are trained, shape ``(u, k)``."""

    @abstractmethod
    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the loss of outputs, both of shape ``(B, k)``."""

    @abstractmethod
    def error(self, outputs: Labels, labels: Labels) -> float:
        """Return the loss of outputs, shape ``(u, k)``, on units kept apart."""

    @abstractmethod
    def predicted(self, outputs: Labels) -> Labels:
        """Return outputs, shape ``(u, k)``, as labels."""


class NumberGoal(Goal):
    """Numbers, shape ``(u,)``, of mean 0 and variance 1 over the training units; errors are in variances."""

    outputs = 1

    def __init__(self, labels: Labels) -> None:
        self.centre = float(labels.mean())
        self.scale = float(labels.std()) or 1.0

    def wanted(self, labels: Labels) -> NDArray[np.float32]:
        """Return standardised labels, shape ``(u, 1)``."""
        return np.asarray((labels - self.centre) / self.scale, np.float32)[:, None]

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean squared error."""
        return mse_loss(outputs, wanted)

    def error(self, outputs: Labels, labels: Labels) -> float:
        """Return the mean squared error."""
        return float(np.mean(((self.predicted(outputs) - labels) / self.scale) ** 2))

    def predicted(self, outputs: Labels) -> Labels:
        """Return numbers on the label's scale, shape ``(u,)``."""
        return outputs[:, 0] * self.scale + self.centre


class SharesGoal(Goal):
    """Shares of ``k`` classes, shape ``(u, k)``, as the softmax of the outputs; errors are divergences in nats."""

    def __init__(self, labels: Labels) -> None:
        self.outputs = labels.shape[1]

    def wanted(self, labels: Labels) -> NDArray[np.float32]:
        """Return the shares as they are."""
        return np.asarray(labels, np.float32)

    def loss(self, outputs: Tensor, wanted: Tensor) -> Tensor:
        """Return the mean Kullback-Leibler divergence, which is the cross-entropy where one share is 1."""
        return kl_div(outputs.log_softmax(dim=1), wanted, reduction="batchmean")

    def error(self, outputs: Labels, labels: Labels) -> float:
        """Return the mean Kullback-Leibler divergence, of shares however small."""
        # sum y ln y - y ln p: a share that is predicted as nearly 0 is no logarithm of 0
        return float((rel_entr(labels, 1.0) - labels * log_softmax(outputs, axis=1)).sum(axis=1).mean())

    def predicted(self, outputs: Labels) -> Labels:
        """Return shares that sum to 1, shape ``(u, k)``."""
        return np.asarray(softmax(outputs, axis=1))


def goal_of(labels: Labels) -> Goal:
    """Return the goal of training labels: numbers of shape ``(u,)``, or shares of shape ``(u, k)``."""
    return NumberGoal(labels) if labels.ndim == 1 else SharesGoal(labels)
