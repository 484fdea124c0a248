"""Places in degrees: where shapes lie, and between which longitudes, across the date line too."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

DEGREES = CRS.from_epsg(4326)
"""Longitude and latitude."""


def places_of(shapes: NDArray[Any], crs: CRS) -> NDArray[np.float64]:
    """Return the corners of shapes and a point inside each, in degrees.

    Parameters
    ----------
    shapes
        Points, lines or polygons in ``crs``; missing, empty and infinite ones are passed over.
    crs
        Their CRS.

    Returns
    -------
    Longitudes and latitudes, shape ``(n, 2)``, without those that have no place on Earth.
    """
    finite = shapes[np.isfinite(shapely.bounds(shapes)).all(axis=1)]
    xy = np.concatenate([shapely.get_coordinates(finite), shapely.get_coordinates(shapely.point_on_surface(finite))])
    longitude, latitude = Transformer.from_crs(crs, DEGREES, always_xy=True).transform(xy[:, 0], xy[:, 1])
    lonlat = np.stack([np.asarray(longitude, float), np.asarray(latitude, float)], axis=1)
    return np.asarray(lonlat[np.isfinite(lonlat).all(axis=1)], float)


def lonlat_bounds(lonlat: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Return west, south, east and north of places: the shortest arc of longitudes that holds them all.

    Parameters
    ----------
    lonlat
        Longitudes and latitudes in degrees, finite, shape ``(n, 2)`` with ``n`` of at least 1.

    Returns
    -------
    West in -180 to 180, and east from west on: above 180 where the arc crosses the date line.
    """
    longitudes = np.unique((lonlat[:, 0] + 180) % 360 - 180)
    # the gap across the date line comes first, so that of equal ones it is the one that stays open
    gaps = np.diff(longitudes, prepend=longitudes[-1] - 360)
    first = int(gaps.argmax())
    west = float(longitudes[first])
    east = float(longitudes[first - 1]) + (360 if first else 0)
    return west, float(lonlat[:, 1].min()), east, float(lonlat[:, 1].max())
