"""Regions as the units of a task."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Task
from mmgr.evaluate.units import Units


def region_units(
    task: Task,
    regions: gpd.GeoDataFrame,
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    coverage: NDArray[np.float64],
    *,
    classes: tuple[str, ...] = (),
    sources: sparse.csr_array | None = None,
) -> Units:
    """Make some regions the units of a task.

    Parameters
    ----------
    task
        What the values are.
    regions
        All ``n`` regions, in metres.
    rows
        Which of them have a label, shape ``(u,)``.
    values
        Their labels, shape ``(u,)`` or ``(u, k)``.
    coverage
        Share of each that has labels, shape ``(u,)``.
    classes
        Names of the ``k`` classes.
    sources
        Label cells, polygons or points that several have their label from, shape ``(u, s)``.
    """
    some = regions.iloc[rows]
    return Units(
        task=task,
        ids=some.index.to_numpy(object),
        geometry=some.geometry,
        centres=shapely.get_coordinates(some.centroid.to_numpy()),
        group=some["group"].to_numpy(object),
        values=np.asarray(values, np.float64),
        weights=sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), rows)), shape=(len(rows), len(regions))),
        coverage=coverage,
        kind="regions",
        classes=classes,
        sources=sources,
    )
