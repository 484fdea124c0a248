"""Findings about labels: one source given to both sides of a split, and targets made of the inputs."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from numpy.typing import NDArray
from scipy import sparse
from scipy.stats import rankdata
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmgr.config import Config, CountSource, Task
from mmgr.console import quiet
from mmgr.evaluate.audit.places import percent
from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.audit.sides import Folds, shared_by_sides
from mmgr.evaluate.metrics import r2
from mmgr.evaluate.near import near_polygons
from mmgr.evaluate.raster_checks import raster_crs
from mmgr.evaluate.units import Units
from mmgr.tables import read_vector, with_geometry

_FINER = 4.0
"""Cells of a raster that are this many times narrower than regions are no coarse label."""
_NEAR_PERFECT = 0.98
"""A rank correlation, or R2 of a linear function of the inputs, beyond which a label is taken to be made of them."""
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
    """Return which cells of a coarse raster each region lies on; nothing where cells are much finer than regions."""
    with rasterio.open(task.path) as raster:
        transform = raster.transform
        boxes = regions.geometry.to_crs(raster_crs(task, raster)).bounds.to_numpy()
    width = float(np.median(boxes[:, 2] - boxes[:, 0])) / abs(transform.a)
    if width > _FINER:
        return Sources(f"Cells of the raster are {width:.0f} times narrower than regions.")
    margin = _SLIVER * np.abs([transform.a, transform.e])
    left, top = ~transform @ np.stack([boxes[:, 0] + margin[0], boxes[:, 3] - margin[1]])
    right, bottom = ~transform @ np.stack([boxes[:, 2] - margin[0], boxes[:, 1] + margin[1]])
    first = np.floor(np.stack([left, top], axis=1)).astype(np.int64)
    last = np.floor(np.stack([right, bottom], axis=1)).astype(np.int64)
    rows, cells = [], []
    for row, ((a, b), (c, d)) in enumerate(zip(first.tolist(), last.tolist(), strict=True)):
        for x in range(a, c + 1):
            for y in range(b, d + 1):
                rows.append(row)
                cells.append((x, y))
    _, number = np.unique(np.array(cells).reshape(-1, 2), axis=0, return_inverse=True)
    number = number.ravel()
    shape = (len(boxes), int(number.max()) + 1 if len(number) else 1)
    return Sources("raster cell", sparse.csr_array((np.ones(len(rows), bool), (rows, number)), shape=shape))


def made_of_inputs(config: Config, task: Task, units: Units, inputs: dict[str, NDArray[np.floating]]) -> Finding:
    """Say whether a label is one of the inputs, or a function of them.

    Parameters
    ----------
    config
        Where inputs come from.
    task
        Where the label comes from.
    units
        The labelled units.
    inputs
        Numbers of each region by name, such as its POI densities by category, shape ``(n,)`` each; NaN where unknown.
    """
    path = "targets made of inputs"
    scope = task.name
    same_file, same_column = _same_file(config, task)
    if same_column:
        text = f"Column `{same_column}` of {task.path.name} is an input (POI counts) and the label."
        return Finding(path, "named", text, scope, {"column": same_column})
    if units.classes:  # nothing to correlate with
        if same_file:
            text = f"The label is read from {task.path.name}, as POI counts are: see that it was not made of them."
            return Finding(path, "named", text, scope, {"same_file": True})
        return Finding(path, "pass", "The label is not read from a file of POI counts.", scope, {"same_file": False})
    names, columns = _columns(units, inputs)
    best, strength = _strongest(names, columns, units.values)
    fit = _linear_fit(columns, units.values)
    numbers: dict[str, Any] = {"same_file": same_file, "feature": best, "rank_correlation": strength, "linear_r2": fit}
    seen = f"The single input most like the label is {best} (rank correlation {strength:.2f})" if best else ""
    if fit is not None:
        seen += f"; a linear function of POI densities explains {max(fit, 0.0):.0%} of it under random folds"
    if abs(strength) >= _NEAR_PERFECT or (fit is not None and fit >= _NEAR_PERFECT):
        return Finding(path, "named", f"{seen}: the label seems to be made of the inputs.", scope, numbers)
    if same_file:
        text = f"The label is read from {task.path.name}, as POI counts are: see that it was not made of them. {seen}."
        return Finding(path, "named", text, scope, numbers)
    return Finding(path, "pass", f"{seen or 'There are no POI counts to compare the label with'}.", scope, numbers)


def _same_file(config: Config, task: Task) -> tuple[bool, str]:
    """Say whether a POI source is the labels' file, and which label column is among its counts."""
    sources = [source for source in (config.pois.sources if config.pois else ()) if _is_one(source.path, task.path)]
    for source in sources:
        if isinstance(source, CountSource) and task.column is not None:
            patterns = (source.columns,) if isinstance(source.columns, str) else source.columns
            if any(fnmatch(task.column, pattern) for pattern in patterns):
                return True, task.column
    return bool(sources), ""


def _is_one(one: Any, other: Any) -> bool:
    return bool(one.resolve() == other.resolve())


def _columns(units: Units, inputs: dict[str, NDArray[np.floating]]) -> tuple[list[str], NDArray[np.float64]]:
    """Return the inputs of units that vary, shape ``(u, k)``."""
    if not inputs:
        return [], np.zeros((len(units), 0))
    table = units.features(np.column_stack(list(inputs.values()))).astype(np.float64)
    known = np.isfinite(table).any(axis=0)
    table[:, known] = np.where(np.isfinite(table[:, known]), table[:, known], np.nanmean(table[:, known], axis=0))
    varies = known & (np.ptp(np.where(known, table, 0.0), axis=0) > 0)
    return [name for name, kept in zip(inputs, varies, strict=True) if kept], table[:, varies]


def _strongest(names: list[str], columns: NDArray[np.float64], values: NDArray[np.float64]) -> tuple[str, float]:
    """Return the column with the largest rank correlation with the label, and that correlation."""
    if not names:
        return "", 0.0
    label = rankdata(values) - (len(values) + 1) / 2
    ranks = rankdata(columns, axis=0) - (len(values) + 1) / 2
    correlation = label @ ranks / (np.linalg.norm(label) * np.linalg.norm(ranks, axis=0))
    best = int(np.abs(correlation).argmax())
    return names[best], float(correlation[best])


def _linear_fit(columns: NDArray[np.float64], values: NDArray[np.float64]) -> float | None:
    """Return R2 of a linear function of the inputs for random held-out units."""
    if columns.shape[1] == 0 or len(values) < 3 * 5:
        return None
    model = make_pipeline(StandardScaler(), RidgeCV(alphas=np.logspace(-6, 4, 11)))
    return r2(values, cross_val_predict(model, columns, values, cv=KFold(5, shuffle=True, random_state=0)))
