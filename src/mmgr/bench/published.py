"""One step of pre-training as the published code does it, to measure ours beside it.

Views are made with PIL, one after the other, in worker processes; the encoders compute in float32 on contiguous
memory; similarities come from vectors that are laid against each other, ``4 B^2 d`` numbers for each of two
losses; and two optimisers share the weights out. Written anew from what is known of that code.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, cross_entropy
from torch.utils.data import DataLoader, Dataset

from mmgr.learn.augment import IMAGENET_MEAN, IMAGENET_STD
from mmgr.learn.encoders import image_encoder
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.poi_encoders import PoiEncoder

WORKERS = 6
TEMPERATURE = 0.5
LEARNING_RATE = 1e-2
_STEPS_OF_SET2SET = 5
_PROJECTION = 128


class PublishedStep:
    """The model, its optimisers and its data."""

    def __init__(self, encoder: str, crop: int, table: NDArray[np.float32], device: torch.device) -> None:
        self._device = device
        images, features = image_encoder(encoder, weights="random", bands=3, crop=crop)
        pois = PoiEncoder(torch.from_numpy(table), steps=_STEPS_OF_SET2SET)
        self._image = nn.ModuleList([images, _head(features, features)]).to(device)
        self._poi = nn.ModuleList([pois, _head(pois.features, 2 * _PROJECTION)]).to(device)
        self.parts = self._image, self._poi
        self._optimisers = [torch.optim.Adam(part.parameters(), lr=LEARNING_RATE) for part in self.parts]

    def step(self, views: tuple[Tensor, Tensor], pois: PoiBatch) -> None:
        """Train on one batch: two views of each region, shape ``(B, 3, crop, crop)`` each, and its POIs."""
        encoder, head = self._image
        first, second = (head(encoder(view.to(self._device))) for view in views)  # (B, 128) each
        encoder, head = self._poi
        there = pois.to(self._device)
        third = head(encoder(there.category, there.count, there.owner, len(there)))
        loss = (_contrast(first, second) + _contrast(first, third)) / 2
        for optimiser in self._optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for optimiser in self._optimisers:
            optimiser.step()


def published_batches(
    images: Path, *, crop: int, batch: int, steps: int, workers: int = WORKERS
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield both views of ``steps`` batches, made by workers; ``images`` is an array file of patches."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")  # the published number, on any machine
        loader = DataLoader(
            _Views(images, crop, batch * steps),
            batch_size=batch,
            num_workers=workers,
            # a process that has threads does not fork well
            multiprocessing_context="spawn" if workers else None,
        )
        yield from loader


class _Views(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each patch, by PIL."""

    def __init__(self, images: Path, crop: int, length: int) -> None:
        self._images, self._crop, self._length = images, crop, length
        self._tools: tuple[NDArray[np.uint8], Any] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        from PIL import Image  # noqa: PLC0415 - in the worker

        patches, view = self._tools = self._tools or (np.load(self._images, mmap_mode="r"), _published_view(self._crop))
        image = Image.fromarray(np.asarray(patches[item % len(patches)]))
        return view(image), view(image)


def _published_view(crop: int) -> Any:
    from torchvision import transforms as t  # noqa: PLC0415 - timm brings it; nothing else here needs it

    return t.Compose(
        [
            t.RandomResizedCrop(crop, scale=(0.2, 1.0)),
            t.RandomApply([t.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            t.RandomGrayscale(0.2),
            t.RandomHorizontalFlip(),
            t.ToTensor(),
            t.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


def _contrast(a: Tensor, b: Tensor) -> Tensor:
    """Return NT-Xent of pairs, shape ``(B, d)`` each, with every vector laid against every other."""
    size = len(a)
    z = torch.cat([a, b])  # (2B, d)
    similarity = cosine_similarity(z[:, None], z[None], dim=2) / TEMPERATURE  # by way of (2B, 2B, d)
    similarity = similarity.masked_fill(torch.eye(2 * size, dtype=torch.bool, device=z.device), -torch.inf)
    return cross_entropy(similarity, torch.arange(2 * size, device=z.device).roll(size))


def _head(features: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, _PROJECTION))
