"""The monitor for TensorBoard: one event file, which a resumed training makes anew up to where it goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from mmgr.errors import ConfigError
from mmgr.learn.monitor import EpochRow

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_PARTS = {
    "loss": "loss",
    "intra": "loss",
    "inter": "loss",
    "counts": "loss",
    "view_retrieval": "batch",
    "poi_retrieval": "batch",
    "held_out": "held_out",
    "alignment": "held_out",
    "uniformity": "held_out",
    "r2": "probe",
}
"""Where in TensorBoard a quantity stands, by the beginning of its name; the others stand under `training`."""


class EventLog:
    """Writes an epoch's row as scalars, with the epoch as their step.

    Parameters
    ----------
    folder
        Gets the event file; what is there is removed.
    rows
        The epochs done before, which open the file: a training that was killed in an epoch has written none of it
        twice, and one that went back to an older checkpoint forgets what came after it.

    Raises
    ------
    ConfigError
        If TensorBoard, which PyTorch writes event files with, is not installed.
    """

    def __init__(self, folder: Path, rows: Sequence[EpochRow] = ()) -> None:
        writer = _writer_class()
        shutil.rmtree(folder, ignore_errors=True)
        self._file = writer(str(folder))
        # a checkpoint knows how long its epochs took, not when they were
        ends = accumulate((row.seconds for row in reversed(rows)), lambda end, took: end - took, initial=time.time())
        for row, end in zip(rows, reversed(list(ends)[: len(rows)]), strict=True):
            self._add(row, end)
        self._file.flush()

    def add(self, row: EpochRow) -> None:
        """Write an epoch, and see that it reaches the disk."""
        self._add(row, time.time())
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()

    def _add(self, row: EpochRow, end: float) -> None:
        for name, value in row.quantities().items():
            part = next((part for start, part in _PARTS.items() if name.startswith(start)), "training")
            self._file.add_scalar(f"{part}/{name}", value, row.epoch, walltime=end)


def check_tensorboard() -> None:
    """See that event files can be written here.

    Raises
    ------
    ConfigError
        If TensorBoard is not installed.
    """
    _writer_class()


def _writer_class() -> type[SummaryWriter]:
    try:
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "pretrain.tensorboard: TensorBoard is not installed; run `pip install 'mmgr[tensorboard]'`, or leave the "
            "setting out: pretrain/monitor.csv holds the same numbers."
        ) from error
    return SummaryWriter
