"""Read CSV in any usual separator and encoding, with one clear error for each thing that may be wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mmgr.console import log
from mmgr.errors import InputError

_SEPARATORS = ",;\t|"
_SHOWN = 5
"""Words that a message names."""


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
    if encoding == "latin-1":
        log.info("%s: %s is not UTF-8; read as Latin-1", what, path)
    separator = _separator(head.decode(encoding, "ignore"))
    try:
        frame = _parsed(path, separator, encoding, texts=texts)
        gaps = [name for name in names if name in frame and _is_text_with_gaps(frame[name])]
        # numbers need the words for a missing value, so only columns that hold text are read without
        return _with_words(frame, _parsed(path, separator, encoding, words=True), gaps, path, what) if gaps else frame
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
    path: Path, separator: str, encoding: str, *, words: bool = False, texts: Sequence[str] = ()
) -> pd.DataFrame:
    # low_memory would guess the type of each part of a column alone
    return pd.read_csv(
        path, sep=separator, encoding=encoding, low_memory=False,
        keep_default_na=not words, na_values=[""] if words else None, dtype=dict.fromkeys(texts, str),
    )  # fmt: skip


def _is_text_with_gaps(column: pd.Series[Any]) -> bool:
    return bool(column.isna().any()) and pd.api.types.infer_dtype(column, skipna=True) == "string"


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


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        try:
            for line in stream:
                line.decode("utf-8")
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8-sig"


def _separator(head: str) -> str:
    """Return the separator that splits the header into most names outside quotes."""
    header = next((line for line in head.splitlines() if line.strip()), "")
    return max(_SEPARATORS, key=lambda mark: len(next(csv.reader([header], delimiter=mark))))
