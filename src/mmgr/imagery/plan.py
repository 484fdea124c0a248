"""Which files each region needs, and in which order regions are visited."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.imagery.collection import Imagery, transform_points

_CHUNK = 100_000
"""Regions looked up at a time."""
_TOUCH = 1e-3
"""Share of its edge by which a region must reach into a file: neighbours only touch it."""


@dataclass(frozen=True, slots=True)
class ReadingPlan:
    """For ``n`` regions, the patch's square, its files, and the order of reading."""

    squares: NDArray[np.float64]
    """West, south, east and north of each patch in the store's CRS, shape ``(n, 4)``."""
    starts: NDArray[np.int64]
    """Where each region's files begin in ``files``, and the end of the last, shape ``(n + 1,)``."""
    files: NDArray[np.int64]
    """Numbers of files, rising within a region."""
    order: NDArray[np.int64]
    """Rows of the regions to visit: by file, then by its rows of blocks, then west to east."""

    def files_of(self, row: int) -> list[int]:
        """Return the numbers of the files that a region reaches into."""
        return self.files[self.starts[row] : self.starts[row + 1]].tolist()  # type: ignore[no-any-return]


def plan_reading(imagery: Imagery, regions: gpd.GeoDataFrame, *, skip: Collection[str] = ()) -> ReadingPlan:
    """Look up the files of each region with a spatial index, and order the regions for tiled reading."""
    squares = patch_squares(regions)
    region, file = _pairs(imagery, squares, regions.crs)
    starts = np.searchsorted(region, np.arange(len(regions) + 1))
    first = np.full(len(regions), len(imagery.files), np.int64)
    has_file = starts[1:] > starts[:-1]
    first[has_file] = file[starts[:-1][has_file]]
    order = _order(imagery, squares, first, regions.crs)
    if skip:
        order = order[~np.isin(order, np.flatnonzero(regions.index.isin(list(skip))))]
    return ReadingPlan(squares, starts, file, order)


def patch_squares(regions: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Return the square around each region's bounding box: west, south, east, north."""
    bounds = regions.geometry.bounds.to_numpy()
    centre = (bounds[:, :2] + bounds[:, 2:]) / 2
    half = (bounds[:, 2:] - bounds[:, :2]).max(axis=1, keepdims=True) / 2
    return np.hstack([centre - half, centre + half])


def _pairs(imagery: Imagery, squares: NDArray[np.float64], crs: CRS) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the numbers of regions and files that overlap, sorted by region, then file."""
    tree = shapely.STRtree(imagery.footprints(crs).geometry.to_numpy())
    parts: list[NDArray[np.int64]] = [np.zeros((2, 0), np.int64)]
    for start in range(0, len(squares), _CHUNK):
        some = squares[start : start + _CHUNK]
        margin = _TOUCH * (some[:, 2] - some[:, 0])
        boxes = shapely.box(*(some[:, :2] + margin[:, None]).T, *(some[:, 2:] - margin[:, None]).T)
        parts.append(tree.query(boxes, predicate="intersects") + np.array([[start], [0]]))
    region, file = np.concatenate(parts, axis=1)
    order = np.lexsort((file, region))
    return region[order], file[order]


def _order(imagery: Imagery, squares: NDArray[np.float64], first: NDArray[np.int64], crs: CRS) -> NDArray[np.int64]:
    centres = (squares[:, :2] + squares[:, 2:]) / 2
    column, block_row = np.zeros(len(first)), np.zeros(len(first))
    systems = np.array([*(id(file.crs) for file in imagery.files), 0])
    inverse = np.array([(~file.transform)[:6] for file in imagery.files])
    heights = np.array([file.block_height for file in imagery.files])
    for system in set(systems[:-1].tolist()):
        rows = np.flatnonzero(systems[first] == system)
        if not len(rows):
            continue
        xy = transform_points(centres[rows], crs, imagery.files[first[rows[0]]].crs)
        a, b, c, d, e, f = inverse[first[rows]].T
        column[rows] = a * xy[:, 0] + b * xy[:, 1] + c
        # a hair more than a whole number belongs to that row of blocks, and so does a hair less
        block_row[rows] = np.floor((d * xy[:, 0] + e * xy[:, 1] + f) / heights[first[rows]] + 1e-6)
    return np.lexsort((column, block_row, first))
