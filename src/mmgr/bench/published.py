"""One step of pre-training as the published code does it, to measure ours beside it.

Views are made with PIL, one after the other, in worker processes; the encoders compute in float32 on contiguous
memory; similarities come from vectors that are laid against each other, ``4 B^2 d`` numbers for each of two
losses; and two optimisers share the weights out. Written anew from what is known of that code.
"""

from __future__ import annotations

import multiprocessing
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

from mmgr.bench.rates import wait_until_made
from mmgr.learn.augment import IMAGENET_MEAN, IMAGENET_STD
from mmgr.learn.encoders import image_encoder
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.poi_encoders import PoiEncoder

WORKERS = 6
TEMPERATURE = 0.5
LEARNING_RATE = 1e-2
_STEPS_OF_SET2SET = 5
_AHEAD = 2
"""Batches that PyTorch lets each worker make ahead of their use."""
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


class PublishedViews:
    """Yields both views of one batch after the other, shape ``(B, 3, crop, crop)`` each, made by worker processes.

    Parameters
    ----------
    images
        Array file of patches.
    crop, batch
        Edge of a view, and regions a batch.
    steps
        Batches that are asked for; the workers find more to make, as in the middle of an epoch.
    workers
        Processes; with 0, this process makes each batch when it is asked for.
    """

    def __init__(self, images: Path, *, crop: int, batch: int, steps: int, workers: int = WORKERS) -> None:
        self._batch, self._ahead, self._used = batch, _AHEAD * workers, 0
        self._made = multiprocessing.get_context("spawn").Value("q", 0)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="This DataLoader will create")  # the published number, anywhere
            loader = DataLoader(
                _Views(images, crop, batch * (steps + self._ahead), self._made),
                batch_size=batch,
                num_workers=workers,
                prefetch_factor=_AHEAD if workers else None,
                # a process that has threads does not fork well
                multiprocessing_context="spawn" if workers else None,
            )
            self._batches: Iterator[list[Tensor]] = iter(loader)

    @property
    def made(self) -> int:
        """Regions whose views are made so far, used or not."""
        return int(self._made.value)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        first, second = next(self._batches)
        self._used += 1
        return first, second

    def wait(self) -> None:
        """Wait until the workers are as far ahead as they go.

        Between two such moments as many batches are made as are used, whichever of the two is faster.

        Raises
        ------
        RuntimeError
            If the workers make nothing any more.
        """
        wait_until_made((self._used + self._ahead) * self._batch, lambda: self.made)

    def close(self) -> None:
        """End the workers, which takes seconds."""
        self._batches = iter(())


class _Views(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each patch, by PIL; ``made`` counts across processes."""

    def __init__(self, images: Path, crop: int, length: int, made: Any) -> None:
        self._images, self._crop, self._length, self._made = images, crop, length, made
        self._tools: tuple[NDArray[np.uint8], Any] | None = None

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, item: int) -> tuple[Tensor, Tensor]:
        from PIL import Image  # noqa: PLC0415 - in the worker

        patches, view = self._tools = self._tools or (np.load(self._images, mmap_mode="r"), _published_view(self._crop))
        image = Image.fromarray(np.asarray(patches[item % len(patches)]))
        views = view(image), view(image)
        with self._made.get_lock():
            self._made.value += 1
        return views


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
