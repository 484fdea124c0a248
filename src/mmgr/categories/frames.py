"""The POI table that a user hands to an estimator, checked."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.categories.places import Places
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois.names import clean_names, pair_levels, warn_of_shared_names
from mmgr.pois.strays import apart
from mmgr.taxonomy import Taxonomy

Names = NDArray[np.object_]

SECOND_LEVEL = "second_level"
"""The one column that may be absent without being named: categories then have one level."""
BEYOND = 5e7
"""Metres: no CRS of the Earth has coordinates beyond this, nor beyond its negative."""
_TABLE = Path("POI table")
"""Stands where messages about a file name it."""
_SHOWN = 5
"""How many rows or columns a message lists."""


def places_of_frame(X: Any, *, first_level: str, second_level: str | None) -> Places:
    """Return the places of a POI table.

    Parameters
    ----------
    X
        A GeoDataFrame of points in a projected CRS with metre units, or a DataFrame with ``x`` and
        ``y`` in metres; one row a POI.
    first_level
        Column of the first level.
    second_level
        Column of the second level; None where categories have one level.

    Raises
    ------
    PoiError
        If there is no POI, a column is missing, a category has no name, a coordinate is missing,
        infinite or beyond :data:`BEYOND`, or the CRS is not one of metres. Faults of rows are named by
        the table's index.
    """
    first, second = names_of_frame(X, first_level=first_level, second_level=second_level)
    if not len(first):
        raise PoiError("there are no POIs to learn category vectors from: the table has no rows.")
    _refuse_rows(X, (first == "") | (second == ""), "have no category name", "name or drop them")
    xy = coordinates(X)
    _warn_of_strays(X, xy)
    pairs, category = pair_levels(first, second)
    warn_of_shared_names(_TABLE, pairs, category)
    taxonomy = Taxonomy.from_pairs(pairs)
    return Places(taxonomy, xy, category.astype(np.int32), np.zeros((0, len(taxonomy))))


def names_of_frame(X: Any, *, first_level: str, second_level: str | None) -> tuple[Names, Names]:
    """Return the first and second level of each POI as stripped text, empty where missing, shape ``(n,)`` each.

    A table without a column ``second_level`` has one level: both are the same.

    Raises
    ------
    PoiError
        If ``X`` is no table, lacks a column or has it twice, or a name is a list or the like.
    """
    if not isinstance(X, pd.DataFrame):
        raise PoiError(f"POIs come as a GeoDataFrame or a DataFrame, one row a POI; got {type(X).__name__}.")
    first = _names(X, _column(X, first_level, "first_level"))
    if second_level is None or (second_level == SECOND_LEVEL and SECOND_LEVEL not in X.columns):
        return first, first
    return first, _names(X, _column(X, second_level, SECOND_LEVEL))


def coordinates(X: pd.DataFrame) -> NDArray[np.float64]:
    """Return each POI's place in metres, shape ``(n, 2)``.

    Raises
    ------
    PoiError
        If the CRS is missing or not one of metres, a geometry is no point, or a coordinate is
        missing, infinite or beyond :data:`BEYOND`.
    """
    if isinstance(X, gpd.GeoDataFrame) and X.active_geometry_name is not None:
        _check_metres(X)
        points = X.geometry
        _refuse_rows(X, ~(points.geom_type.isin(["Point"]) | points.isna()).to_numpy(), "are no points",
                     "take their representative_point()")  # fmt: skip
        xy = np.stack([points.x.to_numpy(np.float64), points.y.to_numpy(np.float64)], axis=1)
    else:
        columns = [pd.to_numeric(_column(X, name, name), errors="coerce") for name in ("x", "y")]
        xy = np.stack([column.to_numpy(np.float64) for column in columns], axis=1)
    usable = np.isfinite(xy).all(axis=1)
    _refuse_rows(X, ~usable, "have coordinates that are missing or infinite", "repair or drop them")
    beyond = (np.abs(xy) > BEYOND).any(axis=1)
    if beyond.any():
        x, y = xy[int(np.argmax(beyond))]
        _refuse_rows(X, beyond, f"lie off the Earth, the first at x {x:.6g}, y {y:.6g}",
                     "repair or drop them, or bring all into a CRS with metres as units")  # fmt: skip
    if not isinstance(X, gpd.GeoDataFrame) and len(xy) > 1 and (np.abs(xy) <= [180, 90]).all():
        log.warning("all POIs have |x| <= 180 and |y| <= 90: are these degrees? x and y are read as metres")
    return xy


def _check_metres(X: gpd.GeoDataFrame) -> None:
    if X.crs is None:
        raise PoiError("the POIs have no CRS; name it with set_crs(), then bring them into metres with to_crs().")
    if not X.crs.is_projected:
        raise PoiError(
            f"the POIs are in degrees ({X.crs.name}), but distances need metres; use "
            "pois.to_crs(pois.estimate_utm_crs()) or another projected CRS."
        )
    unit = X.crs.axis_info[0].unit_name
    if unit not in {"metre", "meter", "m"}:
        raise PoiError(f"the POIs' CRS {X.crs.name} counts in {unit}, not metres; use to_crs(estimate_utm_crs()).")


def _warn_of_strays(X: pd.DataFrame, xy: NDArray[np.float64]) -> None:
    """Name POIs far from all others: more often than not a coordinate is wrong, such as 0, 0."""
    distance = apart(xy)
    rows = np.flatnonzero(distance)
    if len(rows):
        furthest = int(np.argmax(distance))
        shown = ", ".join(str(X.index[row]) for row in rows[:_SHOWN]) + (", ..." if len(rows) > _SHOWN else "")
        log.warning(
            "%d of %d POIs lie far from the others (index %s; the furthest is %s at x %.6g, y %.6g, %.0f km away); "
            "they are kept: drop them if their coordinates are wrong",
            len(rows), len(xy), shown, X.index[furthest], *xy[furthest], distance[furthest] / 1000,
        )  # fmt: skip


def _column(X: pd.DataFrame, name: str, argument: str) -> pd.Series[Any]:
    if name in X.columns:
        found = X[name]
        if isinstance(found, pd.DataFrame):
            raise PoiError(f"the POI table has {found.shape[1]} columns called {name!r}; rename or drop all but one.")
        return found
    columns = [str(column) for column in X.columns]
    near = get_close_matches(name, columns, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shown = ", ".join(columns[: 4 * _SHOWN]) or "no columns"
    what = "its place; POIs need point geometry, or x and y in metres" if argument in {"x", "y"} else f"`{argument}`"
    raise PoiError(f"the POI table has no column {name!r} for {what}; {hint}it has {shown}.")


def _names(X: pd.DataFrame, column: pd.Series[Any]) -> Names:
    """Return a column's clean names; refuse values that cannot be compared, such as lists, by their rows."""
    try:
        return clean_names(column)
    except TypeError:
        bad = np.array([not _comparable(value) for value in column], bool)
        fault = f"have a category in column {column.name!r} that is a list or the like, not a name"
        _refuse_rows(X, bad, fault, "name each by one text")
        raise


def _comparable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _refuse_rows(X: pd.DataFrame, bad: NDArray[np.bool_], fault: str, remedy: str) -> None:
    """Raise if any row is bad; rows are named by the index, which survives a split into folds."""
    rows = np.flatnonzero(bad)
    if len(rows):
        shown = ", ".join(str(X.index[row]) for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        raise PoiError(f"{len(rows)} of {len(X)} POIs {fault} (index {shown}{more}); {remedy}.")
