"""Read the POIs of all sources into one set of clean tables."""

from __future__ import annotations

from collections.abc import Sequence

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.config import CountSource, Pois
from mmgr.console import log
from mmgr.pois.counts import SourceCounts, read_counts
from mmgr.pois.duplicates import settle_duplicates
from mmgr.pois.points import SourcePoints, read_points
from mmgr.pois.tables import PoiTables
from mmgr.taxonomy import Taxonomy


def read_pois(settings: Pois, *, crs: CRS) -> PoiTables:
    """Read, check, classify and project the POIs of all sources.

    Parameters
    ----------
    settings
        The sources, points and counts in any mixture.
    crs
        The projected CRS of the run, in metres.

    Raises
    ------
    InputError
        If a file is missing, empty or unreadable, or lacks a column.
    PoiError
        If coordinates, categories or counts cannot be used.
    """
    parts = [
        read_counts(source, crs=crs) if isinstance(source, CountSource) else read_points(source, crs=crs)
        for source in settings.sources
    ]
    taxonomy = Taxonomy.from_pairs(pair for part in parts for pair in part.pairs)
    if len(taxonomy) == 1:
        log.warning(
            "pois: there is one category only, %s: regions differ by how many POIs they have, not by what kind",
            taxonomy.names[0],
        )
    frame, matrix = _join_counts(parts, taxonomy, crs)
    tables = PoiTables(
        taxonomy=taxonomy,
        points=_join_points(parts, taxonomy, crs),
        counts=frame,
        count_matrix=matrix,
        sources=tuple(part.source for part in parts),
    )
    return settle_duplicates(tables, settings)


def _join_points(parts: Sequence[SourcePoints | SourceCounts], taxonomy: Taxonomy, crs: CRS) -> gpd.GeoDataFrame:
    points = [(number, part) for number, part in enumerate(parts) if isinstance(part, SourcePoints)]
    category = [_ids(part, taxonomy)[part.category] for _, part in points]
    source = [np.full(len(part.category), number) for number, part in points]
    xy = np.concatenate([np.empty((0, 2)), *(part.xy for _, part in points)])
    row = [part.row for _, part in points]
    return gpd.GeoDataFrame(
        {
            "category": np.concatenate([np.empty(0), *category]).astype(np.int32),
            "source": np.concatenate([np.empty(0), *source]).astype(np.int32),
            "row": np.concatenate([np.empty(0), *row]).astype(np.int64),
        },
        geometry=gpd.points_from_xy(xy[:, 0], xy[:, 1]),
        crs=crs,
    )


def _join_counts(
    parts: Sequence[SourcePoints | SourceCounts], taxonomy: Taxonomy, crs: CRS
) -> tuple[gpd.GeoDataFrame, NDArray[np.float32]]:
    counts = [(number, part) for number, part in enumerate(parts) if isinstance(part, SourceCounts)]
    matrices = [np.empty((0, len(taxonomy)), np.float32)]
    for _, part in counts:
        matrix = np.zeros((len(part.unit), len(taxonomy)), np.float32)
        matrix[:, _ids(part, taxonomy)] = part.counts
        matrices.append(matrix)
    geometry = gpd.GeoSeries(np.concatenate([np.empty(0, object), *(part.geometry for _, part in counts)]), crs=crs)
    frame = gpd.GeoDataFrame(
        {
            "unit": np.concatenate([np.empty(0, object), *(part.unit for _, part in counts)]).astype(str),
            "source": np.repeat(
                np.array([number for number, _ in counts], np.int32), [len(part.unit) for _, part in counts]
            ),
            "area_km2": geometry.area.to_numpy() / 1e6,
        },
        geometry=geometry,
        crs=crs,
    )
    return frame, np.concatenate(matrices)


def _ids(part: SourcePoints | SourceCounts, taxonomy: Taxonomy) -> NDArray[np.int32]:
    """Return the taxonomy's id of each of the source's own categories."""
    return taxonomy.ids([first for first, _ in part.pairs], [second for _, second in part.pairs])
