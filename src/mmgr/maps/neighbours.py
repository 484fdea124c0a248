"""Regions whose vectors are alike, and a few regions worth showing."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def nearest_neighbours(
    embeddings: ArrayLike,
    rows: ArrayLike,
    k: int,
    *,
    centres: ArrayLike | None = None,
    min_distance: float = 0.0,
    candidates: ArrayLike | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the regions whose vectors point most nearly the same way.

    Parameters
    ----------
    embeddings
        Shape ``(n, d)``. Rows that are zero or not finite are nobody's neighbours.
    rows
        Regions to find neighbours of, shape ``(m,)``.
    k
        Neighbours for each.
    centres
        Centres in metres, shape ``(n, 2)``; needed for ``min_distance``.
    min_distance
        Regions nearer than this in space are left out: that neighbours look alike says little.
    candidates
        Regions that may be neighbours, boolean, shape ``(n,)``; all by default.

    Returns
    -------
    Rows of the neighbours, most alike first, and their cosine similarities, both of shape
    ``(m, k)``; -1 and NaN where there are fewer.
    """
    unit, usable = _unit_vectors(embeddings)
    if candidates is not None:
        usable = usable & np.asarray(candidates, bool)
    rows = np.asarray(rows, np.int64)
    found = np.full((len(rows), k), -1, np.int64)
    similarity = np.full((len(rows), k), np.nan, np.float32)
    for place, row in enumerate(rows):
        if not unit[row].any():
            continue  # no direction, nothing alike
        cosine = unit @ unit[row]
        allowed = usable.copy()
        allowed[row] = False
        if centres is not None and min_distance > 0:
            offset = np.asarray(centres, np.float64) - np.asarray(centres, np.float64)[row]
            allowed &= np.hypot(offset[:, 0], offset[:, 1]) >= min_distance
        choice = np.flatnonzero(allowed)
        # a stable sort: regions exactly alike come in the order of the store
        best = choice[np.argsort(-cosine[choice], kind="stable")[:k]]
        found[place, : len(best)] = best
        similarity[place, : len(best)] = cosine[best]
    return found, similarity


def choose_examples(
    embeddings: ArrayLike, n: int, seed: int, *, preferred: ArrayLike | None = None
) -> NDArray[np.int64]:
    """Choose regions that are unlike each other, by k-means++ seeding on directions.

    Parameters
    ----------
    embeddings
        Shape ``(n_regions, d)``.
    n
        How many to choose; fewer come back where there are fewer distinct ones.
    seed
        Of the random choice.
    preferred
        Regions to choose from before all others, such as those with an image, boolean.

    Returns
    -------
    Rows in the order of choice, which is the same for the same seed.
    """
    unit, usable = _unit_vectors(embeddings)
    random = np.random.default_rng(seed)
    wanted = usable & (np.ones(len(unit), bool) if preferred is None else np.asarray(preferred, bool))
    chosen: list[int] = []
    for pool in (wanted, usable & ~wanted):
        distance = np.where(pool, 4.0, 0.0)  # no two directions are further apart
        for row in chosen:
            distance = np.minimum(distance, _squared_distance(unit, row))
        while len(chosen) < n and distance.sum() > 0:
            chosen.append(int(random.choice(len(unit), p=distance / distance.sum())))
            distance = np.minimum(distance, _squared_distance(unit, chosen[-1]))
    return np.array(chosen, np.int64)


def _unit_vectors(embeddings: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    vectors = np.asarray(embeddings, np.float32)
    length = np.linalg.norm(vectors, axis=1)
    usable = np.isfinite(length) & (length > 0)
    unit = np.zeros_like(vectors)
    unit[usable] = vectors[usable] / length[usable, None]
    return unit, np.asarray(usable)


def _squared_distance(unit: NDArray[np.float32], row: int) -> NDArray[np.float64]:
    distance = 2.0 - 2.0 * (unit @ unit[row]).astype(np.float64)
    # rounding leaves a region a hair away from itself and its copies
    return np.where(distance < 1e-5, 0.0, distance)
