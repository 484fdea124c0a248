"""Small rasters made on the fly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from numpy.typing import NDArray

WEST, NORTH = 400_000.0, 4_000_000.0

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Write ``data``, shape ``(bands, H, W)``, with its north-west corner ``at`` a column and row of 1 m pixels."""

    def write(
        name: str,
        data: NDArray[Any],
        *,
        at: tuple[float, float] = (0, 0),
        pixel: float = 1.0,
        crs: str | None = "EPSG:32611",
        mask: NDArray[Any] | None = None,
        **options: Any,
    ) -> Path:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        place = {"transform": Affine(pixel, 0, WEST + at[0], 0, -pixel, NORTH - at[1])}
        profile = {"driver": "GTiff", "dtype": data.dtype, "count": data.shape[0], "crs": crs} | place | options
        size = {"height": data.shape[1], "width": data.shape[2]}
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **size, **profile) as raster:
            raster.write(data)
            if mask is not None:
                raster.write_mask(mask)
        return path

    return write


@pytest.fixture
def noise() -> Callable[..., NDArray[np.uint8]]:
    def make(height: int = 64, width: int = 64, *, seed: int = 0, bands: int = 3) -> NDArray[np.uint8]:
        return np.random.default_rng(seed).integers(1, 255, (bands, height, width), dtype=np.uint8)

    return make
