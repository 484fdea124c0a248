"""POIs as points: CSV, GeoJSON, GeoPackage, GeoParquet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from mmgr.config import PointSource
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois.coordinates import RawPoints, first_fault, project, table_points, vector_points
from mmgr.pois.levels import levels_of
from mmgr.pois.names import clean_names, pair_levels, respelt, warn_of_shared_names
from mmgr.pois.tables import Source
from mmgr.tables import polygons_only, read_vector

_SHOWN = 5
"""How many rows or names a message lists."""


@dataclass(frozen=True, slots=True)
class SourcePoints:
    """The clean points of one source."""

    source: Source
    pairs: tuple[tuple[str, str], ...]
    """First and second level of each category that occurs."""
    category: NDArray[np.int64]
    """Category of each point, a place in ``pairs``, shape ``(n,)``."""
    xy: NDArray[np.float64]
    """Metres in the store's CRS, shape ``(n, 2)``."""
    row: NDArray[np.int64]
    """Row of each point in its file, counted from 1, shape ``(n,)``."""


def read_points(settings: PointSource, *, crs: CRS) -> SourcePoints:
    """Read one source of points and bring it into ``crs``.

    Rows without a category or with coordinates that are missing or infinite are left out, counted
    and logged, and so are points so far away that ``crs`` has no place for them. Names in another
    Unicode form than NFC are brought into it and counted.

    Raises
    ------
    PoiError
        If no point is left, a longitude or latitude is out of range, or the two look swapped.
    """
    raw = vector_points(settings) if is_vector(settings.path) else table_points(settings)
    xy = project(raw, crs)
    levels = levels_of(settings, raw.frame)
    first, second = (clean_names(level) for level in levels)
    named = (first != "") & (second != "")
    placed = np.asarray(np.isfinite(xy).all(axis=1))
    _log_left_out(raw, crs, named=named, placed=placed)
    keep = named & placed
    if not keep.any():
        fault = first_fault(raw)
        raise PoiError(
            f"{settings.path} holds no usable point: of {len(keep)} rows {np.sum(~placed)} have no usable "
            f"coordinates and {np.sum(~named)} no category.{f' For example {fault}.' if fault else ''}"
        )
    changed = np.logical_or(*(respelt(level) for level in levels))
    if changed.any():
        log.info(
            "%s: the category names of %d POIs are spelt in another Unicode form; read as NFC (%s)",
            settings.path, changed.sum(), rows_text(np.flatnonzero(changed) + 1),
        )  # fmt: skip
    pairs, category = pair_levels(first[keep], second[keep])
    warn_of_shared_names(settings.path, pairs, category)
    source = Source(str(settings.path), raw.x, raw.y, _area(settings.area, crs))
    return SourcePoints(source, pairs, category, xy[keep], np.flatnonzero(keep) + 1)


def is_vector(path: Path) -> bool:
    """Say whether a file holds geometry, rather than a table with coordinates in columns."""
    if path.suffix.lower() in {".csv", ".tsv", ".txt"}:
        return False
    if path.suffix.lower() not in {".parquet", ".pq", ".geoparquet"} or not path.is_file():
        return True
    import pyarrow as pa  # noqa: PLC0415 - only Parquet needs it
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return b"geo" in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        return True  # the reader explains what is wrong


def rows_text(rows: NDArray[np.integer[Any]]) -> str:
    """Name the first of some rows, which are counted from 1."""
    shown = ", ".join(str(row) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _log_left_out(raw: RawPoints, crs: CRS, *, named: NDArray[np.bool_], placed: NDArray[np.bool_]) -> None:
    beyond = ~placed & np.isfinite(raw.xy).all(axis=1)
    fault = first_fault(raw)
    for left_out, why, example in (
        (~placed & ~beyond, "without usable coordinates", f"; {fault}" if fault else ""),
        (beyond, f"too far away for a place in {crs.to_string()}", ""),
        (~named, "without a category", ""),
    ):
        if left_out.any():
            rows = np.flatnonzero(left_out) + 1
            log.warning(
                "%s: %d of %d POIs %s are left out (%s)%s",
                raw.path, len(rows), len(placed), why, rows_text(rows), example,
            )  # fmt: skip
    if raw.replaced:
        log.info("%s: %d shapes that are not points stand as a point inside them", raw.path, raw.replaced)


def _area(path: Path | None, crs: CRS) -> BaseGeometry | None:
    if path is None:
        return None
    what = "POI area"
    frame: gpd.GeoDataFrame = polygons_only(read_vector(path, crs_key="", what=what), path=path, what=what)
    return shapely.union_all(frame.to_crs(crs).geometry.to_numpy())
