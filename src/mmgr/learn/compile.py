"""The image encoder compiled for its training steps."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import Iterator

import torch

from mmgr.errors import ConfigError
from mmgr.learn.model import MultiModalModel


@contextlib.contextmanager
def compiled(model: MultiModalModel, device: torch.device) -> Iterator[None]:
    """Run the image encoder's training steps as `torch.compile` writes them, while the block runs.

    Weights, their names and the steps of evaluation are as without. Each size of a batch is compiled for
    itself: the usual one, and an epoch's last.

    Raises
    ------
    ConfigError
        If there is no compiler for this device.
    """
    _check_compiler(device)
    model.training_encoder = torch.compile(model.image_encoder.forward, dynamic=False)
    try:
        yield
    finally:
        model.training_encoder = None


def _check_compiler(device: torch.device) -> None:
    """Refuse at once what would fail in the first step."""
    if device.type == "cpu":
        names = [os.environ["CXX"]] if "CXX" in os.environ else ["g++", "clang++"]
        if not any(shutil.which(name) for name in names):
            raise ConfigError(
                f"pretrain.compile: needs a C++ compiler, and there is no {' or '.join(names)} here; install one, or "
                "leave `compile` out."
            )
    elif importlib.util.find_spec("triton") is None:
        raise ConfigError(
            "pretrain.compile: needs Triton to compile for a GPU, which this PyTorch came without; leave `compile` out."
        )
