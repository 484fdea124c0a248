"""What all splits share: folds as a number per unit, and what may be trained on beside each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from mmgr.errors import SplitError
from mmgr.evaluate.tuning import Rows

MIN_TRAINING = 5
"""A fold with fewer training units cannot be fitted."""


class Splitter(Protocol):
    """What all splits share, beyond scikit-learn's interface."""

    optimistic: ClassVar[bool]
    """Whether neighbours of test units are trained on."""
    buffer: float

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:
        """Yield the rows to train on and the rows to test on, fold by fold."""


class BaseFolds:
    """Folds as a number per unit, and what may be trained on beside each."""

    optimistic: ClassVar[bool] = False

    def __init__(
        self,
        fold: Rows,
        centres: NDArray[np.float64],
        buffer: float,
        linked: sparse.csr_array | None,
    ) -> None:
        self.fold = fold
        self.buffer = buffer
        self._centres = centres
        self._linked = linked

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002 - scikit-learn's interface
        """Return the number of folds."""
        return int(self.fold.max()) + 1

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002 - scikit-learn's interface
        """Yield the rows to train on and the rows to test on, fold by fold.

        Raises
        ------
        SplitError
            If ``X`` has another number of rows than there are units, or buffer and shared regions leave fewer than
            :data:`MIN_TRAINING` units to train on.
        """
        rows = len(self.fold) if X is None else _rows_of(X)
        if rows != len(self.fold):
            raise SplitError(
                f"the split was made for {len(self.fold)} units, but X has {rows} rows; inside another split, "
                "`SpatialBlocks` takes the centres of these rows as `groups`; other splits are made anew for them"
            )
        for number in range(self.get_n_splits()):
            test = np.flatnonzero(self.fold == number)
            others, near, linked = self.fold != number, self._near(test), self._sharing(test)
            train = np.flatnonzero(others & ~near & ~linked)
            if len(train) < MIN_TRAINING:
                why = self._why(int((others & near).sum()), int((others & linked).sum()))
                raise SplitError(
                    f"fold {number + 1} tests {len(test)} of {len(self.fold)} units and leaves {len(train)} to train "
                    f"on, fewer than {MIN_TRAINING}; {why}"
                )
            yield train, test

    def _near(self, test: Rows) -> NDArray[np.bool_]:
        """Return which units are nearer to a test unit than the buffer, shape ``(n,)``."""
        if self.buffer <= 0:
            return np.zeros(len(self.fold), bool)
        distance, _ = cKDTree(self._centres[test]).query(self._centres)
        return np.asarray(distance < self.buffer, bool)

    def _sharing(self, test: Rows) -> NDArray[np.bool_]:
        """Return which units are linked with a test unit, shape ``(n,)``."""
        if self._linked is None:
            return np.zeros(len(self.fold), bool)
        return np.asarray(self._linked[test].sum(axis=0)).ravel() > 0

    def _why(self, near: int, linked: int) -> str:
        """Say why so few units are left to train on, and what to do."""
        causes = []
        if near:
            causes.append(f"{near} lie within the buffer of {self.buffer:g} m: make `buffer` or `block` smaller")
        if linked:
            causes.append(
                f"{linked} share a region, label cell or label polygon with a test unit: take smaller regions, finer "
                "labels or other `units`"
            )
        return f"{' and '.join(causes) or 'there are no others'}."


def _rows_of(X: Any) -> int:
    """Return how many rows features have: sparse ones have a shape, but no length."""
    return int(X.shape[0]) if hasattr(X, "shape") else len(X)


def points_of(centres: ArrayLike, folds: int) -> NDArray[np.float64]:
    """Return centres as an array, shape ``(n, 2)``.

    Raises
    ------
    SplitError
        If they have another shape or are not finite, or are fewer than the folds, or there are fewer than two folds.
    """
    points = np.asarray(centres, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
        raise SplitError(f"centres must be finite, of shape (n, 2), got {points.shape}")
    if folds < 2:
        raise SplitError(f"at least 2 folds are needed, got {folds}")
    if len(points) < folds:
        raise SplitError(f"{len(points)} labelled units are fewer than {folds} folds; set fewer `folds`.")
    return points
