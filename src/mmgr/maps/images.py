"""Patches and figures as data URIs, so that a page needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def png_uri(png: bytes | Path) -> str:
    """Return a PNG, or a file of one, as a data URI."""
    content = png.read_bytes() if isinstance(png, Path) else png
    return "data:image/png;base64," + base64.b64encode(content).decode()


def patch_uri(patch: NDArray[np.uint8], *, edge: int, quality: int = 82) -> str:
    """Return a patch as a JPEG data URI.

    Parameters
    ----------
    patch
        Shape ``(H, W, C)``. The first three bands are shown, or the first alone where there are fewer.
    edge
        Longest side in pixels; larger patches are shrunk.
    quality
        Of the JPEG.
    """
    patch = np.asarray(patch)
    shown = patch[:, :, :3] if patch.shape[2] >= 3 else np.repeat(patch[:, :, :1], 3, axis=2)
    picture: Any = Image.fromarray(np.ascontiguousarray(shown, np.uint8))
    picture.thumbnail((edge, edge), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()
