"""Which columns of a file say what a POI is, and what they say."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mmgr.config import PointSource
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.tables import require_columns

OTHER_TAGS = "other_tags"
"""Column in which GDAL puts keys of OpenStreetMap that have none of their own, as ``"amenity"=>"cafe","name"=>"A"``."""
KEYS = ("amenity", "shop", "leisure", "tourism", "office", "healthcare", "craft", "public_transport", "historic")
"""Keys of OpenStreetMap by which POIs are known, those that say most first."""
NONE = ("no", "none")
"""Values of a key by which people say that it does not hold."""
_TAG = r'"{key}"=>"((?:[^"\\]|\\.)*)"'
Column = pd.Series  # of names


def check_levels(settings: PointSource, there: Sequence[str], *, what: str) -> None:
    """Check that a file with these columns says what its POIs are.

    Raises
    ------
    InputError
        Names every missing column, the nearest there are, and all there are.
    """
    wanted = [level for level in (settings.first_level, settings.second_level) if level] + list(settings.keys)
    # a key may be in GDAL's column, and `categories.primary` a part of the records in `categories`
    elsewhere = OTHER_TAGS in there
    missing = [name for name in wanted if not (elsewhere if name in settings.keys else name.partition(".")[0] in there)]
    require_columns(there, missing, path=settings.path, what=what)


def levels_of(settings: PointSource, frame: pd.DataFrame) -> tuple[Column, Column]:
    """Return the first and the second level of each row, missing where there is none."""
    if settings.keys:
        return _of_keys(settings, frame)
    first, second = settings.first_level or "", settings.second_level or settings.first_level or ""
    return part_of_records(frame, first, path=settings.path), part_of_records(frame, second, path=settings.path)


def part_of_records(frame: pd.DataFrame, name: str, *, path: Path) -> Column:
    """Return a column, or of a name such as `categories.primary` what the records in `categories` say of `primary`.

    Raises
    ------
    PoiError
        If what is there are lists or records, and no names.
    """
    if name in frame:
        found = frame[name]
    else:
        column, _, part = name.partition(".")
        found = frame[column].map(lambda record: _inside(record, part.split(".")), na_action="ignore")
    mixed = pd.api.types.infer_dtype(found, skipna=True) == "mixed"
    for row, value in enumerate(found if mixed else ()):
        if isinstance(value, list | dict | np.ndarray):
            parts = f" `{name}.{next(iter(value))}`" if isinstance(value, dict) and value else ""
            raise PoiError(
                f"{path}: `{name}` of row {row + 1} is no name but {str(value)[:60]!r}; "
                f"name a part of it{parts and ', such as'}{parts}."
            )
    return found


def key_column(frame: pd.DataFrame, key: str) -> Column:
    """Return what a key of OpenStreetMap says of each row, missing where it says nothing."""
    values = frame[key] if key in frame else pd.Series(pd.NA, frame.index, dtype="object")
    if OTHER_TAGS in frame:
        tagged = frame[OTHER_TAGS].astype("string").str.extract(_TAG.format(key=re.escape(key)), expand=False)
        values = values.astype("object").where(values.notna(), tagged.str.replace(r"\\(.)", r"\1", regex=True))
    text = values.astype("string").str.strip()
    return values.where((text != "") & ~text.str.lower().isin(NONE))


def _of_keys(settings: PointSource, frame: pd.DataFrame) -> tuple[Column, Column]:
    """Let the first key that has a value say what a POI is."""
    first = pd.Series(pd.NA, frame.index, dtype="object")
    second, several = first.copy(), pd.Series(data=False, index=frame.index)
    for key in settings.keys:
        values = key_column(frame, key)
        has = values.notna()
        several |= has & first.notna()
        new = has & first.isna()
        first[new], second[new] = key, values[new]
    if several.any():
        log.info(
            "%s: %d of %d POIs have values of several keys; the first of %s counts",
            settings.path, several.sum(), first.notna().sum(), ", ".join(settings.keys),
        )  # fmt: skip
    return first, second


def _inside(record: Any, parts: Sequence[str]) -> Any:
    record = as_record(record)
    for part in parts:
        record = record.get(part) if isinstance(record, dict) else None
    return record


def as_record(value: Any) -> Any:
    """Return a record that GDAL read from GeoJSON as text; other values as they are."""
    if isinstance(value, str) and value.startswith("{"):
        with contextlib.suppress(ValueError):
            return json.loads(value)
    return value
