"""Weights of image encoders from files: `timm`'s names, torchvision's, torchgeo's, under any prefix.

Only safetensors are read: a pickle can run code, and a file of weights comes from strangers.
:mod:`mmgr.learn.convert` turns a pickle into one, where a user asks for it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn

from mmgr.console import log
from mmgr.errors import ArtefactError
from mmgr.files import existing_file
from mmgr.learn.torchvision_names import from_torchvision

_PICKLES = (b"PK\x03\x04", b"\x80")
"""How files of `torch.save` begin: a zip archive, or a bare pickle as old releases wrote it."""
_HEADS = ("fc", "head", "heads", "classifier")
"""What the classifiers at the end of encoders are called."""
_FOREIGN_FIRST = ("conv_proj.weight", "features.0.0.weight")
"""The first layer's weights in the names that :func:`from_torchvision` translates."""
_COUNTER = "num_batches_tracked"
_SHOWN = 5


def load_weights(encoder: nn.Module, path: Path, *, name: str, bands: Sequence[int] | None = None) -> None:
    """Load a file of weights into an encoder that `timm` made without a classifier.

    Parameters
    ----------
    encoder
        Gets the weights.
    path
        A safetensors file.
    name
        The encoder's name, for messages.
    bands
        Bands of the file's first layer to take, counted from 1, one for each band of the encoder;
        None takes all, and repeats red, green and blue for images of another number of bands.

    Raises
    ------
    ArtefactError
        If the file is no safetensors file, or its weights are not this encoder's.
    """
    encoder.load_state_dict(encoder_weights(read_weights(path), encoder, name=name, source=str(path), bands=bands))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file.

    Raises
    ------
    ArtefactError
        If it is something else; for a pickle, says how to convert it.
    """
    existing_file(path, what="pretrain.weights")
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        with path.open("rb") as stream:
            start = stream.read(4)
        if start.startswith(_PICKLES):
            raise ArtefactError(
                f"pretrain.weights: {path} is a pickle, which can run code, and is not read. Convert it once: "
                f"`python -m mmgr.learn.convert {path} {path.with_suffix('.safetensors').name}`."
            ) from error
        raise ArtefactError(f"pretrain.weights: {path} is not a safetensors file ({error}).") from error


def encoder_weights(
    found: Mapping[str, Tensor],
    encoder: nn.Module,
    *,
    name: str,
    source: str,
    bands: Sequence[int] | None = None,
    prefix: str | None = None,
) -> dict[str, Tensor]:
    """Give the tensors of a state dict the names and shapes of an encoder's.

    In this order: the part of the names before the encoder's own is taken off (`backbone.`,
    `module.encoder.`, whatever it is), with all that lies outside it, such as projection heads; torchvision's
    names become `timm`'s; the classifier goes; `timm`'s own translation for the encoder's family resamples
    tables of positions to the encoder's size of image; the first layer gets the encoder's bands.

    Parameters
    ----------
    found
        The state dict.
    encoder
        What `timm` made, with ``num_classes=0``.
    name, source
        Of the encoder and of the file, for messages.
    bands
        As for :func:`load_weights`.
    prefix
        What stands before the encoder's own names; None finds it out.

    Returns
    -------
    A state dict that ``encoder`` loads strictly.

    Raises
    ------
    ArtefactError
        If the weights are of another architecture, patch size or number of bands.
    """
    wanted = encoder.state_dict()
    # files in half precision are reckoned with in full
    found = {key: value.float() if value.is_floating_point() else value for key, value in found.items()}
    weights = _without_prefix(found, _first_layers(encoder), wanted, source, prefix)
    weights = {key: value for key, value in weights.items() if key in wanted or not _is_head(key, encoder)}
    for layer in _first_layers(encoder):
        if layer in weights and layer in wanted:
            _check_patch(weights[layer], wanted[layer], name=name, source=source)
            weights[layer] = _with_bands(weights[layer], wanted[layer], bands, name=name, source=source)
    weights = _translated(weights, encoder)
    # counters of batches, which files before 2018 lack, change nothing here
    weights |= {key: value for key, value in wanted.items() if key.endswith(_COUNTER) and key not in weights}
    _check(weights, wanted, name=name, source=source)
    return weights


def _without_prefix(
    found: Mapping[str, Tensor], first: Sequence[str], wanted: Mapping[str, Tensor], source: str, prefix: str | None
) -> dict[str, Tensor]:
    """Return what stands under a prefix in `timm`'s names: under that with most of the wanted names."""
    ends = (*first, *_FOREIGN_FIRST)
    prefixes = {key.removesuffix(end) for key in found for end in ends if key.endswith(end)} | {""}
    if prefix is not None:
        prefixes = {prefix}
    parts = {
        start: from_torchvision(_under(found, start)) for start in prefixes if start in {"", prefix} or start[-1] == "."
    }
    known = {start: len(part.keys() & wanted.keys()) for start, part in parts.items()}
    best = sorted(known, key=lambda start: (-known[start], len(start), start))
    whole = [start for start in best if wanted.keys() <= parts[start].keys()]
    if len(whole) > 1:
        raise ArtefactError(
            f"pretrain.weights: {source} holds several such encoders, under {', '.join(map(repr, whole))}; "
            "keep one of them in the file."
        )
    if best[0] and len(parts[best[0]]) < len(found):
        log.info("%s: %d tensors outside %r are left out", source, len(found) - len(_under(found, best[0])), best[0])
    return parts[best[0]]


def _under(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


def _is_head(key: str, encoder: nn.Module) -> bool:
    own = getattr(encoder, "pretrained_cfg", {}).get("classifier") or ()
    return key.startswith(tuple(f"{head}." for head in (*_HEADS, *_names(own))))


def _first_layers(encoder: nn.Module) -> list[str]:
    """Return the names of the weights that meet the image's bands."""
    first = getattr(encoder, "pretrained_cfg", {}).get("first_conv") or ()
    return [f"{layer}.weight" for layer in _names(first)]


def _names(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _check_patch(weight: Tensor, wanted: Tensor, *, name: str, source: str) -> None:
    if weight.ndim == wanted.ndim == 4 and weight.shape[2:] != wanted.shape[2:]:
        there, here = (" x ".join(map(str, tensor.shape[2:])) for tensor in (weight, wanted))
        raise ArtefactError(
            f"pretrain.weights: {source} sees patches of {there} pixels in its first layer, {name} of {here}; "
            "choose the `pretrain.encoder` that it was made for."
        )


def _with_bands(weight: Tensor, wanted: Tensor, bands: Sequence[int] | None, *, name: str, source: str) -> Tensor:
    """Give the first layer's weights, ``(O, there, h, w)``, as many bands as the encoder has."""
    if weight.ndim != 4 or wanted.ndim != 4:
        return weight
    there, here = weight.shape[1], wanted.shape[1]
    if bands is not None:
        if len(bands) != here or max(bands) > there:
            raise ArtefactError(
                f"pretrain.weights_bands: {list(bands)} are to be {here} of the {there} bands of {source}, one for "
                "each band of the images, counted from 1."
            )
        log.info("%s: bands %s of %d are taken, scaled by %.3g", source, list(bands), there, there / here)
        # a sum over fewer bands has the same size by timm's convention
        return weight[:, [band - 1 for band in bands]] * (there / here)
    if there == here:
        return weight
    if there != 3:
        raise ArtefactError(
            f"pretrain.weights: {source} is for images of {there} bands, and these have {here}. Say which of its bands "
            "they are, counted from 1, as `pretrain.weights_bands` ([4, 3, 2] are the red, green and blue of "
            "Sentinel-2's 13)."
        )
    try:
        adapted: Tensor = adapt_input_conv(here, weight)
    except (NotImplementedError, AssertionError) as error:
        raise ArtefactError(f"pretrain.weights: the first layer of {source} does not fit {name}: {error}") from error
    how = "summed to one" if here == 1 else f"repeated to {here} and scaled by {3 / here:.3g}"
    log.info("%s: the 3 bands of its first layer are %s", source, how)
    return adapted


def _translated(weights: dict[str, Tensor], encoder: nn.Module) -> dict[str, Tensor]:
    """Let `timm` translate what its model's family is published as, where it can."""
    translate = getattr(sys.modules[type(encoder).__module__], "checkpoint_filter_fn", None)
    if translate is None:
        return weights
    try:
        return dict(translate(dict(weights), encoder))
    except (KeyError, IndexError, ValueError, AttributeError, RuntimeError, AssertionError, TypeError):
        return weights  # of another family; the check that follows says so


def _check(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, name: str, source: str) -> None:
    faults = [
        *(f"{key} is missing" for key in wanted if key not in weights),
        *(f"{key} is not known" for key in weights if key not in wanted),
        *(
            f"{key} has shape {tuple(weights[key].shape)}, not {tuple(wanted[key].shape)}"
            for key in wanted
            if key in weights and weights[key].shape != wanted[key].shape
        ),
    ]
    if not faults:
        return
    layers = [key for key in wanted if not key.endswith(_COUNTER)]
    fitting = sum(key in weights and weights[key].shape == wanted[key].shape for key in layers)
    shown = "\n".join(f"  {fault}" for fault in faults[:_SHOWN])
    more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
    raise ArtefactError(
        f"pretrain.weights: {source} does not fit {name}: {fitting} of its {len(layers)} tensors are there. "
        f"Choose the `pretrain.encoder` that it was made for.\n{shown}{more}"
    )
