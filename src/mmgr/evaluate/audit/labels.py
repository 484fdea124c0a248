"""A finding about labels: one source given to both sides of a split."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from scipy import sparse

from mmgr.config import Task
from mmgr.console import quiet
from mmgr.evaluate.audit.places import percent
from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.audit.sides import Folds, shared_by_sides
from mmgr.evaluate.near import near_polygons
from mmgr.evaluate.raster_checks import raster_crs
from mmgr.evaluate.units import Units
from mmgr.tables import read_vector, with_geometry

_FINER = 4.0
"""Cells of a raster that are this many times narrower than regions are no coarse label."""
_SLIVER = 1e-6


@dataclass(frozen=True, slots=True)
class Sources:
    """Which label polygons, raster cells or points give each of ``n`` regions its label."""

    what: str
    """`polygon`, `raster cell` or `point`; or, where none is shared, why."""
    held: sparse.csr_array | None = None
    """Shape ``(n, sources)``, boolean."""


def label_sources(task: Task, units: Units, regions: gpd.GeoDataFrame) -> Sources:
    """Look up what gives each region its label, in the file of labels.

    Parameters
    ----------
    task
        Where the labels come from.
    units
        The labelled units.
    regions
        All regions, in a projected CRS.
    """
    if units.kind == "polygons":
        return Sources("Each unit is a label polygon of its own.")
    if task.kind.startswith("point"):
        if units.sources is None:
            return Sources("Each labelled point counts in one region only.")
        return Sources("point", sparse.csr_array(units.weights.T @ units.sources > 0))
    return _cells(task, regions) if task.kind.startswith("raster") else _polygons(task, regions)


def one_source(
    units: Units, sources: Sources, folds: Folds, *, scope: str, remedy: str = "Set a larger `buffer`."
) -> Finding:
    """Say whether a label polygon, raster cell or point gives labels to training and test units alike.

    Parameters
    ----------
    units
        The labelled units.
    sources
        As of :func:`label_sources`.
    folds
        Rows of units to train on and to test on.
    scope
        Task and split.
    remedy
        What keeps the sides of this split apart.
    """
    path = "one label, both sides"
    if sources.held is None:
        twice = len(units) - len(set(units.ids.tolist()))
        if units.task.id is not None and twice:
            text = f"{twice} units have the id of another in `{units.task.id}`: parts of one may be on both sides."
            return Finding(path, "named", text, scope, {"same_id": twice})
        return Finding(path, "pass", sources.what, scope, {"same_id": twice})
    what = sources.what
    own = (units.weights > 0).astype(np.int64) @ sources.held.astype(np.int64)
    shared = shared_by_sides(own, folds)
    per_source = np.asarray((own > 0).sum(axis=0)).ravel()
    most = int(per_source.max()) if len(per_source) else 0
    text = (
        f"{percent(shared.count, shared.tested)} of test units take their label from a {what} that gives one to a "
        f"training unit too; at most {most:,} units share one."
    )
    numbers = {"shared": shared.count, "tested": shared.tested, "most_units_of_one": most}
    if shared.count:
        polygons = " Or set `units: polygons`." if what == "polygon" else ""
        return Finding(path, "named", f"{text} {remedy}{polygons}", scope, numbers)
    return Finding(path, "pass", text, scope, numbers)


def _polygons(task: Task, regions: gpd.GeoDataFrame) -> Sources:
    """Return which label polygons share area with each region, shape ``(n, polygons)``."""
    what = f"labels of task {task.name}"
    with quiet():  # reading the labels told of these
        frame = with_geometry(
            read_vector(task.path, layer=task.layer, crs=task.crs, what=what), path=task.path, what=what
        )
        polygons = near_polygons(frame, regions.geometry, path=task.path, what=what).geometry.to_numpy()
    outlines = regions.geometry.to_numpy()
    region, polygon = shapely.STRtree(polygons).query(outlines, predicate="intersects")
    area = shapely.area(shapely.intersection(outlines[region], polygons[polygon]))
    real = area > _SLIVER * np.minimum(shapely.area(outlines)[region], shapely.area(polygons)[polygon])
    ones = np.ones(int(real.sum()), bool)
    shape = (len(outlines), len(polygons))
    return Sources("polygon", sparse.csr_array((ones, (region[real], polygon[real])), shape=shape))


def _cells(task: Task, regions: gpd.GeoDataFrame) -> Sources:
    """Return which cells of a coarse raster each region lies on, of regions that are not much wider than a cell."""
    with rasterio.open(task.path) as raster:
        transform = raster.transform
        boxes = regions.geometry.to_crs(raster_crs(task, raster)).bounds.to_numpy()
    widths = (boxes[:, 2] - boxes[:, 0]) / abs(transform.a)
    narrow = np.flatnonzero(widths <= _FINER)
    if not len(narrow):
        return Sources(f"Cells of the raster are {np.median(widths):.0f} times narrower than regions.")
    boxes = boxes[narrow]
    margin = _SLIVER * np.abs([transform.a, transform.e])
    left, top = ~transform @ np.stack([boxes[:, 0] + margin[0], boxes[:, 3] - margin[1]])
    right, bottom = ~transform @ np.stack([boxes[:, 2] - margin[0], boxes[:, 1] + margin[1]])
    first = np.floor(np.stack([left, top], axis=1)).astype(np.int64)
    last = np.floor(np.stack([right, bottom], axis=1)).astype(np.int64)
    rows, cells = [], []
    for row, (a, b), (c, d) in zip(narrow.tolist(), first.tolist(), last.tolist(), strict=True):
        for x in range(a, c + 1):
            for y in range(b, d + 1):
                rows.append(row)
                cells.append((x, y))
    _, number = np.unique(np.array(cells).reshape(-1, 2), axis=0, return_inverse=True)
    number = number.ravel()
    shape = (len(regions), int(number.max()) + 1)
    return Sources("raster cell", sparse.csr_array((np.ones(len(rows), bool), (rows, number)), shape=shape))
