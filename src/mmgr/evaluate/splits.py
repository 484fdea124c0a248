"""Spatial cross-validation with scikit-learn's splitter interface.

A score is worth what its split is worth: units near a test unit are not trained on.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse

from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.folds import MIN_TRAINING, BaseFolds, Splitter, points_of
from mmgr.evaluate.names import NEVER, fold_names, names_of, roles_of
from mmgr.evaluate.tuning import Rows, balanced

__all__ = [
    "MIN_GROUP",
    "MIN_TRAINING",
    "LeaveOneGroupOut",
    "OwnFolds",
    "RandomFolds",
    "SpatialBlocks",
    "Splitter",
    "block_of",
    "choose_block",
    "large_groups",
]

MIN_GROUP = 5
"""A group with fewer units is no fold of its own."""


class SpatialBlocks(BaseFolds):
    """Folds of square blocks: neighbours are tested together.

    A search inside the folds of another split sees some of the units only. It takes their centres as ``groups``, for
    which the blocks are laid anew::

        search = GridSearchCV(model, grid, cv=SpatialBlocks(centres, block=500))
        cross_val_score(search, X, y, cv=SpatialBlocks(centres, block=2000), params={"groups": centres})

    Parameters
    ----------
    centres
        Centre of each unit in metres, shape ``(n, 2)``.
    block
        Edge of a block in metres. Choose it above the label's autocorrelation range.
    folds
        Number of folds. Blocks are taken in random order, each by the fold with the fewest units.
    buffer
        Training units whose centre is nearer than this (m) to a test unit's are left out.
    seed
        Of the order of blocks.
    linked
        Pairs of units that are never on both sides, shape ``(n, n)``, as those that share a region.
    blocks
        Number of each unit's block, shape ``(n,)``, where blocks are no squares about the centres.

    Raises
    ------
    SplitError
        If there are fewer occupied blocks than folds.
    """

    def __init__(
        self,
        centres: ArrayLike,
        *,
        block: float,
        folds: int = 5,
        buffer: float = 0.0,
        seed: int = 0,
        linked: sparse.csr_array | None = None,
        blocks: ArrayLike | None = None,
    ) -> None:
        points = points_of(centres, folds)
        if not block > 0:
            raise SplitError(f"the edge of a block must be positive metres, got {block}")
        self.block = float(block)
        self.blocks = block_of(points, block) if blocks is None else np.unique(blocks, return_inverse=True)[1]
        occupied = int(self.blocks.max()) + 1
        if occupied < folds:
            raise SplitError(
                f"blocks of {block:g} m hold the {len(points)} units in {occupied} blocks, fewer than {folds} folds; "
                "set a smaller `block` or fewer `folds`."
            )
        self.folds = folds
        self.seed = seed
        self._about_all = linked is not None or blocks is not None
        super().__init__(balanced(self.blocks, folds, seed)[self.blocks], points, buffer, linked)

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
        """Yield the rows to train on and the rows to test on, fold by fold.

        Parameters
        ----------
        X, y
            As scikit-learn passes them.
        groups
            Centres in metres, shape ``(m, 2)``, of other units than those that the splitter was made for, such as some
            of them; the same settings are used. Anything else is not looked at.

        Raises
        ------
        SplitError
            As without ``groups``; and with centres where ``linked`` or ``blocks`` are about all units.
        """
        if groups is None or np.ndim(groups) != 2:
            yield from super().split(X, y)
            return
        if self._about_all:
            raise SplitError("`linked` and `blocks` are of all units, not of those whose centres `groups` holds")
        anew = SpatialBlocks(groups, block=self.block, folds=self.folds, buffer=self.buffer, seed=self.seed)
        yield from anew.split(X, y)


class LeaveOneGroupOut(BaseFolds):
    """One fold per group, such as a city; units of small groups or of none are always trained on.

    Parameters
    ----------
    groups
        Group of each unit, shape ``(n,)``; an empty name, None or NaN means none.
    centres
        Centre of each unit in metres, shape ``(n, 2)``.
    buffer
        Training units whose centre is nearer than this (m) to a test unit's are left out.
    linked
        Pairs of units that are never on both sides, shape ``(n, n)``.

    Raises
    ------
    SplitError
        If fewer than two groups have :data:`MIN_GROUP` units.
    """

    def __init__(
        self, groups: ArrayLike, centres: ArrayLike, *, buffer: float = 0.0, linked: sparse.csr_array | None = None
    ) -> None:
        points = points_of(centres, 2)
        names, codes, sizes = np.unique(names_of(groups), return_inverse=True, return_counts=True)
        large = large_groups(groups)
        if len(large) < 2:
            listed = ", ".join(f"{name or '(none)'}: {size}" for name, size in zip(names, sizes, strict=True))
            raise SplitError(
                f"leaving one group out needs two groups of at least {MIN_GROUP} labelled units; there are {listed}."
            )
        small = [f"{name or '(none)'} ({size})" for name, size in zip(names, sizes, strict=True) if name not in large]
        if small:
            log.info("groups too small for a fold, always trained on: %s", ", ".join(small))
        self.groups = large
        place = np.array([large.index(name) if name in large else -1 for name in names])
        super().__init__(place[codes], points, buffer, linked)


class OwnFolds(BaseFolds):
    """A user's own folds, by name; a unit without one is always trained on.

    Parameters
    ----------
    names
        Fold of each unit, shape ``(n,)``; an empty name, None or NaN means none. Where all mean parts of one split
        (``train``, ``validation``, ``test``, in any case and usual spelling), the units of ``test`` are tested once
        and all others trained on. Of true and false, true is the one that is tested. Fold -1 is never tested and always
        trained on, as in scikit-learn's ``PredefinedSplit``.
    centres
        Centre of each unit in metres, shape ``(n, 2)``.
    buffer
        Training units whose centre is nearer than this (m) to a test unit's are left out.
    linked
        Pairs of units that are never on both sides, shape ``(n, n)``.

    Raises
    ------
    SplitError
        If there are fewer than two folds, or none beside -1, parts without ``test``, or parts beside other names,
        such as ``tset``.
    """

    def __init__(
        self, names: ArrayLike, centres: ArrayLike, *, buffer: float = 0.0, linked: sparse.csr_array | None = None
    ) -> None:
        points = points_of(centres, 2)
        own = fold_names(names)
        met = {str(name) for name in own if name}
        roles = roles_of(met)
        known = sorted(met - {NEVER})
        if roles is not None:
            place = {name: 0 for name, role in roles.items() if role == "test"}
            if not place:
                raise SplitError("the column of folds has parts to train on, but none called `test`")
        elif len(known) < (1 if NEVER in met else 2):
            raise SplitError(f"the column of folds has {len(known)} fold(s) ({', '.join(known)}) on labelled units")
        else:
            place = {name: number for number, name in enumerate(known)}
        self.names = tuple(place)
        super().__init__(np.array([place.get(str(name), -1) for name in own]), points, buffer, linked)


class RandomFolds(BaseFolds):
    """Folds without regard to place: optimistic, since test units have trained neighbours.

    Parameters
    ----------
    units
        Number of units.
    folds
        Number of folds.
    seed
        Of the shuffle.
    cells
        Number of the label cell that each unit has most of its label from, shape ``(units,)``: units of one cell
        stay together.
    linked
        Pairs of units that are never on both sides, shape ``(units, units)``.

    Raises
    ------
    SplitError
        If there are fewer units or cells than folds.
    """

    optimistic: ClassVar[bool] = True

    def __init__(
        self,
        units: int,
        *,
        folds: int = 5,
        seed: int = 0,
        cells: ArrayLike | None = None,
        linked: sparse.csr_array | None = None,
    ) -> None:
        points = points_of(np.zeros((units, 2)), folds)
        number = np.arange(units) if cells is None else np.unique(cells, return_inverse=True)[1]
        if number.max() + 1 < folds:
            raise SplitError(f"{number.max() + 1} label cells are fewer than {folds} folds; set fewer `folds`.")
        order = np.random.default_rng(seed).permutation(int(number.max()) + 1)
        fold = np.empty(len(order), np.int64)
        fold[order] = np.arange(len(order)) % folds
        super().__init__(fold[number], points, 0.0, linked)


def large_groups(groups: ArrayLike) -> tuple[str, ...]:
    """Return the names of the groups with at least :data:`MIN_GROUP` units."""
    names, sizes = np.unique(names_of(groups), return_counts=True)
    return tuple(str(name) for name, size in zip(names, sizes, strict=True) if name and size >= MIN_GROUP)


def block_of(centres: ArrayLike, block: float) -> Rows:
    """Return the number of each unit's square block, counted over occupied ones, shape ``(n,)``."""
    points = np.asarray(centres, np.float64)
    cell = np.floor((points - points.min(axis=0)) / block).astype(np.int64)
    _, number = np.unique(cell, axis=0, return_inverse=True)
    return np.asarray(number.ravel(), np.int64)


def choose_block(centres: ArrayLike, *, edge: float, folds: int) -> float:
    """Choose the edge of blocks in metres: large, but with enough blocks to shuffle.

    Candidates are 1, 2, 3, 4, 6, 8, 12, 16, ... times the regions' edge, up to half the extent. The
    largest is taken that leaves at least four occupied blocks a fold, none with more units than a
    fold should have; if there is none, the largest that leaves two blocks a fold, or one. Blocks
    narrower than three regions, of which a buffer would leave nothing, come last.

    Raises
    ------
    SplitError
        If no candidate leaves as many blocks as folds.
    """
    points = points_of(centres, folds)
    extent = float(np.ptp(points, axis=0).max()) + edge
    steps = sorted({2**k for k in range(40)} | {3 * 2**k for k in range(40)})
    ladder = [edge * step for step in steps if step == 1 or edge * step <= extent / 2]
    sizes = {block: np.bincount(block_of(points, block)) for block in ladder}
    fair = len(points) / folds
    for narrowest, blocks_per_fold in product((3 * edge, 0.0), (4, 2, 1)):
        enough = [b for b, units in sizes.items() if len(units) >= blocks_per_fold * folds and units.max() <= fair]
        good = [b for b in enough if b >= narrowest]
        if good:
            return float(max(good))
    good = [b for b, units in sizes.items() if len(units) >= folds]
    if not good:
        most = max(len(units) for units in sizes.values())
        raise SplitError(
            f"{len(points)} units lie in {most} blocks of {edge:g} m at most, fewer than {folds} folds; "
            "set fewer `folds`."
        )
    return float(max(good))
