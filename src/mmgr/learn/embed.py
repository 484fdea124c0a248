"""Embedding: one vector per region from a trained model, `[image, POI]`, either part usable alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from mmgr.components import Components
from mmgr.console import track
from mmgr.errors import ArtefactError
from mmgr.learn.augment import normalise_
from mmgr.learn.data import made_ahead, prefetched, readers
from mmgr.learn.devices import choose_device
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.places import patch_frames
from mmgr.learn.poi_batch import PoiBatch
from mmgr.learn.recipes import Recipe
from mmgr.memory import kept_memory
from mmgr.store import PoiBags, RegionStore

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Embeddings:
    """The vectors of ``n`` regions; a missing part holds the mean of the others'."""

    image: NDArray[np.float32]
    """Image features, shape ``(n, F)``; for a recipe with components, the first of them in their own sizes."""
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
"""Turns normalised whole patches, shape ``(B, C, H, W)``, on the device, into what
:meth:`mmgr.learn.model.MultiModalModel.describe_images` gives, shape ``(B, D)``."""

SAMPLE = 2048
"""Regions, evenly spread over the store, whose images tell the components of all."""
MOST_COMPONENTS = 256
"""Components that are kept of an image's features before groups are taken apart."""


@kept_memory()
def embed(
    model: MultiModalModel,
    store: RegionStore,
    recipe: Recipe,
    *,
    batch: int | None = None,
    device: str = "auto",
    encode: ImageEncoder | None = None,
    bags: PoiBags | None = None,
) -> Embeddings:
    """Embed all regions of a store; nothing is random.

    A patch is seen whole, resized to the model's ``whole_edge``. A region with several dates gets the mean of their
    features. With components, columns are scaled to variance 1 first. The model is left on the device and in evaluation
    mode. ``batch`` is how many regions are described at once, :func:`batch_for` the device unless it is set. ``encode``
    takes the place of the model's image encoder, such as :func:`mmgr.learn.quantised.quantised_encoder`, which is
    faster on a CPU, and ``bags`` that of the store's POIs (:func:`mmgr.transfer.transferred`).

    Raises
    ------
    ArtefactError
        If the store has other bands or other categories than the model.
    """
    check_fit(model, store)
    place = choose_device(device)
    batch = batch or batch_for(place)
    model = model.to(place).eval()
    describe = model.describe_images if encode is None else lambda views: torch.from_numpy(encode(views))
    bags, seen = store.bags if bags is None else bags, store.views > 0

    def described(rows: Rows) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
        return described_images(describe, store, rows, edge=model.whole_edge, batch=batch, device=place)

    pois = _described_pois(model, store, bags, batch, place)
    return Embeddings(
        image=_filled(_described(described, np.flatnonzero(seen), recipe, len(store), model.image_features), seen),
        poi=_filled(pois, bags.known),
        has_image=seen,
        has_poi=bags.known,
    )


def batch_for(device: torch.device) -> int:
    """Return how many regions are described at once: on a GPU so many that sending them off takes less than the work.

    On a CPU more would only take more memory.
    """
    return 256 if device.type == "cuda" else 64


def described_images(
    describe: Callable[[Tensor], Tensor],
    store: RegionStore,
    rows: Rows,
    *,
    edge: int,
    batch: int,
    device: torch.device,
) -> Iterator[tuple[Rows, NDArray[np.float32]]]:
    """Describe the images of regions that have some, ``batch`` regions at a time: the mean over dates of whole patches.

    Patches are read ahead, and a batch's features are read back when the next batch has been sent off: a GPU has always
    work.

    Yields
    ------
    Rows, shape ``(B,)``, and what ``describe`` makes of their normalised whole patches, shape ``(B, D)``.
    """
    chunks = _in_chunks(rows, batch)

    def read(some: Rows) -> Tensor:
        return _pinned(torch.from_numpy(np.concatenate(store.patches(some))), device)

    patches = made_ahead((partial(read, some) for some in chunks), readers=readers(pinned=device.type == "cuda"))
    features = (
        _image_features(describe, some, edge, batch, device) for some in track(patches, "embedding", total=len(chunks))
    )
    for some, found in zip(chunks, _one_behind(features), strict=True):
        dates = store.views[some]
        totals = np.add.reduceat(found, np.cumsum(dates) - dates)
        yield some, np.asarray(totals / dates[:, None], np.float32)


def _described_pois(
    model: MultiModalModel, store: RegionStore, bags: PoiBags, batch: int, device: torch.device
) -> NDArray[np.float32]:
    """Return the POI part of all regions, shape ``(n, P)``; NaN where POIs are not known."""
    pois = np.full((len(store), model.poi_features), np.nan, np.float32)
    frames = patch_frames(store.regions) if model.recipe.uses_places else None

    def read(rows: Rows) -> PoiBatch:
        where = None if frames is None else frames[rows]
        return PoiBatch.from_bags(bags.take(rows), model.categories, where).changed(lambda part: _pinned(part, device))

    @torch.inference_mode()
    def features(some: PoiBatch) -> Tensor:
        return model.describe_pois(some.to(device)).float()

    chunks = _in_chunks(np.arange(len(store) if model.poi_features else 0), batch)
    for rows, found in zip(chunks, _one_behind(map(features, prefetched(map(read, chunks)))), strict=True):
        known = bags.known[rows]
        pois[rows[known]] = found[known]
    return pois


def _described(
    described: Callable[[Rows], Iterator[tuple[Rows, NDArray[np.float32]]]],
    seen: Rows,
    recipe: Recipe,
    regions: int,
    features: int,
) -> NDArray[np.float32]:
    """Return the features of all regions, or their components, shape ``(n, F)``; NaN without an image.

    Components are those of a sample of regions, and of other regions nothing but components is kept: of many regions,
    what all stages of an encoder tell would not fit in memory.
    """
    if not len(seen):
        return np.full((regions, features), np.nan, np.float32)
    sample, rest = seen, np.zeros(0, np.int64)
    if recipe.image_components is not None:
        chosen = np.unique(np.linspace(0, len(seen) - 1, min(SAMPLE, len(seen))).round().astype(np.int64))
        sample, rest = seen[chosen], np.delete(seen, chosen)
    first = np.concatenate([found for _, found in described(sample)])
    change: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda found: found  # noqa: E731
    if recipe.image_components is not None:
        change = Components.of(first, MOST_COMPONENTS, scaled=True)
    first = change(first)
    images = np.full((regions, first.shape[1]), np.nan, np.float32)
    images[sample] = first
    for rows, found in described(rest):
        images[rows] = change(found)
    return images


def check_fit(model: MultiModalModel, store: RegionStore) -> None:
    """Check that a model can embed a store.

    Raises
    ------
    ArtefactError
        If the store has other bands or other categories than the model.
    """
    check_bands(model, store)
    if model.categories and len(store.info.taxonomy) not in {0, model.categories}:
        raise ArtefactError(
            f"{store.path} has {len(store.info.taxonomy)} POI categories, the model knows {model.categories}; "
            "embed with a model that was trained on this taxonomy, or with `mmgr.transfer.transferred`'s."
        )


def check_bands(model: MultiModalModel, store: RegionStore) -> None:
    """Check that a store's patches have the bands that a model sees.

    Raises
    ------
    ArtefactError
        If they have others.
    """
    if store.info.bands != model.bands:
        raise ArtefactError(
            f"{store.path} has patches of {store.info.bands} bands, the model saw {model.bands}; set `images.bands`."
        )


def random_model(recipe: Recipe, vectors: NDArray[np.float32] | None, bands: int, seed: int) -> MultiModalModel:
    """Make the untrained model of a recipe: the baseline that training must beat.

    In evaluation mode its batch norms use the statistics that they start with (mean 0, variance 1), as it is
    done in the literature: they scale nothing, and features stay a fixed random function of the patch.
    """
    return seeded_model(recipe.model_copy(update={"weights": "random"}), vectors, bands, seed).eval()


@torch.inference_mode()
def _image_features(
    describe: Callable[[Tensor], Tensor], patches: Tensor, edge: int, batch: int, device: torch.device
) -> Tensor:
    """Return the features of patches, shape ``(v, H, W, C)`` to ``(v, D)``, ``batch`` at a time, on the device."""
    parts = torch.split(patches, batch)
    return torch.cat([describe(whole_views(some.to(device, non_blocking=True), edge)) for some in parts])


def _in_chunks(rows: Rows, batch: int) -> list[Rows]:
    return [rows[start : start + batch] for start in range(0, len(rows), batch)]


def _pinned(part: Tensor, device: torch.device) -> Tensor:
    """Put a tensor where a GPU copies it from without the host's help; for a CPU it stays where it is."""
    return part.pin_memory() if device.type == "cuda" else part


def _one_behind(results: Iterable[Tensor]) -> Iterator[NDArray[np.float32]]:
    """Yield results on the host, each when the next one has been asked for: a GPU works on that meanwhile."""
    waiting: deque[Callable[[], NDArray[np.float32]]] = deque()
    for result in results:
        waiting.append(_on_its_way(result))
        if len(waiting) > 1:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def _on_its_way(result: Tensor) -> Callable[[], NDArray[np.float32]]:
    """Send a result to the host, and return what waits for it."""
    if not result.is_cuda:
        return lambda: result.cpu().numpy()
    there = result.to("cpu", non_blocking=True)  # PyTorch pins what nobody waits for
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(result.device))

    def wait() -> NDArray[np.float32]:
        arrived.synchronize()
        return there.numpy()

    return wait


def whole_views(patches: Tensor, edge: int) -> Tensor:
    """Resize and normalise patches, shape ``(B, H, W, C)`` to ``(B, C, edge, edge)``."""
    # band by band it is resized nearly twice as fast, and to the same bits
    images = patches.permute(0, 3, 1, 2).contiguous().float().div_(255)
    if images.shape[-2:] != (edge, edge):
        # the filter of the views, which has one pass less to make where all patches are seen whole
        images = interpolate(images, size=(edge, edge), mode="bilinear", antialias=True)
    return normalise_(images)


def _filled(values: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Put the mean of the known rows, or zeros, where there are none."""
    values[~known] = values[known].mean(0, dtype=np.float64) if known.any() else 0
    return values
