"""Where the POIs of each category lie: what all methods learn from."""

from __future__ import annotations

from dataclasses import dataclass, field

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from mmgr.pois import PoiTables
from mmgr.taxonomy import Taxonomy


@dataclass(frozen=True, slots=True)
class Places:
    """POIs as points, as counts by polygon, or both, in metres."""

    taxonomy: Taxonomy
    """The categories."""
    xy: NDArray[np.float64]
    """Points in metres, shape ``(n, 2)``, finite."""
    category: NDArray[np.int32]
    """Category of each point, shape ``(n,)``."""
    counts: NDArray[np.float64]
    """POIs of each category in each polygon, shape ``(polygons, categories)``."""
    polygons: gpd.GeoSeries = field(default_factory=lambda: gpd.GeoSeries([]))
    """Their shapes in metres."""
    source: NDArray[np.integer] = field(default_factory=lambda: np.zeros(0, np.int32))
    """Which file each polygon is of, shape ``(polygons,)``."""

    @property
    def frequency(self) -> NDArray[np.float64]:
        """POIs of each category, points and counts together, shape ``(categories,)``."""
        return np.asarray(np.bincount(self.category, minlength=len(self.taxonomy)) + self.counts.sum(axis=0))

    @classmethod
    def of_tables(cls, tables: PoiTables) -> Places:
        """Return the places of a run's clean POIs."""
        points = tables.points.geometry
        return cls(
            taxonomy=tables.taxonomy,
            xy=np.stack([points.x.to_numpy(np.float64), points.y.to_numpy(np.float64)], axis=1),
            category=tables.points["category"].to_numpy(np.int32),
            counts=tables.count_matrix.astype(np.float64),
            polygons=tables.counts.geometry,
            source=tables.counts["source"].to_numpy(),
        )
