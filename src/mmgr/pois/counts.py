"""POIs as counts: polygons with one column a category."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import CountSource
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois.names import clean_name, clean_names
from mmgr.pois.tables import Source
from mmgr.tables import polygons_only, read_vector, require_columns

_WHAT = "POI counts"
_SHOWN = 5
"""How many faults a message lists."""


@dataclass(frozen=True, slots=True)
class SourceCounts:
    """The clean counts of one source."""

    source: Source
    pairs: tuple[tuple[str, str], ...]
    """First and second level of each category."""
    unit: NDArray[np.object_]
    """Name of each polygon, shape ``(n,)``."""
    geometry: NDArray[np.object_]
    """Polygons in the store's CRS, shape ``(n,)``."""
    counts: NDArray[np.float32]
    """POIs of each category in each polygon, shape ``(n, len(pairs))``."""


def read_counts(settings: CountSource, *, crs: CRS) -> SourceCounts:
    """Read one source of counts and bring its polygons into ``crs``.

    A polygon of which every count is missing is left out; elsewhere a missing count is 0. Both are
    counted in the log.

    Raises
    ------
    PoiError
        If no column matches, a count is negative or no number, or two polygons share a name.
    """
    wanted = [settings.id] if settings.id else []
    frame = read_vector(settings.path, layer=settings.layer, columns=wanted, crs=settings.crs, what=_WHAT)
    frame = polygons_only(frame, path=settings.path, what=_WHAT)
    names = _category_names(settings, frame)
    unit = _units(settings, frame)
    counts = _numbers(settings.path, frame[list(names)], unit)
    missing = np.isnan(counts)
    keep = np.asarray(~missing.all(axis=1))
    if not keep.any():
        raise PoiError(f"{settings.path}: every count of every polygon is missing.")
    if not keep.all():
        log.warning("%s: %d of %d polygons have no counts and are left out", settings.path, sum(~keep), len(keep))
    if missing[keep].any():
        log.warning("%s: %d missing counts beside others that are there are taken as 0",
                    settings.path, missing[keep].sum())  # fmt: skip
    return SourceCounts(
        source=Source(str(settings.path)),
        pairs=_pairs(settings, names),
        unit=unit[keep],
        geometry=frame.geometry[keep].to_crs(crs).to_numpy(),
        counts=np.nan_to_num(counts[keep]).astype(np.float32),
    )


def _category_names(settings: CountSource, frame: gpd.GeoDataFrame) -> dict[str, str]:
    """Return the category of each count column: its name, without the prefix that was asked for."""
    columns = [column for column in frame.columns if column != frame.geometry.name]
    if not isinstance(settings.columns, str):
        require_columns(columns, settings.columns, path=settings.path, what=_WHAT)
        return {column: clean_name(column) for column in settings.columns}
    if not settings.columns.endswith("*"):
        require_columns(columns, [settings.columns], path=settings.path, what=_WHAT)
        return {settings.columns: clean_name(settings.columns)}
    prefix = settings.columns[:-1]
    matches = [column for column in columns if column.startswith(prefix) and column != settings.id]
    if not matches:
        numeric = [column for column in columns if pd.api.types.is_numeric_dtype(frame[column])]
        raise PoiError(
            f"{settings.path}: no column matches {settings.columns!r}; its columns of numbers are "
            f"{', '.join(numeric) or 'none'}."
        )
    return {column: clean_name(column.removeprefix(prefix)) or clean_name(column) for column in matches}


def _units(settings: CountSource, frame: gpd.GeoDataFrame) -> NDArray[np.object_]:
    """Return the polygons' names; without an `id` column, the file's name with the row's number."""
    if settings.id is None:
        return np.array([f"{settings.path.stem}-{row + 1}" for row in range(len(frame))], object)
    unit = clean_names(frame[settings.id])
    missing = np.flatnonzero(unit == "")
    if len(missing):
        raise PoiError(
            f"{settings.path}: {len(missing)} polygons have no {settings.id!r}, first row {missing[0] + 1}; "
            "name them, or leave out `id`."
        )
    names, times = np.unique(unit, return_counts=True)
    if (times > 1).any():
        raise PoiError(
            f"{settings.path}: {settings.id!r} names more than one polygon with {_some(list(names[times > 1]))}; "
            "join their shapes, or leave out `id`."
        )
    return unit


def _numbers(path: Path, columns: pd.DataFrame, unit: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the counts, NaN where missing, shape ``(n, columns)``; all faults in one error."""
    numbers = np.stack([pd.to_numeric(columns[name], errors="coerce").to_numpy(float) for name in columns], axis=1)
    wrong = (np.isnan(numbers) & columns.notna().to_numpy()) | (numbers < 0) | np.isinf(numbers)
    if wrong.any():
        faults = [
            f"{columns.columns[column]} of {unit[row]} is {_shown(columns.iloc[row, column])}"
            for row, column in np.argwhere(wrong)
        ]
        raise PoiError(f"{path}: counts must be numbers of at least 0, but {_some(faults)}.")
    return numbers


def _pairs(settings: CountSource, names: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the first level and name of each category."""
    known = {*names, *names.values()}
    unknown = [key for key in settings.first_levels if key not in known]
    if unknown:
        near = {key: get_close_matches(key, sorted(known), n=1) for key in unknown}
        hints = [f"{key!r}" + (f" (did you mean {near[key][0]!r}?)" if near[key] else "") for key in unknown]
        raise PoiError(
            f"{settings.path}: first_levels names {_some(hints)}, which {'is' if len(hints) == 1 else 'are'} "
            f"not among its count columns: {', '.join(names)}."
        )
    firsts = {column: settings.first_levels.get(column, settings.first_levels.get(name, name))
              for column, name in names.items()}  # fmt: skip
    pairs = tuple((clean_name(firsts[column]), name) for column, name in names.items())
    if len(set(pairs)) < len(pairs):
        raise PoiError(f"{settings.path}: two count columns mean the same category: {', '.join(names)}.")
    return pairs


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str) else f"{value:g}"


def _some(items: list[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more
