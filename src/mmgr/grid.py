"""A grid of square cells over the images, or over other shapes."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import Regions
from mmgr.console import log
from mmgr.errors import RegionError
from mmgr.imagery import Imagery

MOST_CELLS = 50_000_000
"""More cells than this are taken for a mistake in the size."""
_WHOLE = 1e-6
"""Part of a cell, or of a pixel on 10,000, that rounding may leave over."""
_NO_SIZE = "a grid needs `regions.size`, the edge of a cell"


def make_grid(settings: Regions, imagery: Imagery, crs: CRS) -> gpd.GeoDataFrame:
    """Cover the images with square cells; those that meet no image are left out.

    Where all images share one grid of pixels in ``crs``, cells start at the images' north-west
    corner, so that cells of whole pixels are cut without resampling; else at a multiple of the
    edge. Ids count columns to the east and rows to the south of that corner: ``x00012_y00034``.

    Raises
    ------
    RegionError
        If the size gives no sensible number of cells.
    """
    outlines = imagery.footprints(crs)
    edge = cell_edge(settings, imagery, outlines)
    west, _, _, north = (float(value) for value in outlines.total_bounds)
    if not _shares_pixels(imagery, crs):
        west, north = np.floor(west / edge + _WHOLE) * edge, np.ceil(north / edge - _WHOLE) * edge
    return _cover(outlines.geometry.to_numpy(), (west, north), edge, crs, settings, what="these images")


def make_grid_over(shapes: NDArray[np.object_], settings: Regions, crs: CRS, *, hint: str = "") -> gpd.GeoDataFrame:
    """Cover shapes in ``crs`` with square cells that start at multiples of their edge, as :func:`make_grid` does.

    Where these are too many cells, ``hint`` says which POIs may be the cause.

    Raises
    ------
    RegionError
        If the size gives no sensible number of cells.
    """
    if settings.size is None:
        raise RegionError(_NO_SIZE)
    edge = settings.size
    west, _, _, north = (float(value) for value in shapely.total_bounds(shapes))
    corner = (float(np.floor(west / edge + _WHOLE)) * edge, float(np.ceil(north / edge - _WHOLE)) * edge)
    return _cover(shapes, corner, edge, crs, settings, what="these POIs", hint=hint)


def _cover(
    shapes: NDArray[np.object_],
    corner: tuple[float, float],
    edge: float,
    crs: CRS,
    settings: Regions,
    *,
    what: str,
    hint: str = "",
) -> gpd.GeoDataFrame:
    """Return the cells that share an area with a shape, numbered from the north-west ``corner``."""
    west, north = corner
    column, row = _cells_of(shapes, west, north, edge, settings, what=what, hint=hint)
    left, top = west + column * edge, north - row * edge
    squares = shapely.box(left, top - edge, left + edge, top)
    digits = max(5, len(str(int(max(column.max(), row.max())))))
    names = [f"x{x:0{digits}}_y{y:0{digits}}" for x, y in zip(column.tolist(), row.tolist(), strict=True)]
    log.info("regions: %d cells of %g m", len(names), edge)
    index = pd.Index(names, dtype=object, name="region_id")
    return gpd.GeoDataFrame({"group": np.full(len(index), "", object)}, index=index, geometry=squares, crs=crs)


def cell_edge(settings: Regions, imagery: Imagery, outlines: gpd.GeoDataFrame) -> float:
    """Return the edge of a cell in metres: the size, times the images' median pixel if it counts pixels."""
    if settings.size is None:
        raise RegionError(_NO_SIZE)
    if settings.unit == "metres":
        return settings.size
    files = imagery.files
    own = imagery.crs
    if own is not None and own == outlines.crs:
        return settings.size * float(np.median([file.pixel_size[0] for file in files]))
    count = np.array([file.width * file.height for file in files])
    return settings.size * float(np.median(np.sqrt(outlines.area.to_numpy() / count)))


def _shares_pixels(imagery: Imagery, crs: CRS) -> bool:
    """Say whether all images lie upright on one grid of square pixels in ``crs``."""
    files = imagery.files
    if imagery.crs is None or imagery.crs != crs or not all(file.is_upright for file in files):
        return False
    size = np.array([file.pixel_size for file in files])
    if not np.allclose(size, size[0, 0], rtol=_WHOLE, atol=0):
        return False
    corners = np.array([(file.transform.c, file.transform.f) for file in files])
    steps = (corners - corners[0]) / size[0, 0]
    return bool(np.abs(steps - np.round(steps)).max() < 0.05)


def _cells_of(
    shapes: NDArray[np.object_],
    west: float,
    north: float,
    edge: float,
    settings: Regions,
    *,
    what: str,
    hint: str,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return column and row of each cell that shares an area with a shape, row by row."""
    bounds = shapely.bounds(shapes)
    low = np.stack([(bounds[:, 0] - west) / edge, (north - bounds[:, 3]) / edge], axis=1)
    high = np.stack([(bounds[:, 2] - west) / edge, (north - bounds[:, 1]) / edge], axis=1)
    first = np.floor(low + _WHOLE).astype(np.int64)
    last = np.maximum(np.ceil(high - _WHOLE).astype(np.int64), first + 1)
    total = int(np.prod(last - first, axis=1).sum())
    if total > MOST_CELLS:
        raise RegionError(
            f"a grid of {settings.size:g} {settings.unit} has {total:,} cells over {what}; "
            "choose a larger `regions.size`." + (f" But {hint}." if hint else "")
        )
    found = [_cells_in(*part, west, north, edge) for part in zip(shapes, first, last, strict=True)]
    cells = np.unique(np.concatenate(found), axis=0)
    return cells[:, 1], cells[:, 0]


def _cells_in(
    shape: shapely.Polygon,
    first: NDArray[np.int64],
    last: NDArray[np.int64],
    west: float,
    north: float,
    edge: float,
) -> NDArray[np.int64]:
    """Return row and column of the cells between ``first`` and ``last`` that share an area with a shape."""
    column, row = (part.ravel() for part in np.meshgrid(*(np.arange(a, b) for a, b in zip(first, last, strict=True))))
    cells = np.stack([row, column], axis=1)
    if shape.equals(shape.envelope):
        return cells
    left, top = west + column * edge, north - row * edge
    margin = _WHOLE * edge
    boxes = shapely.box(left + margin, top - edge + margin, left + edge - margin, top - margin)
    shapely.prepare(shape)
    return cells[shapely.intersects(shape, boxes)]
