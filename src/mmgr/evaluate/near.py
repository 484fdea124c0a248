"""The polygons of a file that may meet some regions: a file of the whole world is no concern of one city."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from mmgr.console import log
from mmgr.tables import polygons_only

_MARGIN = 100_000.0
"""Metres around the regions: an edge between two distant vertices runs elsewhere in another CRS."""
_TURN = 360.0


def near_polygons(frame: gpd.GeoDataFrame, regions: gpd.GeoSeries, *, path: Path, what: str) -> gpd.GeoDataFrame:
    """Bring the features of a file that are near some regions into the regions' CRS, as valid polygons.

    Others are counted in the log. They are told by the file's own CRS: in that of the regions, places a quarter
    round the Earth may be nowhere, and shapes there cross themselves.

    Parameters
    ----------
    frame
        Features with a geometry, in the file's CRS.
    regions
        Outlines in a projected CRS in metres.
    path, what
        The file, and what its features are, for messages.

    Returns
    -------
    The features under the index they had; none where all are far away.

    Raises
    ------
    InputError
        Names the near features that are no polygons.
    """
    close = _meet(frame.geometry.to_numpy(), _around(regions, CRS.from_user_input(frame.crs)))
    if not close.all() and close.any():
        log.info(
            "%s: %d of %d features of %s are far from all regions and left out", what, (~close).sum(), len(close), path
        )
    # reprojected first, mended then: it may cross what nearly touched
    moved = frame[close].to_crs(regions.crs)
    placed = _finite(moved.geometry.to_numpy())
    if not placed.all():
        log.warning(
            "%s: %d features of %s reach places that the regions' CRS does not have; they are left out",
            what,
            (~placed).sum(),
            path,
        )
    return polygons_only(moved[placed], path=path, what=what)


def _around(regions: gpd.GeoSeries, crs: CRS) -> shapely.Geometry | None:
    """Return where regions are in another CRS, with a margin; None where that CRS cannot tell.

    In degrees it is there three times, a turn apart, since files count from -180 to 180, from 0 to 360, or on beyond.
    """
    west, south, east, north = regions.total_bounds + _MARGIN * np.array([-1, -1, 1, 1])
    there = Transformer.from_crs(CRS.from_user_input(regions.crs), crs, always_xy=True)
    west, south, east, north = there.transform_bounds(west, south, east, north)
    if not np.isfinite([west, south, east, north]).all():
        return None
    if not crs.is_geographic:
        return shapely.box(west, south, east, north)
    east += _TURN if east < west else 0.0  # across the date line
    return shapely.union_all([shapely.box(west + turn, south, east + turn, north) for turn in (-_TURN, 0.0, _TURN)])


def _meet(shapes: NDArray[Any], window: shapely.Geometry | None) -> NDArray[np.bool_]:
    """Say which shapes may meet a window; all where there is none, and those of infinite coordinates never do."""
    close = _finite(shapes)
    if window is not None:
        shapely.prepare(window)
        close[close] = shapely.intersects(window, shapes[close])
    return close


def _finite(shapes: NDArray[Any]) -> NDArray[np.bool_]:
    places, shape = shapely.get_coordinates(shapes, return_index=True)
    finite = np.ones(len(shapes), bool)
    finite[shape[~np.isfinite(places).all(axis=1)]] = False
    return finite
