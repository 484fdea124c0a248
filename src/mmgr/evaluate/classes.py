"""Classes of labels: their names, and tables of ones, shares or amounts of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.evaluate.numbers import numbers_of
from mmgr.pois.names import clean_name

MOST_CLASSES = 64
"""A column or raster with more values holds numbers or names, no classes."""

SHARES_TOLERANCE = 0.01
"""Shares of a row may add up to 1 or 100 within this part of it, as printed ones do."""

_ONE = (1.0, 100.0)  # what shares add up to
_SHOWN = 3  # rows that a message names


def class_table(task: Task, column: pd.Series) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return a column of class names as a table of ones, shape ``(n, k)``, and the names.

    Names are compared without spaces around them, in Unicode's form NFC. A row without a class, or of one that
    `classes` does not name, is NaN.

    Raises
    ------
    LabelError
        If there is no class, or there are more than :data:`MOST_CLASSES`.
    """
    texts = [None if pd.isna(value) else text_of(value) for value in column]
    trimmed = sum(isinstance(value, str) and value != text for value, text in zip(column, texts, strict=True))
    if trimmed:
        log.info("%s: %d class names had spaces around them, nothing else, or another Unicode form", task.name, trimmed)
    names = named_classes(task, [text or None for text in texts])
    known = sorted({name for name in names if name is not None})
    check_number(task, known, f"column `{task.column}`")
    place = {name: number for number, name in enumerate(known)}
    table = np.full((len(names), len(known)), np.nan)
    for row, name in enumerate(names):
        if name is not None:
            table[row] = 0.0
            table[row, place[name]] = 1.0
    return table, tuple(known)


def share_table(task: Task, frame: pd.DataFrame) -> tuple[NDArray[np.float64], tuple[str, ...], bool]:
    """Return the columns of shares or amounts, shape ``(n, k)``, the classes, and whether they are amounts.

    They are shares where each row adds up to 1 or to 100, within :data:`SHARES_TOLERANCE`. Columns that `classes` gives
    one name are added up. A row with a missing value, or of nothing at all, is NaN.

    Parameters
    ----------
    task
        Which columns are meant.
    frame
        The ``n`` polygons under the regions, indexed by their number in the file, from 0.

    Raises
    ------
    LabelError
        If a column is missing, holds no numbers, or has negative or infinite ones; or if most rows, but not all, add up
        to 1 or 100.
    """
    columns = share_columns(task, frame)
    table = _share_numbers(task, frame, columns)
    total = table.sum(axis=1)
    empty = total == 0
    if empty.any():
        log.info("%s: %d polygons of which all shares are 0 have no distribution", task.name, empty.sum())
    table[empty] = np.nan
    shares = _are_shares(task, frame, table)
    log.info("%s: columns are read as %s", task.name, "shares" if shares else "amounts, which are shared out by area")
    if shares:
        table = table / np.where(empty, np.nan, total)[:, None]
    return *_joined(table, named_columns(task, columns)), not shares


def _joined(table: NDArray[np.float64], names: list[str]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Add up columns of one name; return the table, shape ``(n, k)``, and the names."""
    classes = tuple(dict.fromkeys(names))
    place = [classes.index(name) for name in names]
    joined = np.zeros((len(table), len(classes)))
    np.add.at(joined.T, place, table.T)
    return joined, classes


def _share_numbers(task: Task, frame: pd.DataFrame, columns: list[str]) -> NDArray[np.float64]:
    """Return the columns as numbers that are missing or at least 0, shape ``(n, k)``."""
    where = f"task {task.name}: {task.path}"
    remedy = "`columns` are shares or amounts of a class each"
    table = np.stack([numbers_of(task, frame[name], remedy=remedy) for name in columns], axis=1)
    bad = np.isinf(table) | (table < 0)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise LabelError(
            f"{where}: column `{columns[column]}` has negative or infinite values, such as {table[row, column]:g} in "
            f"feature {frame.index[row] + 1}; empty them if they mean 'missing'."
        )
    return table


def _are_shares(task: Task, frame: pd.DataFrame, table: NDArray[np.float64]) -> bool:
    """Say whether rows without a gap are shares; refuse a table of which most rows are."""
    known = np.isfinite(table).all(axis=1)
    total = table[known].sum(axis=1)
    # ones and noughts are counts of single things as likely as shares
    counts = bool((table[known] == np.round(table[known])).all())
    for one in _ONE:
        fits = np.abs(total / one - 1) < SHARES_TOLERANCE
        if fits.all():
            return True
        if 2 * fits.sum() > len(fits) and not (counts and one == 1):
            rows = np.flatnonzero(known)[~fits]
            some = ", ".join(f"{table[row].sum():.4g} in feature {frame.index[row] + 1}" for row in rows[:_SHOWN])
            more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
            raise LabelError(
                f"task {task.name}: {task.path}: `columns` add up to {one:g} (within {SHARES_TOLERANCE:.0%}) in "
                f"{fits.sum()} of {len(fits)} features, but to {some}{more}; mend or empty these if the columns are "
                "shares. If they are amounts, give them in another unit, so that they do not look like shares."
            )
    return False


def share_columns(task: Task, frame: pd.DataFrame) -> list[str]:
    """Return the columns that `columns` names: a list, or all with its prefix.

    Raises
    ------
    LabelError
        If the prefix has fewer than two columns, or a named one is not there.
    """
    there = [str(name) for name in frame.columns]
    wanted = task.columns or ()
    if isinstance(wanted, str):
        found = [name for name in there if name.startswith(wanted.removesuffix("*"))]
    else:
        found = list(wanted)
    missing = [name for name in found if name not in there]
    if missing or len(found) < 2:
        what = f"no column `{missing[0]}`" if missing else f"fewer than two columns of `columns: {wanted}`"
        raise LabelError(f"task {task.name}: {task.path} has {what}; its columns are {', '.join(there)}.")
    return found


def named_columns(task: Task, columns: Sequence[str]) -> list[str]:
    """Return the classes that columns are of: as `classes` names them, else without the prefix of `columns`."""
    prefix = task.columns.removesuffix("*") if isinstance(task.columns, str) else ""
    names = {} if task.classes is None else task.classes
    return [names.get(name, name.removeprefix(prefix) or name) for name in columns]


def named_classes(task: Task, values: Sequence[str | None]) -> list[str | None]:
    """Return values under the names of `classes`; None where it names others only."""
    if task.classes is None:
        return list(values)
    names = {text_of(value): name for value, name in task.classes.items()}
    return [None if value is None else names.get(value) for value in values]


def check_number(task: Task, classes: Sequence[str], what: str) -> None:
    """Refuse labels of no class or of far too many.

    Raises
    ------
    LabelError
        If there is no class, or more than :data:`MOST_CLASSES`.
    """
    where = f"task {task.name}: {task.path}: {what}"
    if not classes:
        hint = f"; `classes` names {', '.join(task.classes)}" if task.classes else ""
        raise LabelError(f"{where} has no class under the regions{hint}.")
    if len(classes) > MOST_CLASSES:
        raise LabelError(
            f"{where} has {len(classes)} different values, such as {', '.join(classes[:3])}: too many for classes; "
            "name another one, or join values by `classes`."
        )


def one_of(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 for the largest share of each row and 0 for the others, shape ``(n, k)``; NaN rows stay."""
    table = np.zeros_like(shares)
    known = np.isfinite(shares).all(axis=1)
    table[np.flatnonzero(known), shares[known].argmax(axis=1)] = 1.0
    table[~known] = np.nan
    return table


def text_of(value: object) -> str:
    """Write a class's value as a person does: 3.0 of a column with gaps is 3, without spaces around, in form NFC."""
    return clean_name(value.item() if isinstance(value, np.generic) else value)
