"""Whether the POIs lie where the regions are."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois.coordinates import swap_message, transform
from mmgr.pois.tables import PoiTables, Source
from mmgr.regions import region_edge

_DEGREES = CRS.from_epsg(4326)


def check_overlap(tables: PoiTables, regions: gpd.GeoDataFrame) -> None:
    """Make sure that some POIs lie near the regions; a source of which none do is logged.

    Raises
    ------
    PoiError
        If no source reaches the regions, or one would with longitude and latitude swapped.
    """
    edge = region_edge(regions)
    box = np.asarray(regions.total_bounds, float) + np.array([-edge, -edge, edge, edge])
    far = [number for number in range(len(tables.sources)) if not _reaches(tables, number, box)]
    for number in far:
        _refuse_swapped(tables, number, box)
    where = f"the regions in {_degrees(box, tables.points.crs)}"
    outside = [f"{tables.sources[number].path} lies in {_extent(tables, number)}" for number in far]
    if len(far) == len(tables.sources):
        raise PoiError(f"no POIs lie near {where}: {'; '.join(outside)}. Check the files and their `crs`.")
    for text in outside:
        log.warning("%s, away from %s; it tells nothing of them", text, where)


def _reaches(tables: PoiTables, number: int, box: NDArray[np.float64]) -> bool:
    points = _xy(tables, number)
    if len(points):
        return bool(_inside(points, box).any())
    bounds = tables.counts.bounds.to_numpy()[(tables.counts["source"] == number).to_numpy()]
    return bool(((bounds[:, :2] <= box[2:]) & (bounds[:, 2:] >= box[:2])).all(axis=1).any())


def _refuse_swapped(tables: PoiTables, number: int, box: NDArray[np.float64]) -> None:
    points = _xy(tables, number)
    if not len(points):
        return
    swapped = transform(transform(points, tables.points.crs, _DEGREES)[:, ::-1], _DEGREES, tables.points.crs)
    if _inside(swapped, box).any():
        source: Source = tables.sources[number]
        raise PoiError(swap_message(source.path, source.x, source.y))


def _xy(tables: PoiTables, number: int) -> NDArray[np.float64]:
    """Return the points of one source, shape ``(n, 2)``."""
    points = tables.points.geometry[(tables.points["source"] == number).to_numpy()]
    return np.stack([points.x.to_numpy(), points.y.to_numpy()], axis=1)


def _inside(points: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(((points >= box[:2]) & (points <= box[2:])).all(axis=1))


def _extent(tables: PoiTables, number: int) -> str:
    points = _xy(tables, number)
    if len(points):
        return _degrees(np.concatenate([points.min(axis=0), points.max(axis=0)]), tables.points.crs)
    own = tables.counts[tables.counts["source"] == number]
    return _degrees(np.asarray(own.total_bounds, float), tables.points.crs)


def _degrees(box: NDArray[np.float64], crs: CRS) -> str:
    """Write a box of the store's CRS as longitudes and latitudes."""
    corners = transform(box[[[0, 1], [0, 3], [2, 1], [2, 3]]], crs, _DEGREES)
    (west, south), (east, north) = np.nanmin(corners, axis=0), np.nanmax(corners, axis=0)
    return f"longitude {west:.3f} to {east:.3f}, latitude {south:.3f} to {north:.3f}"
