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
from mmgr.lonlat import DEGREES, lonlat_bounds, places_of
from mmgr.pois.coordinates import transform
from mmgr.pois.read import read_pois
from mmgr.pois.strays import furthest_text, stray
from mmgr.pois.tables import PoiTables

_WORLD = "+proj=cea +lat_ts=30 +lon_0={middle:.6f} +datum=WGS84 +units=m"
"""Metres on the whole Earth, with lines of equal longitude and latitude upright; cut opposite its middle."""
_DATE_LINE = 180.0
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
    places = _known_places(tables)
    return choose_crs(lonlat_bounds(places), wanted, places=places, what="the POIs", hint=furthest_text(tables))


def poi_bounds(settings: Pois) -> tuple[float, float, float, float]:
    """Return west, south, east and north in degrees of the POIs of all sources, strays left out.

    East is above 180 where they lie on both sides of the date line.

    Raises
    ------
    InputError
        If the POIs cannot be read, as :func:`mmgr.pois.read_pois` says.
    """
    return lonlat_bounds(_known_places(_read_in_world(settings)))


def known_shapes(tables: PoiTables) -> NDArray[np.object_]:
    """Return the polygons inside which POIs are known: what a grid of regions has to cover.

    These are the sources' areas; the box around the points of a source without one; and the polygons
    of counts. A box leaves out points that lie far from the bulk of the others, see
    :func:`mmgr.pois.strays.stray`.
    """
    shapes = [*_of_points(tables), *tables.counts.geometry]
    return np.asarray(shapely.get_parts(np.array(shapes, object)))


def _read_in_world(settings: Pois) -> PoiTables:
    """Read the POIs in metres of the whole Earth, cut where there are none: at the date line, or elsewhere."""
    with quiet():  # they are read again, in the CRS that is chosen by this
        tables = read_pois(settings, crs=CRS.from_user_input(_WORLD.format(middle=0)))
        west, _, east, _ = lonlat_bounds(_all_places(tables))
        if east <= _DATE_LINE:
            return tables
        return read_pois(settings, crs=CRS.from_user_input(_WORLD.format(middle=(west + east) / 2)))


def _all_places(tables: PoiTables) -> NDArray[np.float64]:
    """Return the POIs, and corners of areas and polygons of counts, in degrees, strays as well, shape ``(n, 2)``."""
    areas = [source.area for source in tables.sources if source.area is not None]
    shapes = np.concatenate([tables.points.geometry, tables.counts.geometry, np.array(areas, object)])
    lonlat = transform(shapely.get_coordinates(shapes), CRS.from_user_input(tables.points.crs), DEGREES)
    return lonlat[np.isfinite(lonlat).all(axis=1)]


def _known_places(tables: PoiTables) -> NDArray[np.float64]:
    with quiet():
        shapes = known_shapes(tables)
    return places_of(shapes, CRS.from_user_input(tables.points.crs))


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
