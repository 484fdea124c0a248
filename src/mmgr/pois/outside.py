"""POIs far outside the regions: counted and named, and left out where the user says so."""

from __future__ import annotations

from collections.abc import Iterator

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import Pois
from mmgr.console import log
from mmgr.pois.coordinates import transform
from mmgr.pois.points import rows_text
from mmgr.pois.tables import PoiTables

FAR = 10_000.0
"""Metres: a point nearer than this to the regions' box is never far outside."""
_DEGREES = CRS.from_epsg(4326)


def settle_outside(tables: PoiTables, regions: gpd.GeoDataFrame, settings: Pois) -> PoiTables:
    """Name the points far outside the regions, and return the tables with or without them.

    A single point that a wrong coordinate put elsewhere would stretch the box in which a source's POIs
    count as known. Counts are not touched: a polygon gives nothing to regions that it does not meet.

    Parameters
    ----------
    tables
        The POIs of all sources, in the regions' CRS.
    regions
        Polygons in a projected CRS, in metres.
    settings
        ``outside`` says whether the points stay; ``radius`` how far regions reach.
    """
    box = np.asarray(regions.total_bounds, float)
    limit = far_limit(box, radius=settings.radius)
    xy = np.stack([tables.points.geometry.x.to_numpy(), tables.points.geometry.y.to_numpy()], axis=1)
    distance = distance_to_box(xy, box)
    far = distance > limit
    if not far.any():
        return tables
    drop = settings.outside == "drop"
    what_then = (
        "they are left out (pois.outside: drop)"
        if drop
        else "set pois.outside: drop to leave them out, or mend them if their coordinates are wrong"
    )
    for path, total, rows, (x, y) in _by_source(tables, xy, distance, far):
        log.warning(
            "%s: %d of %d POIs lie more than %.0f km from the regions (%s; the furthest at lon %.3f, lat %.3f); %s",
            path, len(rows), total, limit / 1000, rows_text(rows), x, y, what_then,
        )  # fmt: skip
    return tables.without(far) if drop else tables


def far_limit(box: NDArray[np.float64], *, radius: float | None = None) -> float:
    """Return how many metres beyond a box (west, south, east, north) a point is far outside it."""
    return max(FAR, float(np.hypot(box[2] - box[0], box[3] - box[1])), radius or 0.0)


def distance_to_box(xy: NDArray[np.float64], box: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return metres from points, shape ``(n, 2)``, to a box (west, south, east, north); 0 inside it."""
    beyond = np.maximum(np.maximum(box[:2] - xy, xy - box[2:]), 0.0)
    return np.asarray(np.hypot(beyond[:, 0], beyond[:, 1]))


def _by_source(
    tables: PoiTables, xy: NDArray[np.float64], distance: NDArray[np.float64], far: NDArray[np.bool_]
) -> Iterator[tuple[str, int, NDArray[np.int64], NDArray[np.float64]]]:
    """Yield each file with far points: its points, the rows of the far ones, and where the furthest lies."""
    source, row = tables.points["source"].to_numpy(), tables.points["row"].to_numpy()
    for number in np.unique(source[far]):
        own = far & (source == number)
        furthest = np.flatnonzero(own)[[int(distance[own].argmax())]]
        place = transform(xy[furthest], CRS.from_user_input(tables.points.crs), _DEGREES)[0]
        yield tables.sources[number].path, int((source == number).sum()), row[own], place.round(3) + 0.0  # no -0.000
