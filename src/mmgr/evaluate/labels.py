"""Read the labels of a task and give them to regions, or regions to label polygons."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS
from scipy.stats import skew

from mmgr.config import Task
from mmgr.console import log
from mmgr.distortion import TRUE_SCALE, worst_distortion
from mmgr.errors import LabelError
from mmgr.evaluate.classes import one_of
from mmgr.evaluate.point_labels import read_points
from mmgr.evaluate.polygon_labels import polygon_units
from mmgr.evaluate.raster_labels import read_raster
from mmgr.evaluate.region_units import region_units
from mmgr.evaluate.units import Units
from mmgr.lonlat import places_of
from mmgr.tables import crs_name, metric_crs

_SKEWED = 2.0
"""Skewness, that of an exponential distribution, beyond which a logarithm may be wanted."""


def read_units(task: Task, regions: gpd.GeoDataFrame) -> Units:
    """Read a task's labels and join them to the regions.

    Amounts of polygons are shared out by area: a region's density is the sum of
    ``value * overlap / polygon area`` over the polygons, divided by the area of the region that
    labels cover; without ``density`` it is that sum. Rates are means weighted by overlap. Shares of classes are
    shares of area or of points; a class is the one with the largest share. Where
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
        If the labels are not on the regions, negative amounts, no numbers, all alike, too few, or without a logarithm
        where `transform` asks for one.
    """
    metric_crs(regions.crs, what="regions")
    _say_distorted(regions)
    chosen = rows_of_groups(task, regions)
    read = {"raster": _raster_units, "point": _point_units, "polygon": polygon_units}
    units = read[task.kind.split("_", maxsplit=1)[0]](task, regions, chosen)
    units = units.checked(where=f"task {task.name}: {task.path}")
    _say_scale(units)
    return units


def _say_distorted(regions: gpd.GeoDataFrame) -> None:
    """Warn of regions in a CRS that keeps areas or lengths badly, as ones that were not built here may be."""
    crs = CRS.from_user_input(regions.crs)
    places = places_of(regions.geometry.to_numpy(), crs)
    worst = worst_distortion(crs, places) if len(places) else None
    if worst is not None and worst.share > TRUE_SCALE:
        log.warning(
            "regions are in %s, which %s. Distances, and densities by area in that CRS, are wrong; bring them into one "
            "that keeps areas and lengths, such as their UTM zone",
            crs_name(crs),
            worst.told("the regions"),
        )


def _say_scale(units: Units) -> None:
    """Tell of labels that would be on a logarithm were they amounts, and of which nobody chose the scale."""
    task = units.task
    if task.label != "number" or task.uses_log or task.transform != "auto" or (units.values < 0).any():
        return
    skewness = float(skew(units.values))
    if skewness > _SKEWED:
        log.info(
            "%s: values are scored as given, though a few are far above the others (skewness %.1f); `transform: log1p` "
            "scores them on log(1 + y), as amounts are, `transform: none` keeps this and says no more",
            task.name,
            skewness,
        )


def rows_of_groups(task: Task, regions: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the rows of the regions that the task is about.

    Raises
    ------
    LabelError
        If no region is of a group that it names.
    """
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
    known = np.isfinite(labels.label) if labels.label.ndim == 1 else np.isfinite(labels.label).all(axis=1)
    labelled = known & (labels.coverage >= task.min_cover) & (labels.coverage > 0)
    log.info(
        "%s: %d of %d regions have a label from %s; %d lie too little on cells with values (min_cover %g)",
        task.name,
        labelled.sum(),
        len(chosen),
        task.path.name,
        (~labelled).sum(),
        task.min_cover,
    )
    return region_units(
        task,
        regions,
        chosen[labelled],
        one_of(labels.label[labelled]) if task.label == "class" else labels.label[labelled],
        labels.coverage[labelled],
        classes=labels.classes,
        sources=None if labels.cells is None else labels.cells[labelled],
    )


def _point_units(task: Task, regions: gpd.GeoDataFrame, chosen: NDArray[np.int64]) -> Units:
    labels = read_points(task, regions.iloc[chosen])
    points = labels.total
    labelled = points >= task.min_points
    log.info(
        "%s: %d of %d regions hold %d or more of the %d points of %s; %.0f points in the median",
        task.name,
        labelled.sum(),
        len(chosen),
        task.min_points,
        (labels.held.sum(axis=0) > 0).sum(),
        task.path.name,
        np.median(points[labelled]) if labelled.any() else 0,
    )
    shares = labels.counts[labelled] / points[labelled, None]
    units = region_units(
        task,
        regions,
        chosen[labelled],
        one_of(shares) if task.label == "class" else shares,
        # points say something of the whole region: there is no part of it that they leave out
        np.ones(int(labelled.sum())),
        classes=labels.classes,
        sources=labels.shared(labelled),
    )
    return replace(units, points=points[labelled])
