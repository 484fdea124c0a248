"""Checkpoints: a training's state on disk, whole or not at all, and the newest that is intact found again.

A checkpoint appears under its name only when it is complete, and is known by the SHA-256 that stands beside it: a
torn or changed one is passed over for the one before. It is read as tensors and plain values, never as a pickle
that may run code.
"""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mmgr.config import CADENCE
from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.files import sha256, write_aside, write_text
from mmgr.learn.plain import read_plain

KEPT = 2
"""The newest, and one to fall back on."""

_NAME = re.compile(r"epoch-(?P<epochs>\d{4,})(-step-(?P<steps>\d{6,}))?\.ckpt")


@dataclass(frozen=True, order=True, slots=True)
class Progress:
    """How far a training has come."""

    epochs: int = 0
    """Epochs that are done."""
    steps: int = 0
    """Steps that are done of the epoch after these."""

    @property
    def name(self) -> str:
        """The checkpoint's file name."""
        step = f"-step-{self.steps:06d}" if self.steps else ""
        return f"epoch-{self.epochs:04d}{step}.ckpt"

    def __str__(self) -> str:
        """Say it in words."""
        epochs = f"{self.epochs} epoch" + ("" if self.epochs == 1 else "s")
        return f"{epochs} and {self.steps} step" + ("" if self.steps == 1 else "s") if self.steps else epochs


class Cadence:
    """When the next checkpoint inside an epoch is due.

    Parameters
    ----------
    every
        Minutes of work or steps: `15 min`, `500 steps`.
    """

    def __init__(self, every: str) -> None:
        found = CADENCE.fullmatch(every)
        if found is None:
            raise ConfigError(
                f"checkpoints are written every `15 min` or every `500 steps`, for example; got {every!r}"
            )
        self._number, self._unit = int(found["number"]), found["unit"]
        self.saved()

    def saved(self) -> None:
        """Start to count anew."""
        self._steps, self._since = 0, time.monotonic()

    def is_due_after_step(self) -> bool:
        """Count a step, and say whether a checkpoint is due after it."""
        self._steps += 1
        gone = self._steps if self._unit == "steps" else (time.monotonic() - self._since) / 60
        return gone >= self._number


def checkpoints(folder: Path) -> list[tuple[Progress, Path]]:
    """Return the checkpoints in a folder, intact or not, the newest first."""
    found = [(match, path) for path in folder.glob("epoch-*.ckpt") if (match := _NAME.fullmatch(path.name))]
    return sorted(((Progress(int(m["epochs"]), int(m["steps"] or 0)), path) for m, path in found), reverse=True)


def save_checkpoint(folder: Path, progress: Progress, content: Mapping[str, Any]) -> None:
    """Write a checkpoint, and remove all but the newest two.

    Parameters
    ----------
    folder
        Where; made if it is not there.
    progress
        How far the training has come.
    content
        Tensors, numbers, text, lists and dictionaries of them.
    """
    path = folder / progress.name
    with write_aside(path) as aside:
        torch.save(dict(content), aside)
        # the hash comes first: without its checkpoint it does no harm
        write_text(_hash_path(path), sha256(aside) + "\n")
    for _, old in checkpoints(folder)[KEPT:]:
        old.unlink()
        _hash_path(old).unlink(missing_ok=True)


def newest_intact(folder: Path) -> tuple[Progress, dict[str, Any]] | None:
    """Read the newest checkpoint that is intact; None where there is none.

    What a kill left half-written is removed. A torn checkpoint gets the ending `.torn`, and the log says so.

    Raises
    ------
    ArtefactError
        If a file with a right hash holds anything but tensors and plain values: MMGR did not write it.
    """
    for aside in folder.glob(".epoch-*"):
        shutil.rmtree(aside)
    for digest in folder.glob("epoch-*.sha256"):
        if not digest.with_suffix("").exists():
            digest.unlink()
    for progress, path in checkpoints(folder):
        if _is_intact(path):
            return progress, dict(read_plain(path))
        log.warning("%s is torn: its SHA-256 is not the one beside it; the one before it is used", path)
        path.rename(path.with_name(f"{path.name}.torn"))
    return None


def _is_intact(path: Path) -> bool:
    try:
        return _hash_path(path).read_text(encoding="ascii").strip() == sha256(path)
    except (OSError, UnicodeDecodeError):
        return False


def _hash_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
