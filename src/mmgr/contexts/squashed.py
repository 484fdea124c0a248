"""Columns of very different kinds in few dimensions, so that no single odd value decides everything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

LEAST_SPREAD = 0.01
"""Standard deviation of a column below which it is not stretched to 1.

A column of which all regions hold no more than the far tail of a Gaussian is all but constant: stretched, it is noise.
"""
PART = 4096
"""Rows that are there in double precision at a time."""


@dataclass(frozen=True, slots=True)
class SquashedComponents:
    """Standardise columns, squash them by ``tanh``, and keep the principal components, not whitened.

    Where one region in a hundred has the only zoo, its column is ten standard deviations long there and next to
    nothing elsewhere; squashed, it is one column among others.
    """

    scaler: StandardScaler
    """Step 1; spreads below :data:`LEAST_SPREAD` count as that."""
    pca: PCA | None
    """Step 3; None keeps the squashed table."""
    squash: float = 1.0
    """Standard deviations at which a column is bent: ``tanh(z / squash)``."""

    @classmethod
    def of(cls, table: NDArray[np.float32], dimensions: int | None, *, squash: float = 1.0) -> SquashedComponents:
        """Learn from a table, shape ``(n, d)``: at most ``dimensions`` components, or None for the squashed table."""
        scaler = StandardScaler().fit(table)
        scaler.scale_ = np.maximum(scaler.scale_, LEAST_SPREAD)
        if dimensions is None:
            return cls(scaler, None, squash)
        squashed = np.tanh(scaler.transform(table) / squash).astype(np.float64)
        # not the randomised solver, and one thread in full precision: the same regions give the same vectors
        with threadpool_limits(1, "blas"):
            pca = PCA(min(dimensions, *squashed.shape), svd_solver="covariance_eigh").fit(squashed)
        return cls(scaler, pca, squash)

    def __call__(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the vectors of rows, shape ``(n, d)`` to ``(n, k)``."""
        with threadpool_limits(1, "blas"):
            parts = [self._part(table[start : start + PART]) for start in range(0, max(len(table), 1), PART)]
        return np.concatenate(parts)

    def _part(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        if not len(rows):
            width = self.scaler.n_features_in_ if self.pca is None else self.pca.n_components_
            return np.zeros((0, width), np.float32)
        squashed = np.tanh(self.scaler.transform(rows) / self.squash)
        return np.asarray(squashed if self.pca is None else self.pca.transform(squashed), np.float32)
