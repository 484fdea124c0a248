"""Weights of image encoders from files: `timm`'s names, torchvision's, torchgeo's, under any prefix.

Only safetensors are read: a pickle can run code, and a file of weights comes from strangers.
:mod:`mmgr.learn.convert` turns a pickle into one, where a user asks for it.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Asked:
    """How messages speak of a file of weights, and of what chooses the encoder that gets them."""

    file: str = "pretrain.weights"
    encoder: str = "pretrain.encoder"


_SETTINGS = Asked()


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
            name = path.with_suffix(".safetensors").name
            # a pickle of this very name keeps it, and is not overwritten
            target = f"{path.stem}-converted.safetensors" if name == path.name else name
            raise ArtefactError(
                f"pretrain.weights: {path} is a pickle, which can run code, and is not read. Convert it once: "
                f"`{shlex.join(['python', '-m', 'mmgr.learn.convert', str(path), target])}`."
            ) from error
        raise ArtefactError(f"pretrain.weights: {path} is not a safetensors file ({error}).") from error


def holds_safetensors(path: Path) -> bool:
    """Say whether a file begins as safetensors do, whatever its name: the length of a header, and its brace."""
    with path.open("rb") as stream:
        start = stream.read(9)
    return start[8:] == b"{" and int.from_bytes(start[:8], "little") <= path.stat().st_size


def encoder_weights(
    found: Mapping[str, Tensor],
    encoder: nn.Module,
    *,
    name: str,
    source: str,
    bands: Sequence[int] | None = None,
    prefix: str | None = None,
    asked: Asked = _SETTINGS,
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
        What stands before the encoder's own names; None finds it out (:func:`encoder_prefix`).
    asked
        Who asked for the file and the encoder, for messages.

    Returns
    -------
    A state dict that ``encoder`` loads strictly.

    Raises
    ------
    ArtefactError
        If the weights are of another architecture, patch size or number of bands, or are not finite.
    """
    wanted = encoder.state_dict()
    # files in half precision are reckoned with in full
    found = {key: value.float() if value.is_floating_point() else value for key, value in found.items()}
    if prefix is None:
        prefix = encoder_prefix(found, encoder, source=source, asked=asked)
    under = _under(found, prefix)
    if prefix and len(under) < len(found):
        log.info("%s: %d tensors outside %r are left out", source, len(found) - len(under), prefix)
    weights = from_torchvision(under)
    weights = {key: value for key, value in weights.items() if key in wanted or not _is_head(key, encoder)}
    for layer in _first_layers(encoder):
        if layer in weights and layer in wanted:
            _check_patch(weights[layer], wanted[layer], name=name, source=source, asked=asked)
            weights[layer] = _with_bands(weights[layer], wanted[layer], bands, name=name, source=source)
    weights = _translated(weights, encoder)
    # counters of batches, which files before 2018 lack, change nothing here
    weights |= {key: value for key, value in wanted.items() if key.endswith(_COUNTER) and key not in weights}
    _check(weights, wanted, name=name, source=source, asked=asked)
    check_finite(weights, source=source, asked=asked)
    return weights


def encoder_prefix(found: Mapping[str, Tensor], encoder: nn.Module, *, source: str, asked: Asked = _SETTINGS) -> str:
    """Return what stands before an encoder's own names in a state dict: that under which most of them are.

    Raises
    ------
    ArtefactError
        If all of them are there under several.
    """
    # counters of batches tell nothing, and some files lack them
    wanted = {key for key in encoder.state_dict() if not key.endswith(_COUNTER)}
    ends = (*_first_layers(encoder), *_FOREIGN_FIRST)
    prefixes = {key.removesuffix(end) for key in found for end in ends if key.endswith(end)}
    # `backbone.`, `backbone_` or `backbone/`, but not the beginning of another name
    prefixes = {""} | {prefix for prefix in prefixes if prefix and not prefix[-1].isalnum()}
    known = {prefix: wanted & from_torchvision(_under(found, prefix)).keys() for prefix in prefixes}
    best = sorted(known, key=lambda prefix: (-len(known[prefix]), len(prefix), prefix))
    whole = [prefix for prefix in best if known[prefix] == wanted]
    if len(whole) > 1:
        raise ArtefactError(
            f"{asked.file}: {source} holds several such encoders, under {', '.join(map(repr, whole))}; "
            "keep one of them in the file."
        )
    return best[0]


def first_bands(found: Mapping[str, Tensor], encoder: nn.Module, prefix: str) -> int | None:
    """Return how many bands the first layer sees that stands under a prefix; None where there is no such layer."""
    weights = from_torchvision(_under(found, prefix))
    layers = [weights[layer] for layer in _first_layers(encoder) if layer in weights]
    return next((int(layer.shape[1]) for layer in layers if layer.ndim == 4), None)


def check_finite(weights: Mapping[str, Tensor], *, source: str, asked: Asked = _SETTINGS) -> None:
    """Check that all weights are numbers.

    Raises
    ------
    ArtefactError
        Names the first tensor that holds others.
    """
    spoilt = [key for key, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
    if spoilt:
        value = weights[spoilt[0]]
        more = f" (and {len(spoilt) - 1} more tensors hold such)" if len(spoilt) > 1 else ""
        raise ArtefactError(
            f"{asked.file}: {source}: tensor {spoilt[0]} holds {int((~value.isfinite()).sum())} of {value.numel()} "
            f"values that are not finite{more}. The training that wrote it had failed; take an earlier file of it, or "
            "another one."
        )


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


def _check_patch(weight: Tensor, wanted: Tensor, *, name: str, source: str, asked: Asked) -> None:
    if weight.ndim == wanted.ndim == 4 and weight.shape[2:] != wanted.shape[2:]:
        there, here = (" x ".join(map(str, tensor.shape[2:])) for tensor in (weight, wanted))
        raise ArtefactError(
            f"{asked.file}: {source} sees patches of {there} pixels in its first layer, {name} of {here}; "
            f"choose the `{asked.encoder}` that it was made for."
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


def _check(
    weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], *, name: str, source: str, asked: Asked
) -> None:
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
        f"{asked.file}: {source} does not fit {name}: {fitting} of its {len(layers)} tensors are there. "
        f"Choose the `{asked.encoder}` that it was made for.\n{shown}{more}"
    )
