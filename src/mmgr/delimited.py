"""Read CSV in any usual separator and encoding, with one clear error for each thing that may be wrong with it."""

from __future__ import annotations

import csv
import re
import warnings
from collections.abc import Collection, Sequence
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from mmgr.console import log
from mmgr.errors import InputError

_SEPARATORS = ",;\t|"
_SHOWN = 5
"""Words that a message names."""
_NAMES = {"latin-1": "Latin-1", "cp1252": "Windows-1252"}
"""Encodings that are not UTF-8, as a message names them."""
_WINDOWS = re.compile(rb"[\x80-\x9f]")
"""Bytes that are dashes, quotes and the euro in Windows-1252, and control characters, which no text has, in Latin-1."""
_NOT_WINDOWS = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
"""Bytes that are nothing in Windows-1252."""
_COMMA = re.compile(r"\s*[+-]?\d+(,\d+)?([eE][+-]?\d+)?\s*", re.ASCII)
"""A number with a decimal comma, or a whole one."""
_THOUSANDS = re.compile(r"\s*[+-]?([1-9]\d{0,2},\d{3}|\d+)\s*", re.ASCII)
"""A number whose comma may part thousands, or a whole one."""


def read_csv(path: Path, *, names: Sequence[str], texts: Sequence[str] = (), what: str) -> pd.DataFrame:
    """Read a CSV; the parameters are those of :func:`mmgr.tables.read_table`.

    Raises
    ------
    InputError
        If it is no text, holds no table, or a line has more cells than there are columns.
    """
    with path.open("rb") as stream:
        head = stream.read(2**16)
    if b"\0" in head:
        kind = "UTF-16, not UTF-8" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "not a text table"
        raise InputError(f"{what}: {path} is {kind}; CSV in UTF-8 and Parquet are read: save it again as one of them.")
    encoding = _encoding(path)
    if encoding in _NAMES:
        log.info("%s: %s is not UTF-8; read as %s", what, path, _NAMES[encoding])
    separator = _separator(head.decode(encoding, "ignore"))
    try:
        trailing = _ends_in_separators(path, separator, encoding)
        frame = _parsed(path, separator, encoding, trailing=trailing, texts=texts)
        gaps = [name for name in names if name in frame and _is_text_with_gaps(frame[name])]
        # numbers need the words for a missing value, so only columns that hold text are read without
        if gaps:
            plain = _parsed(path, separator, encoding, trailing=trailing, words=True)
            frame = _with_words(frame, plain, gaps, path, what)
        return _with_decimal_commas(frame, {*names, *texts}, path, what) if separator == ";" else frame
    except pd.errors.EmptyDataError:
        raise InputError(f"{what}: {path} holds no table; it needs a line of column names, and rows.") from None
    except pd.errors.ParserError as error:
        fault = str(error).strip().removeprefix("Error tokenizing data. C error: ")
        raise InputError(
            f"{what}: {path} is not a readable CSV: {fault}. Mend that line: it needs one cell a column, and quotes "
            "around a cell that holds a separator."
        ) from error
    except ValueError as error:
        raise InputError(f"{what}: {path} is not a readable CSV ({str(error).strip()}); write it again.") from error


def _parsed(
    path: Path, separator: str, encoding: str, *, trailing: bool, words: bool = False, texts: Sequence[str] = ()
) -> pd.DataFrame:
    with warnings.catch_warnings():
        if trailing:  # pandas warns of two cells without a name, though nothing is in them
            warnings.simplefilter("ignore", pd.errors.ParserWarning)
        # low_memory would guess the type of each part of a column alone
        return pd.read_csv(
            path, sep=separator, encoding=encoding, low_memory=False, index_col=False if trailing else None,
            keep_default_na=not words, na_values=[""] if words else None, dtype=dict.fromkeys(texts, str),
        )  # fmt: skip


def _ends_in_separators(path: Path, separator: str, encoding: str) -> bool:
    """Say whether the first row has more cells than the header has names, and no row has anything in those.

    The cells of such a file are those of the names in order; without this, its first column is taken
    for names of rows, as R writes them, and each cell for the one before it.
    """
    with path.open(encoding=encoding, newline="") as stream, suppress(csv.Error):  # such as a cell of 200,000 letters
        lines = (cells for cells in csv.reader(stream, delimiter=separator) if cells)
        names, first = len(next(lines, [])), next(lines, [])
        return len(first) > names and not any(any(cells[names:]) for cells in chain([first], lines))
    return False


def _is_text_with_gaps(column: pd.Series[Any]) -> bool:
    return bool(column.isna().any()) and _is_text(column)


def _with_words(frame: pd.DataFrame, plain: pd.DataFrame, texts: list[str], path: Path, what: str) -> pd.DataFrame:
    """Take columns of text as they stand in the file, with the words that would mean a missing value."""
    for name in texts:
        words = plain.loc[frame[name].isna() & plain[name].notna(), name]
        if len(words):
            log.warning(
                "%s: %s: %d of %d cells of `%s` say %s, which is read as a name; leave cells empty that have none",
                what, path, len(words), len(frame), name, " or ".join(words.unique()[:_SHOWN]),
            )  # fmt: skip
            frame[name] = plain[name]
    return frame


def _with_decimal_commas(frame: pd.DataFrame, kept: Collection[str], path: Path, what: str) -> pd.DataFrame:
    """Read columns as numbers that are written with a decimal comma, as much of Europe does beside semicolons.

    Each cell of such a column is a number, and one at least can be no other: of 1,234 a comma may part thousands, of
    0,234 and 1,23 it may not. Columns in which all may are read so beside one that is sure, where no column has points.
    """
    texts = [name for name in frame.columns.difference(list(kept), sort=False) if _is_text(frame[name])]
    commas = [name for name in texts if _all(frame[name], _COMMA) and frame[name].str.contains(",").any()]
    sure = [name for name in commas if not _all(frame[name], _THOUSANDS)]
    points = any((column.dropna() % 1 != 0).any() for _, column in frame.select_dtypes("float").items())
    numbers = sure if points else commas if sure else []
    if not numbers:
        return frame
    log.info(
        "%s: %s: decimal commas are read in %s",
        what, path, ", ".join(f"`{name}`" for name in numbers[:_SHOWN]) + (", ..." if len(numbers) > _SHOWN else ""),
    )  # fmt: skip
    return frame.assign(**{name: pd.to_numeric(frame[name].str.strip().str.replace(",", ".")) for name in numbers})


def _is_text(column: pd.Series[Any]) -> bool:
    return pd.api.types.infer_dtype(column, skipna=True) == "string"


def _all(column: pd.Series[Any], form: re.Pattern[str]) -> bool:
    return all(form.fullmatch(cell) for cell in column.dropna())


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        try:
            for line in stream:
                line.decode("utf-8")
        except UnicodeDecodeError:
            return _western(path)
    return "utf-8-sig"


def _western(path: Path) -> str:
    windows = False
    with path.open("rb") as stream:
        for line in stream:
            if _NOT_WINDOWS.search(line):
                return "latin-1"
            windows = windows or _WINDOWS.search(line) is not None
    return "cp1252" if windows else "latin-1"


def _separator(head: str) -> str:
    """Return the separator that splits the header into most names outside quotes."""
    header = next((line for line in head.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark))))
