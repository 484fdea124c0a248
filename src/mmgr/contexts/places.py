"""The regions that a user hands to an estimator, checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from mmgr.errors import RegionError

_SHOWN = 5
"""How many rows a message lists."""
_METRES = {"metre", "meter", "m"}


@dataclass(frozen=True, slots=True)
class RegionPlaces:
    """Where regions lie."""

    centres: NDArray[np.float64]
    """Centroids in metres, shape ``(n, 2)``, finite."""
    shapes: NDArray[np.object_] | None
    """Polygons or points, shape ``(n,)``; None where only centres are known."""
    crs: Any = None
    """Their CRS; None where only centres are known."""

    def __len__(self) -> int:
        return len(self.centres)

    def parts(self, size: int) -> Iterator[RegionPlaces]:
        """Yield the regions in order, at most ``size`` at a time."""
        for start in range(0, len(self), size):
            part = slice(start, start + size)
            yield RegionPlaces(self.centres[part], None if self.shapes is None else self.shapes[part], self.crs)

    def check_crs(self, crs: Any) -> None:
        """Raise a RegionError unless the POIs have the regions' CRS, as far as both say theirs."""
        if self.crs is not None and crs is not None and self.crs != crs:
            raise RegionError(
                f"the regions are in {self.crs.name}, but the POIs in {crs.name}; use regions.to_crs(pois.crs)."
            )


def regions_of(X: Any) -> RegionPlaces:
    """Return where the regions of ``X`` lie.

    Parameters
    ----------
    X
        A GeoDataFrame or GeoSeries of polygons or points in a projected CRS with metre units, or
        centres in metres: an array of shape ``(n, 2)``, or a DataFrame with ``x`` and ``y``.

    Raises
    ------
    RegionError
        If there is no region, the CRS is missing or not one of metres, a geometry is missing, empty
        or neither polygon nor point, a coordinate is missing or infinite, or the shape is another.
        Rows are named by the table's index.
    """
    if isinstance(X, gpd.GeoDataFrame | gpd.GeoSeries):
        return _of_shapes(X.geometry)
    if isinstance(X, pd.DataFrame) and {"x", "y"} <= set(X.columns):
        index, centres = X.index, X[["x", "y"]].to_numpy(np.float64)
    else:
        centres = _as_centres(X)
        index = pd.RangeIndex(len(centres))
    _refuse(index, ~np.isfinite(centres).all(axis=1), "have centres that are missing or infinite")
    return RegionPlaces(centres, None)


def _of_shapes(geometry: gpd.GeoSeries) -> RegionPlaces:
    _check_metres(geometry.crs)
    if not len(geometry):
        raise RegionError("there are no regions: the table has no rows.")
    shapes = geometry.to_numpy()
    missing = geometry.isna().to_numpy() | geometry.is_empty.to_numpy()
    _refuse(geometry.index, missing, "have no geometry, or an empty one")
    kinds = geometry.geom_type.isin(["Polygon", "MultiPolygon", "Point"]).to_numpy()
    _refuse(geometry.index, ~kinds, "are neither polygons nor points")
    centres = np.asarray(shapely.get_coordinates(shapely.centroid(shapes)), np.float64)
    infinite: NDArray[np.bool_] = np.asarray(~np.isfinite(centres).all(axis=1))
    _refuse(geometry.index, infinite, "have coordinates that are missing or infinite")
    return RegionPlaces(centres, shapes, geometry.crs)


def _as_centres(X: Any) -> NDArray[np.float64]:
    try:
        centres = np.asarray(X, np.float64)
    except (TypeError, ValueError):
        centres = np.zeros(())
    if centres.ndim != 2 or centres.shape[1] != 2 or not len(centres):
        raise RegionError(
            "regions come as a GeoDataFrame or GeoSeries of polygons or points, or as centres in metres of shape "
            f"(n, 2), at least one; got {type(X).__name__} of shape {np.shape(X)}."
        )
    return centres


def _check_metres(crs: Any) -> None:
    if crs is None:
        raise RegionError("the regions have no CRS; name it with set_crs(), then use to_crs() of the POIs' CRS.")
    if not crs.is_projected:
        raise RegionError(f"the regions are in degrees ({crs.name}), but distances need metres; use to_crs(pois.crs).")
    unit = crs.axis_info[0].unit_name
    if unit not in _METRES:
        raise RegionError(f"the regions' CRS {crs.name} counts in {unit}, not metres; use to_crs() of the POIs' CRS.")


def _refuse(index: pd.Index[Any], bad: NDArray[np.bool_], fault: str) -> None:
    rows = np.flatnonzero(bad)
    if len(rows):
        shown = ", ".join(str(index[row]) for row in rows[:_SHOWN])
        more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        raise RegionError(f"{len(rows)} of {len(bad)} regions {fault} (index {shown}{more}); repair or drop them.")
