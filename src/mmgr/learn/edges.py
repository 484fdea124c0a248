"""The size at which an encoder is shown whole patches: the one that is wanted, or the nearest that it can see."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.learn.modes import evaluating

STEP = 32
"""Encoders that cannot see any size see multiples of this one, by which their stages divide it."""


def nearest_edge(describe: Callable[[Tensor], Tensor], model: nn.Module, *, bands: int, edges: Sequence[int]) -> int:
    """Return the first of ``edges`` at which whole patches can be described.

    Parameters
    ----------
    describe
        Turns normalised views, shape ``(1, bands, edge, edge)``, into a vector each.
    model
        What ``describe`` runs; its modes and weights are as they were afterwards.
    bands
        Bands of a patch.
    edges
        In pixels, the one that is wanted first; see :func:`edges_near`.

    Raises
    ------
    ConfigError
        If none can be seen; says what `timm`'s code makes of the first.
    """
    device = next(model.parameters()).device
    failed: Exception | None = None
    for edge in edges:
        try:
            with evaluating(model):
                describe(torch.zeros(1, bands, edge, edge, device=device))
        except Exception as error:  # noqa: BLE001 - the code of a thousand models, each with its own way to fail
            failed = failed or error
            continue
        if edge != edges[0]:
            log.info("whole patches are embedded at %d pixels: the encoder cannot see %d", edge, edges[0])
        return edge
    raise ConfigError(
        f"pretrain.encoder: it sees crops, but cannot describe whole patches of {' or '.join(map(str, edges))} pixels, "
        f"as `embed` shows them ({first_line(failed)}); choose another encoder or `crop`."
    ) from failed


def edges_near(wanted: int) -> tuple[int, ...]:
    """Return an edge and the multiples of :data:`STEP` around it, the nearest first."""
    below = wanted // STEP * STEP
    around = sorted((edge for edge in (below, below + STEP) if edge > 0), key=lambda edge: abs(edge - wanted))
    return tuple(dict.fromkeys((wanted, *around)))


def first_line(error: BaseException | None) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
