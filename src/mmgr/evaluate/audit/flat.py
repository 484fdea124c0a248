"""Places anywhere on Earth laid out in metres, so that distances between near ones are true."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Proj
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mmgr.tables import counts_metres

_CELL = 0.5
"""Degrees: places in neighbouring cells of this size belong to one cluster."""
_APART = 1e8
"""Metres between clusters on the sheet: farther than any two places are."""
_TRUE_SCALE = 0.05
"""Share by which a length on the ground may be wrong, in any direction, in a CRS that is kept."""


def laid_flat(shapes: gpd.GeoSeries) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return outlines in metres, and the cluster (city) that each belongs to.

    A projected CRS in metres that are metres on the ground, to within 5 %, is kept as it is: Web Mercator's are half as
    long at 60 degrees. Else each cluster of places is projected to its own UTM zone, and the
    clusters are laid beside each other, out of each other's reach: one projection would distort cities far apart.

    Parameters
    ----------
    shapes
        Outlines or points with a CRS, shape ``(n,)``.

    Returns
    -------
    Shapes in metres, shape ``(n,)``, and numbers of clusters, shape ``(n,)``.
    """
    crs = CRS.from_user_input(shapes.crs)
    degrees = shapes.to_crs(4326) if crs.to_epsg() != 4326 else shapes
    lonlat = shapely.get_coordinates(shapely.centroid(degrees.to_numpy()))
    cluster = _clusters(lonlat)
    if counts_metres(crs) and _is_true_to_scale(crs, lonlat):
        return shapely.force_2d(shapes.to_numpy()), cluster
    flat = np.empty(len(shapes), object)
    for number in range(int(cluster.max()) + 1):
        rows = np.flatnonzero(cluster == number)
        some = degrees.iloc[rows]
        metric = shapely.force_2d(some.to_crs(some.estimate_utm_crs()).to_numpy())
        moved = shapely.get_coordinates(metric) + np.array([number * _APART, 0.0])
        flat[rows] = shapely.set_coordinates(metric, moved)
    return flat, cluster


def _is_true_to_scale(crs: CRS, lonlat: NDArray[np.float64]) -> bool:
    """Say whether lengths in a projection are those on the ground wherever the places are."""
    factors = Proj(crs).get_factors(*np.unique(np.round(lonlat, 1), axis=0).T)
    scales = np.stack([factors.tissot_semimajor, factors.tissot_semiminor])  # largest and smallest over all directions
    return bool((np.abs(scales - 1) <= _TRUE_SCALE).all())  # infinite where the projection has no place


def _clusters(lonlat: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give places one number if they lie in touching cells of half a degree, or are linked by such."""
    cells, cell = np.unique(np.floor(lonlat / _CELL).astype(np.int64), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(1.5, output_type="ndarray")
    links = coo_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    _, label = connected_components(links, directed=False)
    return np.asarray(label[cell.ravel()], np.int64)
