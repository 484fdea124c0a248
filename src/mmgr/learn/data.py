"""Batches of regions, in an order that is a pure function of (seed, epoch, step)."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cached_property, partial
from itertools import count
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr.errors import ArtefactError
from mmgr.learn.augment import ViewParameters, seeded_draw
from mmgr.learn.negatives import Negatives
from mmgr.learn.places import patch_frames
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.recipes import Recipe
from mmgr.learn.share import Share
from mmgr.processes import cores
from mmgr.store import RegionStore

T = TypeVar("T")

MOST_HELD_OUT = 512
"""As many held-out regions measure retrieval to two percent; more would only cost time."""
LEAST_HELD_OUT = 32
"""Fewer say too little for what they take from the training."""
READ_AHEAD = 2
"""Batches that wait, ready, while one is used and others are read."""
MOST_READERS = 6
"""Threads that read batches for a GPU; each holds one in memory."""


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
    """Patches for the second view, of another date where there is one; ``first`` itself where no region has one."""
    drawn: tuple[ViewParameters, ViewParameters]
    """What is done to them."""
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
        first = change(self.first)
        return replace(
            self,
            first=first,
            second=first if self.second is self.first else change(self.second),
            drawn=(self.drawn[0].changed(change), self.drawn[1].changed(change)),
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
        """Yield the batches of an epoch after the first ``done``; the next are read while one is used.

        ``pinned`` puts them into memory from which a GPU copies without the host's help, and has several of them read
        at once: a GPU uses them up faster than one thread reads.
        """
        _ = self.store.bags, self._frames if self.recipe.uses_places else None  # once, before threads ask for them
        steps = list(enumerate(self.order(epoch)))[done:]
        makers = (partial(self._batch, epoch, step, rows, self._share(rows), pinned=pinned) for step, rows in steps)
        return made_ahead(makers, readers=readers(self.processes, pinned=pinned))

    def held_out_batches(self) -> Iterator[Batch]:
        """Yield the held-out regions, unshared, with the dates that they always have, step by step."""
        steps = range(0, len(self.held_out), self.recipe.batch_size)
        rows = (self.held_out[start : start + self.recipe.batch_size] for start in steps)
        return made_ahead(
            partial(self._batch, 0, step, some, Share.of(len(some)), held_out=True) for step, some in enumerate(rows)
        )

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
        self,
        epoch: int,
        step: int,
        rows: NDArray[np.int64],
        share: Share,
        *,
        held_out: bool = False,
        pinned: bool = False,
    ) -> Batch:
        purpose = Purpose.HELD_OUT if held_out else Purpose.DATES
        random = np.random.default_rng(seed_for(purpose, self.seed, epoch, step))
        first, second = self._pair(rows, share, random, pinned=pinned)
        near = self.negatives.near(rows[share.own], rows)
        encoded = rows[share.encoded]
        batch = Batch(
            epoch=epoch,
            step=step,
            rows=encoded,
            share=share,
            first=first,
            second=second,
            drawn=self._drawn(epoch, step, share, held_out=held_out),
            pois=self._pois(encoded),
            near=near,
            not_negative=self.negatives.inter(rows[share.own], rows, near),
        )
        return batch.pinned() if pinned else batch

    def _drawn(self, epoch: int, step: int, share: Share, *, held_out: bool) -> tuple[ViewParameters, ViewParameters]:
        """Draw the parameters of both views of each region; held-out regions have the same in every epoch."""

        def view(number: int) -> ViewParameters:
            place = (Purpose.HELD_OUT, 1 + number, step) if held_out else (Purpose.VIEWS, epoch, 2 * step + number)
            seed = seed_for(place[0], self.seed, *place[1:])
            return seeded_draw(share.total, self.recipe.augmentation, seed).take(share.encoded)

        return view(0), view(1)

    @cached_property
    def _frames(self) -> NDArray[np.float32]:
        return patch_frames(self.store.regions)

    def _pois(self, rows: NDArray[np.int64]) -> PoiBatch:
        frames = self._frames[rows] if self.recipe.uses_places else None
        around = None if self.around is None else self.around[rows]
        return PoiBatch.from_bags(self.store.bags.take(rows), len(self.store.info.taxonomy), frames, around)

    def _pair(
        self, rows: NDArray[np.int64], share: Share, random: np.random.Generator, *, pinned: bool
    ) -> tuple[Tensor, Tensor]:
        """Choose the dates of the two views of each region, and read them."""
        chosen = [random.permutation(dates)[:2] for dates in self.store.views[rows]][share.encoded]
        dates = np.array([[some[0] for some in chosen], [some[-1] for some in chosen]])  # (2, b)
        values, starts, _ = self.store.pixels(rows[share.encoded])

        def patches(of: NDArray[np.int64]) -> Tensor:
            found = torch.empty((len(of), *values.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
            np.take(values, starts + of, axis=0, out=found.numpy(), mode="clip")  # another mode would copy first
            return found

        first = patches(dates[0])
        alike = not self.recipe.dates_as_views or np.array_equal(*dates)
        return first, first if alike else patches(dates[1])


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


def readers(processes: int = 1, *, pinned: bool) -> int:
    """Return how many threads of each process read batches: one, or several for a GPU, which uses them up faster."""
    return max(2, min(MOST_READERS, cores() // processes)) if pinned else 1


def prefetched(items: Iterable[T], ahead: int = READ_AHEAD) -> Iterator[T]:
    """Yield items that a background thread makes ahead of their use; as of :func:`made_ahead`."""
    iterator, end = iter(items), object()
    for item in made_ahead((partial(next, iterator, end) for _ in count()), ahead=ahead):
        if item is end:
            return
        yield item


def made_ahead(makers: Iterable[Callable[[], T]], *, readers: int = 1, ahead: int = READ_AHEAD) -> Iterator[T]:
    """Yield what calls return, in their order; background threads make it ahead of its use.

    An error of a call is raised here, in its turn; a caller that stops early waits for the calls that have begun.

    Parameters
    ----------
    makers
        The calls; with several readers some of them run at once.
    readers
        Threads.
    ahead
        Results that wait, ready, while one is used and each reader makes another.
    """
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(readers, thread_name_prefix="mmgr-prefetch")
    try:
        for make in makers:
            waiting.append(pool.submit(make))
            if len(waiting) > ahead + readers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
