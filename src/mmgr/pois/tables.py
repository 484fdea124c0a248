"""The clean POIs of a run, in memory and on disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from mmgr.errors import ArtefactError, PoiError
from mmgr.files import check_schema, make_folder, read_json, write_aside, write_json
from mmgr.taxonomy import Taxonomy

SCHEMA_VERSION = 1
"""Version of the files that :meth:`PoiTables.save` writes."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where some of the POIs came from."""

    path: str
    """The file."""
    x: str = ""
    """Column of the longitude or easting, for a table of points."""
    y: str = ""
    """Column of the latitude or northing, for a table of points."""
    area: BaseGeometry | None = None
    """Polygon inside which the points are complete, in the store's CRS; None where the user named none."""


@dataclass(frozen=True, slots=True)
class PoiTables:
    """The POIs of all sources, clean, classified and in one projected CRS.

    Points and counts refer to ``sources`` by number, and to categories by their id in ``taxonomy``.
    """

    taxonomy: Taxonomy
    """The union of all sources' categories."""
    points: gpd.GeoDataFrame
    """One row a POI: ``category`` (int32), ``source`` (int32), ``row`` of its file, counted from 1 (int64), point
    geometry."""
    counts: gpd.GeoDataFrame
    """One row a polygon: ``unit`` (name), ``source`` (int32), ``area_km2``, polygon geometry."""
    count_matrix: NDArray[np.float32]
    """POIs of each category in each polygon, shape ``(polygons, categories)``."""
    sources: tuple[Source, ...]
    """Points and counts alike, in the order of the configuration."""

    def __post_init__(self) -> None:
        if self.count_matrix.shape != (len(self.counts), len(self.taxonomy)):
            raise PoiError(
                f"counts of shape {self.count_matrix.shape} for {len(self.counts)} polygons "
                f"and {len(self.taxonomy)} categories"
            )

    @property
    def areas(self) -> tuple[BaseGeometry | None, ...]:
        """The polygon inside which each source is complete, None where none was given."""
        return tuple(source.area for source in self.sources)

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Whether a source counts a category, shape ``(sources, categories)``."""
        found, source = np.zeros((len(self.sources), len(self.taxonomy)), bool), self.counts["source"].to_numpy()
        for number in np.unique(source):
            found[number] = self.count_matrix[source == number].any(axis=0)
        return found

    def without(self, left_out: NDArray[np.bool_]) -> PoiTables:
        """Return the tables without some points, shape ``(points,)``, and without categories that only these have."""
        points = self.points[~left_out].reset_index(drop=True)
        category = self.points["category"].to_numpy()
        here = np.isin(np.arange(len(self.taxonomy)), category[~left_out]) | self.count_matrix.any(axis=0)
        kept = np.flatnonzero(here | ~np.isin(np.arange(len(here)), category[left_out]))
        number = np.full(len(here), -1, np.int32)
        number[kept] = np.arange(len(kept))
        old = self.taxonomy
        return replace(
            self,
            taxonomy=Taxonomy(tuple(old.first[i] for i in kept), tuple(old.second[i] for i in kept)),
            points=points.assign(category=number[points["category"].to_numpy()]),
            count_matrix=self.count_matrix[:, kept],
        )

    def save(self, folder: Path) -> None:
        """Write ``pois.parquet``, ``poi_units.parquet``, ``poi_sources.json`` and ``taxonomy.json``."""
        make_folder(folder)
        with write_aside(folder / "pois.parquet") as aside:
            self.points.to_parquet(aside, index=False)
        with write_aside(folder / "poi_units.parquet") as aside:
            self.counts.assign(counts=list(self.count_matrix)).to_parquet(aside, index=False)
        write_json(folder / "poi_sources.json", [_source_to_json(source) for source in self.sources])
        # last, so that a folder with a taxonomy is complete
        write_json(folder / "taxonomy.json", {"schema_version": SCHEMA_VERSION} | self.taxonomy.to_json())

    @classmethod
    def load(cls, folder: Path) -> PoiTables:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtefactError
            If a file is missing, torn or of another version.
        """
        stored = read_json(folder / "taxonomy.json")
        try:
            check_schema(stored["schema_version"], SCHEMA_VERSION, path=folder, stage="build")
            counts, matrix = _read_units(folder / "poi_units.parquet", len(stored["second_level"]))
            return cls(
                taxonomy=Taxonomy.from_json(stored),
                points=gpd.read_parquet(folder / "pois.parquet"),
                counts=counts,
                count_matrix=matrix,
                sources=tuple(_source_from_json(item) for item in read_json(folder / "poi_sources.json")),
            )
        except (OSError, ValueError, KeyError, TypeError, PoiError) as error:
            raise ArtefactError(f"{folder} holds no POI tables of MMGR ({error}); run `mmgr build` again.") from error


def _read_units(path: Path, categories: int) -> tuple[gpd.GeoDataFrame, NDArray[np.float32]]:
    frame = gpd.read_parquet(path)
    counts = frame.pop("counts")
    matrix = np.stack(counts.to_list()).astype(np.float32) if len(frame) else np.zeros((0, categories), np.float32)
    return frame, matrix


def _source_to_json(source: Source) -> dict[str, Any]:
    area = None if source.area is None else shapely.to_wkt(source.area, rounding_precision=-1)
    return {"path": source.path, "x": source.x, "y": source.y, "area": area}


def _source_from_json(value: dict[str, Any]) -> Source:
    area = None if value["area"] is None else shapely.from_wkt(value["area"])
    return Source(value["path"], value["x"], value["y"], area)
