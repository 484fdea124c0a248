"""How far a label is alike: the empirical variogram, and the range of the curve through it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import curve_fit
from scipy.stats import rankdata

_MOST_UNITS = 2_000
"""All pairs of at most this many units are compared."""
_BINS = 15
_LEAST_PAIRS = 30
"""A bin with fewer pairs says nothing."""
_LEAST_RISE = 0.1
"""A curve that rises by a smaller part of its height is flat."""


@dataclass(frozen=True, slots=True)
class Variogram:
    """Half the mean squared difference of labels by the distance between their places."""

    distance: NDArray[np.float64]
    """Mean distance of the pairs in each bin in metres, shape ``(b,)``."""
    semivariance: NDArray[np.float64]
    """Of ranks, scaled so that unlike labels differ by 1 on average, shape ``(b,)``."""
    pairs: NDArray[np.int64]
    range: float
    """Metres beyond which labels are no more alike than any two; 0 where near ones are not alike either."""
    is_bound: bool
    """Whether the curve still rises at the largest distance looked at: the true range is larger."""


def empirical_variogram(
    centres: NDArray[np.float64], labels: ArrayLike, *, groups: ArrayLike | None = None, seed: int = 0
) -> Variogram | None:
    """Fit a spherical curve to the semivariance of a label's ranks.

    Ranks, since a few dense places would else decide all. Labels that are no numbers count as 0 apart where they are
    the same and 1 where not; shares of classes by the square of their distance.
    Distances up to half of the largest within a group are looked at.

    Parameters
    ----------
    centres
        Places in metres, shape ``(u, 2)``.
    labels
        Numbers or names, shape ``(u,)``, or shares of classes, shape ``(u, k)``; missing ones are left out.
    groups
        Cities far apart, shape ``(u,)``: only pairs within one are compared.
    seed
        Of the sample, where there are many units.

    Returns
    -------
    The variogram, or None if too few pairs have labels.
    """
    values = np.asarray(labels)
    if values.dtype.kind in "fiu":
        known = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    else:
        known = np.array([value == value for value in values])  # noqa: PLR0124 - NaN differs from itself
    rows = np.flatnonzero(known)
    if len(rows) > _MOST_UNITS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, _MOST_UNITS, replace=False))
    one, other = np.triu_indices(len(rows), k=1)
    one, other = rows[one], rows[other]
    if groups is not None:
        same = np.asarray(groups)[one] == np.asarray(groups)[other]
        one, other = one[same], other[same]
    if len(one) < _LEAST_PAIRS:
        return None
    distance = np.linalg.norm(centres[one] - centres[other], axis=1)
    difference = _half_squares(values, rows, one, other)
    return _fit(distance, difference)


def _half_squares(
    values: NDArray[np.generic], rows: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return half the squared difference of each pair, with a mean of 1 over all pairs."""
    if values.ndim == 2:
        half = ((values[one].astype(np.float64) - values[other].astype(np.float64)) ** 2).sum(axis=1) / 2
    elif values.dtype.kind in "fiu":
        rank = np.zeros(len(values))
        rank[rows] = rankdata(values[rows])
        half = (rank[one] - rank[other]) ** 2 / 2
    else:
        half = np.asarray(values[one] != values[other], np.float64)
    return np.asarray(half / (half.mean() or 1.0))


def _fit(distance: NDArray[np.float64], difference: NDArray[np.float64]) -> Variogram | None:
    furthest = float(distance.max()) / 2
    if furthest <= 0:
        return None
    number = np.minimum((distance / furthest * _BINS).astype(np.int64), _BINS)
    pairs = np.bincount(number, minlength=_BINS + 1)[:_BINS]
    used = pairs >= _LEAST_PAIRS
    if used.sum() < 4:
        return None
    means = [
        np.bincount(number, weights=w, minlength=_BINS + 1)[:_BINS][used] / pairs[used] for w in (distance, difference)
    ]
    h, gamma = means
    start = [max(float(gamma[0]) / 2, 1e-3), max(float(gamma.max() - gamma[0]), 1e-3), furthest / 3]
    limits = ([0, 0, float(h[0]) / 2], [np.inf, np.inf, 2 * furthest])
    try:
        (nugget, rise, reach), _ = curve_fit(
            _spherical, h, gamma, p0=start, bounds=limits, sigma=1 / np.sqrt(pairs[used]), maxfev=5000
        )
    except RuntimeError:  # no curve fits
        return None
    flat = rise < _LEAST_RISE * (nugget + rise)
    return Variogram(
        distance=h,
        semivariance=gamma,
        pairs=pairs[used],
        range=0.0 if flat else float(min(reach, furthest)),
        is_bound=bool(not flat and reach > furthest),
    )


def _spherical(h: NDArray[np.float64], nugget: float, rise: float, reach: float) -> NDArray[np.float64]:
    part = np.minimum(h / reach, 1.0)
    return np.asarray(nugget + rise * (1.5 * part - 0.5 * part**3))
