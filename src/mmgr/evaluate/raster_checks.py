"""What may be wrong with a raster of labels: CRS, orientation, place, negative amounts, gaps that are not declared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyproj
import shapely
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from mmgr.config import Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.evaluate.extent import lonlat_extent
from mmgr.imagery.gaps import USUAL


def raster_crs(task: Task, raster: Any) -> CRS:
    """Return the CRS that a raster names, or else the task's; a local one, of no place on Earth, is none.

    Raises
    ------
    LabelError
        If neither names one, or the task's is none.
    """
    where = f"task {task.name}: {task.path}"
    local = raster.crs is not None and pyproj.CRS.from_wkt(raster.crs.to_wkt()).is_engineering
    if raster.crs is not None and not local:
        return raster.crs
    if task.crs is None:
        lacks = "has a local CRS, which says nothing of where it lies" if local else "has no CRS"
        raise LabelError(f"{where} {lacks}; set `crs`, such as EPSG:4326, or write the file with one.")
    try:
        return CRS.from_user_input(task.crs)
    except CRSError:
        raise LabelError(f"{where}: crs {task.crs!r} is no known CRS; write it like EPSG:4326.") from None


def check_raster(task: Task, raster: Any, where: str) -> None:
    """Refuse a raster without the task's band or without a place, or one that is not north-up."""
    if not 1 <= task.band <= raster.count:
        raise LabelError(f"{where} has {raster.count} band(s), but `band` is {task.band}.")
    if raster.transform.is_identity:
        ground = "ground control points alone" if raster.gcps[0] else "no georeference"
        remedy = "warp it by them with `gdalwarp`" if raster.gcps[0] else "set it with `gdal_edit.py -a_ullr`"
        raise LabelError(f"{where} has {ground}: it does not say where its cells lie; {remedy} first.")
    if raster.transform.b or raster.transform.d or raster.transform.e > 0:
        raise LabelError(f"{where} is rotated or upside down; make it north-up with `gdalwarp` first.")


def check_overlap(projected: gpd.GeoSeries, raster: Any, where: str) -> None:
    """Refuse a raster that lies elsewhere than regions, which are in its CRS."""
    bounds = projected.total_bounds
    if not shapely.box(*bounds).intersects(shapely.box(*raster.bounds)):
        raise LabelError(
            f"{where}: labels and regions do not overlap: labels span {lonlat_extent(raster.bounds, projected.crs)}, "
            f"regions {lonlat_extent(bounds, projected.crs)}."
        )


def refuse_negative(table: pd.DataFrame, regions: gpd.GeoDataFrame, where: str) -> None:
    """Refuse amounts below 0, given the lowest cell of each region as ``min``."""
    negative = np.flatnonzero(table["min"].to_numpy(np.float64, na_value=np.nan) < 0)
    if len(negative):
        row = negative[0]
        raise LabelError(
            f"{where} has negative amounts under {len(negative)} region(s), such as {table['min'].iloc[row]:g} in "
            f"region {regions.index[row]}; if that value means 'missing', set the raster's nodata to it."
        )


def refuse_infinite(found: Sequence[NDArray[np.float64]], regions: gpd.GeoDataFrame, where: str) -> None:
    """Refuse values that are infinite, given those that occur in each region, among them the lowest and highest."""
    if np.isinf(np.concatenate(found)).any():
        infinite = [(row, values[np.isinf(values)]) for row, values in enumerate(found) if np.isinf(values).any()]
        row, values = infinite[0]
        raise LabelError(
            f"{where} has infinite values under {len(infinite)} region(s), such as {values[0]:g} in region "
            f"{regions.index[row]}; if that value means 'missing', set the raster's nodata to it: "
            f"gdal_edit.py -a_nodata {values[0]:g}"
        )


def warn_of_gaps(raster: Any, band: int, found: Sequence[NDArray[np.float64]], where: str) -> None:
    """Warn of values that look like gaps, of a raster that declares no nodata or another one.

    Parameters
    ----------
    raster
        The open file.
    band
        Number of its band, from 1.
    found
        Values that occur in each region, among them the lowest and the highest.
    where
        Task and file, for the message.
    """
    declared = raster.nodatavals[band - 1]
    dtype = np.dtype(raster.dtypes[band - 1])
    highest = np.finfo(dtype).max if dtype.kind == "f" else np.iinfo(dtype).max
    usual = {*USUAL, *([float(highest)] if dtype.itemsize > 1 else [])}
    for value in sorted(usual & {float(value) for values in found for value in values}):
        count = sum(bool((values == value).any()) for values in found)
        if declared is None:
            log.warning(
                "%s holds %g under %d regions and declares no nodata; if that means 'missing', set it: "
                "gdal_edit.py -a_nodata %g",
                where, value, count, value,
            )  # fmt: skip
        else:
            log.warning(
                "%s holds %g under %d regions and declares another value, %g, as nodata; if both mean 'missing', "
                "write %g in place of %g, with gdal_calc.py for instance",
                where, value, count, declared, declared, value,
            )  # fmt: skip
