"""Regions that form a grid, as cloud-optimised GeoTIFFs (COG)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import rasterio.shutil
import shapely
from affine import Affine
from numpy.typing import ArrayLike, NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from mmgr.errors import RegionError
from mmgr.files import write_aside

MOST_CELLS = 4_000_000
"""A grid with more cells, occupied or not, is not written as one image."""
LEAST_FILLED = 0.05
"""A grid of which a smaller part is occupied is a scatter of squares."""

_TOLERANCE = 1e-3  # cells; reprojected or rounded corners stray by less


@dataclass(frozen=True, slots=True)
class GridSpec:
    """A lattice of square cells, and the cell of each region."""

    west: float
    north: float
    size: float
    """Edge of a cell in metres."""
    width: int
    height: int
    row: NDArray[np.int64]
    """Row of each region, from the north, shape ``(n,)``."""
    column: NDArray[np.int64]
    """Column of each region, from the west, shape ``(n,)``."""

    @property
    def transform(self) -> Affine:
        """From column and row to metres."""
        return Affine(self.size, 0, self.west, 0, -self.size, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north."""
        return self.west, self.north - self.height * self.size, self.west + self.width * self.size, self.north

    def raster(self, values: NDArray[Any], empty: float) -> NDArray[Any]:
        """Lay out values, shape ``(n, bands)``, as an image, shape ``(bands, height, width)``."""
        image = np.full((values.shape[1], self.height, self.width), empty, values.dtype)
        image[:, self.row, self.column] = values.T
        return image


def is_grid(regions: gpd.GeoDataFrame) -> GridSpec | None:
    """Return the lattice that regions lie on, or None if they do not form one.

    They do if all are equal squares along the axes, on one lattice, at most one a cell, of at most
    :data:`MOST_CELLS` cells and at least :data:`LEAST_FILLED` filled. Gaps are allowed.
    """
    if len(regions) == 0:
        return None
    geometry = regions.geometry.to_numpy()
    boxes = shapely.bounds(geometry)
    edges = boxes[:, 2:] - boxes[:, :2]
    size = float(np.median(edges))
    boxy = np.abs(shapely.area(geometry) - edges.prod(axis=1)) <= _TOLERANCE * size**2
    if not (size > 0 and boxy.all() and np.abs(edges - size).max() <= _TOLERANCE * size):
        return None
    west, north = float(boxes[:, 0].min()), float(boxes[:, 3].max())
    place = np.stack([north - boxes[:, 3], boxes[:, 0] - west], axis=1) / size
    cell = np.rint(place).astype(np.int64)
    height, width = (int(v) + 1 for v in cell.max(axis=0))
    on_lattice = np.abs(place - cell).max() <= _TOLERANCE * max(height, width, 10) / 10
    alone = len(np.unique(cell, axis=0)) == len(cell)
    if not (on_lattice and alone and len(cell) >= LEAST_FILLED * height * width and height * width <= MOST_CELLS):
        return None
    return GridSpec(west, north, size, width, height, row=cell[:, 0], column=cell[:, 1])


def write_cog(
    path: Path,
    regions: gpd.GeoDataFrame,
    values: ArrayLike,
    *,
    names: Sequence[str],
    nodata: float = float("nan"),
    tags: Mapping[str, str] | None = None,
    classes: bool = False,
) -> Path:
    """Write values of a grid's regions as a cloud-optimised GeoTIFF with overviews.

    Parameters
    ----------
    path
        Ends in ``.tif``.
    regions
        A grid, see :func:`is_grid`, in a projected CRS.
    values
        Shape ``(n,)`` or ``(n, bands)``. Floats are written as float32 with ``nodata`` where there
        is no region or no value; uint8 with three bands as red, green, blue and alpha.
    names
        Description of each band.
    nodata
        Marks the absence of a value in floats.
    tags
        Metadata for the file, such as the software's version.
    classes
        Whether values are numbers of classes, of which overviews show one rather than their mean.

    Raises
    ------
    RegionError
        If the regions are no grid.
    """
    spec = is_grid(regions)
    if spec is None:
        raise RegionError(f"{path}: these regions are no grid of equal squares; write them as GeoParquet instead.")
    table = np.asarray(values)
    table = table[:, None] if table.ndim == 1 else table
    if table.shape != (len(regions), len(names)):
        raise ValueError(f"{len(regions)} regions and {len(names)} names, but values of shape {table.shape}")
    coloured = table.dtype == np.uint8
    if coloured:
        table = np.column_stack([table, np.full(len(table), 255, np.uint8)])
        names = [*names, "alpha"]
        profile: dict[str, Any] = {"dtype": "uint8", "photometric": "RGB", "alpha": "yes"}
    else:
        table = np.where(np.isfinite(table), table, nodata).astype(np.float32)
        profile = {"dtype": "float32", "nodata": nodata}
    with write_aside(path) as aside:
        _write(
            aside,
            spec.raster(table, 0 if coloured else nodata),
            spec,
            regions.crs,
            names,
            profile,
            tags or {},
            "NEAREST" if classes else "AVERAGE",
        )
    return path


def _write(
    path: Path,
    image: NDArray[Any],
    spec: GridSpec,
    crs: Any,
    names: Sequence[str],
    profile: Mapping[str, Any],
    tags: Mapping[str, str],
    resampling: str,
) -> None:
    shape = {"count": image.shape[0], "height": spec.height, "width": spec.width}
    with MemoryFile() as memory, warnings.catch_warnings():
        # a file being created has no georeference yet
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(driver="GTiff", crs=crs.to_wkt(), transform=spec.transform, **shape, **profile) as raster:
            raster.write(image)
            raster.descriptions = tuple(names)
            raster.update_tags(**tags)
        with memory.open() as raster:
            rasterio.shutil.copy(
                raster,
                path,
                driver="COG",
                COMPRESS="DEFLATE",
                PREDICTOR="YES",
                BLOCKSIZE=256,
                OVERVIEW_RESAMPLING=resampling,
            )
