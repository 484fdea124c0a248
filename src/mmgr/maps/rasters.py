"""Vectors of regions as images of many bands, which other people's tools read by coordinate."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.features import rasterize

from mmgr.errors import RegionError
from mmgr.files import write_aside
from mmgr.maps.grids import MOST_CELLS, is_grid

_TILE_BYTES = 16 * 2**20
"""A tile holds all bands: one of 256 x 256 with 700 bands would be 180 MB, and read whole for one place."""


def write_vectors(
    path: Path,
    regions: gpd.GeoDataFrame,
    vectors: NDArray[np.float32],
    *,
    names: Sequence[str],
    resolution: float | None = None,
    tags: Mapping[str, str] | None = None,
) -> int:
    """Write one vector per region as a cloud-optimised GeoTIFF: float32, NaN where there is no region.

    It has no overviews: a mean of vectors is no vector of a place.

    Parameters
    ----------
    path
        Ends in ``.tif``.
    regions
        In a projected CRS.
    vectors
        Shape ``(n, bands)``.
    names
        Description of each band.
    resolution
        Edge of a cell in metres, for regions that form no grid: a cell takes the vector of the region that its
        centre lies in. A grid needs none, and keeps its own cells.
    tags
        Metadata for the file.

    Returns
    -------
    How many regions have no cell, being narrower than one; 0 for a grid.

    Raises
    ------
    RegionError
        If the regions form no grid and there is no resolution, or it gives too many cells.
    """
    if vectors.shape != (len(regions), len(names)):
        raise ValueError(f"{len(regions)} regions and {len(names)} names, but vectors of shape {vectors.shape}")
    transform, place = _lay_out(path, regions, resolution)
    found = np.unique(place[place >= 0])
    with write_aside(path) as aside, tempfile.TemporaryDirectory(dir=aside.parent) as scratch:
        plain = Path(scratch) / "plain.tif"
        _write_plain(plain, place, transform, regions, vectors, names, tags or {})
        with rasterio.open(plain) as raster:
            rasterio.shutil.copy(
                raster,
                aside,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE=_tile_edge(len(names)),
                OVERVIEWS="NONE",
                BIGTIFF="IF_SAFER",
            )
    return len(regions) - len(found)


def _lay_out(path: Path, regions: gpd.GeoDataFrame, resolution: float | None) -> tuple[Affine, NDArray[np.int64]]:
    """Return the image's transform and the region of each cell, shape ``(height, width)``; -1 where there is none."""
    spec = is_grid(regions)
    if spec is not None:
        return spec.transform, spec.raster(np.arange(len(regions))[:, None], -1)[0]
    if resolution is None:
        raise RegionError(
            f"{path.name}: these regions form no grid of equal squares on one lattice (or a nearly empty one): "
            "there is no image of them. Give `--resolution METRES` to rasterise outlines, or `--format parquet`."
        )
    west, south, east, north = regions.total_bounds
    west, north = np.floor(west / resolution) * resolution, np.ceil(north / resolution) * resolution
    width, height = (max(1, int(np.ceil(span / resolution))) for span in (east - west, north - south))
    if width * height > MOST_CELLS:
        raise RegionError(
            f"{path.name}: a resolution of {resolution:g} m gives {width:,} x {height:,} cells, more than "
            f"{MOST_CELLS:,}; give a larger `--resolution`, or `--format parquet`."
        )
    transform = Affine(resolution, 0, west, 0, -resolution, north)
    shapes = zip(regions.geometry, range(1, len(regions) + 1), strict=True)
    number = rasterize(shapes, out_shape=(height, width), transform=transform, fill=0, dtype="int32")
    return transform, number.astype(np.int64) - 1


def _write_plain(
    path: Path,
    place: NDArray[np.int64],
    transform: Affine,
    regions: gpd.GeoDataFrame,
    vectors: NDArray[np.float32],
    names: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    """Write the image band by band, so that it need not fit into memory."""
    height, width = place.shape
    profile = {
        "driver": "GTiff", "dtype": "float32", "nodata": float("nan"), "count": len(names), "height": height,
        "width": width, "interleave": "band", "BIGTIFF": "IF_SAFER",
    }  # fmt: skip
    with warnings.catch_warnings():
        # a file being created has no georeference yet
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", crs=regions.crs.to_wkt(), transform=transform, **profile) as raster:
            for band, column in enumerate(vectors.T, start=1):
                raster.write(np.where(place >= 0, column[place], np.nan).astype(np.float32), band)
            raster.descriptions = tuple(names)
            raster.update_tags(**tags)


def _tile_edge(bands: int) -> int:
    """Return the largest usual edge of a tile that keeps all its bands in a few megabytes."""
    return next((edge for edge in (256, 128, 64, 32) if edge**2 * bands * 4 <= _TILE_BYTES), 16)
