"""The encoder weights that ship with the package, for those who have no network."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

SHIPPED = "shipped"
"""How a configuration names them."""
SHIPPED_ENCODER = "tf_efficientnet_lite0"
"""Whose they are: a small encoder of ``timm``."""


def shipped_weights() -> Path:
    """Return the file: ImageNet weights of EfficientNet-Lite0 (Google, Apache 2.0); ``ATTRIBUTION.md`` is beside it."""
    return Path(str(files("mmgr") / "weights" / f"{SHIPPED_ENCODER}.safetensors"))
