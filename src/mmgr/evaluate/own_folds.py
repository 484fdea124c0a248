"""The user's own folds: a column of the labels, polygons or points, or of the regions' file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Config, Task
from mmgr.console import log, quiet
from mmgr.errors import LabelError, SplitError
from mmgr.evaluate.classes import text_of
from mmgr.evaluate.labels import read_units, rows_of_groups
from mmgr.evaluate.names import NEVER, fold_names, names_of
from mmgr.evaluate.near import near_polygons
from mmgr.evaluate.point_labels import PointLabels, read_points
from mmgr.evaluate.polygon_labels import shared_areas
from mmgr.evaluate.units import MIN_OF_GROUP, MOST_GROUPS, Units
from mmgr.tables import read_vector, with_geometry


def task_units(config: Config, task: Task, regions: gpd.GeoDataFrame) -> Units:
    """Read a task's labels as :func:`mmgr.evaluate.read_units` does, with the user's folds where they are asked for.

    Raises
    ------
    LabelError
        If the labels cannot be used.
    SplitError
        If no file has the column of folds, or too few units have one fold each.
    """
    if regions.crs is None:
        raise LabelError(
            f"task {task.name}: labels find their regions by place, and these regions have none. Name polygons of the "
            "same ids as `regions.path` and their column as `regions.id`, and build again."
        )
    units = read_units(task, regions)
    if config.evaluate.group_offsets:
        units = replace(units, region_group=regions["group"].to_numpy(object))
        if not units.offsets and "group_offsets" in config.evaluate.model_fields_set:
            log.info("%s: no group has an offset: %s", task.name, _why_none(units))
    column = config.evaluate.column
    if config.evaluate.splits is None or "column" not in config.evaluate.splits or column is None:
        return units
    if task.kind.startswith("point"):
        with quiet():  # reading the labels told of the same points
            labels = read_points(task, regions.iloc[rows_of_groups(task, regions)])
        if column in labels.rows:
            return _of_points(units, labels, rows_of_groups(task, regions), column)
    places = [(task.path, task.layer, task.crs)] if task.kind.startswith("polygon") else []
    if config.regions.path is not None:
        places.append((config.regions.path, config.regions.layer, config.regions.source_crs))
    for path, layer, crs in places:
        frame = read_vector(path, layer=layer, crs=crs, what=f"folds of task {task.name}")
        if column in frame:
            return replace(units, own_folds=_folds_of(units, frame, column, path))
    looked = [task.path] if task.kind.startswith("point") else []
    raise SplitError(_nowhere(task, column, [*looked, *(path for path, *_ in places)]))


def _why_none(units: Units) -> str:
    """Say why no group has an offset."""
    _, counts = np.unique(names_of(units.group), return_counts=True)
    if len(counts) == 1:
        return "all labels lie in one"
    if counts.max() < MIN_OF_GROUP:
        return f"none of {len(counts)} has {MIN_OF_GROUP} labelled {units.kind}"
    return f"there are {len(counts)}, more than {MOST_GROUPS}"


def _nowhere(task: Task, column: str, looked: list[Path]) -> str:
    """Say where a column of folds was looked for in vain."""
    start = f"task {task.name}: `evaluate.column: {column}`"
    if not looked:
        return (
            f"{start}: no file can have it, as labels are a raster and regions of no file; name polygons as "
            "`regions.path`, or choose another split."
        )
    where = f"in neither {' nor '.join(map(str, looked))}" if len(looked) > 1 else f"not in {looked[0]}"
    return f"{start} is {where}."


def _of_points(units: Units, labels: PointLabels, chosen: NDArray[np.int64], column: str) -> Units:
    """Return the units with the fold that their points have; without those whose points are of several folds.

    Points without a fold have no say.
    """
    texts = fold_names(["" if pd.isna(value) else text_of(value) for value in labels.rows[column]], column=column)
    names, code = np.unique(texts, return_inverse=True)
    member = sparse.csr_array((np.ones(len(code)), (np.arange(len(code)), code)), shape=(len(code), len(names)))
    region = np.asarray(units.weights.argmax(axis=1)).ravel()
    votes = (labels.held[np.searchsorted(chosen, region)] @ member).toarray()
    votes[:, names == ""] = 0
    several = (votes > 0).sum(axis=1) > 1
    folds = np.where(votes.any(axis=1), names[votes.argmax(axis=1)], "").astype(object)
    if several.any():
        log.warning(
            "%s: %d of %d regions hold points of several folds of `%s`, such as %s, and are left out",
            units.task.name,
            several.sum(),
            len(units),
            column,
            units.ids[several][0],
        )
    _tell(units.task, folds[~several], column)
    kept = replace(units, own_folds=folds).only(~several)
    return kept.checked(where=f"task {units.task.name}: {units.task.path}: regions whose points are of one fold")


def _folds_of(units: Units, frame: gpd.GeoDataFrame, column: str, path: Path) -> NDArray[np.object_]:
    """Return the value of the polygon that shares most area with each unit; empty where there is none."""
    frame = with_geometry(frame, path=path, what="folds")
    polygons = near_polygons(frame, units.geometry, path=path, what="folds")
    names = fold_names(["" if pd.isna(value) else text_of(value) for value in polygons[column]], column=column)
    folds = np.full(len(units), "", object)
    if len(polygons):
        unit, polygon, area = shared_areas(units.geometry.to_numpy(), polygons.geometry.to_numpy())
        shared = sparse.csr_array((area, (unit, polygon)), shape=(len(units), len(polygons)))
        some = np.asarray(shared.sum(axis=1)).ravel() > 0
        folds[some] = names[np.asarray(shared.argmax(axis=1)).ravel()[some]]
    _tell(units.task, folds, column)
    return folds


def _tell(task: Task, folds: NDArray[np.object_], column: str) -> None:
    without = int(np.isin(folds, ["", NEVER]).sum())
    if without:
        log.info(
            "%s: %d units have no fold in `%s`, or %s, and are always trained on", task.name, without, column, NEVER
        )
