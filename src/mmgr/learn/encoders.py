"""Encoders: any `timm` model for images, Set2Set for a region's points of interest."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from mmgr.errors import ConfigError
from mmgr.learn.weights import load_weights


def image_encoder(
    name: str, *, weights: str, bands: int, crop: int, weights_bands: Sequence[int] | None = None
) -> tuple[nn.Module, int]:
    """Make an image encoder and say how many features it gives.

    Parameters
    ----------
    name
        A `timm` model.
    weights
        `random`, `pretrained` (asks the `timm` hub), or the path of a safetensors file.
    bands
        Bands of an image.
    crop
        Edge of an image in pixels.
    weights_bands
        Which bands of a file's first layer are the image's, counted from 1 (:func:`mmgr.learn.weights.load_weights`).

    Raises
    ------
    ConfigError
        If `timm` has no such model, its weights cannot be had, or it cannot see images of this size.
    ArtefactError
        If a file of weights belongs to another architecture, patch size or number of bands.
    """
    if name.partition(".")[0] not in timm.list_models():
        near = get_close_matches(name, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "see timm.list_models()"
        raise ConfigError(f"pretrain.encoder: timm has no model {name!r}; {hint}")
    # transformers are built for one size of image
    size = {"img_size": crop} if _has_fixed_size(name) else {}
    try:
        encoder = timm.create_model(name, pretrained=weights == "pretrained", num_classes=0, in_chans=bands, **size)
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        if weights != "pretrained":
            raise ConfigError(f"pretrain.encoder: {name} cannot be made for {crop} pixels: {error}") from error
        raise ConfigError(
            f"pretrain.weights: the pretrained weights of {name} cannot be had ({_first_line(error)}). They need a "
            "network, or an earlier download; set `weights: random`, or give the path of a safetensors file."
        ) from error
    if weights not in {"random", "pretrained"}:
        load_weights(encoder, Path(weights), name=name, bands=weights_bands)
    return encoder, _features(encoder, name, bands, crop)


class Set2Set(nn.Module):
    """Read a set by attention, several times (Vinyals, Bengio, Kudlur 2016, equations 3 to 7).

    In each step an LSTM makes a query, the query weighs the set's items, and their weighted mean goes back
    to the LSTM. The order of the items does not matter. An item that stands for ``n`` equal ones gets
    ``log n`` on its logit, which equals ``n`` repeated items exactly.

    A set without items has a readout of zeros in each step, so that its output is that of the LSTM alone.
    """

    def __init__(self, channels: int, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.lstm = nn.LSTM(2 * channels, channels)

    def forward(self, items: Tensor, owner: Tensor, count: Tensor, sets: int) -> Tensor:
        """Read ``B`` sets.

        Parameters
        ----------
        items
            Vectors of all sets' items, shape ``(m, channels)``.
        owner
            Set of each item, shape ``(m,)``, int64.
        count
            How many equal items each stands for, shape ``(m,)``.
        sets
            ``B``.

        Returns
        -------
        Shape ``(B, 2 * channels)``: the last query and its readout.
        """
        channels = items.shape[1]
        output = items.new_zeros(sets, 2 * channels)
        state = (items.new_zeros(1, sets, channels), items.new_zeros(1, sets, channels))
        log_count = count.log()  # (m,)
        for _ in range(self.steps):
            query, state = self.lstm(output[None], state)
            query = query[0]  # (B, channels)
            logits = (items * query[owner]).sum(1) + log_count  # (m,)
            weight = ragged_softmax(logits, owner, sets)
            readout = torch.zeros_like(query).index_add(0, owner, weight[:, None] * items)  # (B, channels)
            output = torch.cat([query, readout], 1)
        return output


def ragged_softmax(logits: Tensor, owner: Tensor, sets: int) -> Tensor:
    """Return the softmax of logits within each set; both have shape ``(m,)``."""
    # softmax does not change when each set's largest logit is taken off, and exp cannot overflow then
    largest = logits.new_full((sets,), -torch.inf).scatter_reduce(0, owner, logits.detach(), "amax")
    weight = (logits - largest[owner]).exp()
    total = logits.new_zeros(sets).index_add(0, owner, weight)
    return weight / total[owner]


class PoiEncoder(nn.Module):
    """Set2Set over the category vectors of a region's POIs.

    The category vectors are learned beforehand (Huang et al. 2022) and stay as they are.
    """

    def __init__(self, vectors: Tensor, steps: int) -> None:
        super().__init__()
        self.vectors: Tensor
        self.register_buffer("vectors", vectors.float())  # (categories, dimensions)
        self.set2set = Set2Set(vectors.shape[1], steps)

    @property
    def features(self) -> int:
        """Length of the output."""
        return 2 * int(self.vectors.shape[1])

    def forward(self, category: Tensor, count: Tensor, owner: Tensor, regions: int) -> Tensor:
        """Encode the POIs of ``B`` regions, entries of shape ``(m,)`` each, to shape ``(B, features)``."""
        output: Tensor = self.set2set(self.vectors[category], owner, count, regions)
        return output


def _has_fixed_size(name: str) -> bool:
    config = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return bool(config is not None and config.fixed_input_size)


def _features(encoder: nn.Module, name: str, bands: int, crop: int) -> int:
    """Run the encoder once: what a model of `timm` says of its features is not the same for all."""
    training = encoder.training
    try:
        with torch.no_grad():
            output = encoder.eval()(torch.zeros(1, bands, crop, crop))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"pretrain.crop: {name} cannot see images of {crop} x {crop} pixels: {_first_line(error)}"
        ) from error
    finally:
        encoder.train(training)
    return int(output.shape[1])


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
