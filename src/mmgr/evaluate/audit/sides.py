"""What stands on both sides of a split: things that units share, and ground that they share or nearly do."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

Rows = NDArray[np.int64]
Folds = Sequence[tuple[Rows, Rows]]

_TOUCHING = 1e-3
"""Metres within which outlines touch: reprojected corners stray by less."""
_SLIVER = 1e-6
"""A smaller part of the smaller of two outlines is a sliver of rounding."""


@dataclass(frozen=True, slots=True)
class Shared:
    """How many tested units share something with a training unit of their fold."""

    count: int
    """Tested units that do, over all folds."""
    tested: int
    """Tested units over all folds."""

    @property
    def share(self) -> float:
        """``count / tested``."""
        return self.count / self.tested if self.tested else 0.0


@dataclass(frozen=True, slots=True)
class Nearness:
    """How near training units lie to tested ones, between outlines."""

    tested: int
    nearest: float
    """Metres between the two nearest; infinite without any."""
    median: float
    """Median distance from a tested unit to its nearest training unit."""
    near: int
    """Tested units with a training unit nearer than the limit."""
    touching: int
    """Tested units that touch one."""
    overlapping: int
    """Tested units that share ground with one."""


def membership(keys: Sequence[Iterable[Hashable]]) -> sparse.csr_array:
    """Return which of all distinct keys each unit has, shape ``(n, keys)``, boolean."""
    number: dict[Hashable, int] = {}
    rows, columns = [], []
    for row, held in enumerate(keys):
        for key in set(held):
            rows.append(row)
            columns.append(number.setdefault(key, len(number)))
    ones = np.ones(len(rows), bool)
    return sparse.csr_array((ones, (rows, columns)), shape=(len(keys), max(1, len(number))))


def shared_by_sides(held: sparse.csr_array, folds: Folds) -> Shared:
    """Count the tested units that hold something that a training unit of their fold holds too.

    Parameters
    ----------
    held
        What each unit holds, shape ``(u, k)``.
    folds
        Rows to train on and to test on.
    """
    counts = held.astype(bool).astype(np.int64).tocsr()
    found = tested = 0
    for train, test in folds:
        trained = (np.asarray(counts[train].sum(axis=0)).ravel() > 0).astype(np.int64)
        found += int((counts[test] @ trained > 0).sum())
        tested += len(test)
    return Shared(found, tested)


def nearness(shapes: NDArray[np.object_], folds: Folds, limit: float = 0.0) -> Nearness:
    """Measure the distance from each tested unit's outline to the nearest training unit's.

    Parameters
    ----------
    shapes
        Outlines in metres, shape ``(u,)``.
    folds
        Rows to train on and to test on.
    limit
        Distance in metres below which a training unit is near.
    """
    distances: list[NDArray[np.float64]] = [np.zeros(0)]
    overlapping = 0
    for train, test in folds:
        tree = shapely.STRtree(shapes[train])
        found, distance = tree.query_nearest(shapes[test], return_distance=True, all_matches=False)
        nearest = np.full(len(test), np.inf)
        nearest[found[0]] = distance
        distances.append(nearest)
        touched = np.flatnonzero(nearest <= _TOUCHING)
        overlapping += _share_ground(shapes[test][touched], shapes[train], tree)
    every = np.concatenate(distances)
    return Nearness(
        tested=len(every),
        nearest=float(every.min()) if len(every) else np.inf,
        median=float(np.median(every)) if len(every) else np.inf,
        near=int((every < limit * (1 - _TOUCHING)).sum()),
        touching=int((every <= _TOUCHING).sum()),
        overlapping=overlapping,
    )


def _share_ground(tested: NDArray[np.object_], trained: NDArray[np.object_], tree: shapely.STRtree) -> int:
    """Return how many of some outlines share ground, not an edge, with one in the tree."""
    one, other = tree.query(tested, predicate="intersects")
    ground = shapely.area(shapely.intersection(tested[one], trained[other]))
    smaller = np.minimum(shapely.area(tested)[one], shapely.area(trained)[other])
    return len(np.unique(one[ground > _SLIVER * smaller]))


def boxes(bounds: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return a rectangle for each west, south, east and north, shape ``(n, 4)``."""
    return np.asarray(shapely.box(*bounds.T), object)


def within_reach(centres: NDArray[np.float64], folds: Folds, reach: float) -> Shared:
    """Count the tested units with a training unit's centre nearer than ``reach`` metres."""
    found = tested = 0
    for train, test in folds:
        distance, _ = cKDTree(centres[train]).query(centres[test])
        found += int((distance < reach * (1 - 1e-9)).sum())
        tested += len(test)
    return Shared(found, tested)
