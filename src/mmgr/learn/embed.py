"""Embedding: one vector per region from a trained model, `[image, POI]`, either part usable alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mmgr.console import track
from mmgr.errors import ArtefactError
from mmgr.learn.augment import normalise
from mmgr.learn.data import prefetched
from mmgr.learn.model import MultiModalModel, choose_device, seeded_model
from mmgr.learn.places import patch_frames
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of ``n`` regions; a missing part holds the mean of the others'."""

    image: NDArray[np.float32]
    """Image features, shape ``(n, F)``."""
    poi: NDArray[np.float32]
    """POI features, shape ``(n, P)``; ``P`` is 0 for a recipe without POIs."""
    has_image: NDArray[np.bool_]
    """Whether a region has an image, shape ``(n,)``."""
    has_poi: NDArray[np.bool_]
    """Whether a region's POIs are known (they may be none), shape ``(n,)``."""

    def __len__(self) -> int:
        return len(self.image)

    @property
    def combined(self) -> NDArray[np.float32]:
        """Both parts side by side, shape ``(n, F + P)``."""
        return np.concatenate([self.image, self.poi], axis=1)


ImageEncoder = Callable[[Tensor], NDArray[np.float32]]
"""Turns normalised views, shape ``(B, C, crop, crop)``, on the device, into features, shape ``(B, F)``."""


def embed(
    model: MultiModalModel,
    store: RegionStore,
    recipe: Recipe,
    *,
    batch: int = 64,
    device: str = "auto",
    encode: ImageEncoder | None = None,
) -> Embeddings:
    """Embed all regions of a store; nothing is random.

    A patch is seen whole, resized to the recipe's crop. A region with several dates gets the mean of their
    features. The model is left on the device and in evaluation mode. ``encode`` takes the place of its image
    encoder, such as :func:`mmgr.learn.quantised.quantised_encoder`, which is faster on a CPU.

    Raises
    ------
    ArtefactError
        If the store has other bands or other categories than the model.
    """
    check_fit(model, store)
    place = choose_device(device)
    model = model.to(place).eval()
    encode = encode or (lambda views: model.encode_images(views).cpu().numpy())
    images = np.full((len(store), model.image_features), np.nan, np.float32)
    pois = np.full((len(store), model.poi_features), np.nan, np.float32)
    bags = store.bags
    frames = patch_frames(store.regions) if recipe.uses_places else None
    chunks = [np.arange(start, min(start + batch, len(store))) for start in range(0, len(store), batch)]
    patches = prefetched(store.patches(rows) for rows in chunks)
    with torch.inference_mode():
        for rows, found in track(zip(chunks, patches, strict=True), "embedding", total=len(chunks)):
            views = np.array([len(dates) for dates in found])
            seen = views > 0
            if seen.any():
                features = _image_features(encode, np.concatenate(found), recipe.crop, batch, place)
                # the mean over each region's dates
                starts = np.cumsum(views)[seen] - views[seen]
                images[rows[seen]] = np.add.reduceat(features, starts) / views[seen][:, None]
            if model.poi_features:
                where = None if frames is None else frames[rows]
                some = PoiBatch.from_bags(bags.take(rows), model.categories, where).to(place)
                known = bags.known[rows]
                pois[rows[known]] = model.describe_pois(some).float().cpu().numpy()[known]
    return Embeddings(
        image=_filled(images, store.views > 0),
        poi=_filled(pois, bags.known),
        has_image=store.views > 0,
        has_poi=bags.known,
    )


def check_fit(model: MultiModalModel, store: RegionStore) -> None:
    """Check that a model can embed a store.

    Raises
    ------
    ArtefactError
        If the store has other bands or other categories than the model.
    """
    if store.info.bands != model.bands:
        raise ArtefactError(
            f"{store.path} has patches of {store.info.bands} bands, the model saw {model.bands}; set `images.bands`."
        )
    if model.categories and len(store.info.taxonomy) not in {0, model.categories}:
        raise ArtefactError(
            f"{store.path} has {len(store.info.taxonomy)} POI categories, the model knows {model.categories}; "
            "embed with a model that was trained on this taxonomy."
        )


def random_model(recipe: Recipe, vectors: NDArray[np.float32] | None, bands: int, seed: int) -> MultiModalModel:
    """Make the untrained model of a recipe: the baseline that training must beat.

    In evaluation mode its batch norms use the statistics that they start with (mean 0, variance 1), as it is
    done in the literature: they scale nothing, and features stay a fixed random function of the patch.
    """
    return seeded_model(recipe.model_copy(update={"weights": "random"}), vectors, bands, seed).eval()


def _image_features(
    encode: ImageEncoder, patches: NDArray[np.uint8], crop: int, batch: int, device: torch.device
) -> NDArray[np.float32]:
    """Return the features of patches, shape ``(v, H, W, C)`` to ``(v, F)``, ``batch`` at a time."""
    parts = [encode(whole_views(torch.from_numpy(some).to(device), crop)) for some in _slices(patches, batch)]
    return np.concatenate(parts)


def _slices(patches: NDArray[np.uint8], batch: int) -> Iterator[NDArray[np.uint8]]:
    return (patches[start : start + batch] for start in range(0, len(patches), batch))


def whole_views(patches: Tensor, crop: int) -> Tensor:
    """Resize and normalise patches, shape ``(B, H, W, C)`` to ``(B, C, crop, crop)``."""
    images = patches.permute(0, 3, 1, 2).float().div_(255)
    if images.shape[-2:] != (crop, crop):
        # the filter of the views, which has one pass less to make where all patches are seen whole
        images = interpolate(images, size=(crop, crop), mode="bilinear", antialias=True)
    return normalise(images)


def _filled(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Put the mean of the known rows, or zeros, where there are none."""
    values[~known] = values[known].mean(0, dtype=np.float64) if known.any() else 0
    return values
