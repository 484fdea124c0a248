"""The graph that walks go along: POIs as vertices, Delaunay edges between neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from scipy.spatial import Delaunay, QhullError

AREA_GAP = 25_000.0
"""Metres: POIs with an empty stretch of more than about this between them belong to study areas of their own."""
COINCIDENT = 0.01
"""Metres: POIs within the same square of this edge are one vertex."""


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
        Metres; areas further apart than this are triangulated apart (see :func:`study_areas`).
    """
    vertices, vertex = _distinct(np.asarray(xy, np.float64).reshape(-1, 2))
    area = study_areas(vertices, gap=gap)
    members = np.split(np.argsort(area, kind="stable"), np.cumsum(np.bincount(area))[:-1]) if len(area) else []
    edges = np.concatenate([np.empty((0, 2), np.int64), *(own[_area_edges(vertices[own])] for own in members)])
    matrix = sparse.csr_array((np.ones(len(edges), bool), (edges[:, 0], edges[:, 1])), shape=(len(vertices),) * 2)
    matrix = (matrix + matrix.T).tocsr()
    matrix.sort_indices()
    tails = np.repeat(np.arange(len(vertices)), np.diff(matrix.indptr))
    return PoiGraph(
        xy=vertices,
        vertex=vertex,
        indptr=matrix.indptr.astype(np.int64),
        indices=matrix.indices.astype(np.int32),
        lengths=np.hypot(*(vertices[tails] - vertices[matrix.indices]).T),
        area=area,
        diagonals=np.array([np.hypot(*np.ptp(vertices[own], axis=0)) for own in members]),
    )


def study_areas(xy: NDArray[np.float64], *, gap: float = AREA_GAP) -> NDArray[np.int32]:
    """Return the number of each point's study area, as of distant cities in one file, shape ``(n,)``.

    Squares of edge ``gap`` that hold points and touch, be it at a corner, form one area: points
    nearer than ``gap`` always share one, points with more than ``2.83 * gap`` of emptiness between
    them never do.
    """
    if not len(xy):
        return np.zeros(0, np.int32)
    columns, rows = np.floor((xy - xy.min(axis=0)) / gap).astype(np.int64).T
    squares, square = np.unique(columns * (rows.max() + 1) + rows, return_inverse=True)
    order = {
        (int(column), int(row)): n
        for n, (column, row) in enumerate(zip(*np.divmod(squares, rows.max() + 1), strict=True))
    }
    steps = ((1, -1), (1, 0), (1, 1), (0, 1))
    pairs = [
        (number, order[column + dx, row + dy])
        for (column, row), number in order.items()
        for dx, dy in steps
        if (column + dx, row + dy) in order
    ]
    tails, heads = np.array(pairs, np.int64).reshape(-1, 2).T
    links = sparse.coo_array((np.ones(len(pairs)), (tails, heads)), shape=(len(squares), len(squares)))
    return np.asarray(connected_components(links, directed=False)[1][square], np.int32)


def distance_weights(graph: PoiGraph) -> NDArray[np.float64]:
    """Return ``a_d = log((1 + D^1.5) / (1 + d^1.5))`` of each edge, shape ``(e,)`` (Huang et al. 2022, eq. 2).

    ``d`` is the edge's length and ``D`` the diagonal of its area's bounding rectangle. An edge as
    long as ``D`` keeps the least weight above 0, so that two POIs alone still meet.
    """
    diagonal = graph.diagonals[graph.area[graph.indices]]
    weights = np.log((1 + diagonal**1.5) / (1 + graph.lengths**1.5))
    return np.maximum(weights, np.finfo(float).tiny ** 0.5)


def _distinct(xy: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """Merge points that coincide; return the vertices and the vertex of each point."""
    if not len(xy):
        return xy, np.zeros(0, np.int32)
    cells = np.round((xy - xy.min(axis=0)) / COINCIDENT).astype(np.int64)
    order = np.lexsort((cells[:, 0], cells[:, 1], _morton(cells)))
    new = np.ones(len(order), bool)
    new[1:] = (np.diff(cells[order], axis=0) != 0).any(axis=1)
    vertex = np.empty(len(order), np.int32)
    vertex[order] = np.cumsum(new) - 1
    return xy[order[new]], vertex


def _morton(cells: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Return each cell's place on a Z-shaped curve, on which cells that are near stay near."""
    span = int(cells.max(initial=0)).bit_length()
    column, row = (cells >> max(span - 31, 0)).astype(np.uint64).T
    return _spread(column) | (_spread(row) << np.uint64(1))


def _spread(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Put a zero between every two bits of 31-bit numbers."""
    for shift, mask in (
        (16, 0x0000FFFF0000FFFF),
        (8, 0x00FF00FF00FF00FF),
        (4, 0x0F0F0F0F0F0F0F0F),
        (2, 0x3333333333333333),
        (1, 0x5555555555555555),
    ):
        bits = (bits | (bits << np.uint64(shift))) & np.uint64(mask)
    return bits


def _area_edges(xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the Delaunay edges of distinct points, each at least once, shape ``(m, 2)``."""
    centred = xy - xy.mean(axis=0)
    if len(xy) < 3 or _in_line(centred):
        return _chain(centred)
    try:
        # with its corner at the origin Qhull has all the digits for the differences
        triangulation = Delaunay(centred)
    except QhullError:
        return _chain(centred)
    corners = triangulation.simplices.astype(np.int64)
    edges = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]])
    # points that rounding kept out of every triangle hang on the nearest vertex
    left_out = triangulation.coplanar[:, [0, 2]].astype(np.int64).reshape(-1, 2)
    return np.concatenate([np.sort(edges, axis=1), left_out])


def _in_line(centred: NDArray[np.float64]) -> bool:
    spread = np.linalg.svd(centred.T @ centred, compute_uv=False)
    return bool(spread[1] <= 1e-18 * spread[0] or np.sqrt(spread[1]) < COINCIDENT)


def _chain(centred: NDArray[np.float64]) -> NDArray[np.int64]:
    """Join points one after the other along their main direction."""
    main = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(centred @ main, kind="stable")
    return np.stack([order[:-1], order[1:]], axis=1)
