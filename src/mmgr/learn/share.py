"""A batch shared out to several processes, and what they tell each other of it.

A batch is that of the whole training, whatever the number of processes: each has a run of its regions. What a
process needs of the others' regions it gathers, with gradient: a gradient that reaches a gathered vector goes back to
the process that made it. The objective of such a graph is the *sum* over the processes of what each
calls backward on. So where each holds the same whole-batch loss, every gradient comes out times their number, and
their mean over the processes, which data-parallel training takes, is the gradient of that loss exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed
from torch.autograd.function import FunctionCtx, once_differentiable


@dataclass(frozen=True, slots=True)
class Share:
    """Which regions of a batch this process has."""

    sizes: tuple[int, ...]
    """Regions of each process; the first ones have one more where the batch cannot be shared evenly."""
    rank: int = 0
    """This process among them."""

    @classmethod
    def of(cls, regions: int, *, rank: int = 0, processes: int = 1) -> Share:
        """Share ``regions`` out as evenly as can be; a process has none where there are fewer than processes."""
        least, more = divmod(regions, processes)
        return cls(tuple(least + (number < more) for number in range(processes)), rank)

    @property
    def start(self) -> int:
        """First of this process's regions in the batch."""
        return sum(self.sizes[: self.rank])

    @property
    def own(self) -> slice:
        """Regions of this process, as a run of the batch's."""
        return slice(self.start, self.start + self.sizes[self.rank])

    @property
    def encoded(self) -> slice:
        """Regions that this process encodes: its own, or the first where it has none, since encoders need one."""
        return self.own if self.sizes[self.rank] else slice(0, 1)

    @property
    def total(self) -> int:
        """Regions of the batch."""
        return sum(self.sizes)

    def gather(self, values: Tensor) -> Tensor:
        """Return the whole batch's values of own ones, ``(own, ...)`` to ``(total, ...)``, with gradient."""
        if len(self.sizes) == 1:
            return values
        gathered: Tensor = _Gather.apply(values, self)
        return gathered

    def add(self, value: Tensor) -> Tensor:
        """Return the sum of a value over the processes, with gradient."""
        if len(self.sizes) == 1:
            return value
        added: Tensor = _Add.apply(value)
        return added

    def mean(self, values: Tensor, weight: Tensor) -> Tensor:
        """Return the weighted mean of the whole batch's values, of which own ones are given; 0 without weight."""
        total, weights = self.add(torch.stack([(values * weight).sum(), weight.sum().to(values.dtype)]))
        mean: Tensor = total / weights.where(weights > 0, torch.ones_like(weights))
        return mean


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, share: Share) -> Tensor:
        ctx.share = share
        # collectives want equal sizes: a shorter share is filled up
        padded = values.new_zeros(max(share.sizes), *values.shape[1:])
        padded[: len(values)] = values
        # not all backends know booleans
        sent = padded.to(torch.uint8) if values.dtype == torch.bool else padded
        found = [torch.empty_like(sent) for _ in share.sizes]
        distributed.all_gather(found, sent)
        return torch.cat([part[:size] for part, size in zip(found, share.sizes, strict=True)]).to(values.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient[ctx.share.own], None


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, value: Tensor) -> Tensor:  # noqa: ARG004 - torch's signature
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> Tensor:  # noqa: ARG004
        gradient = gradients[0].contiguous().clone()
        distributed.all_reduce(gradient)
        return gradient
