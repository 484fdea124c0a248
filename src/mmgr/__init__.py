"""MMGR: maps of how a city works, learned without labels from VHR images and points of interest."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmgr.bundle import Bundle, load_bundle
    from mmgr.categories import CategoryVectors
    from mmgr.config import Config, load_config
    from mmgr.errors import MmgrError
    from mmgr.info import describe
    from mmgr.propose import init
    from mmgr.run import Run
    from mmgr.store import RegionStore

__version__ = version("mmgr")

_HOMES = {
    "Bundle": "mmgr.bundle",
    "CategoryVectors": "mmgr.categories",
    "Config": "mmgr.config",
    "MmgrError": "mmgr.errors",
    "RegionStore": "mmgr.store",
    "Run": "mmgr.run",
    "describe": "mmgr.info",
    "init": "mmgr.propose",
    "load_bundle": "mmgr.bundle",
    "load_config": "mmgr.config",
}

__all__ = [
    "Bundle",
    "CategoryVectors",
    "Config",
    "MmgrError",
    "RegionStore",
    "Run",
    "describe",
    "init",
    "load_bundle",
    "load_config",
]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: `import mmgr` loads no heavy library."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mmgr' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
