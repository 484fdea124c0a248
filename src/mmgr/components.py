"""Vectors in fewer columns of equal weight: what a probe that scales its columns makes of them is what they are.

Probes scale columns to variance 1, as they should where columns are counts and metres. Of principal components that
makes every one as large as the first, the last ones' noise too. So components are turned, by a Hadamard matrix ``H``
of order ``n``: its entries are ``+1`` and ``-1``, components do not correlate, and each column of ``C H / sqrt(n)`` has
the same variance, the mean of the components'. To scale such columns is to scale all by one number; distances, and so
ridge regression, neighbours and networks, see the components as large as they were.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import hadamard
from threadpoolctl import threadpool_limits

Vectors = NDArray[np.float32]

LEAST_SPREAD = 1e-6
"""A column whose spread is less than this part of the widest never varies."""
MOST_ROWS = 65_536
"""As many rows, evenly spread, tell the axes; with more, only memory and time grow."""
PART = 8192
"""Rows that are there in double precision at a time."""

BEYOND = 2.0
"""How far the features of a unit to predict may lie beyond their range among the units that a small model learned
from, in their spreads among those."""


@dataclass(frozen=True, slots=True)
class Components:
    """The principal components of some vectors, for these and for others of their kind."""

    mean: NDArray[np.float64]
    """Of the columns, shape ``(d,)``."""
    axes: NDArray[np.float64]
    """Shape ``(d, k)``; a column that is scaled has its scale in them."""

    @classmethod
    def of(cls, vectors: Vectors, count: int, *, scaled: bool = False) -> Components:
        """Find the ``count`` components of largest variance, fewer where there are fewer rows or columns.

        Parameters
        ----------
        vectors
            Shape ``(n, d)``.
        count
            Most components, ``k``.
        scaled
            Whether columns get variance 1 first; of those that never vary nothing is kept.
        """
        # one thread and full precision: the same vectors give the same components
        with threadpool_limits(1, "blas"):
            some = np.unique(np.linspace(0, len(vectors) - 1, min(MOST_ROWS, len(vectors))).round().astype(np.int64))
            values = vectors[some].astype(np.float64)
            mean = values.mean(axis=0) if len(values) else np.zeros(values.shape[1])
            values -= mean
            scale = np.ones(values.shape[1])
            if scaled and len(values):
                spread = values.std(axis=0)
                scale = np.divide(1, spread, out=np.zeros_like(spread), where=spread > LEAST_SPREAD * spread.max())
                values *= scale
            variance, directions = principal_axes(values)
            kept = np.argsort(variance)[::-1][: max(min(count, len(values) - 1, values.shape[1]), 0)]
            kept = kept[variance[kept] > LEAST_SPREAD**2 * max(variance[kept].max(initial=0), 1e-300)]
            axes = directions[:, kept]
            # the sign of a component is nobody's choice: its largest entry is positive
            axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]) if axes.size else 1
        return cls(mean, axes * scale[:, None])

    def __len__(self) -> int:
        return int(self.axes.shape[1])

    def __call__(self, vectors: Vectors) -> Vectors:
        """Return the components of vectors, shape ``(n, d)`` to ``(n, k)``."""
        return _in_parts(vectors, lambda part: (part - self.mean) @ self.axes, self.axes.shape[1])


def principal_axes(centred: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions in which rows differ, least first.

    Parameters
    ----------
    centred
        Rows about their mean, shape ``(n, d)``, float64: squares of a float32 matrix lose the smallest components.

    Returns
    -------
    Sums of squares along each direction, shape ``(r,)`` with ``r`` the smaller of ``n`` and ``d``, and the directions
    as columns of length 1, shape ``(d, r)``; zeros where nothing lies along one.
    """
    # the smaller of the two products has all components, and is several times faster than an SVD
    wide = centred.shape[1] > centred.shape[0]
    squares, vectors = np.linalg.eigh(centred @ centred.T if wide else centred.T @ centred)
    axes = centred.T @ vectors if wide else vectors
    length = np.linalg.norm(axes, axis=0)
    return squares, np.divide(axes, length, out=np.zeros_like(axes), where=length > 0)


def evenly(components: Vectors) -> Vectors:
    """Turn components so that each column has the same variance.

    Parameters
    ----------
    components
        Shape ``(n, k)``, columns that do not correlate.

    Returns
    -------
    Shape ``(n, m)`` with ``m`` the next power of two, in the mean of variance 1: distances between rows are in
    proportion to those between the components.
    """
    count = components.shape[1]
    if not components.size:
        return components
    order = 1 << (count - 1).bit_length()
    turn = hadamard(order)[:count] / np.sqrt(order)
    return of_unit_variance(_in_parts(components, lambda part: part @ turn, order))


def of_unit_variance(vectors: Vectors) -> Vectors:
    """Divide vectors, shape ``(n, d)``, by one number, so that the mean of their columns' variances is 1."""
    if not vectors.size:
        return vectors
    variance = float(vectors.var(axis=0, dtype=np.float64).mean())
    return vectors if variance == 0 else np.asarray(vectors / np.float32(np.sqrt(variance)), np.float32)


def _in_parts(vectors: Vectors, change: Callable[[NDArray[np.float64]], NDArray[np.float64]], columns: int) -> Vectors:
    """Change rows in double precision, some at a time, on one thread: the same rows give the same bits."""
    found = np.empty((len(vectors), columns), np.float32)
    with threadpool_limits(1, "blas"):
        for start in range(0, len(vectors), PART):
            found[start : start + PART] = change(vectors[start : start + PART].astype(np.float64))
    return found
