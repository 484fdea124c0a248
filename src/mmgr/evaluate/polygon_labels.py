"""Give the values of label polygons to regions, or make the polygons the units."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.evaluate.classes import class_table, one_of, share_table
from mmgr.evaluate.extent import lonlat_extent
from mmgr.evaluate.near import near_polygons
from mmgr.evaluate.numbers import numbers_of
from mmgr.evaluate.region_units import region_units
from mmgr.evaluate.totals import find_totals
from mmgr.evaluate.units import Units, group_of_units
from mmgr.regions import LEAST_AREA, warn_of_splinters
from mmgr.tables import read_vector, with_geometry

_SHOWN_FAULTS = 5
_COARSER = 1.01  # of a region's area; less is rounding, such as that of a file in degrees
_TWICE = 1.01  # times the covered area; less is rounding
_LEAST_OVERLAP = 1e-6  # of the smallest region's area; less are seams between neighbours


@dataclass(frozen=True)
class Overlaps:
    """Pairs of a region and a label polygon that share area."""

    polygons: gpd.GeoDataFrame
    """Label polygons in the regions' CRS, with a column ``id``."""
    values: NDArray[np.float64]
    """Number of each polygon, shape ``(p,)``, or its share or amount of each class, shape ``(p, k)``."""
    region: NDArray[np.int64]
    """Row of the region of each pair, shape ``(pairs,)``."""
    polygon: NDArray[np.int64]
    """Row of the polygon of each pair, which has a value, shape ``(pairs,)``."""
    area: NDArray[np.float64]
    """Shared area in m2, shape ``(pairs,)``."""
    amounts: bool
    """Whether values add up over area, and are shared out by it."""
    classes: tuple[str, ...] = ()


def polygon_units(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> Units:
    """Read a task's polygons and join them to the ``chosen`` rows of the regions.

    Raises
    ------
    LabelError
        If the polygons are elsewhere, or their values cannot be used.
    """
    overlaps = read_overlaps(task, regions, chosen)
    _warn_of_totals(task, overlaps)
    if _units_are_polygons(task, regions, overlaps):
        return units_of_polygons(task, regions, overlaps)
    return units_of_regions(task, regions, chosen, overlaps)


def _warn_of_totals(task: Task, overlaps: Overlaps) -> None:
    """Name a polygon of the whole area among its parts: as one more unit it leaves no other to train on."""
    polygons = overlaps.polygons.iloc[np.unique(overlaps.polygon)]
    names = polygons["id"].to_numpy(object)
    for row, part in find_totals(polygons.geometry.to_numpy()).items():
        log.warning(
            "%s: polygon %r of %s holds %.0f %% of the area of the %d others, as a row of the total does: values are "
            "mixed with its own, or it shares regions with all others and no split can keep them apart; leave it out",
            task.name, names[row], task.path, 100 * part, len(names) - 1,
        )  # fmt: skip


def read_overlaps(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> Overlaps:
    """Read the polygons, and intersect those that have a value with the regions."""
    what = f"labels of task {task.name}"
    named = task.columns if isinstance(task.columns, tuple) else ()
    columns = [name for name in (task.column, task.id, *named) if name is not None]
    frame = read_vector(task.path, layer=task.layer, columns=columns, crs=task.crs, what=what)
    whole = with_geometry(frame, path=task.path, what=what)
    frame = near_polygons(whole, regions.geometry.iloc[chosen], path=task.path, what=what)
    names = frame[task.id] if task.id is not None else pd.Series(frame.index, frame.index)
    polygons = gpd.GeoDataFrame(
        {"id": names.astype(str).to_numpy(object)}, geometry=frame.geometry.to_numpy(), crs=frame.crs
    )
    region, polygon, area = shared_areas(regions.geometry.to_numpy()[chosen], polygons.geometry.to_numpy())
    if not len(region):
        raise LabelError(
            f"task {task.name}: {task.path}: labels and regions do not overlap: labels span "
            f"{lonlat_extent(whole.total_bounds, whole.crs)}, regions "
            f"{lonlat_extent(regions.iloc[chosen].total_bounds, regions.crs)}."
        )
    # classes far away, and bad values there, are no concern of these regions
    near = np.unique(polygon)
    some, classes, amounts = _values(task, frame.iloc[near], polygons.iloc[near])
    values = np.full((len(frame), *some.shape[1:]), np.nan)
    values[near] = some
    valued = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    has_value = np.asarray(valued)[polygon]
    missing = np.unique(polygon[~has_value])
    if len(missing):
        log.info("%s: %d polygons under regions have no value and are left out", task.name, len(missing))
    return Overlaps(polygons, values, chosen[region[has_value]], polygon[has_value], area[has_value], amounts, classes)


def _values(
    task: Task, frame: gpd.GeoDataFrame, polygons: gpd.GeoDataFrame
) -> tuple[NDArray[np.float64], tuple[str, ...], bool]:
    """Return what polygons are labelled with, its classes, and whether it is an amount."""
    if task.columns is not None:
        return share_table(task, pd.DataFrame(frame.drop(columns=frame.geometry.name)))
    if task.label != "number":
        table, classes = class_table(task, frame[task.column])
        return table, classes, False
    remedy = "name a numeric column, or choose the kind polygon_class or polygon_shares"
    values = numbers_of(task, frame[task.column], remedy=remedy)
    _refuse_bad_values(task, _shown_names(task, polygons), values)
    found = np.unique(values[np.isfinite(values)])
    if len(found) == 1 and np.isfinite(values).sum() > 1:
        raise LabelError(
            f"task {task.name}: {task.path}: column `{task.column}` has one value ({found[0]:g}) in all polygons under "
            "regions: nothing to learn; name another column."
        )
    return values, (), task.is_amount


def _shown_names(task: Task, polygons: gpd.GeoDataFrame) -> NDArray[np.object_]:
    """Return what messages call polygons: their id, or their number in the file, from 1."""
    ids = polygons["id"].to_numpy(object)
    return ids if task.id is not None else np.array([f"feature {int(row) + 1}" for row in ids], object)


def _refuse_bad_values(task: Task, names: NDArray[np.object_], values: NDArray[np.float64]) -> None:
    """Name the polygons whose value is infinite, or negative where it is an amount."""
    bad = np.isinf(values)
    if task.is_amount:
        bad |= values < 0
    if not bad.any():
        return
    faults = [f"{name}: {value:g}" for name, value in zip(names[bad], values[bad], strict=True)][:_SHOWN_FAULTS]
    more = f", and {bad.sum() - len(faults)} more" if bad.sum() > len(faults) else ""
    raise LabelError(
        f"task {task.name}: {task.path}: column `{task.column}` has amounts that are negative or infinite: "
        f"{', '.join(faults)}{more}; empty them if they mean 'missing'."
    )


def shared_areas(
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


def _units_are_polygons(task: Task, regions: gpd.GeoDataFrame, overlaps: Overlaps) -> bool:
    if task.units != "auto":
        return task.units == "polygons"
    if not len(overlaps.region) or (task.kind == "polygon_shares" and task.columns is None):
        return False  # a parcel of one class has no distribution of its own
    polygon_area = np.median(overlaps.polygons.area.to_numpy()[np.unique(overlaps.polygon)])
    region_area = np.median(regions.area.to_numpy()[np.unique(overlaps.region)])
    return bool(polygon_area > _COARSER * region_area)


def units_of_regions(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64], overlaps: Overlaps) -> Units:
    """Interpolate the polygons' values to the regions by area."""
    polygon_area = overlaps.polygons.area.to_numpy()
    shared = sparse.csr_array(
        (overlaps.area, (overlaps.region, overlaps.polygon)), shape=(len(regions), len(polygon_area))
    )
    summed = np.asarray(shared.sum(axis=1)).ravel()
    covered = _covered(regions, overlaps)
    coverage = covered / regions.area.to_numpy()
    values = np.nan_to_num(overlaps.values)  # of polygons without a value, which share no area
    if overlaps.amounts:
        values = (values.T / polygon_area).T
    total = np.asarray(shared @ values)
    labelled = (coverage >= task.min_cover) & (covered > 0)
    if overlaps.classes:
        divisor = total.sum(axis=1)
        labelled &= divisor > 0
    elif overlaps.amounts:
        divisor = summed / 1e6 if task.is_density else np.ones_like(summed)
    else:
        divisor = summed
    rows = chosen[labelled[chosen]]
    twice = int((summed > _TWICE * covered)[rows].sum())
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
    label = (total[rows].T / divisor[rows]).T
    return region_units(
        task,
        regions,
        rows,
        one_of(label) if task.label == "class" else label,
        np.minimum(coverage[rows], 1.0),
        classes=overlaps.classes,
        sources=_coarse(shared[rows], polygon_area, regions.area.to_numpy()[rows]),
    )


def _covered(regions: gpd.GeoDataFrame, overlaps: Overlaps) -> NDArray[np.float64]:
    """Return the area of each region on which polygons lie, in m2, shape ``(n,)``: once, where they overlap."""
    covered = np.bincount(overlaps.region, weights=overlaps.area, minlength=len(regions)).astype(np.float64)
    shapes, places = overlaps.polygons.geometry.to_numpy(), regions.geometry.to_numpy()
    used = np.unique(overlaps.polygon)
    one, other = shapely.STRtree(shapes[used]).query(shapes[used], predicate="intersects")
    one, other = (used[side[one < other]] for side in (one, other))  # each pair once
    least = _LEAST_OVERLAP * shapely.area(places[np.unique(overlaps.region)]).min(initial=np.inf)
    real = shapely.area(shapely.intersection(shapes[one], shapes[other])) > least
    doubtful = np.flatnonzero(np.isin(overlaps.polygon, np.concatenate([one[real], other[real]])))
    doubtful = doubtful[np.argsort(overlaps.region[doubtful], kind="stable")]
    found, start, count = np.unique(overlaps.region[doubtful], return_index=True, return_counts=True)
    for region, first, many in zip(found[count > 1], start[count > 1], count[count > 1], strict=True):
        pairs = doubtful[first : first + many]
        # parts first: the union of whole polygons, such as a city's, takes far longer
        parts = shapely.intersection(places[region], shapes[overlaps.polygon[pairs]])
        covered[region] += shapely.union_all(parts).area - overlaps.area[pairs].sum()
    return covered


def _coarse(
    shared: sparse.csr_array, area: NDArray[np.float64], region_area: NDArray[np.float64]
) -> sparse.csr_array | None:
    """Return which units take their label from polygons larger than one of their regions; None without such polygons.

    Parameters
    ----------
    shared
        Area that regions and polygons share, shape ``(u, p)``.
    area, region_area
        Area of the polygons, shape ``(p,)``, and of the regions, shape ``(u,)``.
    """
    pairs = shared.tocoo()
    smallest = np.full(len(area), np.inf)
    np.minimum.at(smallest, pairs.col, region_area[pairs.row])
    large = np.flatnonzero(area > _COARSER * smallest)
    return sparse.csr_array(shared[:, large]) if len(large) else None


def units_of_polygons(task: Task, regions: gpd.GeoDataFrame, overlaps: Overlaps) -> Units:
    """Make each polygon a sample, for which its regions stand by the area that they share."""
    area = overlaps.polygons.area.to_numpy()
    covered = np.bincount(overlaps.polygon, weights=overlaps.area, minlength=len(area))
    # a corner of one region says nothing about a tract: `min_cover` of the smaller of the two is asked for
    enough = covered >= task.min_cover * np.minimum(area, np.median(regions.area.to_numpy()))
    splinters = area < LEAST_AREA
    names = _shown_names(task, overlaps.polygons[splinters & (covered > 0)]).tolist()
    warn_of_splinters(f"labels of task {task.name}", task.path, names)
    enough &= ~splinters
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
    values = overlaps.values[rows]  # noqa: PD011 - overlaps are no pandas frame
    if overlaps.classes:
        values = values / values.sum(axis=1, keepdims=True)
    elif task.is_density:
        values = values / (area[rows] / 1e6)
    _log_coverage(task, coverage, left_out=int(((covered > 0) & ~splinters).sum()) - len(rows))
    return Units(
        task=task,
        ids=polygons["id"].to_numpy(object),
        geometry=gpd.GeoSeries(polygons.geometry.to_numpy(), index=polygons["id"], crs=regions.crs),
        centres=np.asarray(weights @ shapely.get_coordinates(regions.centroid.to_numpy())),
        group=group_of_units(weights, regions["group"].to_numpy(object)),
        values=values,
        weights=weights,
        coverage=coverage,
        kind="polygons",
        classes=overlaps.classes,
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
