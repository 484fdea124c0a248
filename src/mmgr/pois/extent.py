"""Where POIs lie, for runs in which no image says where the regions are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import Pois
from mmgr.console import log, quiet
from mmgr.imagery import choose_crs
from mmgr.pois.coordinates import transform
from mmgr.pois.read import read_pois
from mmgr.pois.strays import furthest_text, stray
from mmgr.pois.tables import PoiTables

_DEGREES = CRS.from_epsg(4326)
_WORLD = CRS.from_epsg(6933)
"""Metres on the whole Earth, with lines of equal longitude and latitude upright."""
_LEAST = 0.01
"""Metres: a box around points is made at least this wide and high."""


def poi_crs(settings: Pois, wanted: str | None) -> CRS:
    """Choose the projected CRS in metres of a run whose regions are a grid over the POIs.

    Parameters
    ----------
    settings
        The POIs.
    wanted
        The CRS that the user names, if any.

    Raises
    ------
    InputError
        If the POIs cannot be read, as :func:`mmgr.pois.read_pois` says.
    RegionError
        If ``wanted`` is no projected CRS in metres, or the POIs reach too far for one UTM zone.
    """
    tables = _read_in_world(settings)
    return choose_crs(_bounds(tables), wanted, what="the POIs", hint=furthest_text(tables))


def poi_bounds(settings: Pois) -> tuple[float, float, float, float]:
    """Return west, south, east and north in degrees of the POIs of all sources, strays left out.

    Raises
    ------
    InputError
        If the POIs cannot be read, as :func:`mmgr.pois.read_pois` says.
    """
    return _bounds(_read_in_world(settings))


def known_shapes(tables: PoiTables) -> NDArray[np.object_]:
    """Return the polygons inside which POIs are known: what a grid of regions has to cover.

    These are the sources' areas; the box around the points of a source without one; and the polygons
    of counts. A box leaves out points that lie far from the bulk of the others, see
    :func:`mmgr.pois.strays.stray`.
    """
    shapes = [*_of_points(tables), *tables.counts.geometry]
    return np.asarray(shapely.get_parts(np.array(shapes, object)))


def _read_in_world(settings: Pois) -> PoiTables:
    with quiet():  # they are read again, in the CRS that is chosen by this
        return read_pois(settings, crs=_WORLD)


def _bounds(tables: PoiTables) -> tuple[float, float, float, float]:
    with quiet():
        low_x, low_y, high_x, high_y = shapely.total_bounds(known_shapes(tables))
    (west, south), (east, north) = transform(np.array([[low_x, low_y], [high_x, high_y]]), _WORLD, _DEGREES)
    return float(west), float(south), float(east), float(north)


def _of_points(tables: PoiTables) -> Iterator[shapely.Geometry]:
    source = tables.points["source"].to_numpy()
    xy = np.stack([tables.points.geometry.x.to_numpy(), tables.points.geometry.y.to_numpy()], axis=1)
    for number in np.unique(source):
        area = tables.sources[number].area
        if area is not None:
            yield area
            continue
        own = xy[source == number]
        far = stray(own, crs=CRS.from_user_input(tables.points.crs))
        if far.any():
            log.info(
                "%s: %d of %d POIs lie apart from the others, and no grid is made there",
                tables.sources[number].path, far.sum(), len(own),
            )  # fmt: skip
        low, high = own[~far].min(axis=0), own[~far].max(axis=0)
        narrow = np.where(high - low < _LEAST, _LEAST / 2, 0)
        yield shapely.box(*(low - narrow), *(high + narrow))
