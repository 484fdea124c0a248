"""The user's own folds: a column of the label polygons or of the regions' file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Config, Task
from mmgr.console import log
from mmgr.errors import LabelError, SplitError
from mmgr.evaluate.classes import text_of
from mmgr.evaluate.labels import read_units
from mmgr.evaluate.polygon_labels import shared_areas
from mmgr.evaluate.units import Units
from mmgr.tables import polygons_only, read_vector, with_geometry


def task_units(config: Config, task: Task, regions: gpd.GeoDataFrame) -> Units:
    """Read a task's labels as :func:`mmgr.evaluate.read_units` does, with the user's folds where they are asked for.

    Raises
    ------
    LabelError
        If the labels cannot be used.
    SplitError
        If no file has the column of folds.
    """
    if regions.crs is None:
        raise LabelError(
            f"task {task.name}: labels find their regions by place, and these regions have none. Name polygons of the "
            "same ids as `regions.path` and their column as `regions.id`, and build again."
        )
    units = read_units(task, regions)
    column = config.evaluate.column
    if config.evaluate.splits is None or "column" not in config.evaluate.splits or column is None:
        return units
    places = [(task.path, task.layer, task.crs)] if task.kind.startswith("polygon") else []
    if config.regions.path is not None:
        places.append((config.regions.path, None, config.regions.crs))
    for path, layer, crs in places:
        frame = read_vector(path, layer=layer, crs=crs, what=f"folds of task {task.name}")
        if column in frame:
            return replace(units, own_folds=_folds_of(units, frame, column, path))
    looked = " nor ".join(str(path) for path, *_ in places) or "no polygons"
    raise SplitError(f"task {task.name}: `evaluate.column: {column}` is in neither {looked}.")


def _folds_of(units: Units, frame: gpd.GeoDataFrame, column: str, path: Path) -> NDArray[np.object_]:
    """Return the value of the polygon that shares most area with each unit; empty where there is none."""
    frame = with_geometry(frame, path=path, what="folds")
    polygons = polygons_only(frame.to_crs(units.geometry.crs), path=path, what="folds")
    names = np.array(["" if pd.isna(value) else text_of(value) for value in polygons[column]], object)
    unit, polygon, area = shared_areas(units.geometry.to_numpy(), polygons.geometry.to_numpy())
    shared = sparse.csr_array((area, (unit, polygon)), shape=(len(units), len(polygons)))
    folds = names[np.asarray(shared.argmax(axis=1)).ravel()]
    folds[np.asarray(shared.sum(axis=1)).ravel() == 0] = ""
    without = int((folds == "").sum())
    if without:
        log.info("%s: %d units have no fold in `%s` and are always trained on", units.task.name, without, column)
    return np.asarray(folds, object)
