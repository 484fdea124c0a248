"""The table of categories behind POI vectors: POIs of one category have one vector, to the last bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmgr.categories import CategoryVectors
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.store import PoiBags
from mmgr.taxonomy import Taxonomy

MOST_CATEGORIES = 10_000
"""More distinct vectors than this are not those of categories."""


def recover_categories(vectors: Sequence[NDArray[np.float32]]) -> tuple[CategoryVectors, list[NDArray[np.int64]]]:
    """Find the distinct vectors of all POIs.

    Categories that share a vector cannot be told apart, and become one.

    Parameters
    ----------
    vectors
        One vector a POI, shape ``(POIs, d)`` for each region.

    Returns
    -------
    The categories `category_0001` and on, the most frequent first, with their vectors; and the category of each POI of
    each region.

    Raises
    ------
    PoiError
        If there is no POI, or there are so many distinct vectors that they belong to POIs and not to categories.
    """
    numbers: dict[bytes, int] = {}
    found: list[NDArray[np.int64]] = []
    for values in vectors:
        rows = [row.tobytes() for row in values + np.float32(0)]  # -0 becomes 0, which equals it
        found.append(np.array([numbers.setdefault(row, len(numbers)) for row in rows], np.int64))
        if len(numbers) > MOST_CATEGORIES:
            raise PoiError(
                f"the POIs have more than {MOST_CATEGORIES:,} distinct vectors: they differ from POI to POI, so that "
                "no table of categories stands behind them."
            )
    if not numbers:
        raise PoiError("no region has a POI.")
    table = np.stack([np.frombuffer(row, np.float32) for row in numbers])
    counts = np.bincount(np.concatenate(found), minlength=len(table))
    order = np.argsort(-counts, kind="stable")
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    digits = max(4, len(str(len(order))))
    names = tuple(f"category_{place:0{digits}}" for place in range(1, len(order) + 1))
    log.info("%d POIs have %d distinct vectors: so many categories", counts.sum(), len(order))
    made = CategoryVectors(
        Taxonomy(names, names), table[order], counts[order].astype(np.float64), provenance={"method": "imported"}
    )
    return made, [number[rows] for rows in found]


def bags_of(categories: Sequence[NDArray[np.int64]], area_km2: NDArray[np.float32]) -> PoiBags:
    """Count the categories of each region's POIs; where they lie is unknown.

    Parameters
    ----------
    categories
        The category of each POI of each of ``n`` regions.
    area_km2
        Shape ``(n,)``.
    """
    counted = [np.unique(rows, return_counts=True) for rows in categories]
    entries = sum(len(some) for some, _ in counted)
    return PoiBags(
        starts=np.cumsum([0, *(len(some) for some, _ in counted)]).astype(np.int64),
        category=np.concatenate([some for some, _ in counted]).astype(np.int32),
        count=np.concatenate([counts for _, counts in counted]).astype(np.float32),
        offset=np.full((entries, 2), np.nan, np.float32),
        area_km2=area_km2,
        unit=np.full(len(counted), "", object),
    )
