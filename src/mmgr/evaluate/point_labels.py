"""Labelled points: how many of each class a region holds, and which regions share one."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import PointSource, Task
from mmgr.console import log
from mmgr.errors import LabelError
from mmgr.evaluate.classes import class_table
from mmgr.pois.coordinates import project, table_points, vector_points
from mmgr.pois.points import is_vector


@dataclass(frozen=True, slots=True)
class PointLabels:
    """The ``p`` labelled points of a file over ``n`` regions."""

    rows: pd.DataFrame
    """The points' rows in the file, shape ``(p, columns)``."""
    held: sparse.csr_array
    """Which points count in each region, shape ``(n, p)``, ones."""
    counts: NDArray[np.float64]
    """Points of each class in each region, shape ``(n, k)``."""
    classes: tuple[str, ...]
    """Names of the ``k`` classes."""

    @property
    def total(self) -> NDArray[np.float64]:
        """Points in each region, shape ``(n,)``."""
        return np.asarray(self.counts.sum(axis=1), np.float64)

    def shared(self, regions: NDArray[np.bool_]) -> sparse.csr_array | None:
        """Return the points that count in several of some regions, shape ``(regions, points)``; None without any."""
        held = self.held[np.flatnonzero(regions)]
        several = np.flatnonzero(np.asarray(held.sum(axis=0)).ravel() > 1)
        return sparse.csr_array(held[:, several]) if len(several) else None


def read_points(task: Task, regions: gpd.GeoDataFrame) -> PointLabels:
    """Read a task's points and find the regions that each counts in.

    A point counts in every region that it lies inside of, which are several where regions overlap. One that lies only
    on borders counts in the first of those regions.

    Raises
    ------
    InputError
        If the points cannot be read, lie elsewhere, or have no classes.
    """
    source = PointSource(
        path=task.path, layer=task.layer, first_level=str(task.column), x=task.x, y=task.y, crs=task.crs
    )
    raw = vector_points(source) if is_vector(task.path) else table_points(source)
    table, classes = class_table(task, raw.frame[str(task.column)])
    xy = project(raw, regions.crs)
    usable = np.asarray(np.isfinite(xy).all(axis=1) & np.isfinite(table).all(axis=1))
    if not usable.all():
        log.info("%s: %d of %d points have no place or no class", task.name, (~usable).sum(), len(usable))
    held = _held(regions.geometry.to_numpy(), np.asarray(shapely.points(xy[usable]), object))
    if not held.nnz:
        raise LabelError(
            f"task {task.name}: {task.path}: no labelled point lies in a region; check `crs`, `x` and `y`."
        )
    return PointLabels(raw.frame[usable], held, np.asarray(held @ table[usable]), classes)


def _held(outlines: NDArray[np.object_], points: NDArray[np.object_]) -> sparse.csr_array:
    """Return which points count in which regions, shape ``(n, p)``, ones."""
    tree = shapely.STRtree(points)
    region, point = tree.query(outlines, predicate="contains")  # not those on the border
    met, touched = tree.query(outlines, predicate="intersects")
    first = np.full(len(points), len(outlines))
    np.minimum.at(first, touched, met)
    first[point] = len(outlines)
    on_border = np.flatnonzero(first < len(outlines))
    pairs = (np.concatenate([region, first[on_border]]), np.concatenate([point, on_border]))
    return sparse.csr_array((np.ones(len(pairs[0])), pairs), shape=(len(outlines), len(points)))
