"""The graph that walks go along: POIs as vertices, Delaunay edges between neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

from mmgr.categories.areas import AREA_GAP, study_areas
from mmgr.categories.compiled import compiled
from mmgr.errors import PoiError

COINCIDENT = 0.01
"""Metres: POIs within the same square of this edge are one vertex."""

LEAST_WEIGHT = float(np.finfo(float).tiny ** 0.5)
"""``a_d`` of an edge as long as its area is wide."""
WIDEST = 2**32 * COINCIDENT
"""Metres: no CRS of the Earth is wider, and 32 bits tell points apart up to here."""


@dataclass(frozen=True, slots=True)
class PoiGraph:
    """An undirected graph of ``v`` vertices in CSR form: vertex ``i`` has the edges ``indptr[i]:indptr[i + 1]``."""

    xy: NDArray[np.float64]
    """Vertices in metres, shape ``(v, 2)``, in an order that keeps neighbours close in memory."""
    vertex: NDArray[np.int32]
    """Vertex of each POI, shape ``(n,)``; POIs that coincide share one."""
    indptr: NDArray[np.int64]
    """Where each vertex's edges begin, shape ``(v + 1,)``."""
    indices: NDArray[np.int32]
    """Vertex at the other end of each edge, sorted within a vertex, shape ``(e,)``; each edge stands twice."""
    lengths: NDArray[np.float64]
    """Metres of each edge, shape ``(e,)``."""
    area: NDArray[np.int32]
    """Study area of each vertex, shape ``(v,)``; no edge leaves its area."""
    diagonals: NDArray[np.float64]
    """Diagonal in metres of each area's bounding rectangle."""

    @property
    def tails(self) -> NDArray[np.int64]:
        """Vertex at the near end of each edge, shape ``(e,)``."""
        return np.repeat(np.arange(len(self.xy)), np.diff(self.indptr))


def delaunay_graph(xy: NDArray[np.float64], *, gap: float = AREA_GAP) -> PoiGraph:
    """Join neighbouring POIs by the edges of one Delaunay triangulation for each study area.

    Three vertices or more in a line are joined along the line, two by one edge; a single vertex
    has no edge.

    Parameters
    ----------
    xy
        POIs in metres, shape ``(n, 2)``, finite.
    gap
        Metres, at least 1; areas this far apart are triangulated apart (see :func:`mmgr.categories.areas.study_areas`).

    Raises
    ------
    PoiError
        If a coordinate is not finite, or the points lie further apart than the Earth is round.
    """
    points = np.asarray(xy, np.float64).reshape(-1, 2)
    _check(points)
    vertices, vertex = _distinct(points)
    area = study_areas(vertices, gap=gap)
    members = np.split(np.argsort(area, kind="stable").astype(np.int32), np.cumsum(np.bincount(area))[:-1])
    members = members if len(area) else []
    pairs = [own[_area_edges(vertices[own])] for own in members]
    indptr, indices = _rows(np.concatenate([np.empty((0, 2), np.int32), *pairs]), len(vertices))
    return PoiGraph(
        xy=vertices,
        vertex=vertex,
        indptr=indptr,
        indices=indices,
        lengths=_lengths(vertices, indptr, indices),
        area=area,
        diagonals=np.array([np.hypot(*np.ptp(vertices[own], axis=0)) for own in members]),
    )


def distance_weights(graph: PoiGraph) -> NDArray[np.float64]:
    """Return ``a_d = log((1 + D^1.5) / (1 + d^1.5))`` of each edge, shape ``(e,)`` (Huang et al. 2022, eq. 2).

    ``d`` is the edge's length and ``D`` the diagonal of its area's bounding rectangle. An edge as
    long as ``D`` keeps the least weight above 0, so that two POIs alone still meet.
    """
    scale = 1 + graph.diagonals**1.5
    return _distance_weights(graph.indptr, graph.lengths, graph.area, scale)


def _check(xy: NDArray[np.float64]) -> None:
    finite = np.isfinite(xy).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise PoiError(
            f"{len(xy) - finite.sum():,} POIs have no finite coordinates, the first is number {row:,} "
            f"(x {xy[row, 0]}, y {xy[row, 1]}); drop them or repair them."
        )
    wide = np.ptp(xy, axis=0).max() if len(xy) else 0.0
    if wide >= WIDEST:
        raise PoiError(f"the POIs span {wide:.4g} m, more than the Earth; are they in a CRS with metres as units?")


def _distinct(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Merge points that coincide; return the vertices and the vertex of each point."""
    if not len(xy):
        return xy, np.zeros(0, np.int32)
    key = _morton(xy)
    order = np.argsort(key, kind="stable")
    key = key[order]
    new = np.ones(len(order), bool)
    new[1:] = key[1:] != key[:-1]
    vertex = np.empty(len(order), np.int32)
    vertex[order] = np.cumsum(new, dtype=np.int32) - np.int32(1)
    return xy[order[new]], vertex


def _morton(xy: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the place of each point's square on a Z-shaped curve, on which squares that are near stay near."""
    column, row = (np.round((of - of.min()) / COINCIDENT).astype(np.uint64) for of in xy.T)
    return _spread(column) | (_spread(row) << np.uint64(1))


def _spread(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put a zero between every two bits of 32-bit numbers."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits


def _area_edges(xy: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return the Delaunay edges of distinct points, each at least once, shape ``(m, 2)``."""
    centred = xy - xy.mean(axis=0)
    if len(xy) < 3 or _in_line(centred):
        return _chain(centred)
    try:
        # with its corner at the origin Qhull has all the digits for the differences
        triangulation = Delaunay(centred)
    except QhullError:
        return _chain(centred)
    corners = triangulation.simplices
    # points that rounding kept out of every triangle hang on the nearest vertex
    left_out = triangulation.coplanar[:, [0, 2]].reshape(-1, 2)
    return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]], left_out])


def _in_line(centred: NDArray[np.float64]) -> bool:
    spread = np.linalg.svd(centred.T @ centred, compute_uv=False)
    return bool(spread[1] <= 1e-18 * spread[0] or np.sqrt(spread[1]) < COINCIDENT)


def _chain(centred: NDArray[np.float64]) -> NDArray[np.int32]:
    """Join points one after the other along their main direction."""
    main = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ main, kind="stable").astype(np.int32)
    return np.stack([order[:-1], order[1:]], axis=1)


@compiled()
def _rows(pairs: NDArray[np.int32], count: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return ``indptr`` and sorted ``indices`` of a graph whose edges are given at least once, either way round."""
    indptr = np.zeros(count + 1, np.int64)
    for pair in range(len(pairs)):
        for end in range(2):
            indptr[pairs[pair, end] + 1] += 1
    indptr = np.cumsum(indptr)
    indices, free = np.empty(2 * len(pairs), np.int32), indptr.copy()
    for pair in range(len(pairs)):
        for end in range(2):
            tail = pairs[pair, end]
            indices[free[tail]] = pairs[pair, 1 - end]
            free[tail] += 1
    kept = 0
    for tail in range(count):
        row = np.sort(indices[indptr[tail] : indptr[tail + 1]])
        indptr[tail] = kept
        for place in range(len(row)):
            if place == 0 or row[place] != row[place - 1]:
                indices[kept] = row[place]
                kept += 1
    indptr[count] = kept
    return indptr, indices[:kept].copy()


@compiled(parallel=True)
def _lengths(xy: NDArray[np.float64], indptr: NDArray[np.int64], indices: NDArray[np.int32]) -> NDArray[np.float64]:
    lengths = np.empty(len(indices))
    for tail in numba.prange(len(xy)):
        for edge in range(indptr[tail], indptr[tail + 1]):
            head = indices[edge]
            lengths[edge] = np.hypot(xy[tail, 0] - xy[head, 0], xy[tail, 1] - xy[head, 1])
    return lengths


@compiled(parallel=True)
def _distance_weights(
    indptr: NDArray[np.int64], lengths: NDArray[np.float64], area: NDArray[np.int32], scale: NDArray[np.float64]
) -> NDArray[np.float64]:
    weights = np.empty_like(lengths)
    for tail in numba.prange(len(area)):
        for edge in range(indptr[tail], indptr[tail + 1]):
            distance = np.log(scale[area[tail]] / (1 + lengths[edge] * np.sqrt(lengths[edge])))
            weights[edge] = max(distance, LEAST_WEIGHT)
    return weights
