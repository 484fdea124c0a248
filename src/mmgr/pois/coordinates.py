"""Coordinates of POIs: found, checked and projected."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from mmgr.config import PointSource
from mmgr.errors import PoiError
from mmgr.pois.levels import check_levels
from mmgr.tables import read_table, read_vector, require_columns

_WHAT = "POIs"
_DEGREES = (("lon", "lat"), ("longitude", "latitude"), ("lng", "lat"), ("lng", "latitude"), ("long", "lat"))
_METRES = (("x", "y"), ("easting", "northing"), ("east", "north"), ("x_coord", "y_coord"))
_LIMITS = (180.0, 90.0)
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")


@dataclass(frozen=True, slots=True)
class RawPoints:
    """The rows of a file with their coordinates, as they stand there."""

    path: Path
    frame: pd.DataFrame
    xy: NDArray[np.float64]
    """Coordinates in ``crs``, longitude or easting first, NaN where missing, shape ``(n, 2)``."""
    crs: CRS
    x: str = ""
    """Column of the longitude or easting; empty for a file with geometry."""
    y: str = ""
    """Column of the latitude or northing; empty for a file with geometry."""
    replaced: int = 0
    """Shapes for which a point inside them stands."""


def table_points(settings: PointSource) -> RawPoints:
    """Read a table with coordinates in two columns.

    Raises
    ------
    PoiError
        If no coordinate columns are named or recognised.
    """
    names = [level for level in (settings.first_level, settings.second_level, *settings.keys) if level]
    frame = read_table(settings.path, names=names, what=_WHAT)
    check_levels(settings, list(frame.columns), what=_WHAT)
    crs = _parse_crs(settings.crs or "EPSG:4326", settings.path)
    x, y = _coordinate_columns(settings, list(frame.columns), crs)
    xy = np.stack([_numbers(frame[column]) for column in (x, y)], axis=1)
    return RawPoints(settings.path, frame, xy, crs, x, y)


def vector_points(settings: PointSource) -> RawPoints:
    """Read a file with geometry; a point inside stands for a polygon or line.

    Raises
    ------
    PoiError
        If the settings also name coordinate columns.
    """
    if settings.x or settings.y:
        raise PoiError(f"{settings.path} has geometry; leave out `x` and `y`, which belong to a table.")
    frame = read_vector(settings.path, layer=settings.layer, crs=settings.crs, what=_WHAT)
    check_levels(settings, list(frame.columns.drop(frame.geometry.name)), what=_WHAT)
    shapes = frame.geometry.to_numpy()
    placed = np.isfinite(shapely.bounds(shapes)).all(axis=1)  # not where a shape is missing or empty
    other = placed & (shapely.get_type_id(shapes) != shapely.GeometryType.POINT)
    points = shapes.copy()
    points[~placed] = None
    points[other] = shapely.point_on_surface(shapes[other])
    xy = np.stack([shapely.get_x(points), shapely.get_y(points)], axis=1)
    return RawPoints(settings.path, frame, xy, CRS.from_user_input(frame.crs), replaced=int(other.sum()))


def project(raw: RawPoints, crs: CRS) -> NDArray[np.float64]:
    """Check coordinates and bring them into ``crs``; NaN where that cannot be done, shape ``(n, 2)``.

    Raises
    ------
    PoiError
        If a longitude or latitude is out of range, or the two look swapped.
    """
    xy = np.where(np.isfinite(raw.xy).all(axis=1, keepdims=True), raw.xy, np.nan)
    if raw.crs.is_geographic:
        _check_range(raw, xy)
    projected = transform(xy, raw.crs, crs)
    lost = ~np.isfinite(projected).all(axis=1) & np.isfinite(xy).all(axis=1)
    if raw.crs.is_geographic and lost.sum() > len(xy) / 2:
        swapped = transform(xy[:, ::-1], raw.crs, crs)
        if np.isfinite(swapped).all(axis=1).sum() > len(xy) / 2:
            raise PoiError(swap_message(str(raw.path), raw.x, raw.y))
    return projected


def transform(xy: NDArray[np.float64], start: CRS, goal: CRS) -> NDArray[np.float64]:
    """Bring coordinates from one CRS into another; NaN where they have no place there."""
    x, y = Transformer.from_crs(start, goal, always_xy=True).transform(xy[:, 0], xy[:, 1])
    result = np.stack([np.asarray(x, float), np.asarray(y, float)], axis=1)
    result[~np.isfinite(result).all(axis=1)] = np.nan
    return result


def swap_message(path: str, x: str, y: str) -> str:
    """Say that longitude and latitude look swapped, and how to mend it."""
    if x:
        return f"{path}: longitude and latitude look swapped: set x: {y}, y: {x}."
    return f"{path}: longitude and latitude of its geometry look swapped; write the longitude first."


def first_fault(raw: RawPoints) -> str:
    """Show the first cell that is no coordinate, with its row and column; empty for a file with geometry."""
    rows = np.flatnonzero(~np.isfinite(raw.xy).all(axis=1))
    if not raw.x or not len(rows):
        return ""
    row = rows[0]
    column = raw.x if not np.isfinite(raw.xy[row, 0]) else raw.y
    cell = raw.frame[column].iloc[row]
    if pd.isna(cell):
        return f"row {row + 1} has nothing in column {column}"
    hint = "; write decimals with a point, not a comma" if _DECIMAL_COMMA.fullmatch(str(cell)) else ""
    return f"row {row + 1} has {str(cell)!r} in column {column}, which is no finite number{hint}"


def _parse_crs(text: str, path: Path) -> CRS:
    try:
        return CRS.from_user_input(text)
    except CRSError:
        raise PoiError(f"{path}: crs {text!r} is not a known CRS; write it as EPSG:4326 is written.") from None


def _coordinate_columns(settings: PointSource, columns: list[str], crs: CRS) -> tuple[str, str]:
    """Return the columns that the user named, or a pair with common names."""
    if settings.x and settings.y:
        require_columns(columns, [settings.x, settings.y], path=settings.path, what=_WHAT)
        return settings.x, settings.y
    if settings.x or settings.y:
        raise PoiError(f"{settings.path}: `x` and `y` belong together; name both columns.")
    known = {column.strip().lower(): column for column in columns}
    for x, y in _DEGREES + _METRES if crs.is_geographic else _METRES + _DEGREES:
        if x in known and y in known:
            return known[x], known[y]
    raise PoiError(
        f"{settings.path}: no columns with coordinates are recognised; name them as `x` (longitude or easting) "
        f"and `y` (latitude or northing). Its columns are {', '.join(columns)}."
    )


def _numbers(column: pd.Series[float]) -> NDArray[np.float64]:
    return pd.to_numeric(column, errors="coerce").to_numpy(float)


def _check_range(raw: RawPoints, xy: NDArray[np.float64]) -> None:
    outside = np.abs(xy) > _LIMITS
    if not outside.any():
        return
    latitudes_in_x = not (np.abs(xy[:, 0]) > _LIMITS[1]).any() and not (np.abs(xy[:, 1]) > _LIMITS[0]).any()
    if latitudes_in_x and outside[:, 1].sum() > np.isfinite(xy[:, 1]).sum() / 2:
        raise PoiError(swap_message(str(raw.path), raw.x, raw.y))
    row, axis = np.argwhere(outside)[0]
    name = ("longitude", "latitude")[axis]
    column = f" (column {(raw.x, raw.y)[axis]})" if raw.x else ""
    raise PoiError(
        f"{raw.path}: row {row + 1} has {name} {xy[row, axis]:.10g}{column}, outside ±{_LIMITS[axis]:.0f} degrees; "
        f"{outside.any(axis=1).sum()} of {len(xy)} rows are out of range. "
        "Mend or remove them, or set `crs` if these are not degrees."
    )
