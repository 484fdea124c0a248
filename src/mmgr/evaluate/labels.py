"""Read the labels of a task and give them to regions, or regions to label polygons."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.evaluate.extent import lonlat_extent
from mmgr.evaluate.raster_labels import read_raster
from mmgr.evaluate.units import Units, group_of_units
from mmgr.tables import metric_crs, polygons_only, read_vector

_SHOWN_FAULTS = 5


def read_units(task: Task, regions: gpd.GeoDataFrame) -> Units:
    """Read a task's labels and join them to the regions.

    Amounts of polygons are shared out by area: a region's density is the sum of
    ``value * overlap / polygon area`` over the polygons, divided by the area of the region that
    labels cover; without ``density`` it is that sum. Rates are means weighted by overlap. Where
    the units are the polygons themselves, an amount's density is divided by the polygon's area
    in the regions' CRS.

    Parameters
    ----------
    task
        The label and how it is read.
    regions
        Indexed by ``region_id``, with ``group``, in a projected CRS in metres.

    Returns
    -------
    The labelled units; ``weights`` has a column for each region, also for those left out.

    Raises
    ------
    LabelError
        If the labels are not on the regions, negative amounts, no numbers, all alike, or too few.
    """
    metric_crs(regions.crs, what="regions")
    chosen = _rows_of_groups(task, regions)
    where = f"task {task.name}: {task.path}"
    if task.kind.startswith("raster"):
        units = _raster_units(task, regions, chosen)
    else:
        units = _polygon_units(task, regions, chosen)
    return units.checked(where=where)


def _rows_of_groups(task: Task, regions: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the rows of the regions that the task is about."""
    if task.groups is None:
        return np.arange(len(regions))
    known = sorted(set(regions["group"].astype(str)))
    for name in task.groups:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known are {', '.join(known[:20])}"
            raise LabelError(f"task {task.name}: no region is of group {name!r}; {hint}")
    return np.flatnonzero(regions["group"].isin(task.groups).to_numpy())


def _raster_units(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> Units:
    labels = read_raster(task, regions.iloc[chosen])
    labelled = np.isfinite(labels.label) & (labels.coverage >= task.min_cover) & (labels.coverage > 0)
    log.info(
        "%s: %d of %d regions have a label from %s; %d lie too little on cells with values (min_cover %g)",
        task.name,
        labelled.sum(),
        len(chosen),
        task.path.name,
        (~labelled).sum(),
        task.min_cover,
    )
    return _region_units(task, regions, chosen[labelled], labels.label[labelled], labels.coverage[labelled])


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of a region and a label polygon that share area."""

    polygons: gpd.GeoDataFrame
    """Label polygons with a value, in the regions' CRS, with columns ``id`` and ``value``."""
    region: NDArray[np.int64]
    """Row of the region of each pair, shape ``(pairs,)``."""
    polygon: NDArray[np.int64]
    """Row of the polygon of each pair, shape ``(pairs,)``."""
    area: NDArray[np.float64]
    """Shared area in m2, shape ``(pairs,)``."""


def _polygon_units(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> Units:
    overlaps = _overlaps(task, regions, chosen)
    if _units_are_polygons(task, regions, overlaps):
        return _units_of_polygons(task, regions, overlaps)
    return _units_of_regions(task, regions, chosen, overlaps)


def _overlaps(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> _Overlaps:
    """Read the polygons, and intersect those that have a value with the regions."""
    what = f"labels of task {task.name}"
    columns = [name for name in (task.column, task.id) if name is not None]
    frame = read_vector(task.path, layer=task.layer, columns=columns, crs=task.crs, what=what)
    # after reprojection: it may cross what nearly touched
    frame = polygons_only(frame.to_crs(regions.crs), path=task.path, what=what)
    values = _numbers(task, frame)
    names = frame[task.id] if task.id is not None else pd.Series(frame.index, frame.index)
    polygons = gpd.GeoDataFrame(
        {"id": names.astype(str).to_numpy(object), "value": values}, geometry=frame.geometry.to_numpy(), crs=frame.crs
    )
    region, polygon, area = _shared_areas(regions.geometry.to_numpy()[chosen], polygons.geometry.to_numpy())
    if not len(region):
        raise LabelError(
            f"task {task.name}: {task.path}: labels and regions do not overlap: labels span "
            f"{lonlat_extent(polygons.total_bounds, regions.crs)}, regions "
            f"{lonlat_extent(regions.iloc[chosen].total_bounds, regions.crs)}."
        )
    _refuse_bad_values(task, polygons.iloc[np.unique(polygon)])
    has_value = np.isfinite(values[polygon])
    missing = np.unique(polygon[~has_value])
    if len(missing):
        log.info("%s: %d polygons under regions have no value and are left out", task.name, len(missing))
    found = np.unique(values[polygon[has_value]])
    if len(found) == 1 and len(np.unique(polygon[has_value])) > 1:
        raise LabelError(
            f"task {task.name}: {task.path}: column `{task.column}` has one value ({found[0]:g}) in all polygons under "
            "regions: nothing to learn; name another column."
        )
    return _Overlaps(polygons, chosen[region[has_value]], polygon[has_value], area[has_value])


def _numbers(task: Task, frame: gpd.GeoDataFrame) -> NDArray[np.float64]:
    column = frame[task.column]
    if not pd.api.types.is_numeric_dtype(column) and column.notna().any():
        seen = [repr(value) for value in column.dropna().unique()[:3]]
        raise LabelError(
            f"task {task.name}: {task.path}: column `{task.column}` holds no numbers (it has {', '.join(seen)}); "
            "name a numeric column."
        )
    return np.asarray(column.astype("float64").to_numpy(np.float64, na_value=np.nan))


def _refuse_bad_values(task: Task, polygons: gpd.GeoDataFrame) -> None:
    """Name the polygons whose value is infinite, or negative where it is an amount."""
    bad = np.isinf(polygons["value"].to_numpy())
    if task.is_amount:
        bad |= polygons["value"].to_numpy() < 0
    if not bad.any():
        return
    faults = [f"{name}: {value:g}" for name, value in polygons.loc[bad, ["id", "value"]].to_numpy()[:_SHOWN_FAULTS]]
    more = f", and {bad.sum() - len(faults)} more" if bad.sum() > len(faults) else ""
    raise LabelError(
        f"task {task.name}: {task.path}: column `{task.column}` has amounts that are negative or infinite: "
        f"{', '.join(faults)}{more}; empty them if they mean 'missing'."
    )


def _shared_areas(
    regions: NDArray[np.object_], polygons: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of regions and polygons that share area, and that area in m2."""
    tree = shapely.STRtree(polygons)
    region, polygon = tree.query(regions, predicate="intersects")
    area = shapely.area(shapely.intersection(regions[region], polygons[polygon]))
    # neighbours that only touch share an edge, at most a sliver of rounding
    smaller = np.minimum(shapely.area(regions)[region], shapely.area(polygons)[polygon])
    real = area > 1e-9 * smaller
    return region[real], polygon[real], area[real]


def _units_are_polygons(task: Task, regions: gpd.GeoDataFrame, overlaps: _Overlaps) -> bool:
    if task.units != "auto":
        return task.units == "polygons"
    if not len(overlaps.region):
        return False
    polygon_area = np.median(overlaps.polygons.area.to_numpy()[np.unique(overlaps.polygon)])
    region_area = np.median(regions.area.to_numpy()[np.unique(overlaps.region)])
    return bool(polygon_area > region_area)


def _units_of_regions(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64], overlaps: _Overlaps) -> Units:
    """Interpolate the polygons' values to the regions."""
    count = len(regions)
    covered = _sum_by(overlaps.region, overlaps.area, count)
    coverage = covered / regions.area.to_numpy()
    value = overlaps.polygons["value"].to_numpy()[overlaps.polygon]
    if task.is_amount:
        share = overlaps.area / overlaps.polygons.area.to_numpy()[overlaps.polygon]
        total = _sum_by(overlaps.region, value * share, count)
        divisor = covered / 1e6 if task.is_density else np.ones_like(covered)
    else:
        total = _sum_by(overlaps.region, value * overlaps.area, count)
        divisor = covered
    rows = chosen[(coverage[chosen] >= task.min_cover) & (covered[chosen] > 0)]
    twice = int((coverage[rows] > 1.01).sum())
    if twice:
        log.warning("%s: label polygons overlap one another on %d regions; values there are mixed", task.name, twice)
    log.info(
        "%s: %d of %d regions have a label from %s; of the others labels cover less than min_cover %g",
        task.name,
        len(rows),
        len(chosen),
        task.path.name,
        task.min_cover,
    )
    return _region_units(task, regions, rows, total[rows] / divisor[rows], np.minimum(coverage[rows], 1.0))


def _region_units(
    task: Task,
    regions: gpd.GeoDataFrame,
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    coverage: NDArray[np.float64],
) -> Units:
    some = regions.iloc[rows]
    ones = np.ones(len(rows))
    return Units(
        task=task,
        ids=some.index.to_numpy(object),
        geometry=some.geometry,
        centres=shapely.get_coordinates(some.centroid.to_numpy()),
        group=some["group"].to_numpy(object),
        values=np.asarray(values, np.float64),
        weights=sparse.csr_array((ones, (np.arange(len(rows)), rows)), shape=(len(rows), len(regions))),
        coverage=coverage,
        kind="regions",
    )


def _units_of_polygons(task: Task, regions: gpd.GeoDataFrame, overlaps: _Overlaps) -> Units:
    """Make each polygon a sample, for which its regions stand by the area that they share."""
    area = overlaps.polygons.area.to_numpy()
    covered = _sum_by(overlaps.polygon, overlaps.area, len(area))
    # a corner of one region says nothing about a tract: `min_cover` of the smaller of the two is asked for
    enough = covered >= task.min_cover * np.minimum(area, np.median(regions.area.to_numpy()))
    rows = np.flatnonzero(enough & (covered > 0))
    place = np.full(len(area), -1, np.int64)
    place[rows] = np.arange(len(rows))
    kept = place[overlaps.polygon] >= 0
    weight = overlaps.area[kept] / covered[overlaps.polygon[kept]]
    weights = sparse.csr_array(
        (weight, (place[overlaps.polygon[kept]], overlaps.region[kept])), shape=(len(rows), len(regions))
    )
    coverage = np.minimum(covered[rows] / area[rows], 1.0)
    polygons = overlaps.polygons.iloc[rows]
    _log_coverage(task, coverage, left_out=int((covered > 0).sum()) - len(rows))
    return Units(
        task=task,
        ids=polygons["id"].to_numpy(object),
        geometry=gpd.GeoSeries(polygons.geometry.to_numpy(), index=polygons["id"], crs=regions.crs),
        centres=np.asarray(weights @ shapely.get_coordinates(regions.centroid.to_numpy())),
        group=group_of_units(weights, regions["group"].to_numpy(object)),
        values=polygons["value"].to_numpy() / (area[rows] / 1e6 if task.is_density else 1.0),
        weights=weights,
        coverage=coverage,
        kind="polygons",
    )


def _log_coverage(task: Task, coverage: NDArray[np.float64], *, left_out: int) -> None:
    if len(coverage):
        log.info(
            "%s: %d polygons of %s are units; regions cover %.1f %% of a polygon in the median (%.1f to %.1f %%)",
            task.name,
            len(coverage),
            task.path.name,
            *(100 * np.quantile(coverage, [0.5, 0, 1])),
        )
    if left_out:
        log.info("%s: %d polygons hold too little of any region (min_cover) and are left out", task.name, left_out)


def _sum_by(place: NDArray[np.int64], amount: NDArray[np.float64], places: int) -> NDArray[np.float64]:
    return np.asarray(np.bincount(place, weights=amount, minlength=places), np.float64)
