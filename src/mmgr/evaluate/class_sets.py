"""Sets of classes that a place may have, from scores of held-out places.

A class is left out of a place's set where the probe gives it a smaller share than nearly all held-out places gave to
the class that they truly had: the score of a class is one less its share (Sadinle, Lei, Wasserman 2019, Least ambiguous
set-valued classifiers with bounded error levels, JASA 114(525), 223-234), and scores of held-out folds are compared
with those of each fold's own probe (Romano, Sesia, Candès 2020, Classification with valid and adaptive coverage,
NeurIPS 33, algorithm 2, CV+).

Such a set can be empty: the probe is less sure of every class than it was of the truth nearly everywhere else. That is
the opposite of certainty, so an empty set is replaced by the set of all classes; nothing is excluded there.

The folds are spatial blocks with a buffer, as those of intervals, and the coverage is measured for the same reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.evaluate.calibration import Calibration, FoldPredictions, everywhere
from mmgr.evaluate.units import Units

SEPARATOR = " | "
"""Between the classes of a set that is written as text."""


@dataclass(frozen=True, slots=True)
class ClassSets:
    """The classes that each of ``n`` regions may have; none where nothing is predicted."""

    level: float
    """Share of places whose class the set should hold."""
    classes: tuple[str, ...]
    members: NDArray[np.bool_]
    """Whether each class is in a region's set, shape ``(n, k)``."""

    @property
    def size(self) -> NDArray[np.float64]:
        """Number of classes in each set, shape ``(n,)``; NaN where nothing is predicted."""
        count = self.members.sum(axis=1).astype(np.float64)
        return np.where(count > 0, count, np.nan)

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns that stand beside predictions: ``set``, its size, and ``set.CLASS`` for each class."""
        names = np.asarray(self.classes, object)
        text = np.array([SEPARATOR.join(names[row]) or None for row in self.members], object)
        members = {f"set.{name}": column for name, column in zip(self.classes, self.members.T, strict=True)}
        return {"set": text, "set_size": self.size, **members}


def sets_of_classes(
    units: Units,
    calibration: Calibration,
    asked: NDArray[np.floating],
    predicted: NDArray[np.float64],
    known: NDArray[np.bool_],
    level: float,
) -> ClassSets:
    """Say which classes are possible, the likeliest among them; see :func:`mmgr.evaluate.predict_intervals`."""
    sets = filled(class_sets(calibration, asked, [level]))[..., 0]
    sets[np.arange(len(sets)), predicted.argmax(axis=1)] = True
    return ClassSets(level, units.classes, everywhere(sets, known))


def class_sets(calibration: Calibration, asked: NDArray[np.floating], levels: Sequence[float]) -> NDArray[np.bool_]:
    """Return which classes are in the set of each of ``n`` vectors, shape ``(n, k, levels)``; some may be empty."""
    return compare(calibration.by_fold(asked), calibration.y.argmax(axis=1), levels)


def compare(found: FoldPredictions, observed: NDArray[np.int64], levels: Sequence[float]) -> NDArray[np.bool_]:
    """Return which classes score no worse than the rank of each level allows.

    Parameters
    ----------
    found
        What the folds' probes predict of ``u`` units and ``n`` places.
    observed
        Number of each unit's true class, shape ``(u,)``.
    levels
        Shares of places whose class the sets should hold.

    Returns
    -------
    Membership, shape ``(n, k, levels)``: class ``c`` of place ``x`` is in where fewer than ``level * (u + 1)`` units
    have a score below that of ``(x, c)`` by the probe of the unit's own fold.
    """
    scores = 1 - found.held[np.arange(len(observed)), observed]
    better = np.zeros(found.asked.shape[1:], np.int64)
    for fold, shares in enumerate(found.asked):
        better += np.searchsorted(np.sort(scores[found.fold == fold]), 1 - shares, side="left")
    # 0.9 * 10 must not become a rank more by rounding
    ranks = [math.ceil(level * (len(scores) + 1) - 1e-9) for level in levels]
    return better[..., None] < np.array(ranks)


def filled(sets: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return sets, shape ``(n, k, levels)``, with all classes where there was none."""
    return sets | ~sets.any(axis=1, keepdims=True)
