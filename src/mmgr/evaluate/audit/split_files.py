"""Read anybody's splits: who is trained on, who is tested, and where they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmgr.console import log
from mmgr.errors import InputError, SplitError
from mmgr.evaluate.audit.sides import Rows
from mmgr.evaluate.audit.split_rows import WHAT, Columns, SplitRows, any_table, find_column, name_of, read_rows
from mmgr.files import existing_file
from mmgr.tables import require_columns

__all__ = ["Columns", "SplitFile", "read_split"]


@dataclass(frozen=True)
class SplitFile:
    """Splits as they were read: ``m`` rows, each a unit in a part; a unit may stand in several rows."""

    name: str
    ids: NDArray[np.object_]
    """Id of each row, shape ``(m,)``."""
    folds: tuple[tuple[Rows, Rows], ...]
    """Rows that are learned from (validation included) and rows that are tested, fold by fold."""
    parts: Mapping[str, int]
    """How many rows each part has."""
    shapes: gpd.GeoSeries | None
    """Outline or point of each row, shape ``(m,)``; None where the file has none."""
    labels: NDArray[Any] | None = None
    """Label of each row, shape ``(m,)``: floats, NaN where missing, or names of classes."""
    has_validation: bool = False


def read_split(path: Path, *, geometry: Path | None = None, columns: Columns | None = None) -> SplitFile:
    """Read a file of splits: CSV, GeoJSON, GeoPackage, (Geo)Parquet or JSON.

    A table has a column with the part of each unit: ``train``, ``val`` and ``test``, or the number or name of a fold,
    each of which is tested in turn, save for -1, which never is; or true where a unit is tested; or a column of 0 and 1
    for each part. JSON may also be ``{"train": [ids], "test": [ids]}`` (or ``train_ids`` and the like), a list or
    mapping of such folds, or ``{id: part}``. What is validated on counts as learned from.

    Parameters
    ----------
    path
        The file of splits.
    geometry
        A file with the outline or place of each id, where the splits have none. Several rows of one id are parts of one
        place.
    columns
        Names of columns, in whichever of the two files has them. An id that only one of them has so named is looked for
        under its usual names in the other.

    Raises
    ------
    InputError
        If a file cannot be read, or lacks a column, an id or a place, or a label of numbers has a cell that is none.
    SplitError
        If nothing is tested, or nothing learned from, or names of parts stand beside other names.
    """
    columns = columns or Columns()
    path = existing_file(path, what=WHAT)
    source = path if geometry is None else existing_file(geometry, what="geometry")
    places = None if geometry is None else any_table(source, columns, what="geometry")
    rows = read_rows(path, columns, () if places is None else [str(name) for name in places.columns])
    for number, (train, test) in enumerate(rows.folds, start=1):
        if not len(train) or not len(test):
            raise SplitError(
                f"{path}: fold {number} of {len(rows.folds)} learns from {len(train)} units and tests {len(test)}; "
                f"parts are {', '.join(f'{name} ({count})' for name, count in rows.parts.items())}. Name the column "
                "of the parts with `--fold`."
            )
    joined = None if places is None else _joined(rows, places, source, columns)
    shapes = _shapes(rows.table, path, columns) if joined is None else _shapes_of_ids(joined, source, columns)
    labels = None if columns.label is None else _labels(rows, joined, columns.label, path, source)
    return SplitFile(path.name, rows.ids, rows.folds, rows.parts, shapes, labels, rows.has_validation)


@dataclass(frozen=True)
class _Joined:
    """The ``p`` rows of another file that have an id of the splits; an id may have several."""

    table: pd.DataFrame
    """All rows of that file."""
    kept: NDArray[np.int64]
    """Places of the ``p`` rows in it."""
    unit: NDArray[np.int64]
    """Number of each such row's id among the ``d`` different ones, shape ``(p,)``."""
    of_rows: NDArray[np.int64]
    """Number of the id of each row of the splits, shape ``(m,)``."""


def _joined(rows: SplitRows, table: pd.DataFrame, path: Path, columns: Columns) -> _Joined:
    """Find the rows of another file for the ids of the splits."""
    name = find_column(table.columns, "id", columns.id)
    if name is None and columns.id in rows.table:
        name = find_column(table.columns, "id", None)
    if name is None:
        require_columns(table.columns, [columns.id or "id"], path=path, what="geometry")
        raise AssertionError(columns.id)  # pragma: no cover - the line above has raised
    there = np.array([name_of(value) for value in table[name]], object)
    of_rows, ids = pd.factorize(rows.ids)
    unit = _found(np.asarray(ids, object), there, path)
    missing = np.setdiff1d(np.arange(len(ids)), unit)
    if len(missing):
        raise InputError(
            f"geometry: {path} has no row for {len(missing)} ids of the splits, such as "
            f"{', '.join(ids[missing[:3]])}; its column `{name}` has {', '.join(dict.fromkeys(there[:3]))}. Name "
            "another with `--id`."
        )
    kept = np.flatnonzero(unit >= 0)
    return _Joined(table, kept, unit[kept], np.asarray(of_rows, np.int64))


def _found(ids: NDArray[np.object_], there: NDArray[np.object_], path: Path) -> NDArray[np.int64]:
    """Return which of the ids each row of a file has, -1 where none; leading zeros may be lost on either side."""
    unit = pd.Index(ids).get_indexer(pd.Index(there))
    missing = np.setdiff1d(np.arange(len(ids)), unit)
    if not len(missing):
        return np.asarray(unit, np.int64)
    short_ids, short_there = _without_zeros(ids), _without_zeros(there)
    if len(set(short_ids)) < len(ids) or len(set(short_there)) < len(set(there)):
        return np.asarray(unit, np.int64)  # zeros tell ids apart
    anew = pd.Index(short_ids).get_indexer(pd.Index(short_there))
    gained = np.intersect1d(missing, anew)
    if len(gained):
        log.info(
            "splits: %d ids are found in %s but for leading zeros, such as %s",
            len(gained), path, f"{ids[gained[0]]} as {there[np.flatnonzero(anew == gained[0])[0]]}",
        )  # fmt: skip
    return np.asarray(anew, np.int64)


def _without_zeros(ids: NDArray[np.object_]) -> NDArray[np.object_]:
    return np.array([name.lstrip("0") or name[-1:] for name in ids], object)


def _shapes_of_ids(joined: _Joined, path: Path, columns: Columns) -> gpd.GeoSeries | None:
    """Return the outline or place of each row of the splits: of several rows of one id, all of them together."""
    shapes = _shapes(joined.table.iloc[joined.kept], path, columns)
    if shapes is None:
        return None
    parts, order = shapes.to_numpy(), np.argsort(joined.unit, kind="stable")
    units, starts = np.unique(joined.unit[order], return_index=True)
    whole = np.empty(len(units), object)
    several = 0
    for unit, rows in zip(units, np.split(order, starts[1:]), strict=True):
        several += len(rows) > 1
        whole[unit] = parts[rows[0]] if len(rows) == 1 else shapely.union_all(shapely.make_valid(parts[rows]))
    if several:
        log.info("splits: %d ids have several rows in %s; they are parts of one place", several, path)
    return gpd.GeoSeries(whole[joined.of_rows], crs=shapes.crs)


def _labels(rows: SplitRows, joined: _Joined | None, label: str, path: Path, places: Path) -> NDArray[Any]:
    """Return the label of each row of the splits, from whichever file has it: of an id's rows, the first known."""
    if joined is None or (label not in joined.table and label in rows.table):
        require_columns(rows.table.columns, [label], path=path, what=WHAT)
        return _numbers_or_names(rows.table[label], np.arange(len(rows.table)), path)
    require_columns(joined.table.columns, [label], path=places, what=WHAT)
    by_unit = pd.Series(_numbers_or_names(joined.table[label], joined.kept, places)).groupby(joined.unit)
    unlike = int((by_unit.nunique() > 1).sum())  # noqa: PD101 - how many are, not whether all are
    if unlike:
        log.warning("splits: %d ids have rows of different `%s` in %s; the first counts", unlike, label, places)
    first = by_unit.first()
    return np.asarray(first.where(first.notna(), np.nan).to_numpy()[joined.of_rows])


def _numbers_or_names(column: pd.Series[Any], rows: NDArray[np.int64], path: Path) -> NDArray[Any]:
    """Return the label of some rows as floats where it is a number, else as names; NaN where it is missing.

    Text that holds numbers but for some cells is no class: each value would be one of its own, alike to no other.
    """
    if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
        return column.to_numpy(np.float64, na_value=np.nan)[rows]
    texts = column.astype(str).str.strip()
    known = (column.notna() & (texts != "")).to_numpy(bool)
    numbers = pd.to_numeric(texts.where(known), errors="coerce").to_numpy(np.float64)
    faulty = known & np.isnan(numbers)
    if known.any() and 2 * faulty.sum() >= known.sum():
        return column.astype(object).where(known, np.nan).to_numpy(object)[rows]
    bad, of = rows[faulty[rows]], known[rows].sum()
    if len(bad):
        raise InputError(
            f"{WHAT}: {path}: column `{column.name}` holds numbers, but not in {len(bad)} of {of} cells: "
            f"row {bad[0] + 1} has {texts.iloc[bad[0]]!r}. Empty such cells if they mean 'missing'; if the numbers are "
            "names of classes, write a letter before each."
        )
    return numbers[rows]


def _shapes(table: pd.DataFrame, path: Path, columns: Columns) -> gpd.GeoSeries | None:
    """Return the outline or point of each row in its own CRS."""
    if isinstance(table, gpd.GeoDataFrame):
        shapes = table.geometry
        absent = np.flatnonzero(shapely.is_missing(shapes.to_numpy()) | shapely.is_empty(shapes.to_numpy()))
        if len(absent):
            raise InputError(
                f"{WHAT}: {path} has {len(absent)} rows without geometry (number {table.index[absent[0]] + 1} first)."
            )
        return shapes.reset_index(drop=True)
    x, y = find_column(table.columns, "x", columns.x), find_column(table.columns, "y", columns.y)
    for given in (columns.x, columns.y):
        if given is not None:
            require_columns(table.columns, [given], path=path, what=WHAT)
    if x is None or y is None:
        return None
    try:
        places = np.stack([table[x].to_numpy(np.float64), table[y].to_numpy(np.float64)], axis=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{WHAT}: {path}: columns `{x}` and `{y}` hold no numbers ({error}).") from error
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if len(bad):
        first = table.index[bad[0]] + 1
        raise InputError(f"{WHAT}: {path} has {len(bad)} rows without coordinates (number {first} first).")
    if columns.crs is None and (np.abs(places) > [180, 90]).any():
        raise InputError(f"{WHAT}: {path}: `{x}` and `{y}` are no degrees; name their CRS with `--crs`.")
    try:
        crs = CRS.from_user_input(columns.crs or 4326)
    except CRSError as error:
        raise InputError(f"`--crs` {columns.crs} is no CRS: {error}") from error
    return gpd.GeoSeries(shapely.points(places), crs=crs)
