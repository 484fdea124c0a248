"""Read anybody's splits: who is trained on, who is tested, and where they are."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmgr.errors import InputError, SplitError
from mmgr.evaluate.audit.sides import Rows
from mmgr.evaluate.names import Role, role_of, roles_of
from mmgr.files import existing_file
from mmgr.tables import read_table, read_vector, require_columns

_WHAT = "splits"
_COLUMNS = {
    "fold": ("split", "fold", "folds", "set", "subset", "partition", "part", "cv_fold", "split_name"),
    "id": ("id", "region_id", "unit_id", "unit", "cell_id", "tile", "block", "tract", "geoid", "name", "index", "fid"),
    "x": ("x", "lon", "longitude", "lng", "long", "easting"),
    "y": ("y", "lat", "latitude", "northing"),
}
"""Columns that are looked for where none is named, in this order."""
_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no", ""}
"""What cells say of a unit in a column of one part; an empty one says no."""
_TABLES = {".csv", ".tsv", ".txt"}
_PARQUET = {".parquet", ".pq", ".geoparquet"}


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
    """Label of each row, shape ``(m,)``."""
    has_validation: bool = False


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; those that are not given are looked for."""

    id: str | None = None
    fold: str | None = None
    x: str | None = None
    y: str | None = None
    label: str | None = None
    crs: str | None = None
    """CRS of ``x`` and ``y``; degrees by default."""


@dataclass(frozen=True)
class _Rows:
    """A table with one row a unit and part, before its geometry is known."""

    ids: NDArray[np.object_]
    folds: tuple[tuple[Rows, Rows], ...]
    parts: dict[str, int]
    table: pd.DataFrame
    has_validation: bool = field(default=False)


def read_split(path: Path, *, geometry: Path | None = None, columns: Columns | None = None) -> SplitFile:
    """Read a file of splits: CSV, GeoJSON, GeoPackage, (Geo)Parquet or JSON.

    A table has a column with the part of each unit: ``train``, ``val`` and ``test``, or the number or name of a fold,
    each of which is tested in turn; or a column of 0 and 1 for each part. JSON may also be
    ``{"train": [ids], "test": [ids]}`` (or ``train_ids`` and the like), a list or mapping of such folds, or
    ``{id: part}``. What is validated on counts as learned from.

    Parameters
    ----------
    path
        The file of splits.
    geometry
        A file with the outline or place of each id, where the splits have none.
    columns
        Names of columns, in whichever of the two files has them.

    Raises
    ------
    InputError
        If a file cannot be read, or lacks a column, an id or a place.
    SplitError
        If nothing is tested, or nothing learned from, or names of parts stand beside other names.
    """
    columns = columns or Columns()
    path = existing_file(path, what=_WHAT)
    rows = _read_rows(path, columns)
    for number, (train, test) in enumerate(rows.folds, start=1):
        if not len(train) or not len(test):
            raise SplitError(
                f"{path}: fold {number} of {len(rows.folds)} learns from {len(train)} units and tests {len(test)}; "
                f"parts are {', '.join(f'{name} ({count})' for name, count in rows.parts.items())}. Name the column "
                "of the parts with `--fold`."
            )
    table = rows.table if geometry is None else _joined(rows, geometry, columns)
    source = path if geometry is None else geometry
    label = columns.label
    if label is not None:
        there = table if label in table else rows.table
        require_columns(there.columns, [label], path=source, what=_WHAT)
        labels = there[label].to_numpy()
    else:
        labels = None
    return SplitFile(
        path.name, rows.ids, rows.folds, rows.parts, _shapes(table, source, columns), labels, rows.has_validation
    )


def _read_rows(path: Path, columns: Columns) -> _Rows:
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{_WHAT}: {path} is not valid JSON ({error}).") from error
        if not (isinstance(value, dict) and value.get("type") == "FeatureCollection"):
            return _from_json(value, path, columns)
    return _from_table(_any_table(path, columns.crs), path, columns)


def _any_table(path: Path, crs: str | None) -> pd.DataFrame:
    """Read a table, with its geometry if it has one."""
    suffix = path.suffix.lower()
    if suffix in _TABLES or (suffix in _PARQUET and b"geo" not in (pq.read_schema(path).metadata or {})):
        return read_table(path, what=_WHAT).reset_index(drop=True)
    frame: pd.DataFrame = read_vector(path, crs=crs, what=_WHAT)
    return frame


def _from_json(value: Any, path: Path, columns: Columns) -> _Rows:
    if isinstance(value, dict) and _has_roles(value):
        return _from_table(pd.DataFrame(value), path, columns) if _is_marked(value) else _from_lists([value])
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _from_lists(value) if all(map(_has_roles, value)) else _from_table(pd.DataFrame(value), path, columns)
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(item, dict) and _has_roles(item) for item in value.values())
    ):
        return _from_lists(list(value.values()))
    if isinstance(value, dict) and value and all(isinstance(item, list) for item in value.values()):
        lengths = {len(item) for item in value.values()}
        if len(lengths) == 1 and _find(value, "fold", columns.fold):
            return _from_table(pd.DataFrame(value), path, columns)
    if isinstance(value, dict) and value and not any(isinstance(item, list | dict) for item in value.values()):
        table = pd.DataFrame({"id": list(value), "split": list(value.values())})
        return _from_table(table, path, Columns(id="id", fold="split"))
    raise InputError(
        f'{_WHAT}: {path} is none of the known forms: {{"train": [ids], "test": [ids]}}, a list of such folds, '
        '{id: part}, or a list of records with a column such as "split".'
    )


def _has_roles(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    return {"train", "test"} <= {role_of(str(key)) for key, item in value.items() if isinstance(item, list)}


def _is_marked(value: Mapping[str, Any]) -> bool:
    """Say whether lists of parts are columns of 0 and 1, not of ids, each of which would be there once."""
    if not all(isinstance(item, list) for item in value.values()) or len({len(item) for item in value.values()}) != 1:
        return False
    return all(
        len(item) > 2 and all(mark in (0, 1) for mark in item) for key, item in value.items() if role_of(str(key))
    )


def _from_lists(folds: Sequence[Mapping[str, Any]]) -> _Rows:
    """Read folds that list ids by part: a row for each id of each part of each fold."""
    ids: list[Any] = []
    parts: dict[str, int] = {}
    found = []
    has_validation = False
    for fold in folds:
        sides: dict[str, list[int]] = {"train": [], "test": []}
        for key, members in fold.items():
            role = role_of(key)
            if role is None or not isinstance(members, list):
                continue
            has_validation |= role == "validation"
            start = len(ids)
            ids += members
            sides["test" if role == "test" else "train"] += range(start, len(ids))
            parts[role] = parts.get(role, 0) + len(members)
        found.append((np.array(sides["train"], np.int64), np.array(sides["test"], np.int64)))
    names = np.array([_name(item) for item in ids], object)
    return _Rows(names, tuple(found), parts, pd.DataFrame({"id": names}), has_validation)


def _from_table(table: pd.DataFrame, path: Path, columns: Columns) -> _Rows:
    own = _find(table.columns, "id", columns.id)
    if columns.id is not None:
        require_columns(table.columns, [columns.id], path=path, what=_WHAT)
    ids = table[own] if own is not None else pd.Series(range(1, len(table) + 1))
    names = np.array([_name(value) for value in ids], object)
    name = _find(table.columns, "fold", columns.fold)
    marked = _marks(table) if name is None and columns.fold is None else {}
    if marked:
        return _of_roles(names, marked, {role: int(rows.sum()) for role, rows in marked.items()}, table)
    if name is None:
        require_columns(table.columns, [columns.fold or "split"], path=path, what=_WHAT)
        raise AssertionError(columns.fold)  # pragma: no cover - the line above has raised
    part = np.array(["" if pd.isna(value) else _name(value) for value in table[name]], object)
    known = part != ""
    counts = dict(sorted(Counter(part[known]).items()))
    try:
        roles = roles_of(counts)
    except SplitError as error:
        raise SplitError(f"{path}: {error}") from error
    if roles is None:  # folds, each tested in turn
        folds = [(np.flatnonzero(known & (part != fold)), np.flatnonzero(part == fold)) for fold in counts]
        return _Rows(names, tuple(folds), counts, table)
    role = np.array([roles.get(value, "") for value in part], object)
    return _of_roles(names, {one: role == one for one in set(roles.values())}, counts, table)


def _marks(table: pd.DataFrame) -> dict[Role, NDArray[np.bool_]]:
    """Return the rows of each part where parts have columns of 0 and 1; nothing without those to train and to test."""
    found: dict[Role, NDArray[np.bool_]] = {}
    for column in table.columns:
        role = role_of(str(column))
        if role is None:
            continue
        cells = ["" if pd.isna(value) else _name(value).lower() for value in table[column]]
        if set(cells) <= _YES | _NO:
            found[role] = found.get(role, np.zeros(len(cells), bool)) | np.array([cell in _YES for cell in cells])
    return found if {"train", "test"} <= set(found) else {}


def _of_roles(
    names: NDArray[np.object_], rows: Mapping[Role, NDArray[np.bool_]], counts: dict[str, int], table: pd.DataFrame
) -> _Rows:
    """Return one split from the rows of each part."""
    none = np.zeros(len(names), bool)
    learned = rows.get("train", none) | rows.get("validation", none)
    fold = (np.flatnonzero(learned), np.flatnonzero(rows.get("test", none)))
    return _Rows(names, (fold,), counts, table, "validation" in rows)


def _name(value: Any) -> str:
    """Return an id or a part as text, the same for 3 and 3.0: a column with a gap turns to floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def _find(there: Iterable[Any], what: str, named: str | None) -> str | None:
    """Return the column that is named, or the first of the usual names that is there."""
    by_lower = {str(name).lower(): str(name) for name in there}
    if named is not None:
        return named if named in by_lower.values() else None
    return next((by_lower[name] for name in _COLUMNS[what] if name in by_lower), None)


def _joined(rows: _Rows, path: Path, columns: Columns) -> pd.DataFrame:
    """Return the row of another file for each row of the splits, by id."""
    table = _any_table(existing_file(path, what="geometry"), columns.crs)
    name = _find(table.columns, "id", columns.id)
    if name is None:
        require_columns(table.columns, [columns.id or "id"], path=path, what="geometry")
    place = {_name(value): row for row, value in enumerate(table[name])}
    missing = [str(item) for item in dict.fromkeys(rows.ids.tolist()) if item not in place]
    if missing:
        raise InputError(
            f"geometry: {path} has no row for {len(missing)} ids of the splits, such as {', '.join(missing[:3])}; its "
            f"column `{name}` has {', '.join(list(place)[:3])}. Name another with `--id`."
        )
    return table.iloc[[place[item] for item in rows.ids]].reset_index(drop=True)


def _shapes(table: pd.DataFrame, path: Path, columns: Columns) -> gpd.GeoSeries | None:
    """Return the outline or point of each row in its own CRS."""
    if isinstance(table, gpd.GeoDataFrame):
        shapes = table.geometry
        absent = np.flatnonzero(shapely.is_missing(shapes.to_numpy()) | shapely.is_empty(shapes.to_numpy()))
        if len(absent):
            raise InputError(f"{_WHAT}: {path} has {len(absent)} rows without geometry (number {absent[0] + 1} first).")
        return shapes.reset_index(drop=True)
    x, y = _find(table.columns, "x", columns.x), _find(table.columns, "y", columns.y)
    for given in (columns.x, columns.y):
        if given is not None:
            require_columns(table.columns, [given], path=path, what=_WHAT)
    if x is None or y is None:
        return None
    try:
        places = np.stack([table[x].to_numpy(np.float64), table[y].to_numpy(np.float64)], axis=1)
    except (TypeError, ValueError) as error:
        raise InputError(f"{_WHAT}: {path}: columns `{x}` and `{y}` hold no numbers ({error}).") from error
    bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
    if len(bad):
        raise InputError(f"{_WHAT}: {path} has {len(bad)} rows without coordinates (number {bad[0] + 1} first).")
    if columns.crs is None and (np.abs(places) > [180, 90]).any():
        raise InputError(f"{_WHAT}: {path}: `{x}` and `{y}` are no degrees; name their CRS with `--crs`.")
    try:
        crs = CRS.from_user_input(columns.crs or 4326)
    except CRSError as error:
        raise InputError(f"`--crs` {columns.crs} is no CRS: {error}") from error
    return gpd.GeoSeries(shapely.points(places), crs=crs)
