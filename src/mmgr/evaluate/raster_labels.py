"""Sums, means and shares of a raster's cells over regions, with exact fractions of cells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from exactextract import exact_extract
from exactextract.raster import RasterioRasterSource
from numpy.typing import NDArray
from rasterio.errors import RasterioIOError
from scipy import sparse

from mmgr.config import Task
from mmgr.console import log, track
from mmgr.errors import LabelError
from mmgr.evaluate.classes import check_number, named_classes, text_of
from mmgr.evaluate.raster_checks import (
    check_overlap,
    check_raster,
    raster_crs,
    refuse_infinite,
    refuse_negative,
    warn_of_gaps,
)
from mmgr.files import existing_file
from mmgr.imagery.gdal import open_raster

_REGIONS_AT_ONCE = 2000
_COARSER = 1.01  # of a region's area; less is rounding
_SLIVER = 1e-9  # of a cell's area; neighbours that only touch share no more


@dataclass(frozen=True, slots=True)
class RasterLabels:
    """What a raster says of ``n`` regions."""

    label: NDArray[np.float64]
    """Sum, density per km2 or mean, shape ``(n,)``, or share of each class, shape ``(n, k)``; NaN where the raster has
    no value."""
    coverage: NDArray[np.float64]
    """Share of each region that lies on cells with a value, or with a named class, shape ``(n,)``."""
    cells: sparse.csr_array | None
    """Share of each cell in each region, of the cells that meet a region smaller than they are, shape ``(n, cells)``;
    None without such cells."""
    classes: tuple[str, ...] = ()


def read_raster(task: Task, regions: gpd.GeoDataFrame) -> RasterLabels:
    """Sum or average a raster's cells over regions, or measure shares of classes; a cell counts by the fraction inside.

    A density is the amount on cells with values divided by the region's area on them, in km2: in
    the regions' CRS, or on the ellipsoid where the raster's CRS is geographic. There, means and shares weigh cells by
    their true area too, which falls towards the poles.

    Raises
    ------
    LabelError
        If the raster cannot be read, has no CRS, place or such band, is rotated, does not overlap the regions, has
        infinite values or negative amounts, or too many classes.
    """
    existing_file(task.path, what=f"labels of task {task.name}")
    where = f"task {task.name}: {task.path}"
    try:
        with open_raster(task.path) as raster:
            check_raster(task, raster, where)
            crs = raster_crs(task, raster)
            projected = regions.geometry.to_crs(crs)
            check_overlap(projected, raster, where)
            cell_area = abs(raster.transform.a * raster.transform.e)
            # areas in the raster's own units, be they degrees: their ratio is what counts
            region_area = shapely.area(projected.to_numpy())
            small = cell_area > _COARSER * region_area
            table = _extract(task, raster, projected, cells=small)
            cells = _cells(table, small, projected.to_numpy(), raster) if small.any() else None
            geographic = bool(crs.is_geographic)
            found = _found(task, table)
            warn_of_gaps(raster, task.band, found, where)
    except RasterioIOError as error:
        raise LabelError(f"{where} cannot be read as a raster: {error}") from error
    if task.classes is None:  # else others are no label
        refuse_infinite(found, regions, where)
    cells_on_values = table["count"].to_numpy(np.float64, na_value=0.0)
    coverage = np.clip(cells_on_values * cell_area / region_area, 0.0, 1.0)
    if cells is not None:
        log.info(
            "%s: cells of %s are coarser than %d of %d regions; regions of one cell stay together",
            task.name,
            task.path.name,
            small.sum(),
            len(small),
        )
    if task.label != "number":
        shares, classes = _class_shares(task, table)
        known = shares.sum(axis=1)
        shares = np.divide(shares, known[:, None], out=np.full(shares.shape, np.nan), where=known[:, None] > 0)
        return RasterLabels(shares, coverage * known, cells, classes)
    if task.is_amount:
        refuse_negative(table, regions, where)
    values = table["sum" if task.is_amount else "mean"].to_numpy(np.float64, na_value=np.nan)
    values = np.where(coverage > 0, values, np.nan)
    if task.is_density:
        area = true_areas(projected) if geographic else regions.area.to_numpy()
        covered_km2 = coverage * area / 1e6
        values = np.divide(values, covered_km2, out=np.full(len(values), np.nan), where=covered_km2 > 0)
    return RasterLabels(values, coverage, cells)


def true_areas(degrees: gpd.GeoSeries) -> NDArray[np.float64]:
    """Return the area on the ellipsoid in m2 of polygons in a geographic CRS, shape ``(n,)``."""
    geod = degrees.crs.get_geod()
    return np.array([abs(geod.geometry_area_perimeter(shape)[0]) for shape in degrees])


def _class_shares(task: Task, table: pd.DataFrame) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the share of each named class in a region's cells with values, shape ``(n, k)``, and the names."""
    codes = sorted({code for row in table["unique"] for code in row.tolist()})
    texts = [_text_of_code(code) for code in codes]
    named = dict(zip(codes, named_classes(task, texts), strict=True))
    if task.classes is None:
        check_number(task, texts, "the raster")  # in the order of their codes
    classes = tuple(dict.fromkeys(name for name in named.values() if name is not None))
    check_number(task, classes, "the raster")
    place = {name: number for number, name in enumerate(classes)}
    shares = np.zeros((len(table), len(classes)))
    for row, (values, parts) in enumerate(zip(table["unique"], table["frac"], strict=True)):
        for value, part in zip(values.tolist(), parts, strict=True):
            name = named[value]
            if name is not None:
                shares[row, place[name]] += part
    return shares, classes


def _text_of_code(code: float) -> str:
    """Write a code with all its digits; 0.1 of a raster of 32 bits is no 0.10000000149."""
    single = np.float32(code)
    return text_of(code) if float(code).is_integer() else str(single) if single == code else f"{code:.15g}"


def _cells(
    table: pd.DataFrame, small: NDArray[np.bool_], outlines: NDArray[np.object_], raster: Any
) -> sparse.csr_array:
    """Return the share of each cell that lies in each region, over the cells that any ``small`` region meets."""
    rows = np.flatnonzero(small)
    numbers = [np.asarray(row, np.int64) for row in table["cell_id"].iloc[rows]]
    met, place = np.unique(np.concatenate(numbers), return_inverse=True)
    parts = np.concatenate([np.asarray(row, np.float64) for row in table["coverage"].iloc[rows]])
    region = np.repeat(rows, [len(row) for row in numbers])
    large = np.flatnonzero(~small)
    # of the cells of larger regions, which may be very many, these alone are looked at
    other, cell, part = _parts(outlines[large], _boxes(met, raster))
    return sparse.csr_array(
        (np.concatenate([parts, part]), (np.concatenate([region, large[other]]), np.concatenate([place, cell]))),
        shape=(len(table), len(met)),
    )


def _boxes(cells: NDArray[np.int64], raster: Any) -> NDArray[np.object_]:
    """Return the outlines of cells that are numbered row by row."""
    row, column = np.divmod(cells, raster.width)
    (west, south), (east, north) = raster.transform * (column, row + 1), raster.transform * (column + 1, row)
    return np.asarray(shapely.box(west, south, east, north), object)


def _parts(
    outlines: NDArray[np.object_], boxes: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of outlines and boxes that share area, and which part of the box that is."""
    outline, box = shapely.STRtree(boxes).query(outlines, predicate="intersects")
    part = shapely.area(shapely.intersection(outlines[outline], boxes[box])) / shapely.area(boxes[box])
    real = part > _SLIVER
    return outline[real], box[real], part[real]


def _found(task: Task, table: pd.DataFrame) -> list[NDArray[np.float64]]:
    """Return the lowest and highest value of each region, or all its codes."""
    if task.label == "number":
        return list(table[["min", "max"]].to_numpy(np.float64, na_value=np.nan))
    return [np.asarray(row, np.float64) for row in table["unique"]]


def _extract(task: Task, raster: Any, projected: gpd.GeoSeries, *, cells: NDArray[np.bool_]) -> pd.DataFrame:
    """Return the statistics of each region, in order, and the ``cells`` of some; `count` is in cells."""
    source = RasterioRasterSource(raster, band_idx=task.band)
    # under the raster's own name for it, be it a local one: exactextract compares names
    frame = gpd.GeoDataFrame(geometry=projected.to_numpy(), crs=raster.crs or projected.crs)
    weight = "(coverage_weight=area_spherical_m2)" if projected.crs.is_geographic else ""
    statistics = ["count"]
    if task.label == "number":
        statistics += ["sum", "min", "max", f"mean{weight}"]
    else:
        statistics += ["unique", f"frac{weight}"]
    jobs = [
        (rows[start : start + _REGIONS_AT_ONCE], asked)
        for rows, asked in (
            (np.flatnonzero(cells), [*statistics, "cell_id", "coverage"]),
            (np.flatnonzero(~cells), statistics),
        )
        for start in range(0, len(rows), _REGIONS_AT_ONCE)
    ]
    tables: list[pd.DataFrame] = [
        exact_extract(source, frame.iloc[rows], asked, output="pandas").set_axis(rows)
        for rows, asked in track(jobs, f"labels {task.name}", total=len(jobs))
    ]
    return pd.concat(tables).sort_index()
