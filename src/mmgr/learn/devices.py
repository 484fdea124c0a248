"""Where a model is computed, and in which precision."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import torch

from mmgr.errors import ConfigError
from mmgr.learn.recipes import Recipe


def uses_bfloat16(recipe: Recipe, device: torch.device) -> bool:
    """Say whether encoders compute in bfloat16 on a device."""
    if recipe.precision != "auto":
        return recipe.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _cpu_computes_bfloat16()


def choose_device(name: str) -> torch.device:
    """Return the device of a name; `auto` is the first GPU, or the CPU.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type == "cuda":
            _check_is_there(device)
        else:
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ConfigError(
            f"pretrain.device: {name!r} is not a device of this machine; use `auto`, `cpu`, or `cuda` with a GPU."
        ) from error
    return device


def _check_is_there(device: torch.device) -> None:
    """Count GPUs, and touch none: a process that leaves the training to others would take memory of the first."""
    if not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"no such GPU: {device}")


@cache
def _cpu_computes_bfloat16() -> bool:
    """Say whether the processor has instructions for bfloat16; without them it is slower than float32."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text(encoding="utf-8").split() if cpu.is_file() else []
    return not {"avx512_bf16", "amx_bf16", "bf16"}.isdisjoint(flags)
