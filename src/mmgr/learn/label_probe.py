"""A look at labels while encoders are trained: what a small model on their frozen features would score.

The training has no part in it. But a number of epochs, a recipe or a seed that is chosen by these scores is
chosen on labels, and then the final scores on the same labels no longer tell of unseen places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmgr.learn.augment import normalise, resize, whole
from mmgr.learn.data import prefetched
from mmgr.learn.model import MultiModalModel
from mmgr.learn.modes import evaluating
from mmgr.learn.places import patch_frames
from mmgr.learn.poi_batch import PoiBatch
from mmgr.store import RegionStore

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LabelProbe:
    """How, and how often, features are scored on labels while they are learned."""

    every: int
    """Epochs between two scores; the last epoch is scored always."""
    rows: NDArray[np.int64]
    """Regions that labels need, as rows of the store, shape ``(r,)``."""
    score: Callable[[Vectors, Vectors], Mapping[str, float]]
    """Gets image features, shape ``(n, F)``, and image and POI features side by side, shape ``(n, F + P)``, of all
    regions, NaN where unknown or not asked for; gives scores by the name of their column."""

    def is_due(self, done: int, epochs: int) -> bool:
        """Say whether features are scored after ``done`` of ``epochs`` epochs."""
        return done % self.every == 0 or done == epochs


def probe_labels(
    model: MultiModalModel, store: RegionStore, probe: LabelProbe, device: torch.device, *, batch: int = 64
) -> dict[str, float]:
    """Score a model's features; the model is as it was before, and no global generator is drawn from."""
    image = np.full((len(store), model.image_features), np.nan, np.float32)
    poi = np.full((len(store), model.poi_features), np.nan, np.float32)
    frames = patch_frames(store.regions) if model.recipe.uses_places else None
    with evaluating(model):
        for rows, features in image_features(model, store, probe.rows, device, batch=batch):
            image[rows] = features
            if model.poi_features:
                known = rows[store.bags.known[rows]]
                where = None if frames is None else frames[known]
                some = PoiBatch.from_bags(store.bags.take(known), model.categories, where).to(device)
                poi[known] = model.describe_pois(some).float().cpu().numpy()
    return dict(probe.score(image, np.concatenate([image, poi], axis=1)))


def image_features(
    model: MultiModalModel, store: RegionStore, rows: NDArray[np.int64], device: torch.device, *, batch: int = 64
) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Yield the image features of regions, ``batch`` at a time: the mean over dates of whole patches.

    The model is taken as it is: in evaluation mode, and without gradients, is the caller's part.

    Yields
    ------
    Rows, shape ``(B,)``, and their features, shape ``(B, F)``; NaN for a region without an image.
    """
    chunks = [rows[start : start + batch] for start in range(0, len(rows), batch)]
    for some, patches in zip(chunks, prefetched(store.patches(chunk) for chunk in chunks), strict=True):
        views = np.array([len(dates) for dates in patches])
        found = np.full((len(some), model.image_features), np.nan, np.float32)
        if views.any():
            images = torch.from_numpy(np.concatenate(patches))
            parts = []
            for part in torch.split(images, batch):
                small = part.to(device).permute(0, 3, 1, 2).float() / 255
                small = resize(small, whole(len(small)).to(device), model.whole_edge)
                parts.append(model.encode_images(normalise(small)).cpu().numpy())
            starts = np.cumsum(views)[views > 0] - views[views > 0]
            found[views > 0] = np.add.reduceat(np.concatenate(parts), starts) / views[views > 0][:, None]
        yield some, found
