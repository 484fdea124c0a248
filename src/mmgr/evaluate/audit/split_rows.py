"""Who is trained on and who is tested, from whatever form of table or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.console import quiet
from mmgr.errors import InputError, SplitError
from mmgr.evaluate.audit.sides import Rows
from mmgr.evaluate.names import NEVER, Role, fold_names, role_of, roles_of
from mmgr.pois.points import is_vector
from mmgr.tables import read_table, read_vector, require_columns

WHAT = "splits"
_COLUMNS = {
    "fold": ("split", "fold", "folds", "set", "subset", "partition", "part", "cv_fold", "split_name"),
    "id": ("id", "region_id", "unit_id", "unit", "cell_id", "tile", "block", "tract", "geoid", "name", "index", "fid"),
    "x": ("x", "lon", "longitude", "lng", "long", "easting"),
    "y": ("y", "lat", "latitude", "northing"),
}
"""Columns that are looked for where none is named, in this order."""
_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no", ""}
"""What cells say of a unit in a column of one part; an empty one says no."""
_TEXTS = {".csv", ".tsv", ".txt"}
"""Files in which a column's type is guessed from its cells."""


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
class SplitRows:
    """A table with one row a unit and part, before its geometry is known."""

    ids: NDArray[np.object_]
    folds: tuple[tuple[Rows, Rows], ...]
    parts: dict[str, int]
    table: pd.DataFrame
    has_validation: bool = field(default=False)


def read_rows(path: Path, columns: Columns, elsewhere: Collection[str] = ()) -> SplitRows:
    """Read who is in which part.

    Parameters
    ----------
    path
        The file of splits.
    columns
        Names of its columns.
    elsewhere
        Columns of the file of geometry: an id that is named after one of these may have a usual name here.

    Raises
    ------
    InputError
        If the file cannot be read, is of no known form, or lacks a column.
    SplitError
        If names of parts stand beside other names, or no fold is one that is tested.
    """
    if path.suffix.lower() == ".json":
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InputError(f"{WHAT}: {path} is not valid JSON ({error}).") from error
        if not (isinstance(value, dict) and value.get("type") == "FeatureCollection"):
            return _from_json(value, path, columns, elsewhere)
    return _from_table(any_table(path, columns), path, columns, elsewhere)


def any_table(path: Path, columns: Columns, *, what: str = WHAT) -> pd.DataFrame:
    """Read a table, with its geometry if it has one; ids of a CSV as the text that they are."""
    if is_vector(path):
        frame: pd.DataFrame = read_vector(path, crs=columns.crs, what=what)
        return frame
    table = read_table(path, what=what).reset_index(drop=True)
    own = find_column(table.columns, "id", columns.id) or find_column(table.columns, "id", None)
    if path.suffix.lower() in _TEXTS and own is not None and pd.api.types.is_numeric_dtype(table[own]):
        with quiet():  # the first reading has told it all
            texts = read_table(path, texts=[own], what=what)[own].reset_index(drop=True)
        # 3.0 is 3, written from a column with gaps
        table[own] = texts.str.strip().str.replace(r"^([+-]?\d+)\.0+$", r"\1", regex=True)
    return table


def _from_json(value: Any, path: Path, columns: Columns, elsewhere: Collection[str]) -> SplitRows:
    if isinstance(value, dict) and _has_roles(value):
        return _from_table(pd.DataFrame(value), path, columns, elsewhere) if _is_marked(value) else _from_lists([value])
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return (
            _from_lists(value)
            if all(map(_has_roles, value))
            else _from_table(pd.DataFrame(value), path, columns, elsewhere)
        )
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(item, dict) and _has_roles(item) for item in value.values())
    ):
        return _from_lists(list(value.values()))
    if isinstance(value, dict) and value and all(isinstance(item, list) for item in value.values()):
        lengths = {len(item) for item in value.values()}
        if len(lengths) == 1 and find_column(value, "fold", columns.fold):
            return _from_table(pd.DataFrame(value), path, columns, elsewhere)
    if isinstance(value, dict) and value and not any(isinstance(item, list | dict) for item in value.values()):
        table = pd.DataFrame({"id": list(value), "split": list(value.values())})
        return _from_table(table, path, Columns(id="id", fold="split"))
    raise InputError(
        f'{WHAT}: {path} is none of the known forms: {{"train": [ids], "test": [ids]}}, a list of such folds, '
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


def _from_lists(folds: Sequence[Mapping[str, Any]]) -> SplitRows:
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
    names = np.array([name_of(item) for item in ids], object)
    return SplitRows(names, tuple(found), parts, pd.DataFrame({"id": names}), has_validation)


def _from_table(table: pd.DataFrame, path: Path, columns: Columns, elsewhere: Collection[str] = ()) -> SplitRows:
    own = find_column(table.columns, "id", columns.id)
    if own is None and columns.id in elsewhere:
        own = find_column(table.columns, "id", None)
    if own is None and columns.id is not None:
        require_columns(table.columns, [columns.id], path=path, what=WHAT)
    ids = table[own] if own is not None else pd.Series(range(1, len(table) + 1))
    names = np.array([name_of(value) for value in ids], object)
    name = find_column(table.columns, "fold", columns.fold)
    marked = _marks(table) if name is None and columns.fold is None else {}
    if marked:
        return _of_roles(names, marked, {role: int(rows.sum()) for role, rows in marked.items()}, table)
    if name is None:
        require_columns(table.columns, [columns.fold or "split"], path=path, what=WHAT)
        raise AssertionError(columns.fold)  # pragma: no cover - the line above has raised
    part = fold_names(["" if pd.isna(value) else name_of(value) for value in table[name]], column=name).astype(object)
    known = part != ""
    counts = dict(sorted(Counter(part[known]).items()))
    try:
        roles = roles_of(counts)
    except SplitError as error:
        raise SplitError(f"{path}: {error}") from error
    if roles is None:  # folds, each tested in turn
        tested = [fold for fold in counts if fold != NEVER]
        if not tested:
            raise SplitError(f"{path}: column `{name}` has no fold that is tested; {NEVER} is one that never is.")
        folds = [(np.flatnonzero(known & (part != fold)), np.flatnonzero(part == fold)) for fold in tested]
        return SplitRows(names, tuple(folds), counts, table)
    role = np.array([roles.get(value, "") for value in part], object)
    return _of_roles(names, {one: role == one for one in set(roles.values())}, counts, table)


def _marks(table: pd.DataFrame) -> dict[Role, NDArray[np.bool_]]:
    """Return the rows of each part where parts have columns of 0 and 1; nothing without those to train and to test."""
    found: dict[Role, NDArray[np.bool_]] = {}
    for column in table.columns:
        role = role_of(str(column))
        if role is None:
            continue
        cells = ["" if pd.isna(value) else name_of(value).lower() for value in table[column]]
        if set(cells) <= _YES | _NO:
            found[role] = found.get(role, np.zeros(len(cells), bool)) | np.array([cell in _YES for cell in cells])
    return found if {"train", "test"} <= set(found) else {}


def _of_roles(
    names: NDArray[np.object_], rows: Mapping[Role, NDArray[np.bool_]], counts: dict[str, int], table: pd.DataFrame
) -> SplitRows:
    """Return one split from the rows of each part."""
    none = np.zeros(len(names), bool)
    learned = rows.get("train", none) | rows.get("validation", none)
    fold = (np.flatnonzero(learned), np.flatnonzero(rows.get("test", none)))
    return SplitRows(names, (fold,), counts, table, "validation" in rows)


def name_of(value: Any) -> str:
    """Return an id or a part as text, the same for 3 and 3.0: a column with a gap turns to floats."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()


def find_column(there: Iterable[Any], what: str, named: str | None) -> str | None:
    """Return the column that is named, or the first of the usual names that is there."""
    by_lower = {str(name).lower(): str(name) for name in there}
    if named is not None:
        return named if named in by_lower.values() else None
    return next((by_lower[name] for name in _COLUMNS[what] if name in by_lower), None)
