"""The layers of an image encoder in order, and how fast each learns when all are trained on few labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from timm.models import group_parameters
from torch import nn

from mmgr.errors import ConfigError


def blocks_of(encoder: nn.Module) -> list[list[str]]:
    """Return the names of an encoder's parameters by block, from the image to the features.

    A block is what `timm` names as one layer: a residual block, a transformer block, the stem. Norms that stand alone
    belong to the block before them. An encoder that says nothing of its layers is one block.
    """
    matcher = getattr(encoder, "group_matcher", None)
    if matcher is None:
        return [[name for name, _ in encoder.named_parameters()]]
    shapes = {name: parameter.ndim for name, parameter in encoder.named_parameters()}
    blocks: list[list[str]] = []
    for names in group_parameters(encoder, matcher(coarse=False)).values():
        if blocks and all(shapes[name] < 2 for name in names):
            blocks[-1].extend(names)
        else:
            blocks.append(list(names))
    return blocks


def train_last(
    encoder: nn.Module, blocks: int | None, *, rate: float, decay: float, weight_decay: float
) -> list[dict[str, Any]]:
    """Leave the last blocks to be trained, freeze the others, and return the optimiser's groups.

    Parameters
    ----------
    encoder
        Its parameters outside the last blocks lose their gradients.
    blocks
        How many are trained; None for all.
    rate
        Learning rate of the last block.
    decay
        A block learns at this part of the rate of the block after it (Howard and Ruder 2018).
    weight_decay
        Of matrices and filters; biases and norms have none.

    Raises
    ------
    ConfigError
        If the encoder has fewer blocks.
    """
    found = blocks_of(encoder)
    if blocks is not None and blocks > len(found):
        raise ConfigError(
            f"finetune.blocks: the encoder has {len(found)} blocks, {blocks} are asked for; leave it out to train all."
        )
    parameters = dict(encoder.named_parameters())
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    groups = []
    for above, names in enumerate(reversed(found[-blocks:] if blocks else found)):
        some = [parameters[name].requires_grad_() for name in names]
        step = rate * decay**above
        groups.append({"params": [p for p in some if p.ndim > 1], "rate": step, "weight_decay": weight_decay})
        groups.append({"params": [p for p in some if p.ndim < 2], "rate": step, "weight_decay": 0.0})
    return [group for group in groups if group["params"]]


def keep_statistics(encoder: nn.Module) -> None:
    """Put batch norms in evaluation mode: those of a few labelled regions would be poor ones."""
    for module in _batch_norms(encoder):
        module.eval()


def _batch_norms(encoder: nn.Module) -> Iterator[nn.Module]:
    return (module for module in encoder.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm))  # noqa: SLF001 - the base of all
