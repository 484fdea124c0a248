"""Which rows there are: those of this package, of entry points, and of a module that is named."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, get_args

from mmgr.benchmark import image_rows, poi_rows, trained_rows
from mmgr.benchmark.concatenation import NAME as CONCATENATION
from mmgr.benchmark.rows import NAME, Context, Kind, Made, Row
from mmgr.errors import ConfigError, MmgrError

GROUP = "mmgr.rows"
"""Entry points of this group are rows, or iterables of rows."""
_KINDS: tuple[str, ...] = get_args(Kind)
MAIN = "mmgr"
"""The row that others are compared with."""


def _counts(context: Context) -> Made:
    from mmgr.benchmark.srai_rows import counts  # noqa: PLC0415 - torch and srai load slowly

    return counts(context)


def _hex2vec(context: Context) -> Made:
    from mmgr.benchmark.srai_rows import hex2vec  # noqa: PLC0415 - as above

    return hex2vec(context)


_SRAI = (
    Row("srai-counts", "poi", _counts, "srai's CountEmbedder"),
    Row("hex2vec", "poi", _hex2vec, "srai's Hex2Vec (Wozniak and Szymanski 2021) over adjacent regions"),
)
BUILT_IN: tuple[Row, ...] = (*poi_rows.ROWS, *_SRAI, *image_rows.ROWS, *trained_rows.ROWS)
"""The rows of this package, in the order of the table; `mmgr` is the last to be made."""


def all_rows() -> dict[str, Row]:
    """Return all rows that are installed, by name; an entry point that cannot be loaded is a row that fails."""
    found = {row.name: row for row in BUILT_IN}
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        for row in _of_entry_point(point):
            found.setdefault(row.name, row)
    return found


def choose_rows(chosen: Sequence[str] = (), skipped: Sequence[str] = ()) -> tuple[list[Row], bool]:
    """Return the rows to make, and whether the concatenation of the best is to be scored.

    Parameters
    ----------
    chosen
        Names of rows, `all`, or `module:NAME` of a row or several; by default all that are installed.
    skipped
        Names of rows to leave out.

    Raises
    ------
    ConfigError
        If there is no such row or module, or nothing is left.
    """
    known = all_rows()
    words = [word for word in chosen if ":" not in word]
    own = [row for word in chosen if ":" in word for row in _of_module(word)]
    _check_names([*words, *skipped], [*known, *(row.name for row in own), CONCATENATION, "all"])
    wanted = set(words) if words or own else {"all"}
    some = {name: row for name, row in known.items() if wanted & {name, "all"}} | {row.name: row for row in own}
    rows = [row for name, row in some.items() if name not in skipped]
    concatenated = bool(wanted & {CONCATENATION, "all"}) and CONCATENATION not in skipped
    if not rows:
        raise ConfigError("no row is left to make; see `--rows` and `--skip`.")
    # the main row last, whatever was added: it stands at the end of each table
    return sorted(rows, key=lambda row: row.name == MAIN), concatenated


def _check_names(names: Iterable[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise ConfigError(f"there is no row {name!r}; {hint}known are {', '.join(known)}, and `module:NAME`.")


def _of_module(word: str) -> list[Row]:
    """Import the rows that `module:NAME` names; the current folder is looked in, too."""
    module, _, name = word.partition(":")
    if "" not in sys.path and os.getcwd() not in sys.path:  # noqa: PTH109 - as Python itself has it there
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    try:
        value = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--rows {word}: {error}; name a module that Python finds and a row in it.") from error
    except Exception as error:  # the user's own code may raise anything, and is not ours to mend
        raise ConfigError(
            f"--rows {word}: the module {module} cannot be imported: {type(error).__name__}: {error}; mend it."
        ) from error
    return _checked(value, where=f"--rows {word}")


def _of_entry_point(point: EntryPoint) -> list[Row]:
    try:
        return _checked(point.load(), where=f"entry point {point.name} ({point.value})")
    except Exception as error:  # noqa: BLE001 - another's package must not stop the benchmark
        return [Row(point.name, "both", _Broken(str(error)), f"entry point {point.value}")]


class _Broken:
    """Stands for a row that could not be loaded."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __call__(self, _context: Context) -> Made:
        raise MmgrError(f"it cannot be loaded: {self.reason}")


def _checked(given: Any, *, where: str) -> list[Row]:
    rows = [given] if isinstance(given, Row) else list(given) if isinstance(given, Iterable) else []
    if not rows or not all(isinstance(row, Row) for row in rows):
        raise ConfigError(f"{where} is {type(given).__name__}, not a mmgr.benchmark.Row or several of them.")
    for row in rows:
        if not re.fullmatch(NAME, row.name) or row.name in {"all", CONCATENATION}:
            raise ConfigError(f"{where}: a row cannot be called {row.name!r}; letters, digits, `.`, `_` and `-` are.")
        for field, value, kinds in (("kind", row.kind, _KINDS), ("needs", row.needs, (None, *_KINDS))):
            if value not in kinds:
                raise ConfigError(f"{where}: row {row.name}: `{field}` is {' or '.join(_KINDS)}, not {value!r}.")
    return rows
