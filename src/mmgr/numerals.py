"""Numbers that a file holds as text."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

_PLAIN = re.compile(r"\s*(?:[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)?\s*")
"""A number as any program writes it, or nothing."""


def are_plain(column: pd.Series) -> pd.Series:
    """Say of each value that is there whether it is a plain number, or text that holds one or nothing."""
    return column.astype(str).map(lambda text: _PLAIN.fullmatch(text) is not None)


def plain_numbers(column: pd.Series) -> NDArray[np.float64]:
    """Return the numbers of a column of plain ones, shape ``(n,)``; NaN where nothing is."""
    texts = column.astype(str).str.strip().where(column.notna(), "")
    return np.array([float(text) if text else np.nan for text in texts], np.float64)
