"""A loss or gradient that is not finite stops a training before it reaches the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmgr.errors import MmgrError


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one step's loss and gradient are, on their way to the host."""

    numbers: Tensor
    """The loss and the gradient's length, shape ``(2,)``, on the CPU."""
    arrived: torch.cuda.Event | None
    """Done when they are there; None if they are."""
    place: str
    """The epoch and the step."""
    regions: Callable[[], str]
    """Names the batch's regions."""


class FiniteCheck:
    """Looks at each step's loss and gradient.

    On a CPU at once. A GPU works behind the host, which would stand still while it waited for a number of the step that
    has just been sent off: there, the optimiser itself is told on the device to leave the weights alone, and the
    host reads the number one step later, or when it is asked to :meth:`finish`. Either way the weights are those of
    before.

    Parameters
    ----------
    later
        Whether to look one step later. The optimiser must be a fused one, which knows `found_inf`.
    """

    def __init__(self, *, later: bool) -> None:
        self._later = later
        self._waiting: _Seen | None = None

    def look(self, optimiser: torch.optim.Optimizer, loss: Tensor, place: str, regions: Callable[[], str]) -> None:
        """Look at a step whose gradient is there and has not been used.

        Raises
        ------
        MmgrError
            If a loss or gradient, of this step or of the one before, is not finite.
        """
        gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
        length = torch.stack(torch._foreach_norm(gradients)).norm()  # noqa: SLF001 - as PyTorch does to clip them
        numbers = torch.stack([loss.float(), length.float()])
        if not self._later:
            _judge(_Seen(numbers.cpu(), None, place, regions))
            return
        self.finish()
        # what a scaler of gradients tells a fused optimiser, too
        optimiser.found_inf = (~numbers.isfinite().all()).float()  # type: ignore[attr-defined]
        optimiser.grad_scale = None  # type: ignore[attr-defined]
        there = numbers.to("cpu", non_blocking=True)
        arrived = None
        if numbers.is_cuda:
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        self._waiting = _Seen(there, arrived, place, regions)

    def finish(self) -> None:
        """Look at what has not been looked at; to be called before weights are used or kept.

        Raises
        ------
        MmgrError
            As :meth:`look`.
        """
        seen, self._waiting = self._waiting, None
        if seen is not None:
            _judge(seen)


def _judge(seen: _Seen) -> None:
    if seen.arrived is not None:
        seen.arrived.synchronize()
    loss, slope = seen.numbers.tolist()
    if math.isfinite(loss) and math.isfinite(slope):
        return
    found = f"the loss is {loss}" if not math.isfinite(loss) else f"the loss is {loss:.3g}, its gradient {slope}"
    raise MmgrError(
        f"{found} in {seen.place}. Try a lower `pretrain.learning_rate` or `precision: fp32`; the batch's regions are "
        f"{seen.regions()}."
    )
