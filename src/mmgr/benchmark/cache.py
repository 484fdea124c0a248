"""What a killed benchmark goes on from: each row's vectors under the hash of all that they depend on."""

from __future__ import annotations

import functools
import inspect
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mmgr.benchmark.rows import Context, LeftOut, Made, Row, Vectors
from mmgr.console import log
from mmgr.embeddings import read_embeddings, write_embeddings
from mmgr.errors import MmgrError
from mmgr.files import clear_asides, is_no_room, make_folder, read_json, remove_tree, settings_hash, write_json

SCHEMA_VERSION = 2
"""Version of ``row.json``."""
_OF_POIS = {"categories", "context"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a row."""

    name: str
    kind: str
    title: str
    state: str
    """`made`, `left out` or `failed`."""
    reason: str = ""
    """Why it was not made."""
    key: str = ""
    dimensions: int = 0
    parameters: int = 0
    seconds: float = 0.0
    note: str = ""
    parts: tuple[int, ...] = ()
    """Columns of each part of the vectors."""

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Outcome:
        """Read what ``dataclasses.asdict`` wrote."""
        return cls(**{**record, "parts": tuple(record.get("parts", ()))})


def row_key(row: Row, shared: Mapping[str, Any], trained: Mapping[str, Any]) -> str:
    """Return the hash of what a row's vectors depend on.

    Parameters
    ----------
    row
        Its name and the source of its module have a part in the hash.
    shared
        What all rows depend on: regions, POIs, category vectors, seed.
    trained
        What trained rows depend on, too.
    """
    if row.kind == "image":
        shared = {name: value for name, value in shared.items() if name not in _OF_POIS}
    own = {"name": row.name, "kind": row.kind, "source": _source(row.make), "software": version("mmgr")}
    return settings_hash(own | dict(shared) | (dict(trained) if row.trained else {}))


def made_before(folder: Path, key: str) -> Outcome | None:
    """Return the record of a row that was made under this key, if there is one."""
    path = folder / "row.json"
    if not path.is_file() or not (folder / "vectors.parquet").is_file():
        return None
    record = dict(read_json(path))
    if record.pop("schema_version", None) != SCHEMA_VERSION or record.get("key") != key:
        return None
    return Outcome.from_json(record)


def vectors_of(folder: Path) -> Vectors:
    """Read the vectors of a row that was made, shape ``(n, d)``."""
    return read_embeddings(folder / "vectors.parquet")


def make_row(row: Row, context: Context, folder: Path, key: str) -> Outcome:
    """Make a row and keep it; its failure is a record, not an error.

    Parameters
    ----------
    row
        The row.
    context
        What it is made from; its folder is emptied where it belongs to another key.
    folder
        Gets ``vectors.parquet`` and ``row.json``.
    key
        Of :func:`row_key`.
    """
    told: dict[str, Any] = {"name": row.name, "kind": row.kind, "title": row.title, "key": key}
    missing = row.lacks(context.config)
    if missing:
        return Outcome(**told, state="left out", reason=f"the configuration has no {missing}")
    _claim(context.folder, key)
    start = time.perf_counter()
    try:
        made = row.make(context)
        made = _checked(made if isinstance(made, Made) else Made(made), len(context.store))
    except LeftOut as error:
        return Outcome(**told, state="left out", reason=str(error))
    except Exception as error:
        if is_no_room(error):
            raise
        reason = str(error) if isinstance(error, MmgrError) else f"{type(error).__name__}: {error}"
        log.warning("%s failed: %s", row.name, reason)
        log.debug("%s", row.name, exc_info=error)
        return Outcome(**told, state="failed", reason=reason)
    seconds = time.perf_counter() - start if made.seconds is None else made.seconds
    found = Outcome(
        **told,
        state="made",
        dimensions=int(made.vectors.shape[1]),
        parameters=made.parameters,
        seconds=round(seconds, 2),
        note=made.note,
        parts=made.parts,
    )
    make_folder(folder)
    provenance = {"software": version("mmgr"), "row": row.name, "seed": context.seed, "key": key}
    (folder / "row.json").unlink(missing_ok=True)
    write_embeddings(folder / "vectors.parquet", context.store.regions[["group", "geometry"]], made.vectors, provenance)
    # last, so that a row with a record is complete
    write_json(folder / "row.json", {"schema_version": SCHEMA_VERSION} | asdict(found))
    return found


def _claim(folder: Path, key: str) -> None:
    """Empty a row's working folder unless it is of the same key."""
    mark = folder / "key.json"
    if not mark.is_file() or read_json(mark) != key:
        make_folder(folder.parent)
        remove_tree(folder)
        clear_asides(folder)
        write_json(mark, key)


def _checked(made: Made, regions: int) -> Made:
    """Return what a row gave with its vectors as an array, whatever table it gave.

    Raises
    ------
    MmgrError
        If they are not one finite vector a region.
    """
    with np.errstate(over="ignore"):  # what is too large for 32 bits is said below not to be finite
        vectors = np.asarray(made.vectors, np.float32)
    shape = vectors.shape
    if len(shape) != 2 or shape[0] != regions or shape[1] < 1:
        raise MmgrError(f"it gave vectors of shape {shape} for {regions} regions; one vector a region is needed")
    unusable = int((~np.isfinite(vectors).all(axis=1)).sum())
    if unusable:
        raise MmgrError(f"{unusable} of its {regions} vectors hold values that are not finite")
    if made.parts and sum(made.parts) != shape[1]:
        raise MmgrError(f"its parts have {made.parts} columns, and its vectors {shape[1]}")
    return replace(made, vectors=vectors)


def _source(make: Callable[..., Any]) -> str:
    """Return the source of the module that a row's function is in, so that a changed row is made again."""
    arguments = ""
    while isinstance(make, functools.partial):
        arguments += repr((make.args, sorted(make.keywords.items())))
        make = make.func
    try:
        return arguments + inspect.getsource(inspect.getmodule(make) or make)
    except (OSError, TypeError):
        return arguments + repr(getattr(make, "__qualname__", type(make).__qualname__))
