"""Columns of labels as numbers, those that a file holds as text included."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.config import Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.numerals import are_plain, plain_numbers

_SHOWN = 3  # values that a message names


def numbers_of(task: Task, column: pd.Series, *, remedy: str) -> NDArray[np.float64]:
    """Return a column as numbers, shape ``(n,)``; NaN where it has none.

    A column of text of which every cell that is not empty is a plain number is read as these, and the log says so:
    a census often comes with its amounts as text.

    Parameters
    ----------
    task
        Whose label it is.
    column
        The column, indexed by the features' number in the file, from 0.
    remedy
        What can be done where there are no numbers.

    Raises
    ------
    LabelError
        If it holds something else; names the first values that are no numbers, and their features.
    """
    if pd.api.types.is_numeric_dtype(column) or not column.notna().any():
        return np.asarray(column.astype("float64").to_numpy(np.float64, na_value=np.nan))
    where = f"{task.path}: column `{column.name}`"
    some = column.dropna()
    bad = some[~are_plain(some)]
    if len(bad):
        first = bad.drop_duplicates()[:_SHOWN]
        features = first.index.to_numpy(np.int64) + 1
        shown = ", ".join(f"{_text(value)} in feature {row}" for row, value in zip(features, first, strict=True))
        if len(bad) == len(some):
            raise LabelError(f"task {task.name}: {where} holds no numbers (it has {shown}); {remedy}.")
        raise LabelError(
            f"task {task.name}: {where} holds numbers, but in {len(bad)} of {len(some)} features something else "
            f"({shown}); write these as plain numbers such as 1234.5, or empty them if they mean 'missing'."
        )
    log.info("%s: %s holds its numbers as text; they are read as numbers", task.name, where)
    return plain_numbers(column)


def _text(value: object) -> str:
    return repr(value) if isinstance(value, str) else str(value)
