"""Names of tasks, which become columns of predictions and names of files."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

_BESIDE = ("lower", "upper", "set", "set_size", "dissimilarity", "applicable")
COLUMNS = ("region_id", "group", "geometry", *_BESIDE, "embeddings")
"""Columns that stand beside a task's own in tables of predictions, and the file of maps that is no task's."""
ENDINGS = (*_BESIDE, "interval", "shares")
"""``<task>_<ending>`` is a column beside a task's predictions, or a map beside its own."""


def check_task_name(name: str) -> str:
    """Return a name that may stand in columns and names of files.

    Raises
    ------
    ValueError
        If it has other letters than those of English, digits, ``_`` and ``-``; proposes one without.
    """
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    near = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_") or "my_task"
    if re.fullmatch(r"[A-Za-z0-9_-]+", name) is None:
        raise ValueError(
            "files and columns are called by a task's name, so it has letters from a to z, digits, `_` and `-` alone, "
            f"such as {near}"
        )
    return name


def check_task_names(names: Sequence[str]) -> None:
    """Refuse names under which one column or file would overwrite another.

    Raises
    ------
    ValueError
        If two are the same, one is of :data:`COLUMNS`, or one is another with one of :data:`ENDINGS`.
    """
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two tasks are called {name}; give each a name of its own")
        if name in COLUMNS:
            raise ValueError(
                f"a task may not be called {name}, as other columns or files are ({', '.join(COLUMNS)}); rename it"
            )
        for ending in ENDINGS:
            if f"{name}_{ending}" in names:
                raise ValueError(
                    f"a task may not be called {name}_{ending} beside one called {name}, whose predictions or maps "
                    "have that name too; rename one of them"
                )
