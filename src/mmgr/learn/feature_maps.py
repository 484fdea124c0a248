"""Features of an encoder together with the means and spreads of the maps of its stages.

What a contrast taught the last stage to ignore, the first ones still tell: colours, edges, how much of a patch is built
on. They cost nothing: the encoder computes them anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

STAGES = 4
"""As many maps are pooled, the last one among them."""


def pools_maps(encoder: nn.Module) -> bool:
    """Say whether an encoder of `timm` gives the maps of its stages."""
    return hasattr(encoder, "forward_intermediates") and bool(getattr(encoder, "feature_info", None))


def chosen_maps(count: int) -> list[int]:
    """Return which of ``count`` maps are pooled: the last ones of a few, evenly spaced ones of a transformer's many."""
    if count <= STAGES + 2:
        return list(range(max(count - STAGES, 0), count))
    return [(stage + 1) * count // STAGES - 1 for stage in range(STAGES)]


class WithMaps(nn.Module):
    """An encoder whose output is its features, and after them what its maps hold.

    Parameters
    ----------
    encoder
        A `timm` model for which :func:`pools_maps` holds.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder
        info: Sequence[Any] = encoder.feature_info  # type: ignore[assignment]  # a plain attribute of timm's models
        self.chosen = chosen_maps(len(info))

    def forward(self, views: Tensor) -> Tensor:
        """Turn views, shape ``(B, C, H, W)``, into features and each map's means and spreads, shape ``(B, F + M)``."""
        last, maps = self.encoder.forward_intermediates(views, indices=self.chosen)
        features = self.encoder.forward_head(last, pre_logits=True)
        pooled = []
        for found in maps:  # (B, c, h, w)
            values = found.float()
            mean = values.mean((2, 3), keepdim=True)
            pooled += [mean.flatten(1), (values - mean).square().mean((2, 3)).sqrt()]
        return torch.cat([features.float(), *pooled], 1)
