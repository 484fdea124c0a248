"""Files of `torch.save`, read as tensors and plain values: nothing in them is run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from mmgr.errors import ArtefactError


def read_plain(path: Path) -> Any:
    """Read a file that `torch.save` wrote, to the CPU.

    Raises
    ------
    ArtefactError
        If it holds anything but tensors, numbers, text and containers of them, or is torn.
    """
    try:
        with warnings.catch_warnings():
            # a pickle of another protocol than torch.save's is refused or read, and either needs no warning
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            # that PyTorch checks a sparse tensor, or knows its kind but lately, is nothing to act on
            warnings.filterwarnings("ignore", message="(Validating )?sparse", category=UserWarning)
            with path.open("rb") as stream:  # of a path PyTorch believes the ending
                return torch.load(stream, map_location="cpu", weights_only=True)
    except Exception as error:  # a torn file may fail anywhere in PyTorch's reader
        raise ArtefactError(
            f"{path} is no file of tensors and plain values: it is torn, or a pickle that wants to run code (nothing "
            f"of it was run). {_first_sentence(error)}"
        ) from error


def _first_sentence(error: BaseException) -> str:
    """Return what PyTorch says is wrong, without its advice to load the file in an unsafe way."""
    text = str(error).strip()
    _, found, reason = text.partition("WeightsUnpickler error: ")
    return ((reason if found else text).splitlines() or [type(error).__name__])[0]
