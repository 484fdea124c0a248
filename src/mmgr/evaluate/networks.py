"""Networks of one hidden layer on frozen vectors, as published protocols train them.

Unlike :func:`mmgr.evaluate.mlp_probe` they take their validation units from outside, because a
published protocol says which they are, and neither scale nor fill anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from mmgr.config import LabelKind

Kind = LabelKind
"""What a label is: a number, one of several classes, or shares of classes that sum to 1."""


class HiddenLayerProbe(BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """One hidden layer, trained with Adam; the weights of the lowest validation loss are kept.

    Weights start as PyTorch's linear layers do. Start and order of units come from a generator of its
    own: a fit repeats to the bit on one machine with one number of threads, and touches no global state.

    Parameters
    ----------
    kind
        ``"number"``: squared error, or absolute if ``absolute``; ``"class"``: cross-entropy; ``"shares"``:
        Kullback-Leibler divergence.
    hidden
        Units of the hidden layer.
    activation
        Of the hidden layer.
    learning_rate
        Adam's.
    decay, decay_every
        The learning rate is multiplied by ``decay`` after every ``decay_every`` epochs; 0 means never.
    batch
        Units in a step.
    epochs
        At most as many.
    patience
        Stop after as many epochs without a lower validation loss; None means never.
    absolute
        Whether the loss of numbers is their absolute error.
    random_state
        Of the first weights and of the order of units.
    """

    def __init__(
        self,
        kind: Kind = "number",
        *,
        hidden: int = 1024,
        activation: Literal["relu", "sigmoid"] = "relu",
        learning_rate: float = 1e-3,
        decay: float = 1.0,
        decay_every: int = 0,
        batch: int = 512,
        epochs: int = 100,
        patience: int | None = 10,
        absolute: bool = False,
        random_state: int = 0,
    ) -> None:
        self.kind = kind
        self.hidden = hidden
        self.activation = activation
        self.learning_rate = learning_rate
        self.decay = decay
        self.decay_every = decay_every
        self.batch = batch
        self.epochs = epochs
        self.patience = patience
        self.absolute = absolute
        self.random_state = random_state

    def fit(
        self, X: ArrayLike, y: ArrayLike, *, validation: tuple[ArrayLike, ArrayLike] | None = None
    ) -> HiddenLayerProbe:
        """Train on ``X``, shape ``(n, d)``, and ``y``, shape ``(n,)`` or ``(n, classes)`` for shares.

        Parameters
        ----------
        X, y
            Vectors and labels to train on.
        validation
            Vectors and labels that choose the epoch; without them the training units do.

        Raises
        ------
        ValueError
            If a vector is not finite, or vectors and labels do not fit each other.
        """
        others = (X, y) if validation is None else validation
        self.classes_ = np.unique(np.concatenate([np.ravel(y), np.ravel(others[1])])) if self.kind == "class" else None
        features, target = self._tensors(X, y)
        held = self._tensors(*others)
        if held[0].shape[1] != features.shape[1]:
            raise ValueError(f"validation has {held[0].shape[1]} features, training {features.shape[1]}")
        self.n_features_in_ = features.shape[1]
        generator = torch.Generator().manual_seed(self.random_state)
        outputs = target.shape[1] if self.classes_ is None else len(self.classes_)
        weights = [
            *_linear(features.shape[1], self.hidden, generator),
            *_linear(self.hidden, outputs, generator),
        ]
        self._train(weights, (features, target), held, generator)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64] | NDArray[np.int64]:
        """Predict numbers or classes, shape ``(n,)``, or shares that sum to 1, shape ``(n, classes)``."""
        check_is_fitted(self, "weights_")
        with torch.no_grad():
            output = self._forward([torch.from_numpy(w) for w in self.weights_], _features(X))
        if self.kind == "shares":
            return np.asarray(output.double().softmax(dim=1).numpy(), np.float64)
        if self.classes_ is not None:
            return np.asarray(self.classes_[output.argmax(dim=1).numpy()])
        return np.asarray(output.numpy()[:, 0], np.float64)

    def _train(
        self,
        weights: list[Tensor],
        training: tuple[Tensor, Tensor],
        held: tuple[Tensor, Tensor],
        generator: torch.Generator,
    ) -> None:
        features, target = training
        loss_of = self._loss()
        optimiser = torch.optim.Adam(weights, lr=self.learning_rate)
        lowest, waited = float("inf"), 0
        kept = [w.detach().clone() for w in weights]
        self.losses_: list[float] = []
        for epoch in range(1, self.epochs + 1):
            order = torch.randperm(len(features), generator=generator)
            for rows in torch.split(order, self.batch):
                optimiser.zero_grad()
                loss_of(self._forward(weights, features[rows]), target[rows]).backward()  # type: ignore[no-untyped-call] # torch has no types here
                optimiser.step()
            if self.decay_every and epoch % self.decay_every == 0:
                optimiser.param_groups[0]["lr"] *= self.decay
            with torch.no_grad():
                self.losses_.append(float(loss_of(self._forward(weights, held[0]), held[1])))
            if self.losses_[-1] < lowest - 1e-8:
                lowest, waited = self.losses_[-1], 0
                kept = [w.detach().clone() for w in weights]
            else:
                waited += 1
                if self.patience is not None and waited >= self.patience:
                    break
        self.weights_ = [w.numpy() for w in kept]

    def _forward(self, weights: list[Tensor], features: Tensor) -> Tensor:
        first, first_bias, second, second_bias = weights
        hidden = functional.linear(features, first, first_bias)  # (n, hidden)
        hidden = hidden.relu() if self.activation == "relu" else hidden.sigmoid()
        return functional.linear(hidden, second, second_bias)  # (n, outputs)

    def _loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        if self.kind == "number":
            return functional.l1_loss if self.absolute else functional.mse_loss
        if self.kind == "class":
            return functional.cross_entropy
        return lambda output, shares: functional.kl_div(output.log_softmax(dim=1), shares, reduction="batchmean")

    def _tensors(self, X: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
        features, labels = _features(X), np.asarray(y)
        if len(labels) != len(features) or not len(labels) or labels.ndim != (2 if self.kind == "shares" else 1):
            raise ValueError(f"labels {labels.shape} of kind {self.kind!r} do not fit vectors {tuple(features.shape)}")
        if self.classes_ is not None:
            return features, torch.from_numpy(np.searchsorted(self.classes_, labels))
        target = torch.from_numpy(labels.astype(np.float32))
        return features, target if self.kind == "shares" else target[:, None]


def cityrep_probe(kind: Kind, seed: int) -> HiddenLayerProbe:
    """Return the network of the CityRep benchmark (arXiv 2605.26036): 1024 ReLU units, at most 100 epochs."""
    return HiddenLayerProbe(kind, random_state=seed)


def regiondcl_probe(seed: int) -> HiddenLayerProbe:
    """Return the network for shares of land use of Li et al. (2023): 512 sigmoid units, 100 epochs."""
    return HiddenLayerProbe(
        "shares",
        hidden=512,
        activation="sigmoid",
        learning_rate=0.01,
        decay=0.8,
        decay_every=10,
        batch=64,
        patience=None,
        random_state=seed,
    )


def _features(X: ArrayLike) -> Tensor:
    features = np.ascontiguousarray(X, np.float32)
    if features.ndim != 2:
        raise ValueError(f"vectors have the shape (n, d), got {features.shape}")
    if not np.isfinite(features).all():
        raise ValueError(f"{int((~np.isfinite(features)).any(axis=1).sum())} of {len(features)} vectors are not finite")
    return torch.from_numpy(features)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return weights and biases that start as those of ``torch.nn.Linear``."""
    bound = 1 / np.sqrt(inputs)
    shapes = ((outputs, inputs), (outputs,))
    weight, bias = (torch.empty(shape).uniform_(-bound, bound, generator=generator) for shape in shapes)
    return weight.requires_grad_(), bias.requires_grad_()
