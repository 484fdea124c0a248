"""Which training a folder holds: it goes on where all that decides its result is the same, and is else refused."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.errors import OtherTrainingError
from mmgr.files import read_json, settings_hash, write_json
from mmgr.learn.checkpoints import checkpoints
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore

SAMPLED_ROWS = 64
"""Regions that are read and compared with their digests, before these are believed."""
CODE = Path(__file__).parent
"""The modules that decide how a training computes."""
LIBRARIES = ("torch", "timm")
"""Packages whose releases decide it, too."""


def identity(
    store: RegionStore,
    vectors: NDArray[np.float32] | None,
    recipe: Recipe,
    seed: int,
    around: NDArray[np.float32] | None = None,
    *,
    bfloat16: bool,
) -> dict[str, Any]:
    """Describe a training by all that decides its result.

    The store is known by its metadata (which hold the hashes of its inputs), regions, POIs, and the digests of its
    rows' patches, dates and geometry, which were made as it was written: reading all patches would cost an epoch. The
    software is known by its version, which says little between releases, by the source of :data:`CODE`, and by the
    versions of :data:`LIBRARIES`.

    Raises
    ------
    ArtefactError
        If a region, of the few that are looked at, is not what its digest says.
    """
    store.check_rows(np.unique(np.linspace(0, len(store) - 1, SAMPLED_ROWS).astype(np.int64)))
    bags = store.bags
    content = hashlib.blake2b(digest_size=16)
    content.update(store.info.to_json().encode())
    content.update("\n".join(store.regions.index).encode())
    for values in (bags.starts, bags.category, bags.count, bags.area_km2, bags.offset):
        content.update(values.tobytes())
    content.update("\n".join(bags.unit).encode())
    content.update(store.digests().tobytes())
    return {
        "software": version("mmgr"),
        "code": code_hash(CODE),
        # builds of one version for other devices may go on with each other's work
        "libraries": {name: version(name).partition("+")[0] for name in LIBRARIES},
        "seed": seed,
        "precision": "bf16" if bfloat16 else "fp32",
        "store": content.hexdigest(),
        "category_vectors": _hash(vectors),
        "pois_around": _hash(around),
        "recipe": recipe.model_dump(mode="json"),
    }


def code_hash(folder: Path) -> str:
    """Return the hash of a folder's Python modules, of their names and sources; comments are part of them."""
    content = hashlib.blake2b(digest_size=8)
    for path in sorted(folder.glob("*.py")):
        source = path.read_bytes()
        content.update(f"{path.name} {len(source)}\n".encode())
        content.update(source)
    return content.hexdigest()


def _hash(values: NDArray[np.float32] | None) -> str:
    # as it lies in memory: bytes of their own would be a second copy
    return "" if values is None else hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).hexdigest()


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write what is trained in ``folder``, or check that it is the same.

    A training that has left no checkpoint is replaced: nothing of it would be lost.

    Raises
    ------
    OtherTrainingError
        If checkpoints of another training are there; shows the difference.
    """
    path = folder / "run.json"
    found = checkpoints(folder / "checkpoints")
    if not found:
        write_json(path, wanted)
        return
    here = read_json(path) if path.exists() else {}
    differences = _differences(here, wanted)
    if differences:
        epochs = here.get("recipe", {}).get("epochs", "?")
        raise OtherTrainingError(
            f"{folder} holds another training, of which {found[0][0]} of {epochs} are done. To go on with it, undo "
            "what changed; to keep it, set another `output`; to forget it and start afresh, add `--force` "
            "(`force=True` from Python):\n" + "\n".join(differences)
        )


def training_hash(folder: Path) -> str:
    """Return the hash of what is trained in ``folder``; empty where nothing is."""
    path = folder / "run.json"
    return settings_hash(read_json(path)) if path.exists() else ""


def _differences(here: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    there, now = _flat(here), _flat(wanted)
    return [
        f"  {key}: {there.get(key, 'absent')} there, {now.get(key, 'absent')} now"
        for key in sorted(there.keys() | now.keys())
        if there.get(key) != now.get(key)
    ]


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots, with their values as text."""
    if not isinstance(value, Mapping):
        return {prefix: str(list(value) if isinstance(value, tuple) else value)}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}" if prefix else key).items()}
