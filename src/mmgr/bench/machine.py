"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmgr.processes import cores

_LIBRARIES = ("mmgr", "numpy", "scipy", "numba")


def machine() -> dict[str, Any]:
    """Return the processor's kind and name, the cores that this process may use, the memory in GB, and the load.

    ``load`` is how many processes wanted a core over the last minute: above the number of cores,
    others shared the machine and times are longer than they need be.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": _processor(),
        "architecture": platform.machine(),
        "cores": cores(),
        "memory_gb": round(memory / 2**30, 1),
        "load": round(os.getloadavg()[0], 1),
        "system": platform.system(),
    }


def software(*more: str) -> dict[str, str]:
    """Return the versions of Python and of what a measurement depends on: what all do, and ``more``."""
    return {"python": platform.python_version()} | {name: version(name) for name in (*_LIBRARIES, *more)}


def _processor() -> str:
    """Return the processor's name; only Linux tells it in a file."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
