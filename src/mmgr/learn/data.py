"""Batches of regions, in an order that is a pure function of (seed, epoch, step)."""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr.errors import ArtefactError
from mmgr.learn.negatives import Negatives
from mmgr.learn.places import patch_frames
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.recipes import Recipe
from mmgr.learn.share import Share
from mmgr.store import RegionStore

T = TypeVar("T")

MOST_HELD_OUT = 512
"""As many held-out regions measure retrieval to two percent; more would only cost time."""
LEAST_HELD_OUT = 32
"""Fewer say too little for what they take from the training."""
READ_AHEAD = 2
"""Batches that wait, ready, while one is used and the next is read."""


class Purpose(IntEnum):
    """What a random number is for."""

    ORDER = 0
    DATES = 1
    VIEWS = 2
    DROPOUT = 3
    HELD_OUT = 10


@dataclass(frozen=True, slots=True)
class Batch:
    """``b`` regions: two patches of each, and their POIs. They are a share of ``B`` where processes train together."""

    epoch: int
    step: int
    rows: NDArray[np.int64]
    """Rows of the region store, shape ``(b,)``."""
    share: Share
    """Which of the whole batch's regions they are; none, if it has none for this process and these stand in."""
    first: Tensor
    """Patches for the first view, shape ``(b, H, W, C)``, uint8."""
    second: Tensor
    """Patches for the second view, of another date where there is one."""
    pois: PoiBatch
    near: Tensor | None
    """Pairs of regions that are no negatives in any loss, shape ``(b, B)``, bool; None where the recipe masks none."""
    not_negative: Tensor | None
    """Pairs that are no negatives of images with POIs: those, and the ones that POIs cannot tell apart."""

    def to(self, device: torch.device) -> Batch:
        """Move the tensors to a device; from pinned memory the host does not wait for it."""
        return self._with(lambda part: part.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """Copy the tensors to memory that a GPU reads by itself."""
        return self._with(Tensor.pin_memory)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Batch:
        return replace(
            self,
            first=change(self.first),
            second=change(self.second),
            pois=self.pois.changed(change),
            near=None if self.near is None else change(self.near),
            not_negative=None if self.not_negative is None else change(self.not_negative),
        )


class Batches:
    """The batches of a training.

    Parameters
    ----------
    store
        Regions without an image are left out.
    recipe
        Decides on the batch size, on dates as views, on pairs that are no negatives and on how many regions are
        held out.
    seed
        Together with epoch and step it decides what a batch holds.
    around
        Vectors of the POIs around each region of the store, shape ``(n, A)``, NaN where unknown.
    rank, processes
        Which share of each batch is read. Whatever there is of them, the batches are the same.

    Raises
    ------
    ArtefactError
        If fewer than two regions have an image: nothing can be contrasted. Or if the recipe asks where regions
        without a place are.
    """

    def __init__(
        self,
        store: RegionStore,
        recipe: Recipe,
        seed: int,
        *,
        around: NDArray[np.float32] | None = None,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        self.store, self.recipe, self.seed = store, recipe, seed
        self.rank, self.processes = rank, processes
        if recipe.mask_near is not None or recipe.uses_places:
            store.require_places("`mask_near`, `poi_positions` and `crop_pois` ask where they are")
        self.around = around if recipe.uses_pois and recipe.pois_around else None
        surrounded = None if self.around is None else np.asarray(np.isfinite(self.around).all(axis=1))
        self.negatives = Negatives(store, recipe, surrounded)
        seen = np.flatnonzero(store.views > 0)
        if len(seen) < 2:
            raise ArtefactError(
                f"{store.path} has {len(seen)} region(s) with an image; contrasts need at least 2. "
                "Use a smaller `regions.size`, or more images."
            )
        kept_out = choose_held_out(store.regions.index[seen], recipe.held_out, seed)
        self.rows, self.held_out = seen[~kept_out], seen[kept_out]

    @cached_property
    def steps(self) -> int:
        """Steps an epoch; all epochs have as many."""
        return len(self._cuts) - 1

    def order(self, epoch: int) -> list[NDArray[np.int64]]:
        """Return the rows of each step of an epoch."""
        shuffled = np.random.default_rng(seed_for(Purpose.ORDER, self.seed, epoch)).permutation(self.rows)
        return [shuffled[start:end] for start, end in zip(self._cuts[:-1], self._cuts[1:], strict=True)]

    def epoch(self, epoch: int, done: int = 0, *, pinned: bool = False) -> Iterator[Batch]:
        """Yield the batches of an epoch after the first ``done``; the next is read while one is used.

        ``pinned`` puts them into memory from which a GPU copies without the host's help.
        """
        steps = list(enumerate(self.order(epoch)))[done:]
        batches = (self._batch(epoch, step, rows, self._share(rows)) for step, rows in steps)
        return prefetched((batch.pinned() for batch in batches) if pinned else batches)

    def held_out_batches(self) -> Iterator[Batch]:
        """Yield the held-out regions, unshared, with the dates that they always have, step by step."""
        steps = range(0, len(self.held_out), self.recipe.batch_size)
        rows = (self.held_out[start : start + self.recipe.batch_size] for start in steps)
        batches = (self._batch(0, s, some, Share.of(len(some)), Purpose.HELD_OUT) for s, some in enumerate(rows))
        return prefetched(batches)

    def _share(self, rows: NDArray[np.int64]) -> Share:
        return Share.of(len(rows), rank=self.rank, processes=self.processes)

    @cached_property
    def _cuts(self) -> NDArray[np.int64]:
        """Where batches begin and end: a last short one is kept, unless a single region is left over."""
        size, regions = self.recipe.batch_size, len(self.rows)
        if self.recipe.last_batch == "drop":
            return np.arange(0, regions + 1, size)
        cuts = np.append(np.arange(0, regions, size), regions)
        return cuts[:-1] if cuts[-1] - cuts[-2] < 2 else cuts

    def _batch(
        self, epoch: int, step: int, rows: NDArray[np.int64], share: Share, purpose: Purpose = Purpose.DATES
    ) -> Batch:
        random = np.random.default_rng(seed_for(purpose, self.seed, epoch, step))
        first, second = self._pair(rows, share, random)
        near = self.negatives.near(rows[share.own], rows)
        encoded = rows[share.encoded]
        return Batch(
            epoch=epoch,
            step=step,
            rows=encoded,
            share=share,
            first=first,
            second=second,
            pois=self._pois(encoded),
            near=near,
            not_negative=self.negatives.inter(rows[share.own], rows, near),
        )

    @cached_property
    def _frames(self) -> NDArray[np.float32]:
        return patch_frames(self.store.regions)

    def _pois(self, rows: NDArray[np.int64]) -> PoiBatch:
        frames = self._frames[rows] if self.recipe.uses_places else None
        around = None if self.around is None else self.around[rows]
        return PoiBatch.from_bags(self.store.bags.take(rows), len(self.store.info.taxonomy), frames, around)

    def _pair(self, rows: NDArray[np.int64], share: Share, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Choose the dates of the two views of each region, and read them."""
        chosen = [random.permutation(dates)[:2] for dates in self.store.views[rows]][share.encoded]
        patches = self.store.patches(rows[share.encoded])
        one = np.stack([views[dates[0]] for views, dates in zip(patches, chosen, strict=True)])
        if not self.recipe.dates_as_views:
            return torch.from_numpy(one), torch.from_numpy(one)
        two = np.stack([views[dates[-1]] for views, dates in zip(patches, chosen, strict=True)])
        return torch.from_numpy(one), torch.from_numpy(two)


def choose_held_out(ids: Sequence[str], part: float, seed: int) -> NDArray[np.bool_]:
    """Choose the regions that are kept out of training, by nothing but their names and the seed.

    Parameters
    ----------
    ids
        Names of the ``n`` regions that have an image, in any order.
    part
        Part of them that is kept out, at most :data:`MOST_HELD_OUT` regions; none where that would be fewer
        than :data:`LEAST_HELD_OUT`.
    seed
        Another seed keeps out others.

    Returns
    -------
    Whether a region is kept out, shape ``(n,)``.
    """
    kept_out = np.zeros(len(ids), bool)
    count = min(MOST_HELD_OUT, round(part * len(ids)))
    if count >= LEAST_HELD_OUT:
        # the lowest hashes: the choice depends on no order, and changes little as regions are added
        hashes = [hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest() for name in ids]
        kept_out[sorted(range(len(ids)), key=lambda row: (hashes[row], ids[row]))[:count]] = True
    return kept_out


def seed_for(purpose: Purpose, seed: int, epoch: int, step: int = 0) -> np.random.SeedSequence:
    """Return the seed of one purpose at one step: nothing that is random depends on what came before."""
    # as many numbers for each purpose: a seed sequence does not tell [1, 2] from [1, 2, 0]
    return np.random.SeedSequence([seed % 2**63, epoch, step, purpose])


def prefetched(items: Iterable[T], ahead: int = READ_AHEAD) -> Iterator[T]:
    """Yield items that a background thread makes ahead of their use.

    An error of the thread is raised here; a caller that stops early stops the thread.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None, bool]] = queue.Queue(ahead)
    stop = threading.Event()

    def work() -> None:
        try:
            for item in items:
                if not _put(waiting, (item, None, False), stop):
                    return
            _put(waiting, (None, None, True), stop)
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            _put(waiting, (None, error, True), stop)

    thread = threading.Thread(target=work, name="mmgr-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            item, error, done = waiting.get()
            if error is not None:
                raise error
            if done:
                return
            yield item  # type: ignore[misc]  # None stands for the end alone
    finally:
        stop.set()
        thread.join()


def _put(waiting: queue.Queue[T], item: T, stop: threading.Event) -> bool:
    """Put an item into a queue that may be full, unless the reader has gone."""
    while not stop.is_set():
        try:
            waiting.put(item, timeout=0.1)
        except queue.Full:
            continue
        return True
    return False
