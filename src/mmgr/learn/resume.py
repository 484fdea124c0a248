"""What a training may be resumed from: checkpoints that are intact, of the same training."""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.console import log
from mmgr.errors import OtherTrainingError
from mmgr.files import read_json, write_json
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore


def checkpoint_path(folder: Path, epoch: int) -> Path:
    """Return the name of the checkpoint after ``epoch`` epochs."""
    return folder / f"epoch-{epoch:04d}.ckpt"


def checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Return the checkpoints in a folder and the epochs done, the newest first."""
    found = [(int(path.stem.removeprefix("epoch-")), path) for path in folder.glob("epoch-*.ckpt")]
    return sorted(found, reverse=True)


def newest_intact(folder: Path) -> tuple[int, Path | None]:
    """Return the epochs done and their checkpoint: the newest whose content has the check sums it names.

    What a kill left half-written is removed.
    """
    for aside in folder.glob(".epoch-*"):
        shutil.rmtree(aside)
    for epoch, path in checkpoints(folder):
        if _is_intact(path):
            log.info("going on after epoch %d from %s", epoch, path)
            return epoch, path
        log.warning("%s is torn; the one before it is used", path)
    return 0, None


def identity(
    store: RegionStore, vectors: NDArray[np.float32] | None, recipe: Recipe, seed: int, *, bfloat16: bool
) -> dict[str, Any]:
    """Describe a training by all that decides its result.

    The store is known by its metadata (which hold the hashes of its inputs), regions, dates and POIs; patches
    are not read for this.
    """
    bags = store.bags
    content = hashlib.blake2b(digest_size=16)
    content.update(store.info.to_json().encode())
    content.update("\n".join(store.regions.index).encode())
    content.update(repr(store.dates()).encode())
    for values in (bags.starts, bags.category, bags.count, bags.area_km2):
        content.update(values.tobytes())
    content.update("\n".join(bags.unit).encode())
    categories = "" if vectors is None else hashlib.blake2b(vectors.tobytes(), digest_size=16).hexdigest()
    return {
        "software": version("mmgr"),
        "seed": seed,
        "precision": "bf16" if bfloat16 else "fp32",
        "store": content.hexdigest(),
        "category_vectors": categories,
        "recipe": recipe.model_dump(mode="json"),
    }


def claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write what is trained in ``folder``, or check that it is the same.

    Raises
    ------
    OtherTrainingError
        If another training is there; shows the difference.
    """
    path = folder / "run.json"
    if not path.exists():
        write_json(path, wanted)
        return
    here, asked = _flat(read_json(path)), _flat(wanted)
    differences = [
        f"  {key}: {here.get(key, 'absent')} there, {asked.get(key, 'absent')} now"
        for key in sorted(here.keys() | asked.keys())
        if here.get(key) != asked.get(key)
    ]
    if differences:
        raise OtherTrainingError(
            f"{folder} holds another training; remove it, or set another `output`:\n" + "\n".join(differences)
        )


def _is_intact(path: Path) -> bool:
    """Say whether a checkpoint, which is a zip archive, has the check sums that it names."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (zipfile.BadZipFile, OSError, EOFError):
        return False


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested keys joined by dots, with their values as text."""
    if not isinstance(value, Mapping):
        return {prefix: str(list(value) if isinstance(value, tuple) else value)}
    return {k: v for key, item in value.items() for k, v in _flat(item, f"{prefix}.{key}" if prefix else key).items()}
