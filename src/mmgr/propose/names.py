"""Names of proposed tasks, each of which becomes columns and files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from mmgr.config.names import COLUMNS, ENDINGS


def task_name(text: str) -> str:
    """Return a text as a task may be called."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_").lower() or "label"
    taken = name in COLUMNS or name.endswith(tuple(f"_{ending}" for ending in ENDINGS))
    return f"{name}_label" if taken else name


def own_names(named: Sequence[tuple[str, Path]]) -> list[str]:
    """Tell tasks of one name apart: by their file, where that is not enough by its folder, else by a number.

    Parameters
    ----------
    named
        The name of each task, and the file that it comes from.

    Returns
    -------
    The names in the same order, no two alike; a name that was alone stays.
    """
    names = [name for name, _ in named]
    for name in [name for name, times in Counter(names).items() if times > 1]:
        places = [place for place, other in enumerate(names) if other == name]
        paths = [named[place][1] for place in places]
        others = {other for other in names if other != name}
        by_file = [_with_file(name, path) for path in paths]
        by_folder = [task_name(f"{one}_{path.resolve().parent.name}") for one, path in zip(by_file, paths, strict=True)]
        several = len({path.resolve() for path in paths}) > 1
        choices = [by_file, by_folder] if several else []
        fitting = (chosen for chosen in choices if len({*chosen} - others) == len(chosen))
        chosen = next(fitting, None) or _numbered(by_folder if several else [name] * len(paths), others)
        for place, own in zip(places, chosen, strict=True):
            names[place] = own
    return names


def _with_file(name: str, path: Path) -> str:
    stem = task_name(path.stem)
    return stem if name in stem else task_name(f"{name}_{stem}")


def _numbered(names: Sequence[str], others: set[str]) -> list[str]:
    """Return each name that is free as it is, and the others with the first number that makes them so."""
    taken = set(others)
    found = []
    for name in names:
        own = next(own for own in (name if n == 1 else f"{name}_{n}" for n in count(1)) if own not in taken)
        taken.add(own)
        found.append(own)
    return found
