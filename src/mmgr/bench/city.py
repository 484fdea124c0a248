"""A made city of POIs that is as uneven as a real one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.errors import InputError

MOST_POIS = 2**31 - 1
"""POIs are numbered in 32 bits."""

_DENSITY = 500e-6
"""POIs a square metre, which sets how far the city reaches."""
_POIS_A_CENTRE = 1500
_POIS_A_MALL = 40
_LARGEST_MALL = 1000
_BLOCK = 80.0
"""Metres between parallel streets."""
_FROM_STREET = 9.0
"""Metres from the middle of a street to its houses."""
_SCATTERED, _IN_MALLS = 0.12, 0.15
"""Parts of the POIs that lie around no centre, and that share their coordinates with others."""
_KINDS = 9
"""Kinds of places, each with its own mix of categories; the last is that of malls."""


@dataclass(frozen=True, slots=True)
class SyntheticCity:
    """POIs of a made city."""

    xy: NDArray[np.float64]
    """Coordinates in metres, as of a projected CRS, shape ``(pois, 2)``."""
    category: NDArray[np.int32]
    """Category of each POI, shape ``(pois,)``."""
    first_level: NDArray[np.int64]
    """First level of each category, shape ``(categories,)``."""


def synthetic_city(pois: int, *, categories: int = 200, seed: int = 0) -> SyntheticCity:
    """Make a city whose POIs crowd in centres, stand along streets and share malls.

    Centres have sizes with a heavy tail and a street grid each, turned its own way. Some POIs lie
    between the centres, and some in malls, where all have the same coordinates. Categories have
    Zipf's frequencies within 10 to 20 first levels (fewer if there are fewer categories), and what
    a place holds depends on its kind, so categories keep company as in a city.

    Parameters
    ----------
    pois
        How many POIs, at least 1.
    categories
        How many categories, at least 1. A small city may hold no POI of a rare one.
    seed
        Start of all that is random; one seed gives one city.

    Raises
    ------
    InputError
        If there would be no POI, no category, more POIs than 32 bits can number, or a negative seed.
    """
    _check(pois, categories, seed)
    rng = np.random.default_rng(seed)
    extent = float(np.sqrt(pois / _DENSITY))
    centres = max(1, pois // _POIS_A_CENTRE)
    sizes = rng.pareto(1.1, centres) + 0.05
    centre = rng.choice(centres, pois, p=sizes / sizes.sum()).astype(np.int32)
    xy = _along_streets(rng, centre, _centre_places(rng, centres, extent), 60 + 250 * np.sqrt(sizes), extent)
    in_mall = _gather_in_malls(rng, xy)
    kind = rng.integers(0, _KINDS - 1, centres)[centre]
    kind[in_mall] = _KINDS - 1
    first_level = np.sort(rng.integers(0, min(categories, int(np.clip(categories // 12, 10, 20))), categories))
    category = _draw_categories(rng, kind, _mixes(rng, first_level))
    return SyntheticCity(
        xy + np.array([500_000.0, 4_000_000.0]), category, np.unique(first_level, return_inverse=True)[1]
    )


def _check(pois: int, categories: int, seed: int) -> None:
    if not 1 <= pois <= MOST_POIS:
        raise InputError(f"a city needs 1 to {MOST_POIS:,} POIs, got {pois:,}; set --pois.")
    if not 1 <= categories <= 10_000:
        raise InputError(f"a city needs 1 to 10,000 categories, got {categories:,}; set --categories.")
    if seed < 0:
        raise InputError(f"the seed must not be negative, got {seed}; set --seed.")


def _centre_places(rng: np.random.Generator, centres: int, extent: float) -> NDArray[np.float64]:
    """Return where the centres are, denser towards the middle, shape ``(centres, 2)``."""
    radius = 0.5 * extent * rng.uniform(0, 1, centres) ** 0.75
    angle = rng.uniform(0, 2 * np.pi, centres)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _along_streets(
    rng: np.random.Generator,
    centre: NDArray[np.int32],
    places: NDArray[np.float64],
    reach: NDArray[np.float64],
    extent: float,
) -> NDArray[np.float64]:
    """Return coordinates beside the streets of each POI's centre, shape ``(pois, 2)``."""
    count = len(centre)
    local = rng.normal(0, 1, (count, 2)) * (reach * rng.lognormal(0, 0.3, len(reach)))[centre, None]
    scattered = rng.uniform(0, 1, count) < _SCATTERED
    local[scattered] = rng.uniform(-extent / 4, extent / 4, (scattered.sum(), 2))
    # one of the two coordinates becomes that of a street, a little to its left or right
    across = rng.integers(0, 2, count)
    side = rng.choice([-_FROM_STREET, _FROM_STREET], count) + rng.normal(0, 1.5, count)
    rows = np.arange(count)
    local[rows, across] = np.round(local[rows, across] / _BLOCK) * _BLOCK + side
    turn = rng.uniform(0, np.pi / 2, len(places))[centre]
    cosine, sine = np.cos(turn), np.sin(turn)
    x = cosine * local[:, 0] - sine * local[:, 1]
    local[:, 1] = sine * local[:, 0] + cosine * local[:, 1]
    local[:, 0] = x
    local += places[centre]
    return local


def _gather_in_malls(rng: np.random.Generator, xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move some POIs onto malls, which have sizes with a heavy tail; return the moved ones."""
    moved = np.flatnonzero(rng.uniform(0, 1, len(xy)) < _IN_MALLS)
    malls = rng.integers(0, len(xy), max(1, len(moved) // _POIS_A_MALL))
    sizes = np.minimum(rng.pareto(1.3, len(malls)) + 0.05, _LARGEST_MALL / _POIS_A_MALL)
    xy[moved] = xy[rng.choice(malls, len(moved), p=sizes / sizes.sum())]
    return moved


def _mixes(rng: np.random.Generator, first_level: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the chance of each category in each kind of place, shape ``(kinds, categories)``."""
    categories = len(first_level)
    zipf = 1 / (1 + rng.permutation(categories))
    by_first_level = rng.lognormal(0, 1.5, (_KINDS, first_level.max() + 1))[:, first_level]
    mixes = zipf * by_first_level * rng.lognormal(0, 0.7, (_KINDS, categories))
    return np.asarray(mixes / mixes.sum(axis=1, keepdims=True))


def _draw_categories(
    rng: np.random.Generator, kind: NDArray[np.int64], mixes: NDArray[np.float64]
) -> NDArray[np.int32]:
    category = np.empty(len(kind), np.int32)
    for number, mix in enumerate(mixes):
        here = np.flatnonzero(kind == number)
        category[here] = rng.choice(len(mix), len(here), p=mix)
    return category
