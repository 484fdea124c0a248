"""What fine-tuning trains: a copy of a model, and a linear head on standardised features."""

from __future__ import annotations

import copy

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import skip_init

from mmgr.components import BEYOND
from mmgr.config import Finetune
from mmgr.learn.layers import train_last
from mmgr.learn.model import MultiModalModel


class Learner(nn.Module):
    """A copy of a model, and a linear head on standardised features.

    Features of a unit to predict are held near the range that those learned from had at the beginning or have had
    since, within :data:`~mmgr.components.BEYOND` spreads, as the probe that the head starts as holds them.

    Parameters
    ----------
    model
        What is copied.
    inputs
        Features of the units to learn from, shape ``(u, F + P)``; NaN where unknown.
    outputs
        ``k``, the number of outputs.
    """

    mean: Tensor
    spread: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, model: MultiModalModel, inputs: NDArray[np.float32], outputs: int) -> None:
        super().__init__()
        self.model = copy.deepcopy(model)
        # it starts as a probe, not at random
        self.head = skip_init(nn.Linear, inputs.shape[1], outputs)  # type: ignore[no-untyped-call] # torch has no types
        known = np.isfinite(inputs)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, inputs, 0).sum(axis=0, dtype=np.float64) / count
        spread = np.sqrt(np.where(known, (inputs - mean) ** 2, 0).sum(axis=0) / count)
        self.register_buffer("mean", torch.tensor(mean, dtype=torch.float32))
        self.register_buffer("spread", torch.tensor(np.where(spread > 1e-6, spread, 1), dtype=torch.float32))
        scaled = self.standardised(torch.from_numpy(inputs))
        self.register_buffer("low", scaled.amin(dim=0))
        self.register_buffer("high", scaled.amax(dim=0))

    def standardised(self, inputs: Tensor) -> Tensor:
        """Scale features, shape ``(u, F + P)``; what is unknown takes the training mean.

        Of the image's features none is unknown: whoever computes them sees that they are finite.
        """
        return ((inputs - self.mean) / self.spread).nan_to_num(0.0)

    def forward(self, features: Tensor, beside: Tensor) -> Tensor:
        """Return the head's outputs, shape ``(u, k)``, for features, shapes ``(u, F)`` and ``(u, P)``."""
        seen = self.standardised(torch.cat([features, beside], 1))
        outputs: Tensor = self.head(seen.clamp(self.low - BEYOND, self.high + BEYOND))
        return outputs

    def learning(self, features: Tensor, beside: Tensor) -> Tensor:
        """Return the outputs for units that are learned from: what their features are widens the range."""
        seen = self.standardised(torch.cat([features, beside], 1))
        with torch.no_grad():
            self.low.copy_(torch.minimum(self.low, seen.amin(dim=0)))
            self.high.copy_(torch.maximum(self.high, seen.amax(dim=0)))
        outputs: Tensor = self.head(seen)
        return outputs

    def optimiser(self, settings: Finetune) -> torch.optim.Optimizer:
        """Return AdamW over the head and the blocks that are trained; ``rate`` is each group's highest rate."""
        rate = settings.learning_rate
        groups = train_last(
            self.model.image_encoder,
            settings.blocks,
            rate=rate * settings.encoder_rate,
            decay=settings.layer_decay,
            weight_decay=settings.weight_decay,
        )
        # the probe has chosen how large the head is: weight decay would draw it away from there
        head = {"params": list(self.head.parameters()), "rate": rate, "weight_decay": 0.0}
        return torch.optim.AdamW([head, *groups], lr=rate)

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of all weights."""
        return {name: value.detach().clone() for name, value in self.state_dict().items()}
