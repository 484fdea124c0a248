"""Moran's I of residuals: whether near places are wrong in the same way."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.spatial import cKDTree

NEIGHBOURS = 8
_PERMUTATIONS = 999
_FEWER, _MANY = 199, 10_000
_AT_ONCE = 2_000_000  # numbers held of the permuted residuals


def morans_i(
    residuals: ArrayLike, centres: ArrayLike, *, neighbours: int = NEIGHBOURS, seed: int = 0
) -> tuple[float, float]:
    """Return Moran's I over nearest neighbours, and its one-sided p value from permutations.

    ``I = sum_ij w_ij z_i z_j / sum_i z_i^2`` with ``z`` the residuals less their mean and ``w`` 1/k for each of the k
    nearest units. Near 0 (exactly -1 / (n - 1) is expected), near places are not wrong alike; towards 1, they are:
    there is something in space that the model misses, and errors do not average out over a district. Residuals of
    classes and shares have several columns; ``z_i z_j`` is then the product of two rows.

    Parameters
    ----------
    residuals
        Observed less predicted, shape ``(n,)`` or ``(n, k)``.
    centres
        Of the units in metres, shape ``(n, 2)``.
    neighbours
        How many.
    seed
        Of the permutations: 999, or 199 of more than 10,000 units.

    Returns
    -------
    I and p, the share of permutations (the units as they are among them) whose I is at least as large; NaN of fewer
    than four units or residuals that are all alike.

    Raises
    ------
    ValueError
        If a residual is NaN or infinite.
    """
    values = np.asarray(residuals, np.float64)
    values = values.reshape(len(values), -1)
    unusable = int((~np.isfinite(values)).any(axis=1).sum())
    if unusable:
        raise ValueError(f"{unusable} of {len(values)} residuals are NaN or infinite")
    z = values - values.mean(axis=0)
    total = float((z**2).sum())
    if len(z) < 4 or total <= 1e-12 * max(1.0, float((values**2).sum())):
        return math.nan, math.nan
    weights = _nearest(np.asarray(centres, np.float64), min(neighbours, len(z) - 1))
    found = float((z * (weights @ z)).sum()) / total
    rng = np.random.default_rng(seed)
    permutations = _PERMUTATIONS if len(z) <= _MANY else _FEWER
    step = max(1, _AT_ONCE // z.size)
    as_large = 0
    for start in range(0, permutations, step):
        shuffled = [z[rng.permutation(len(z))] for _ in range(min(step, permutations - start))]
        table = np.hstack(shuffled)  # (n, some * k)
        own = (table * (weights @ table)).sum(axis=0).reshape(-1, z.shape[1]).sum(axis=1) / total
        as_large += int((own >= found - 1e-12).sum())
    return found, (as_large + 1) / (permutations + 1)


def _nearest(centres: NDArray[np.float64], neighbours: int) -> sparse.csr_array:
    """Return the weights of each unit's nearest others, shape ``(n, n)``; rows sum to 1."""
    count = len(centres)
    _, found = cKDTree(centres).query(centres, k=neighbours + 1)
    own = np.arange(count)[:, None]
    # of units on one spot, the tree may name another one first
    found = np.array([row[row != i][:neighbours] for i, row in zip(own.ravel(), found, strict=True)])
    rows = np.repeat(np.arange(count), neighbours)
    parts = np.full(count * neighbours, 1 / neighbours)
    return sparse.csr_array((parts, (rows, found.ravel())), shape=(count, count))
