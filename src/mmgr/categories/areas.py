"""Study areas: which POIs belong to one city, and which to another in the same file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mmgr.categories.compiled import compiled

AREA_GAP = 25_000.0
"""Metres: POIs with an empty stretch of at least this around them belong to a study area of their own."""

_PARTS = 3
"""Squares are this part of the gap wide: points of squares that touch are always nearer than the gap."""
_TOUCHING = ((0, 1), (1, -1), (1, 0), (1, 1))
"""Steps to the squares that touch, each pair of squares once."""
_NEAR = tuple(
    sorted(
        (
            (column, row)
            for column in range(_PARTS + 1)
            for row in range(-_PARTS, _PARTS + 1)
            if (column, row) > (0, 0) and max(column, abs(row)) > 1
        ),
        key=lambda step: (step[0] ** 2 + step[1] ** 2, step),
    )
)
"""Steps to the other squares that may hold points nearer than the gap, the nearest first."""
_FEW = 4096
"""Pairs of points up to which all are looked at; beyond, a tree of one side finds the nearest."""


def study_areas(xy: NDArray[np.float64], *, gap: float = AREA_GAP) -> NDArray[np.int32]:
    """Return the number of each point's study area, as of distant cities in one file, shape ``(n,)``.

    Two points belong to one area if and only if a chain of points leads from one to the other, each
    nearer than ``gap`` to the next. So where the points lie in their CRS does not matter, nor what
    lies elsewhere.

    Points of squares that touch are joined without a look at them; those of other near squares are
    compared only where nothing else has joined them yet.

    Parameters
    ----------
    xy
        Points in metres, shape ``(n, 2)``, finite.
    gap
        Metres, at least 1.
    """
    if not len(xy):
        return np.zeros(0, np.int32)
    columns, rows = np.floor((xy - xy.min(axis=0)) / (gap / _PARTS)).astype(np.int64).T
    # rows that are empty lie between columns, so that a step across the border meets no square
    stride = int(rows.max()) + 1 + _PARTS
    squares, square = np.unique(columns * stride + rows, return_inverse=True)
    area = _components(_pairs(squares, stride, _TOUCHING), len(squares))
    near = _pairs(squares, stride, _NEAR) if area.max() else np.zeros((0, 2), np.int64)
    near = near[area[near[:, 0]] != area[near[:, 1]]]
    if len(near):
        area = _joined(xy, square.reshape(-1), near, area, gap)
    return np.asarray(area[square.reshape(-1)], np.int32)


def _pairs(squares: NDArray[np.int64], stride: int, steps: tuple[tuple[int, int], ...]) -> NDArray[np.int64]:
    """Return the pairs of occupied squares that are one of the steps apart, shape ``(m, 2)``."""
    found = []
    for column, row in steps:
        goal = squares + column * stride + row
        place = np.minimum(np.searchsorted(squares, goal), len(squares) - 1)
        here = np.flatnonzero(squares[place] == goal)
        found.append(np.stack([here, place[here]], axis=1))
    return np.concatenate(found)


def _components(pairs: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the component of each of ``count`` things that pairs join, shape ``(count,)``."""
    links = sparse.coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    return np.asarray(connected_components(links, directed=False)[1], np.int64)


def _joined(
    xy: NDArray[np.float64], square: NDArray[np.int64], near: NDArray[np.int64], area: NDArray[np.int64], gap: float
) -> NDArray[np.int64]:
    """Return each square's area once those that have points nearer than ``gap`` are joined."""
    order = np.argsort(square, kind="stable")
    firsts = np.concatenate([[0], np.cumsum(np.bincount(square))])
    ordered = xy[order]
    low, high = (of.reduceat(ordered, firsts[:-1], axis=0) for of in (np.minimum, np.maximum))
    one, other = near.T
    between = np.maximum(np.maximum(low[one] - high[other], low[other] - high[one]), 0.0)
    near = near[np.hypot(*between.T) < gap]
    size = np.diff(firsts)
    small = size[near[:, 0]] * size[near[:, 1]] <= _FEW
    parent = np.arange(int(area.max()) + 1)
    _join_small(ordered, firsts, near[small], area, gap, parent)
    for tail, head in near[~small]:
        roots = _root(parent, area[tail]), _root(parent, area[head])
        if roots[0] != roots[1] and _nearer(
            ordered[firsts[tail] : firsts[tail + 1]], ordered[firsts[head] : firsts[head + 1]], gap
        ):
            parent[roots[1]] = roots[0]
    root = np.array([_root(parent, place) for place in range(len(parent))], np.int64)
    return np.unique(root[area], return_inverse=True)[1].reshape(-1)


@compiled()
def _join_small(
    ordered: NDArray[np.float64],
    firsts: NDArray[np.int64],
    near: NDArray[np.int64],
    area: NDArray[np.int64],
    gap: float,
    parent: NDArray[np.int64],
) -> None:
    """Join the areas of pairs of squares with few points, by a look at each pair of points."""
    for pair in range(len(near)):
        tail, head = near[pair]
        one, other = _root(parent, area[tail]), _root(parent, area[head])
        if one == other:
            continue
        met = False
        for i in range(firsts[tail], firsts[tail + 1]):
            for j in range(firsts[head], firsts[head + 1]):
                if np.hypot(ordered[i, 0] - ordered[j, 0], ordered[i, 1] - ordered[j, 1]) < gap:
                    met = True
                    break
            if met:
                parent[other] = one
                break


@compiled()
def _root(parent: NDArray[np.int64], place: int) -> int:
    """Return the root of a tree of areas, with a shorter way for the next who asks."""
    while parent[place] != place:
        parent[place] = parent[parent[place]]
        place = parent[place]
    return place


def _nearer(one: NDArray[np.float64], other: NDArray[np.float64], gap: float) -> bool:
    """Say whether any two points of two sets are nearer than ``gap``."""
    few, many = sorted((one, other), key=len)
    # only points near the other set's box can be, so that two dense cities cost little
    many = many[_to_box(many, few) < gap]
    few = few[_to_box(few, many) < gap] if len(many) else few[:0]
    if not len(few):
        return False
    return bool((cKDTree(few).query(many, distance_upper_bound=gap)[0] < gap).any())


def _to_box(points: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return metres from points to the box around other points, shape ``(n,)``."""
    beyond = np.maximum(np.maximum(of.min(axis=0) - points, points - of.max(axis=0)), 0.0)
    return np.asarray(np.hypot(beyond[:, 0], beyond[:, 1]))
