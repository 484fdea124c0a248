"""What the columns of a user's table look like, and how a configuration names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mmgr.errors import InputError

X_NAMES = ("lon", "longitude", "lng", "long", "x", "easting", "x_coord", "coord_x")
Y_NAMES = ("lat", "latitude", "y", "northing", "y_coord", "coord_y")

UNKNOWN_CRS = "EPSG:XXXX"
"""Stands where only the user knows the CRS."""


def quoted(text: str) -> str:
    """Return a YAML scalar, quoted where plain style would be misread."""
    if not text.isprintable():
        return json.dumps(text)  # a line feed in a column's name needs an escape
    plain = text and text.replace("/", "").replace("_", "").replace("-", "").replace(".", "").isalnum()
    needs = (
        not plain or text[0] in "-.0123456789" or text.lower() in {"yes", "no", "on", "off", "true", "false", "null"}
    )
    return "'" + text.replace("'", "''") + "'" if needs else text


def coordinate_columns(path: Path, table: pd.DataFrame) -> list[str]:
    """Return the lines that name the columns of coordinates, and their CRS where they are no degrees.

    Raises
    ------
    InputError
        If no columns look like coordinates.
    """
    x, y = named_column(table.columns, X_NAMES), named_column(table.columns, Y_NAMES)
    if x is None or y is None:
        raise InputError(
            f"{path} has no columns that look like coordinates (lon and lat, or x and y); it has "
            f"{', '.join(map(str, table.columns))}. Rename them, or write city.yaml by hand with `x` and `y`."
        )
    lines = [f"x: {quoted(x)}", f"y: {quoted(y)}"]
    if _mostly_beyond_degrees(table[[x, y]]):
        lines.append(f"crs: {UNKNOWN_CRS}         # not degrees: name the CRS of x and y")
    return lines


def named_column(columns: Sequence[str] | pd.Index, wanted: Sequence[str]) -> str | None:
    """Return the column whose name, in any case and without blanks around it, comes first among those wanted."""
    by_name = {str(name).strip().lower(): str(name) for name in columns}
    return next((by_name[name] for name in wanted if name in by_name), None)


def identity_column(table: pd.DataFrame) -> str | None:
    """Return the first column whose values are all different and not measurements."""
    for name in table.columns:
        column = table[name]
        if column.is_unique and column.notna().all() and not pd.api.types.is_float_dtype(column):
            return str(name)
    return None


def looks_like_category(column: pd.Series, *, most: int = 1000) -> bool:
    """Say whether a column holds texts that repeat, 2 to ``most`` different ones, in nearly all rows."""
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_datetime64_any_dtype(column):
        return False
    values = column.dropna().astype(str)
    values = values[values.str.strip() != ""]
    # a brand or an opening time is mostly missing: a category hardly ever
    filled = len(values) >= 0.8 * len(column)
    return filled and 2 <= values.nunique() <= min(most, max(2, 0.5 * len(values)))


def most_common(column: pd.Series) -> str:
    """Name the most frequent values with their counts, on one line."""
    counts = column.value_counts()
    shown = ", ".join(f"{one_line(str(name))} ({count:,})" for name, count in counts.head(8).items())
    return shown + (f", ... {len(counts)} in all" if len(counts) > 8 else "")


def one_line(text: str) -> str:
    """Return a text as a comment can hold it: on one line, without control characters."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def _mostly_beyond_degrees(columns: pd.DataFrame) -> bool:
    """Say whether most rows with finite coordinates cannot be degrees; a few faulty rows do not decide it."""
    values = np.abs(np.stack([pd.to_numeric(columns[name], errors="coerce") for name in columns], axis=1))
    finite = np.isfinite(values).all(axis=1)
    return bool(finite.any() and (values[finite] > 180).any(axis=1).mean() > 0.5)
