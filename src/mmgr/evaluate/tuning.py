"""What a probe tunes is chosen inside the training units, on parts that lie apart from each other.

A penalty chosen on random training units is chosen for predicting next to known places, which is not what
held-out blocks ask for: it comes out too weak.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

Rows = NDArray[np.int64]
Inner = Sequence[tuple[Rows, Rows]]
"""Rows to fit on and rows to choose by, of each inner fold; rows are counted within the training units."""

INNER_FOLDS = 5


def inner_folds(
    groups: Rows | None, *, units: int, seed: int, linked: sparse.csr_array | None = None, folds: int = INNER_FOLDS
) -> Inner:
    """Divide training units into inner folds of whole groups, such as blocks.

    Parameters
    ----------
    groups
        Group of each training unit, shape ``(units,)``; without them, or of one group, units are dealt at random.
    units
        Number of training units.
    seed
        Of the order of groups.
    linked
        Pairs of units that are never on both sides, shape ``(units, units)``; this gives way where nothing would
        be left to fit on.
    folds
        Inner folds, fewer where there are fewer groups.

    Returns
    -------
    The folds; none where there are fewer than four units.
    """
    if units < 4:
        return ()
    number = np.arange(units) if groups is None else np.unique(groups, return_inverse=True)[1]
    if number.max() == 0:
        number = np.arange(units)
    fold = balanced(number, min(folds, int(number.max()) + 1), seed)[number]
    parts = []
    for one in range(int(fold.max()) + 1):
        chosen = fold == one
        apart = ~chosen
        if linked is not None:
            apart &= np.asarray(linked[np.flatnonzero(chosen)].sum(axis=0)).ravel() == 0
        if apart.sum() < 2:
            apart = ~chosen
        parts.append((np.flatnonzero(apart), np.flatnonzero(chosen)))
    return parts


def balanced(groups: Rows, folds: int, seed: int) -> Rows:
    """Give each group, in random order, to the fold with the fewest units so far; shape ``(groups,)``."""
    units = np.bincount(groups)
    fold = np.empty(len(units), np.int64)
    load = np.zeros(folds, np.int64)
    for group in np.random.default_rng(seed).permutation(len(units)):
        fold[group] = load.argmin()
        load[fold[group]] += units[group]
    return fold


def choose(
    candidates: Iterable[Any],
    errors: Callable[[Any, Rows, Rows], float],
    inner: Inner,
) -> Any:
    """Return the candidate with the least sum of errors over the inner folds; the first of equals.

    Parameters
    ----------
    candidates
        What is chosen from; the first is taken where there are no folds.
    errors
        Sum of errors on the second rows of what was fitted on the first.
    inner
        The inner folds.
    """
    found = list(candidates)
    totals = [sum(errors(candidate, fit, held) for fit, held in inner) for candidate in found]
    return found[int(np.argmin(totals))]
