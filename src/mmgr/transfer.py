"""A trained model in another city: it reads the POIs there by the names of their categories.

No two cities have the same categories. What a model knows of one is its vector, and what it says of a region's POIs
has no column for a category: so its table of vectors is written anew in the order of the city's own categories, and
all that it says stays in the space that it was trained in.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from mmgr.console import log
from mmgr.errors import ArtefactError
from mmgr.learn.model import MultiModalModel
from mmgr.store import PoiBags, RegionStore
from mmgr.taxonomy import Taxonomy

_SHOWN = 5
"""How many categories an error names."""


@dataclass(frozen=True, slots=True)
class Transferred:
    """A model that reads the POIs of another city, and these POIs."""

    model: MultiModalModel
    """It knows the store's categories; to embed, not to train: its losses still mean those that it was trained on."""
    bags: PoiBags
    """The store's POIs, without those of categories that are left out."""
    told: str
    """Which categories the model knows, in words; empty where they are the ones that it was trained on."""


def transferred(model: MultiModalModel, taxonomy: Taxonomy, store: RegionStore) -> Transferred:
    """Make a model read a store's POIs by the names of their categories.

    A category is found by both of its names. One that the model does not know has the mean of its first level's
    vectors, as in :meth:`mmgr.categories.CategoryVectors.of`; where the first level is unknown, too, its POIs are left
    out. One line of the log names both. A category that the store lacks does not occur.

    Parameters
    ----------
    model
        It stays as it is.
    taxonomy
        The categories that it was trained on.
    store
        The regions of another city; without POIs, or with the same categories, nothing changes.

    Raises
    ------
    ArtefactError
        If not even a first level of the store's categories is known, or categories have numbers for names.
    """
    table = category_table(model, taxonomy, store)
    if table is None:
        return Transferred(model, store.bags, "")
    from mmgr.categories.vectors import named_with_counts  # noqa: PLC0415 - numba loads slowly

    here, bags = store.info.taxonomy, store.bags
    pois = np.bincount(bags.category, weights=bags.count, minlength=len(here))
    left_out = np.asarray(np.isnan(table).all(axis=1))
    by_first = ~left_out & (taxonomy.ids(here.first, here.second) < 0)
    told = f"{len(here)}, of which the bundle's model knows {len(here) - (by_first | left_out).sum()}"
    for some, what in ((by_first, "have the mean vector of their first level"), (left_out, "are unknown and left out")):
        if some.any():
            names = [here.names[row] for row in np.flatnonzero(some)]
            told += (
                f"; {len(names)}, with {pois[some].sum():,.0f} of {pois.sum():,.0f} POIs of regions, {what}: "
                f"{named_with_counts(names, pois[some])}"
            )
    (log.warning if (by_first | left_out).any() else log.info)("%s: POI categories: %s", store.path, told)
    model = deepcopy(model)
    model.poi_encoder.vectors = torch.from_numpy(np.nan_to_num(table)).to(model.poi_encoder.vectors.device)
    return Transferred(model, bags.only(~left_out[bags.category]), told)


def category_table(model: MultiModalModel, taxonomy: Taxonomy, store: RegionStore) -> NDArray[np.float32] | None:
    """Return the vector that a model has for each of a store's categories; the parameters are those of `transferred`.

    Returns
    -------
    Shape ``(categories, dimensions)``, NaN for categories of which not even the first level is known; None where the
    model reads the store's categories as they are, or no POIs at all.

    Raises
    ------
    ArtefactError
        As :func:`transferred`.
    """
    here, vectors = store.info.taxonomy, model.category_vectors
    if vectors is None or not len(here) or here == taxonomy:
        return None
    if here.is_numbered or taxonomy.is_numbered:
        raise ArtefactError(
            f"{store.path} has {len(here)} POI categories, the bundle's model knows {len(taxonomy)}, and those of one "
            "have numbers for names, which mean other things elsewhere. Use a bundle that was trained on these "
            "categories, or train one: leave `pretrain.bundle` out."
        )
    from mmgr.categories.vectors import vectors_by_name  # noqa: PLC0415 - numba loads slowly

    table = vectors_by_name(list(zip(here.first, here.second, strict=True)), taxonomy, vectors)
    if np.isnan(table).all():
        raise ArtefactError(
            f"{store.path} has {len(here)} POI categories ({_some(here.first)}), and the bundle's model knows none of "
            f"them, nor of their first levels ({_some(taxonomy.first)}). Name them as there, by the columns that "
            "`pois` reads, leave `pois` out, or train a model: leave `pretrain.bundle` out."
        )
    return table


def _some(first: tuple[str, ...]) -> str:
    """Name some of the first levels."""
    names = sorted(set(first))
    return ", ".join([*map(repr, names[:_SHOWN]), *(["..."] if len(names) > _SHOWN else [])])
