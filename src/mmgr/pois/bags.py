"""The bag of POIs of each region."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from mmgr.pois.tables import PoiTables
from mmgr.regions import region_edge
from mmgr.store import PoiBags

_LEAST_COVER = 0.5
"""Counts are known for a region of which their polygons cover at least this part."""
_DISC_SEGMENTS = 32
"""Straight pieces of a quarter circle: the disc's area is exact to 0.04 %."""


def make_bags(tables: PoiTables, regions: gpd.GeoDataFrame, *, radius: float | None) -> PoiBags:
    """Give each region its POIs: points one by one, counts by the polygons that cover it.

    A point belongs to each region that it lies in or on the edge of, and with ``radius`` to those
    whose centre is that near. Its region's POIs are known if a source's area holds the region's
    centre; a source without an area is taken to fill the box around its points, and a region's
    edge beyond.

    Counts are known where their polygons cover at least half of a region. Its density of a category
    is the mean of the polygons' densities, weighted by the part of the region that each covers; its
    area is the mean of the polygons' areas, so that a region inside one polygon has that polygon's
    counts. A region with both points and counts has the points' area, and the counts scaled to it.

    Parameters
    ----------
    tables
        POIs in the regions' CRS.
    regions
        Polygons in a projected CRS, in metres, shape ``(n,)``.
    radius
        Metres from a region's centre within which points belong to it too.
    """
    points = _point_entries(tables, regions, radius)
    counts = _count_entries(tables, regions)
    known = points.area_km2 > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(known & (counts.area_km2 > 0), points.area_km2 / counts.area_km2, 1.0)
    owner = np.concatenate([points.owner, counts.owner])
    order = np.argsort(owner, kind="stable")
    return PoiBags(
        starts=np.concatenate([[0], np.cumsum(np.bincount(owner, minlength=len(regions)))]).astype(np.int64),
        category=np.concatenate([points.category, counts.category])[order].astype(np.int32),
        count=np.concatenate([points.count, counts.count * scale[counts.owner]])[order].astype(np.float32),
        offset=np.concatenate([points.offset, counts.offset])[order].astype(np.float32),
        area_km2=np.where(known, points.area_km2, counts.area_km2).astype(np.float32),
        unit=counts.unit,
    )


def points_known(tables: PoiTables, regions: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Say for each region whether its points are known, as :func:`make_bags` decides it, shape ``(n,)``."""
    return np.asarray(_covered(tables, regions, shapely.centroid(regions.geometry.to_numpy())).any(axis=1), bool)


@dataclass(frozen=True, slots=True)
class PolygonCover:
    """Which polygons of counts cover the ``n`` regions whose counts are known, as :func:`make_bags` decides it."""

    region: NDArray[np.int64]
    """Region (row) of each pair that meets, in order, shape ``(p,)``."""
    polygon: NDArray[np.int64]
    """Polygon (row) of each pair, shape ``(p,)``."""
    share: NDArray[np.float64]
    """Part of the region that the polygon covers, shape ``(p,)``."""
    known: NDArray[np.bool_]
    """Whether a region's counts are known, shape ``(n,)``."""

    @classmethod
    def of(cls, tables: PoiTables, regions: gpd.GeoDataFrame) -> PolygonCover:
        """Lay polygons of counts over regions; regions of which less than half is covered are left out."""
        owner, polygon, share = _overlap_shares(regions.geometry.to_numpy(), tables.counts.geometry.to_numpy())
        known = np.bincount(owner, weights=share, minlength=len(regions)) >= _LEAST_COVER
        keep = known[owner] & (share > 0)
        return cls(owner[keep], polygon[keep], share[keep], known)


@dataclass(frozen=True, slots=True)
class _Entries:
    """POIs of one kind, each with the region (row) that it belongs to."""

    owner: NDArray[np.int64]
    category: NDArray[np.int32]
    count: NDArray[np.float64]
    offset: NDArray[np.float64]
    area_km2: NDArray[np.float64]
    """Of each region; 0 where unknown."""
    unit: NDArray[np.object_]
    """Of each region; empty where none."""


def _point_entries(tables: PoiTables, regions: gpd.GeoDataFrame, radius: float | None) -> _Entries:
    shapes, points = regions.geometry.to_numpy(), tables.points.geometry.to_numpy()
    centres = shapely.centroid(shapes)
    covered = _covered(tables, regions, centres)  # (regions, sources)
    tree = shapely.STRtree(points)
    owner, point = tree.query(shapes, predicate="intersects")
    if radius is not None:
        near = tree.query(centres, predicate="dwithin", distance=radius)
        keys = np.unique(np.concatenate([owner * len(points) + point, near[0] * len(points) + near[1]]))
        owner, point = np.divmod(keys, max(len(points), 1))
    else:
        order = np.lexsort((point, owner))
        owner, point = owner[order], point[order]
    source = tables.points["source"].to_numpy()
    keep = covered[owner, source[point]]
    owner, point = owner[keep], point[keep]
    known = covered.any(axis=1)
    return _Entries(
        owner=owner,
        category=tables.points["category"].to_numpy()[point],
        count=np.ones(len(owner)),
        offset=_xy(points[point]) - _xy(centres)[owner],
        area_km2=_reach_km2(shapes, centres, radius) * known,
        unit=np.full(len(regions), "", object),
    )


def _covered(tables: PoiTables, regions: gpd.GeoDataFrame, centres: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Say for each region and source whether its points are known there."""
    covered = np.zeros((len(regions), len(tables.sources)), bool)
    points = _xy(tables.points.geometry.to_numpy())
    source = tables.points["source"].to_numpy()
    for number in np.unique(source):
        area = tables.sources[number].area
        if area is None:
            own, edge = points[source == number], region_edge(regions)
            area = shapely.box(*(own.min(axis=0) - edge), *(own.max(axis=0) + edge))
        shapely.prepare(area)
        covered[:, number] = shapely.intersects(area, centres)
    return covered


def _reach_km2(shapes: NDArray[np.object_], centres: NDArray[np.object_], radius: float | None) -> NDArray[np.float64]:
    """Return the area in which points are counted: the region, with the disc around its centre."""
    if radius is not None:
        shapes = shapely.union(shapes, shapely.buffer(centres, radius, quad_segs=_DISC_SEGMENTS))
    return np.asarray(shapely.area(shapes), float) / 1e6


def _count_entries(tables: PoiTables, regions: gpd.GeoDataFrame) -> _Entries:
    cover = PolygonCover.of(tables, regions)
    owner, polygon, share = cover.region, cover.polygon, cover.share
    total = np.bincount(owner, weights=share, minlength=len(regions))
    areas = tables.counts["area_km2"].to_numpy(float)
    area_km2 = np.bincount(owner, weights=share * areas[polygon], minlength=len(regions)).astype(np.float64)
    np.divide(area_km2, total, out=area_km2, where=total > 0)
    region, category, density = _mean_densities(tables, owner, polygon, share)
    return _Entries(
        owner=region,
        category=category,
        count=density * area_km2[region],
        offset=np.full((len(region), 2), np.nan),
        area_km2=area_km2,
        unit=_largest(tables.counts["unit"].to_numpy(object), owner, polygon, share, regions=len(regions)),
    )


def _overlap_shares(
    shapes: NDArray[np.object_], polygons: NDArray[np.object_]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of region and polygon that meet, and the part of the region that is shared."""
    tree = shapely.STRtree(shapes)
    polygon, owner = tree.query(polygons, predicate="intersects")
    inside = tree.query(polygons, predicate="covers")
    # most regions lie in one polygon: only those on a border need their intersection cut
    cut = ~np.isin(polygon * len(shapes) + owner, inside[0] * len(shapes) + inside[1])
    share = np.ones(len(owner))
    pieces = shapely.intersection(shapes[owner[cut]], polygons[polygon[cut]])
    share[cut] = shapely.area(pieces) / shapely.area(shapes[owner[cut]])
    order = np.lexsort((polygon, owner))
    return owner[order], polygon[order], share[order]


def _mean_densities(
    tables: PoiTables, owner: NDArray[np.int64], polygon: NDArray[np.int64], share: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Return region, category and POIs per km2 wherever there are some.

    Of several sources, only those that count a category weigh in its mean: half of a region may
    lie in one file's polygons and half in another's, or two files may count different things.
    """
    from scipy import sparse  # noqa: PLC0415 - slow to import, and points need none of it

    source = tables.counts["source"].to_numpy()
    regions = int(owner.max(initial=-1)) + 1
    weights = sparse.csr_array(
        (share / tables.counts["area_km2"].to_numpy(float)[polygon], (owner, polygon)), shape=(regions, len(source))
    )
    summed = weights @ sparse.csr_array(tables.count_matrix.astype(np.float64))
    summed.sort_indices()
    region, category = summed.tocoo().coords
    by_source = np.zeros((regions, len(tables.sources)))
    np.add.at(by_source, (owner, source[polygon]), share)
    cover = (by_source[region] * tables.counted.T[category]).sum(axis=1)
    return region.astype(np.int64), category.astype(np.int32), summed.data / cover


def _largest(
    names: NDArray[np.object_],
    owner: NDArray[np.int64],
    polygon: NDArray[np.int64],
    share: NDArray[np.float64],
    *,
    regions: int,
) -> NDArray[np.object_]:
    """Return the name of the polygon that covers most of each region; empty where none does."""
    unit = np.full(regions, "", object)
    order = np.argsort(share, kind="stable")  # the largest is written last
    unit[owner[order]] = names[polygon[order]]
    return unit


def _xy(points: NDArray[np.object_]) -> NDArray[np.float64]:
    return np.asarray(shapely.get_coordinates(points), float).reshape(-1, 2)
