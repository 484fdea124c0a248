"""Image encoders: any `timm` model, with random, published or one's own weights, and what they want to see."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.learn.augment import IMAGENET_MEAN, IMAGENET_STD, band_statistics
from mmgr.learn.depthwise import quick_depthwise
from mmgr.learn.edges import first_line
from mmgr.learn.recipes import Recipe
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER, shipped_weights
from mmgr.learn.weights import load_weights


def image_encoder(
    name: str, *, weights: str, bands: int, crop: int, weights_bands: Sequence[int] | None = None
) -> tuple[nn.Module, int]:
    """Make an image encoder and say how many features it gives.

    Parameters
    ----------
    name
        A `timm` model, with the tag of its weights or without.
    weights
        `random`, `shipped` (with the package), `pretrained` (asks the `timm` hub), or the path of a safetensors file.
    bands
        Bands of an image.
    crop
        Edge of an image in pixels.
    weights_bands
        Which bands of a file's first layer are the image's, counted from 1 (:func:`mmgr.learn.weights.load_weights`).

    Raises
    ------
    ConfigError
        If `timm` has no such model, its weights cannot be had or do not ship with the package, it cannot see images of
        this size, or it does not make one vector of them.
    ArtefactError
        If a file of weights belongs to another architecture, patch size or number of bands.
    """
    _check_name(name)
    # transformers are built for one size of image
    made = {"num_classes": 0, "in_chans": bands, **({"img_size": crop} if has_fixed_size(name) else {})}
    try:
        encoder = timm.create_model(name, **made)
    except Exception as error:
        raise ConfigError(f"pretrain.encoder: {name} cannot be made for {crop} pixels: {first_line(error)}") from error
    if weights == "pretrained":
        encoder = _pretrained(name, made)
    elif weights != "random":
        path = _shipped(name) if weights == SHIPPED else Path(weights)
        load_weights(encoder, path, name=name, bands=weights_bands)
    quick_depthwise(encoder)
    return encoder, _features(encoder, name, bands, crop)


def _check_name(name: str) -> None:
    """Check that `timm` has a model of this name, and weights of its tag if it has one."""
    if ":" in name:
        raise ConfigError(
            f"pretrain.encoder: {name!r} is on the hub, or a folder, of somebody else; only `timm`'s own models are "
            "made (`hf-hub:timm/...` is one). Name the architecture, and give the file as `pretrain.weights`."
        )
    architecture, _, tag = name.partition(".")
    if architecture not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
        raise ConfigError(f"pretrain.encoder: timm has no model {name!r}; {hint}")
    try:
        has_fixed_size(name)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{architecture}.*")
        near = get_close_matches(name, tags, n=3, cutoff=0) or [architecture]
        raise ConfigError(
            f"pretrain.encoder: timm has no weights {tag!r} of {architecture}; did you mean {' or '.join(near)}?"
        ) from error


def view_scale(encoder: nn.Module, recipe: Recipe, bands: int) -> tuple[Tensor, Tensor]:
    """Return the factor and the summand that turn normalised views into what an encoder's weights expect.

    Published weights saw bands with a mean and spread that `timm` states for them; for one band, the mean of
    the three, and for more than three they repeat, as the first layer's weights do. Random weights take
    views as they are.

    Returns
    -------
    Shape ``(bands, 1, 1)`` each; exactly 1 and 0 where nothing changes.

    Raises
    ------
    ConfigError
        If the recipe states means of another number of bands.
    """
    there = torch.tensor(band_statistics(bands))  # (2, bands)
    here = there
    if recipe.band_mean is not None and recipe.band_std is not None:
        if len(recipe.band_mean) != bands:
            raise ConfigError(f"pretrain.band_mean: {len(recipe.band_mean)} values for images of {bands} bands.")
        here = torch.tensor([recipe.band_mean, recipe.band_std])
    elif recipe.weights != "random":
        stated = _stated(encoder)
        three = torch.tensor([stated.get("mean") or IMAGENET_MEAN, stated.get("std") or IMAGENET_STD])
        here = three.mean(1, keepdim=True) if bands == 1 else three[:, torch.arange(bands) % three.shape[1]]
    (mean, std), (new_mean, new_std) = there, here
    return (std / new_std)[:, None, None], ((mean - new_mean) / new_std)[:, None, None]


def _pretrained(name: str, made: dict[str, int]) -> nn.Module:
    """Ask the `timm` hub for a model that can be made."""
    try:
        encoder: nn.Module = timm.create_model(name, pretrained=True, **made)
    except Exception as error:
        raise ConfigError(
            f"pretrain.weights: the pretrained weights of {name} cannot be had ({first_line(error)}). They need a "
            f"network, or an earlier download; set `weights: {SHIPPED}` for {SHIPPED_ENCODER}, which needs none, or "
            "`weights: random`, or give the path of a safetensors file."
        ) from error
    there = (_stated(encoder).get("input_size") or (3,))[0]
    if there != made["in_chans"]:
        log.info(
            "%s: its weights for %d bands become weights for %d by timm's convention", name, there, made["in_chans"]
        )
    return encoder


def _shipped(name: str) -> Path:
    """Return the file that ships with the package, for the one encoder that has one."""
    if name.partition(".")[0] != SHIPPED_ENCODER:
        raise ConfigError(
            f"pretrain.weights: only weights of {SHIPPED_ENCODER} ship with the package, and pretrain.encoder is "
            f"{name}. Set `encoder: {SHIPPED_ENCODER}`, or `weights: pretrained`, which asks the `timm` hub."
        )
    return shipped_weights()


def _stated(encoder: nn.Module) -> dict[str, Any]:
    """Return what `timm` states of an encoder's published weights."""
    return dict(getattr(encoder, "pretrained_cfg", {}))


def has_fixed_size(name: str) -> bool:
    """Say whether a `timm` model is built for images of one size."""
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


def _features(encoder: nn.Module, name: str, bands: int, crop: int) -> int:
    """Run the encoder once: what a model of `timm` says of its features is not the same for all."""
    training = encoder.training
    try:
        with torch.no_grad():
            output = encoder.eval()(torch.zeros(1, bands, crop, crop))
    except Exception as error:
        size = (_stated(encoder).get("input_size") or (0,))[-1]
        made_for = f"; it was made for {size}" if size else ""
        raise ConfigError(
            f"pretrain.crop: {name} cannot see images of {crop} x {crop} pixels: {first_line(error)}{made_for}"
        ) from error
    finally:
        encoder.train(training)
    if not isinstance(output, Tensor):
        raise ConfigError(f"pretrain.encoder: {name} gives no tensor for an image; choose a `timm` model that pools.")
    if output.ndim != 2:
        raise ConfigError(
            f"pretrain.encoder: {name} gives features of shape {tuple(output.shape)} for an image, where one vector is "
            "needed; choose a `timm` model that pools."
        )
    return int(output.shape[1])
