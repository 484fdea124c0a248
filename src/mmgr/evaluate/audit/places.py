"""Findings about where training and test units lie, for a run and for anybody's splits alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.audit.sides import Folds, Nearness, within_reach
from mmgr.evaluate.variogram import empirical_variogram

_SAME_LABEL = 0.05
"""Fewer test units than this share that have the label of their nearest training unit are no sign of anything."""
_MOST_ALIKE = 0.5
"""With more test units than this share within the label's range of a training unit, gaps are filled."""


def metres(length: float) -> str:
    """Write a length for people."""
    if not np.isfinite(length):
        return "no distance"
    return f"{length / 1000:,.3g} km" if length >= 1000 else f"{length:,.3g} m"


def percent(count: int, of: int) -> str:
    """Write a share with its count."""
    return f"{count:,} of {of:,} ({count / of:.0%})" if of else "none"


def autocorrelation(
    centres: NDArray[np.float64],
    labels: ArrayLike,
    folds: Folds,
    *,
    scope: str,
    groups: ArrayLike | None = None,
    block: float | None = None,
) -> Finding:
    """Say how far the label is alike, and how many test units have a training unit within that."""
    path = "alike labels nearby"
    found = empirical_variogram(centres, labels, groups=groups)
    if found is None:
        return Finding(path, "note", "Too few labelled pairs of places to tell how far labels are alike.", scope)
    numbers: dict[str, Any] = {"range": found.range, "range_is_bound": found.is_bound, "block": block}
    if found.range == 0:
        text = "Labels of near places are no more alike than any two."
        return Finding(path, "pass", text, scope, {**numbers, "within": 0})
    reach = within_reach(centres, folds, found.range)
    text = (
        f"Labels are alike up to {'more than ' if found.is_bound else 'about '}{metres(found.range)} (range of the "
        f"variogram); {percent(reach.count, reach.tested)} of test units have a training unit within that."
    )
    if block is not None:
        text += f" Blocks are {metres(block)} wide."
    numbers |= {"within": reach.count, "tested": reach.tested, "share": reach.share}
    if reach.share > _MOST_ALIKE:
        text += " Such a score is that of filling gaps, not of mapping a place that was not surveyed."
        return Finding(path, "named", text, scope, numbers)
    return Finding(path, "note" if reach.count else "pass", text, scope, numbers)


def same_labels(
    centres: NDArray[np.float64], labels: NDArray[np.float64], folds: Folds, *, scope: str, seed: int = 0
) -> Finding:
    """Compare how often a test unit has exactly the label of its nearest training unit, and of any training unit.

    Zeros are left out: many places have nobody.
    """
    path = "one label, many units"
    random = np.random.default_rng(seed)
    near = far = tested = 0
    for train, test in folds:
        asked = test[np.isfinite(labels[test]) & (labels[test] != 0)]
        known = train[np.isfinite(labels[train])]
        if not len(asked) or not len(known):
            continue
        _, nearest = cKDTree(centres[known]).query(centres[asked])
        near += int((labels[asked] == labels[known[nearest]]).sum())
        far += int((labels[asked] == labels[random.choice(known, len(asked))]).sum())
        tested += len(asked)
    numbers = {"same_as_nearest": near, "same_as_any": far, "tested": tested}
    text = (
        f"{percent(near, tested)} of test units have exactly the label of the nearest training unit; of one at random, "
        f"{percent(far, tested)}."
    )
    if tested and near / tested >= _SAME_LABEL and near > 3 * far + 0.02 * tested:
        text += " One value seems to have been given to several units: split by where the label comes from."
        return Finding(path, "named", text, scope, numbers)
    return Finding(path, "pass", text, scope, numbers)


def numbers_of(near: Nearness) -> dict[str, Any]:
    """Return distances as plain values; infinite ones as None."""
    return {
        "tested": near.tested,
        "nearest_metres": near.nearest if np.isfinite(near.nearest) else None,
        "median_metres": near.median if np.isfinite(near.median) else None,
        "near": near.near,
        "touching": near.touching,
        "overlapping": near.overlapping,
    }
