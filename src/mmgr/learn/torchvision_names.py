"""Names of torchvision's models, and of torchgeo's that are torchvision's, in those of `timm`.

ResNets, ResNeXts, wide ResNets and DenseNets have the same names in both. Vision transformers, ConvNeXts and
Swin transformers of both versions compute the same under other names, which are translated here. The rest
(VGG, EfficientNet, MobileNet, RegNet) is built of other blocks in `timm`, and is not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_VIT = (
    (r"^class_token$", "cls_token"),
    (r"^conv_proj\.", "patch_embed.proj."),
    (r"^encoder\.pos_embedding$", "pos_embed"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_([12])\.", r".norm\1."),
    (r"\.self_attention\.in_proj_", ".attn.qkv."),
    (r"\.self_attention\.out_proj\.", ".attn.proj."),
    # old files name the two layers, later ones count them
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
    (r"^heads\.", "head."),
)
_CONVNEXT = (
    (r"^features\.0\.(\d)\.", r"stem.\1."),
    (r"\.layer_scale$", ".gamma"),
    (r"\.block\.0\.", ".conv_dw."),
    (r"\.block\.2\.", ".norm."),
    (r"\.block\.3\.", ".mlp.fc1."),
    (r"\.block\.5\.", ".mlp.fc2."),
    (r"^classifier\.0\.", "head.norm."),
    (r"^classifier\.2\.", "head.fc."),
)
_SWIN = (
    (r"^features\.0\.0\.", "patch_embed.proj."),
    (r"^features\.0\.2\.", "patch_embed.norm."),
    (r"\.mlp\.0\.", ".mlp.fc1."),
    (r"\.mlp\.3\.", ".mlp.fc2."),
    (r"^head\.", "head.fc."),
)
_COMPUTED = ("relative_position_index", "relative_coords_table")
"""Tables that follow from the size of a window, which are no weights."""


def from_torchvision(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors of a torchvision model the names and shapes that `timm` gives them.

    Parameters
    ----------
    found
        A state dict, whole or without its classifier.

    Returns
    -------
    The same tensors under other names; those of a model that is not known here as they are.
    """
    if "conv_proj.weight" in found:
        return {_renamed(key, _VIT): value for key, value in found.items()}
    if "features.1.0.block.0.weight" in found:
        return {
            _staged(_renamed(key, _CONVNEXT), "stages", "blocks"): _flat(key, value) for key, value in found.items()
        }
    if "features.1.0.attn.qkv.weight" in found:
        return _swin(found)
    return dict(found)


def _swin(found: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate a Swin transformer; the second version has one bias for queries, keys and values."""
    second = any(key.endswith("attn.logit_scale") for key in found)
    result: dict[str, Tensor] = {}
    for key, value in found.items():
        name = _staged(_renamed(key, _SWIN), "layers", "blocks")
        if name.endswith(_COMPUTED):
            continue
        if second and name.endswith("attn.qkv.bias"):
            # that of the keys is set to zero when it computes
            query, _, values = value.chunk(3)
            stem = name.removesuffix("qkv.bias")
            result |= {f"{stem}q_bias": query.clone(), f"{stem}v_bias": values.clone()}
        else:
            result[name] = value
    return result


def _staged(name: str, stages: str, blocks: str) -> str:
    """Turn torchvision's one list, of stages and of the steps between them, into stages that begin with a step."""
    match = re.match(r"^features\.(\d+)\.(.*)$", name)
    if match is None:
        return name
    place, rest = int(match[1]), match[2]
    if place % 2:
        return f"{stages}.{place // 2}.{blocks}.{rest}"
    return f"{stages}.{place // 2}.downsample.{rest}"


def _flat(key: str, value: Tensor) -> Tensor:
    """Drop the sides of length one that a scale of channels has."""
    return value.flatten() if key.endswith("layer_scale") else value


def _renamed(name: str, rules: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
