"""Turn a pickle of weights into safetensors: ``python -m mmgr.learn.convert weights.pth weights.safetensors``.

PyTorch reads it with ``weights_only=True``, which makes tensors and plain containers and runs nothing else.
That is for one's own hands and files: MMGR itself reads safetensors alone.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgr.console import log, show_log
from mmgr.errors import ArtefactError, MmgrError
from mmgr.files import existing_file, write_aside


def convert(source: Path, target: Path) -> int:
    """Write the tensors of a pickle as safetensors; returns how many there are.

    A checkpoint that holds a state dict beside other things gives that state dict.

    Raises
    ------
    ArtefactError
        If the file holds anything but tensors and plain containers, or no state dict.
    """
    existing_file(source, what="weights")
    try:
        with source.open("rb") as stream:  # of a path PyTorch believes the ending
            tensors = plain_tensors(torch.load(stream, map_location="cpu", weights_only=True))
    except (pickle.UnpicklingError, RuntimeError, EOFError, ArtefactError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ArtefactError(f"{source} cannot be converted: {reason}") from error
    with write_aside(target) as aside:
        save_file(tensors, aside)
    return len(tensors)


def main(arguments: list[str]) -> int:
    """Convert one file; returns the exit code."""
    show_log()
    if len(arguments) != 2:
        log.error("usage: python -m mmgr.learn.convert weights.pth weights.safetensors")
        return 2
    source, target = map(Path, arguments)
    try:
        count = convert(source, target)
    except MmgrError as error:
        log.error("%s", error)
        return 2
    log.info("%s: %d tensors", target, count)
    return 0


def plain_tensors(value: object) -> dict[str, Tensor]:
    """Return the state dict inside what a training saved, each tensor with memory of its own."""
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    tensors = value.items() if isinstance(value, Mapping) else ()
    found = {str(key): item.detach().clone().contiguous() for key, item in tensors if isinstance(item, torch.Tensor)}
    if not found:
        raise ArtefactError("it holds no state dict: no tensor has a name in it.")
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
