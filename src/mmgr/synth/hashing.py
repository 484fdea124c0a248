"""Chance as a pure function of a place: the same numbers whichever part of a city is drawn first.

A key is 64 bits that name a thing, such as a lot; :func:`fold` makes the key of a part from that of the whole.
The mixing is the finaliser of SplitMix64 (Steele, Lea, Flood 2014, *Fast splittable pseudorandom number
generators*, OOPSLA).
"""

from __future__ import annotations

import numpy as np

from mmgr.categories.compiled import compiled

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S11 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(11)
_UNIT = 1.0 / 2**53


@compiled()
def scramble(value: np.uint64) -> np.uint64:
    """Mix 64 bits so that each bit of the result depends on each bit of the value."""
    value = (value ^ (value >> _S30)) * _FIRST
    value = (value ^ (value >> _S27)) * _SECOND
    return value ^ (value >> _S31)


@compiled()
def fold(key: np.uint64, i: int, j: int) -> np.uint64:
    """Return the key of the part ``(i, j)`` of the thing that ``key`` names."""
    first = scramble(key + _STEP * (np.uint64(i) + np.uint64(1)))
    return scramble(first + _STEP * (np.uint64(j) + np.uint64(1)))


@compiled()
def draw(key: np.uint64, number: int) -> float:
    """Return a thing's ``number``-th chance, even in ``[0, 1)``."""
    return float((scramble(key + _STEP * np.uint64(number + 1)) >> _S11) * _UNIT)


@compiled()
def normal(key: np.uint64, number: int) -> float:
    """Return a thing's ``number``-th normal chance (Box and Muller 1958), which takes up two even ones."""
    radius = np.sqrt(-2.0 * np.log(1.0 - draw(key, 2 * number)))
    return float(radius * np.cos(2.0 * np.pi * draw(key, 2 * number + 1)))
