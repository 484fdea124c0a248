"""An image encoder that the research code, or torchvision, saved becomes a bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from mmgr.bundle import check_place, save_bundle
from mmgr.console import log
from mmgr.errors import ArtefactError
from mmgr.files import existing_file, sha256
from mmgr.learn.convert import plain_tensors
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.plain import read_plain
from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.learn.weights import Asked, check_finite, encoder_prefix, encoder_weights, first_bands, holds_safetensors
from mmgr.taxonomy import Taxonomy

_RESNETS: dict[tuple[bool, tuple[int, ...]], str] = {
    (False, (2, 2, 2, 2)): "resnet18",
    (False, (3, 4, 6, 3)): "resnet34",
    (True, (3, 4, 6, 3)): "resnet50",
    (True, (3, 4, 23, 3)): "resnet101",
    (True, (3, 8, 36, 3)): "resnet152",
}
"""ResNets by whether their blocks have three convolutions, and by blocks a layer."""
_FIRST = "conv1.weight"
_HEAD = ("fc.0.weight", "fc.0.bias", "fc.2.weight", "fc.2.bias")
"""The research code's projection head: two linear layers around a ReLU, as ours."""
_ASKED = Asked(file="checkpoint", encoder="--encoder")


def import_checkpoint(path: Path, output: Path, *, encoder: str | None = None, crop: int = 224) -> Recipe:
    """Write a bundle of images alone from the state dict of an image encoder.

    The projection head comes along where the file has one of two layers; otherwise it starts afresh, and embeddings do
    not need it.

    Parameters
    ----------
    path
        A file of `torch.save` (read without running anything of it) or of safetensors: torchvision's or `timm`'s
        names, under any prefix.
    output
        Folder of the bundle; another bundle that is there is replaced.
    encoder
        Name of a `timm` model; by default the ResNet that the shapes tell. Its bands are those of the file.
    crop
        Edge in pixels to which patches are resized for the encoder.

    Returns
    -------
    The bundle's recipe.

    Raises
    ------
    ArtefactError
        If the file holds code, no state dict, weights of another architecture, or such as are not finite.
    ConfigError
        If the output folder holds something that is no bundle.
    """
    check_place(output)
    found = _read(existing_file(path, what="checkpoint"))
    # as it was trained, and as its own code embeds
    own: dict[str, object] = {"encoder": encoder, "crop": crop, "name": "imported", "weights": "random", "epochs": 0,
                              "precision": "fp32", "true_size": False}  # fmt: skip
    if encoder is None:
        prefix, own["encoder"] = architecture(found, path)
        bands, head = int(found[f"{prefix}{_FIRST}"].shape[1]), _head(found, prefix)
    else:
        like = seeded_model(_recipe(own, {}), None, 3, seed=0)
        prefix = encoder_prefix(found, like.image_encoder, source=str(path), asked=_ASKED)
        bands, head = first_bands(found, like.image_encoder, prefix) or 3, _head(found, prefix)
        if head and head["fc.0.weight"].shape[1:] != (like.image_features,):
            head = {}  # of something else that has this name
    recipe = _recipe(own, head)
    model = seeded_model(recipe, None, bands, seed=0)
    name = recipe.encoder
    weights = encoder_weights(found, model.image_encoder, name=name, source=str(path), prefix=prefix, asked=_ASKED)
    model.image_encoder.load_state_dict(weights)
    if head:
        _load_head(model, head, path)
    log.info("%s: %s with %s", path, name, "its projection head" if head else "a fresh projection head")
    made = {"imported_from": path.name, "sha256": sha256(path), "projection_head": "imported" if head else "fresh"}
    save_bundle(output, model.eval(), recipe, Taxonomy((), ()), made)
    return recipe


def _recipe(own: Mapping[str, object], head: Mapping[str, Tensor]) -> Recipe:
    """Return the recipe of images alone with the choices that a file makes, and with its head's sizes if it has one."""
    sizes = {"image_hidden": len(head["fc.0.weight"]), "projection": len(head["fc.2.weight"])} if head else {}
    return Recipe.model_validate(RECIPES["simclr"].model_dump() | dict(own) | sizes)


def architecture(found: Mapping[str, Tensor], path: Path) -> tuple[str, str]:
    """Return what stands before a ResNet's names in a state dict, and which ResNet it is.

    Raises
    ------
    ArtefactError
        If there is none, or several, or one of unknown blocks.
    """
    prefixes = [key.removesuffix(_FIRST) for key in found if key.endswith(_FIRST) and "layer" not in key]
    prefixes = [prefix for prefix in prefixes if f"{prefix}layer1.0.conv1.weight" in found]
    if len(prefixes) != 1:
        what = f"several, under {', '.join(map(repr, prefixes))}" if prefixes else "none"
        raise ArtefactError(
            f"{path}: one ResNet with torchvision's names is looked for, and there is {what} among {len(found)} "
            f"tensors ({', '.join(list(found)[:3])}, ...). For another architecture name the `timm` model: `--encoder`."
        )
    (prefix,) = prefixes
    block = re.compile(re.escape(prefix) + r"layer(\d)\.(\d+)\.conv1\.weight")
    layers = [int(match[1]) for key in found if (match := block.fullmatch(key))]
    blocks = tuple(layers.count(layer) for layer in range(1, 5))
    three = f"{prefix}layer1.0.conv3.weight" in found
    name = _RESNETS.get((three, blocks))
    if name is None:
        raise ArtefactError(
            f"{path}: a ResNet of {' + '.join(map(str, blocks))} blocks of {3 if three else 2} convolutions is not one "
            f"of {', '.join(_RESNETS.values())}. Name the `timm` model that it is: `--encoder`."
        )
    return prefix, name


def _read(path: Path) -> dict[str, Tensor]:
    """Read a file as what it is, whatever it is called: downloads have names of all sorts."""
    if holds_safetensors(path):
        try:
            return dict(load_file(path))
        except SafetensorError as error:
            raise ArtefactError(f"{path} is a torn safetensors file ({error}).") from error
    try:
        return plain_tensors(read_plain(path))
    except ArtefactError as error:
        raise ArtefactError(f"{path} cannot be imported: {error}") from error


def _head(found: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors of the projection head under their own names; nothing unless all are there."""
    head = {key: found[f"{prefix}{key}"] for key in _HEAD if f"{prefix}{key}" in found}
    return head if len(head) == len(_HEAD) else {}


def _load_head(model: MultiModalModel, head: Mapping[str, Tensor], path: Path) -> None:
    check_finite(head, source=str(path), asked=_ASKED)
    try:
        model.image_head.load_state_dict({key.removeprefix("fc."): value for key, value in head.items()})
    except RuntimeError as error:
        raise ArtefactError(f"{path}: the projection head does not fit its encoder: {error}") from error
