"""Where POIs lie, for runs in which no image says where the regions are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import Pois
from mmgr.console import log, quiet
from mmgr.pois.coordinates import transform
from mmgr.pois.outside import distance_to_box, far_limit
from mmgr.pois.read import read_pois
from mmgr.pois.tables import PoiTables

_DEGREES = CRS.from_epsg(4326)
_WORLD = CRS.from_epsg(6933)
"""Metres on the whole Earth, with lines of equal longitude and latitude upright."""
_TAIL = 0.01
"""Part of the points at each end of an axis that may be strays; one point at least."""
_FEW = 20
"""Of fewer points than this, none is called a stray."""
_LEAST = 0.01
"""Metres: a box around points is made at least this wide and high."""


def poi_bounds(settings: Pois) -> tuple[float, float, float, float]:
    """Return west, south, east and north in degrees of the POIs of all sources, strays left out.

    Raises
    ------
    InputError
        If the POIs cannot be read, as :func:`mmgr.pois.read_pois` says.
    """
    with quiet():  # they are read again, in the CRS that is chosen by this
        shapes = known_shapes(read_pois(settings, crs=_WORLD))
    low_x, low_y, high_x, high_y = shapely.total_bounds(shapes)
    (west, south), (east, north) = transform(np.array([[low_x, low_y], [high_x, high_y]]), _WORLD, _DEGREES)
    return float(west), float(south), float(east), float(north)


def known_shapes(tables: PoiTables) -> NDArray[np.object_]:
    """Return the polygons inside which POIs are known: what a grid of regions has to cover.

    These are the sources' areas; the box around the points of a source without one; and the polygons
    of counts. A box leaves out points that lie far from the bulk of the others, see :func:`stray`.
    """
    shapes = [*_of_points(tables), *tables.counts.geometry]
    return np.asarray(shapely.get_parts(np.array(shapes, object)))


def stray(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which points lie far from the bulk of the others, shape ``(n,)``.

    The bulk is the box from the first to the last percentile of each axis; far is as far as a point
    is far outside regions (see :func:`mmgr.pois.outside.far_limit`).
    """
    return apart(xy) > 0


def apart(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return metres from each stray point to the bulk of the others, and 0 for points that are none, shape ``(n,)``."""
    if len(xy) < _FEW:
        return np.zeros(len(xy))
    ordered = np.sort(xy, axis=0)
    ends = max(1, int(_TAIL * len(xy)))
    bulk = np.concatenate([ordered[ends], ordered[-1 - ends]])
    distance = distance_to_box(xy, bulk)
    return np.where(distance > far_limit(bulk), distance, 0.0)


def _of_points(tables: PoiTables) -> Iterator[shapely.Geometry]:
    source = tables.points["source"].to_numpy()
    xy = np.stack([tables.points.geometry.x.to_numpy(), tables.points.geometry.y.to_numpy()], axis=1)
    for number in np.unique(source):
        area = tables.sources[number].area
        if area is not None:
            yield area
            continue
        own = xy[source == number]
        far = stray(own)
        if far.any():
            log.info(
                "%s: %d of %d POIs lie apart from the others, and no grid is made there",
                tables.sources[number].path, far.sum(), len(own),
            )  # fmt: skip
        low, high = own[~far].min(axis=0), own[~far].max(axis=0)
        narrow = np.where(high - low < _LEAST, _LEAST / 2, 0)
        yield shapely.box(*(low - narrow), *(high + narrow))
