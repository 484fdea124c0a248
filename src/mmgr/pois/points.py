"""POIs as points: CSV, GeoJSON, GeoPackage, GeoParquet."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from mmgr.config import PointSource
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois.coordinates import RawPoints, project, table_points, vector_points
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


def read_points(settings: PointSource, *, crs: CRS) -> SourcePoints:
    """Read one source of points and bring it into ``crs``.

    Rows without a category or with coordinates that are missing or infinite are left out, counted
    and logged.

    Raises
    ------
    PoiError
        If no point is left, a longitude or latitude is out of range, or the two look swapped.
    """
    raw = vector_points(settings) if is_vector(settings.path) else table_points(settings)
    xy = project(raw, crs)
    first = clean_names(raw.frame[settings.first_level])
    second = first if settings.second_level is None else clean_names(raw.frame[settings.second_level])
    named = (first != "") & (second != "")
    placed = np.asarray(np.isfinite(xy).all(axis=1))
    _log_left_out(settings, raw, named=named, placed=placed)
    keep = named & placed
    if not keep.any():
        raise PoiError(
            f"{settings.path} holds no usable point: of {len(keep)} rows {np.sum(~placed)} have no usable "
            f"coordinates and {np.sum(~named)} no category."
        )
    pairs, category = _pairs(first[keep], second[keep])
    _warn_of_shared_names(settings.path, pairs, category)
    source = Source(str(settings.path), raw.x, raw.y, _area(settings.area, crs))
    return SourcePoints(source, pairs, category, xy[keep])


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


def clean_names(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Return category names as stripped text, empty where missing, shape ``(n,)``.

    Whole numbers that a missing value turned into decimals lose their ``.0``.
    """
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    names = np.array([_clean(value) for value in distinct] + [""], object)  # -1 finds the last
    return np.asarray(names[codes])


def _clean(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _pairs(
    first: NDArray[np.object_], second: NDArray[np.object_]
) -> tuple[tuple[tuple[str, str], ...], NDArray[np.int64]]:
    """Return the distinct pairs in order, and which one each point has."""
    first_codes, firsts = pd.factorize(first, sort=True)
    second_codes, seconds = pd.factorize(second, sort=True)
    keys, category = np.unique(first_codes * len(seconds) + second_codes, return_inverse=True)
    pairs = tuple((str(firsts[key // len(seconds)]), str(seconds[key % len(seconds)])) for key in keys)
    return pairs, category.astype(np.int64)


def _warn_of_shared_names(path: Path, pairs: Iterable[tuple[str, str]], category: NDArray[np.int64]) -> None:
    totals = np.bincount(category)
    parents: dict[str, list[str]] = defaultdict(list)
    for (first, second), total in zip(pairs, totals, strict=True):
        parents[second].append(f"{first} ({total})")
    for name, named in parents.items():
        if len(named) > 1:
            log.warning(
                "%s: second level %r stands under %d first levels: %s; kept as %d categories",
                path, name, len(named), ", ".join(named), len(named),
            )  # fmt: skip


def _log_left_out(
    settings: PointSource, raw: RawPoints, *, named: NDArray[np.bool_], placed: NDArray[np.bool_]
) -> None:
    for keep, why in ((placed, "without usable coordinates"), (named, "without a category")):
        if not keep.all():
            rows = np.flatnonzero(~keep)
            log.warning(
                "%s: %d of %d POIs %s are left out (%s)", settings.path, len(rows), len(keep), why, _rows_text(rows)
            )
    if raw.replaced:
        log.info("%s: %d shapes that are not points stand as a point inside them", settings.path, raw.replaced)


def _rows_text(rows: NDArray[np.integer[Any]]) -> str:
    """Name the first of some rows, counted from 1."""
    shown = ", ".join(str(row + 1) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def _area(path: Path | None, crs: CRS) -> BaseGeometry | None:
    if path is None:
        return None
    what = "POI area"
    frame: gpd.GeoDataFrame = polygons_only(read_vector(path, what=what), path=path, what=what)
    return shapely.union_all(frame.to_crs(crs).geometry.to_numpy())
