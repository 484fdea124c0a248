"""How nearly a label is one of several inputs, or a function of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgr.evaluate.metrics import r2

NEAR_PERFECT = 0.98
"""A rank correlation, an R2, or a part told beyond which a label is taken to be made of the inputs."""
_FEWEST = 3 * 5
"""Of fewer units no function can be told from chance."""
_LEAST_UNLIKE = 10
"""A label of which fewer units have another value than most is like nearly anything."""
_PENALTIES = (1.0, 1e3)
"""Inverse penalties of logistic regression: for many inputs, and for a border that is exact."""

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of some of the units: of those whose POIs are known."""

    what: str
    """What they are, such as `POI densities`."""
    names: Sequence[str]
    """Of the ``c`` inputs."""
    rows: NDArray[np.int64]
    """The units, shape ``(r,)``."""
    columns: Table
    """Shape ``(r, c)``; each varies."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How nearly one or several numbers of each unit are one of the inputs, and a linear function of them."""

    feature: str = ""
    """The single input most like one of the numbers."""
    correlation: float = 0.0
    """Their rank correlation."""
    of: int = 0
    """Which of the numbers that is."""
    explained: float | None = None
    """The largest R2 of a number by a linear function under random folds; None of too few units."""
    explained_of: int = 0
    """Which of the numbers that is."""
    by: str = ""
    """What the function is of."""

    @property
    def is_near_perfect(self) -> bool:
        """Whether either is so near that the numbers seem to be made of the inputs."""
        return abs(self.correlation) >= NEAR_PERFECT or (self.explained or 0.0) >= NEAR_PERFECT


def likeness(values: Table, inputs: Sequence[Inputs]) -> Likeness | None:
    """Compare numbers of units, shape ``(u, t)``, with inputs; None where there are too few units to tell."""
    best = None
    for some in inputs:
        wanted = values[some.rows]
        told = [number for number in range(wanted.shape[1]) if _is_varied(wanted[:, number])]
        if not told or not len(some.names):
            continue
        best = best or Likeness()
        found = _rank_correlations(wanted[:, told], some.columns)
        for number, correlations in zip(told, found, strict=True):
            feature, correlation = _strongest(wanted[:, number], some, correlations)
            if not best.feature or abs(correlation) > abs(best.correlation):
                best = replace(best, feature=feature, correlation=correlation, of=number)
        for number, explained in zip(told, _explained(some.columns, wanted[:, told]), strict=True):
            if best.explained is None or explained > best.explained:
                best = replace(best, explained=explained, explained_of=number, by=some.what)
    return best


@dataclass(frozen=True, slots=True)
class Told:
    """How many units have their class told by a function of the inputs that other units gave."""

    by: str
    """What tells it."""
    right: int
    units: int
    largest: int
    """Units of the largest class: as many are told right by nothing."""

    @property
    def skill(self) -> float:
        """The part told right of what is beyond the largest class; below 0 if less than nothing tells."""
        return 1.0 - (self.units - self.right) / (self.units - self.largest)

    @property
    def is_near_perfect(self) -> bool:
        """Whether the class seems to be made of the inputs."""
        return self.skill >= NEAR_PERFECT


def told_by_most(classes: NDArray[np.int64], rows: NDArray[np.int64], columns: Table, by: str) -> Told | None:
    """Tell the class of units by which of their columns is the largest.

    Parameters
    ----------
    classes
        Class of each unit, shape ``(u,)``.
    rows, columns
        Some units, shape ``(r,)``, and their amounts of each category, shape ``(r, k)``; a unit of which two are the
        largest alike has no say.
    by
        What the largest is called.

    Returns
    -------
    None of too few units.
    """
    highest = np.sort(columns, axis=1)
    single = highest[:, -1] > (highest[:, -2] if columns.shape[1] > 1 else 0.0)
    known, largest = classes[rows[single]], columns[single].argmax(axis=1)
    if not _is_varied(known):
        return None
    right = 0
    for train, test in _folds().split(known):
        votes = np.zeros((columns.shape[1], int(known.max()) + 1), np.int64)
        np.add.at(votes, (largest[train], known[train]), 1)
        met = votes[largest[test]]
        right += int((met.any(axis=1) & (met.argmax(axis=1) == known[test])).sum())
    return Told(by, right, len(known), int(np.bincount(known).max()))


def told_by_line(classes: NDArray[np.int64], inputs: Inputs) -> Told | None:
    """Tell the class of units by logistic regression on the inputs under random folds; None of too few units."""
    known = classes[inputs.rows]
    if not _is_varied(known) or not len(inputs.names):
        return None
    right = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # classes that a line parts have no end to converge to
        for penalty in _PENALTIES:
            model = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=300))
            right = max(right, int((cross_val_predict(model, inputs.columns, known, cv=_folds()) == known).sum()))
    return Told(f"a linear function of {inputs.what}", right, len(known), int(np.bincount(known).max()))


def _folds() -> KFold:
    return KFold(5, shuffle=True, random_state=0)


def _unlike(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which units have another value than most, shape ``(r,)``."""
    met, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray(values != met[count.argmax()]) if len(place) else np.zeros(0, bool)


def _is_varied(values: NDArray[np.generic]) -> bool:
    return len(values) >= _FEWEST and int(_unlike(values).sum()) >= _LEAST_UNLIKE


def _strongest(values: Table, inputs: Inputs, found: Table) -> tuple[str, float]:
    """Return the input with the largest rank correlation with a number, and that correlation.

    Where most units have one value, such as 0, being 0 at the same places is much of a rank correlation: there an
    input is no more like the number than among the other units.
    """
    unlike = _unlike(values)
    if 2 * unlike.sum() < len(values):
        near = np.flatnonzero(np.abs(found) >= NEAR_PERFECT)
        (among,) = _rank_correlations(values[unlike, None], inputs.columns[np.ix_(unlike, near)])
        found[near] = np.where(np.abs(among) < np.abs(found[near]), among, found[near])
    best = int(np.abs(found).argmax())
    return inputs.names[best], float(found[best])


def _rank_correlations(values: Table, columns: Table) -> Table:
    """Return the rank correlation of each number with each column, shape ``(t, c)``; 0 where either is constant."""
    middle = (len(values) + 1) / 2
    labels, ranks = rankdata(values, axis=0) - middle, rankdata(columns, axis=0) - middle
    lengths = np.linalg.norm(labels, axis=0)[:, None] * np.linalg.norm(ranks, axis=0)
    return np.asarray(np.divide(labels.T @ ranks, lengths, out=np.zeros(lengths.shape), where=lengths > 0), np.float64)


def _explained(columns: Table, values: Table) -> list[float]:
    """Return R2 of each number by a linear function of the columns for random held-out units."""
    several = values.shape[1] > 1
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 4, 11), alpha_per_target=several))
    held = cross_val_predict(model, columns, values if several else values[:, 0], cv=_folds())
    return [r2(one, other) for one, other in zip(values.T, held.reshape(values.shape).T, strict=True)]
