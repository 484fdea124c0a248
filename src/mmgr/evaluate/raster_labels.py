"""Sums and means of a raster's cells over regions, with exact fractions of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import rasterio
import shapely
from exactextract import exact_extract
from exactextract.raster import RasterioRasterSource
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError

from mmgr.config import Task
from mmgr.console import track
from mmgr.errors import LabelError
from mmgr.evaluate.extent import lonlat_extent
from mmgr.files import existing_file

_REGIONS_AT_ONCE = 2000


@dataclass(frozen=True, slots=True)
class RasterLabels:
    """What a raster says of ``n`` regions."""

    label: NDArray[np.float64]
    """Sum, density per km2 or mean, shape ``(n,)``; NaN where the raster has no value."""
    coverage: NDArray[np.float64]
    """Share of each region that lies on cells with a value, shape ``(n,)``."""


def read_raster(task: Task, regions: gpd.GeoDataFrame) -> RasterLabels:
    """Sum or average a raster's cells over regions; a cell counts by the fraction of it inside.

    A density is the amount on cells with values divided by the region's area on them, in km2 in
    the regions' CRS.

    Raises
    ------
    LabelError
        If the raster cannot be read, has no CRS or no such band, is rotated, does not overlap the
        regions, or has negative amounts.
    """
    existing_file(task.path, what=f"labels of task {task.name}")
    where = f"task {task.name}: {task.path}"
    try:
        with rasterio.open(task.path) as raster:
            _check_raster(task, raster, where)
            projected = regions.geometry.to_crs(raster.crs)
            _check_overlap(projected, raster, where)
            table = _extract(task, raster, projected)
            cell_area = abs(raster.transform.a * raster.transform.e)
    except RasterioIOError as error:
        raise LabelError(f"{where} cannot be read as a raster: {error}") from error
    if task.is_amount:
        _refuse_negative(table, regions, where)
    cells_on_values = table["count"].to_numpy(np.float64, na_value=0.0)
    # both areas in the raster's own units, be they degrees: their ratio is what counts
    coverage = np.clip(cells_on_values * cell_area / shapely.area(projected.to_numpy()), 0.0, 1.0)
    statistic = "sum" if task.is_amount else "mean"
    values = table[statistic].to_numpy(np.float64, na_value=np.nan)
    values = np.where(coverage > 0, values, np.nan)
    if task.is_density:
        covered_km2 = coverage * regions.area.to_numpy() / 1e6
        values = np.divide(values, covered_km2, out=np.full(len(values), np.nan), where=covered_km2 > 0)
    return RasterLabels(values, coverage)


def _check_raster(task: Task, raster: Any, where: str) -> None:
    if raster.crs is None:
        raise LabelError(f"{where} has no CRS; give it one, for example with `gdal_edit.py -a_srs EPSG:...`.")
    if not 1 <= task.band <= raster.count:
        raise LabelError(f"{where} has {raster.count} band(s), but `band` is {task.band}.")
    if raster.transform.b or raster.transform.d or raster.transform.e > 0:
        raise LabelError(f"{where} is rotated or upside down; make it north-up with `gdalwarp` first.")


def _check_overlap(projected: gpd.GeoSeries, raster: Any, where: str) -> None:
    bounds = projected.total_bounds
    if not shapely.box(*bounds).intersects(shapely.box(*raster.bounds)):
        raise LabelError(
            f"{where}: labels and regions do not overlap: labels span {lonlat_extent(raster.bounds, raster.crs)}, "
            f"regions {lonlat_extent(bounds, raster.crs)}."
        )


def _extract(task: Task, raster: Any, projected: gpd.GeoSeries) -> pd.DataFrame:
    """Return the columns sum, mean, min and count (in cells) of each region, in order."""
    source = RasterioRasterSource(raster, band_idx=task.band)
    frame = gpd.GeoDataFrame(geometry=projected.to_numpy(), crs=projected.crs)
    starts = range(0, len(frame), _REGIONS_AT_ONCE)
    tables: list[pd.DataFrame] = [
        exact_extract(
            source, frame.iloc[start : start + _REGIONS_AT_ONCE], ["sum", "mean", "min", "count"], output="pandas"
        )
        for start in track(starts, f"labels {task.name}", total=len(starts))
    ]
    return pd.concat(tables, ignore_index=True)


def _refuse_negative(table: pd.DataFrame, regions: gpd.GeoDataFrame, where: str) -> None:
    negative = np.flatnonzero(table["min"].to_numpy(np.float64, na_value=np.nan) < 0)
    if len(negative):
        row = negative[0]
        raise LabelError(
            f"{where} has negative amounts under {len(negative)} region(s), such as {table['min'].iloc[row]:g} in "
            f"region {regions.index[row]}; if that value means 'missing', set the raster's nodata to it."
        )
