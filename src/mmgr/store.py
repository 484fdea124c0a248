"""The region store: regions, patches and POIs joined, on disk. Later rooms read only this.

A Lance dataset with one row a region. Memory is independent of the number of patches: they are
written in batches and read by row.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import geopandas as gpd
import lance
import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from mmgr.errors import ArtefactError
from mmgr.files import check_schema, explained_writes
from mmgr.taxonomy import Taxonomy

SCHEMA_VERSION = 2
"""Version of the columns and metadata below."""
DIGEST_BYTES = 16
"""Length of a row's digest."""

_SCHEMA = pa.schema(
    [
        pa.field("region_id", pa.string(), nullable=False),
        pa.field("group", pa.string()),
        pa.field("geometry", pa.binary()),
        pa.field("area_km2", pa.float64()),
        pa.field("dates", pa.list_(pa.string())),
        pa.field("patches", pa.list_(pa.large_binary())),
        pa.field("poi_category", pa.list_(pa.int32())),
        pa.field("poi_count", pa.list_(pa.float32())),
        pa.field("poi_x", pa.list_(pa.float32())),
        pa.field("poi_y", pa.list_(pa.float32())),
        pa.field("poi_area_km2", pa.float32()),
        pa.field("poi_unit", pa.string()),
        pa.field("digest", pa.binary(DIGEST_BYTES), nullable=False),
    ]
)
_BAG_COLUMNS = ["poi_category", "poi_count", "poi_x", "poi_y", "poi_area_km2", "poi_unit"]


@dataclass(frozen=True, slots=True)
class PoiBags:
    """The POIs of ``n`` regions, as one flat list of ``m`` entries cut at ``starts``.

    An entry is a POI, or a category with its count where positions are unknown.
    """

    starts: NDArray[np.int64]
    """Where each region's entries begin, and the end of the last, shape ``(n + 1,)``."""
    category: NDArray[np.int32]
    """Category id of each entry, shape ``(m,)``."""
    count: NDArray[np.float32]
    """How many POIs an entry stands for, shape ``(m,)``."""
    offset: NDArray[np.float32]
    """Metres east and north of the region's centre, shape ``(m, 2)``; NaN where unknown."""
    area_km2: NDArray[np.float32]
    """Area that the counts refer to, shape ``(n,)``; 0 where no source covers the region."""
    unit: NDArray[np.object_]
    """Name of the polygon that the counts come from, shape ``(n,)``; empty for points."""

    def __post_init__(self) -> None:
        entries = int(self.starts[-1])
        if len(self.category) != entries or len(self.count) != entries or self.offset.shape != (entries, 2):
            raise ValueError(f"starts end at {entries}, but there are {len(self.category)} entries")
        if not len(self.starts) - 1 == len(self.area_km2) == len(self.unit):
            raise ValueError(f"{len(self.starts) - 1} regions, but {len(self.area_km2)} areas")

    def __len__(self) -> int:
        return len(self.starts) - 1

    @classmethod
    def empty(cls, regions: int) -> PoiBags:
        """Return the bags of regions whose POIs are unknown."""
        return cls(
            starts=np.zeros(regions + 1, np.int64),
            category=np.zeros(0, np.int32),
            count=np.zeros(0, np.float32),
            offset=np.zeros((0, 2), np.float32),
            area_km2=np.zeros(regions, np.float32),
            unit=np.full(regions, "", object),
        )

    @property
    def owner(self) -> NDArray[np.int64]:
        """Region (row) of each entry, shape ``(m,)``."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether a source covers each region (its POIs may still be none), shape ``(n,)``."""
        return np.asarray(self.area_km2 > 0)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Whether each region has at least one POI, shape ``(n,)``."""
        return np.diff(self.starts) > 0

    def counts(self, categories: int) -> NDArray[np.float32]:
        """Return the POIs of each category in each region, shape ``(n, categories)``."""
        table = np.zeros((len(self), categories), np.float32)
        np.add.at(table, (self.owner, self.category), self.count)
        return table

    def densities(self, categories: int) -> NDArray[np.float32]:
        """Return the POIs per km2 of each category, shape ``(n, categories)``; NaN where unknown."""
        with np.errstate(divide="ignore", invalid="ignore"):
            table = self.counts(categories) / self.area_km2[:, None]
        table[~self.known] = np.nan
        return np.asarray(table, np.float32)

    def only(self, kept: NDArray[np.bool_]) -> PoiBags:
        """Return the entries that are kept, shape ``(m,)``, of the same regions."""
        lengths = np.bincount(self.owner[kept], minlength=len(self))
        return replace(
            self,
            starts=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            category=self.category[kept],
            count=self.count[kept],
            offset=self.offset[kept],
        )

    def take(self, rows: NDArray[np.integer[Any]]) -> PoiBags:
        """Return the bags of some regions, in the order of ``rows``."""
        rows = np.asarray(rows, np.int64)
        lengths = np.diff(self.starts)[rows]
        starts = np.concatenate([[0], np.cumsum(lengths)])
        entries = np.repeat(self.starts[rows] - starts[:-1], lengths) + np.arange(starts[-1])
        return PoiBags(
            starts=starts,
            category=self.category[entries],
            count=self.count[entries],
            offset=self.offset[entries],
            area_km2=self.area_km2[rows],
            unit=self.unit[rows],
        )


@dataclass(frozen=True, slots=True)
class Patches:
    """The patches of one region: one a date."""

    row: int
    """The region's place in the table of regions."""
    dates: tuple[str, ...]
    """Date of each view, shape ``(d,)``; empty strings where images have none."""
    pixels: NDArray[np.uint8]
    """Views, shape ``(d, H, W, C)``; ``d`` may be 0 for a region without an image."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a region store says of itself."""

    crs: str
    """The projected CRS, in metres, of all geometry; empty where regions have no place."""
    pixels: int
    """Edge of a patch in pixels; 0 where no region has one, as in a run without images."""
    bands: int
    """Bands of a patch; 0 where no region has one."""
    edge: float
    """Edge of a region in metres (the square root of the median area)."""
    taxonomy: Taxonomy
    """The categories that ids refer to; empty without POIs."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Software version, seed, configuration, hashes of inputs."""
    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the metadata as it is kept in the dataset."""
        return json.dumps(asdict(self) | {"taxonomy": self.taxonomy.to_json()}, default=str)

    @classmethod
    def from_json(cls, text: str) -> StoreInfo:
        """Read what :meth:`to_json` wrote."""
        value = json.loads(text)
        return cls(**value | {"taxonomy": Taxonomy.from_json(value["taxonomy"])})


class RegionStore:
    """A region store on disk, read by row.

    Parameters
    ----------
    path
        Folder of the Lance dataset.

    Raises
    ------
    ArtefactError
        If there is no store, or one of another version.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise ArtefactError(f"{self.path} is not there; `mmgr build` writes the region store.")
        try:
            self._dataset = lance.dataset(str(self.path))
            self.info = StoreInfo.from_json(self._dataset.schema.metadata[b"mmgr"].decode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtefactError(f"{self.path} is not a region store of MMGR ({error}).") from error
        check_schema(self.info.schema_version, SCHEMA_VERSION, path=self.path, stage="build")

    def __len__(self) -> int:
        return int(self._dataset.count_rows())

    def require_places(self, why: str) -> None:
        """Check that the regions have a place.

        Raises
        ------
        ArtefactError
            Says what the places are for, and how regions get them.
        """
        if not self.info.crs:
            raise ArtefactError(
                f"{self.path}: its regions have no place, and {why}. Name polygons of the same ids as `regions.path` "
                "and their column as `regions.id`, and build again. Training and vectors need no places."
            )

    @cached_property
    def regions(self) -> gpd.GeoDataFrame:
        """Regions without their patches, indexed by ``region_id``.

        Columns: ``group``, ``area_km2``, ``views`` (dates with an image), ``pois`` (how many; NaN
        where unknown), ``poi_unit``, geometry in the store's CRS.
        """
        table = self._dataset.to_table(columns=["region_id", "group", "geometry", "area_km2", "dates"])
        bags = self.bags
        totals = np.bincount(bags.owner, weights=bags.count, minlength=len(bags))
        return gpd.GeoDataFrame(
            {
                "group": table["group"].to_pylist(),
                "area_km2": table["area_km2"].to_numpy(),
                "views": np.array([len(dates) for dates in table["dates"].to_pylist()], np.int64),
                "pois": np.where(bags.known, totals, np.nan),
                "poi_unit": bags.unit,
            },
            index=np.array(table["region_id"].to_pylist(), object),
            geometry=shapely.from_wkb(table["geometry"].to_pylist()),
            crs=self.info.crs or None,
        ).rename_axis("region_id")

    @cached_property
    def bags(self) -> PoiBags:
        """The POIs of all regions."""
        return _bags_from_table(self._dataset.to_table(columns=_BAG_COLUMNS))

    @cached_property
    def views(self) -> NDArray[np.int64]:
        """How many dates have an image of each region, shape ``(n,)``."""
        dates = self._dataset.to_table(columns=["dates"])["dates"].to_pylist()
        return np.array([len(d) for d in dates], np.int64)

    def dates(self) -> list[list[str]]:
        """Return the dates of each region's views."""
        return list(self._dataset.to_table(columns=["dates"])["dates"].to_pylist())

    def digests(self) -> NDArray[np.uint8]:
        """Return the digest of each row's patches, dates and geometry, shape ``(n, 16)``.

        They were made as the rows were written: whoever changes a row by other means leaves its digest as it was,
        which :meth:`check_rows` finds.
        """
        column = self._dataset.to_table(columns=["digest"])["digest"].combine_chunks()
        flat = np.frombuffer(column.buffers()[1], np.uint8).reshape(-1, DIGEST_BYTES)
        return flat[column.offset : column.offset + len(column)]

    def check_rows(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> None:
        """Read some rows, and compare their patches, dates and geometry with their digests.

        Raises
        ------
        ArtefactError
            If a row is not what was written; names its region.
        """
        columns = ["region_id", "patches", "dates", "geometry", "digest"]
        for row in self._dataset.take(sorted({int(row) for row in rows}), columns=columns).to_pylist():
            if _digest(row["patches"], row["dates"], row["geometry"]) != row["digest"]:
                raise ArtefactError(
                    f"{self.path}: the patches, dates or geometry of the region {row['region_id']} are not those that "
                    "were written with its digest: it was changed since, or is damaged. Run `mmgr build --force`."
                )

    def patches(self, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[NDArray[np.uint8]]:
        """Read the patches of some regions.

        Returns
        -------
        One array a region, shape ``(d, H, W, C)``, with ``d`` dates, possibly none.
        """
        values, starts, ends = self.pixels(rows)
        return [values[start:end].copy() for start, end in zip(starts, ends, strict=True)]

    def pixels(
        self, rows: Sequence[int] | NDArray[np.integer[Any]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
        """Read the patches of some regions as they come from the disk, without a copy; several threads may at once.

        Returns
        -------
        All patches, shape ``(m, H, W, C)``, not to be written to; and where among them those of each of the ``n`` rows
        begin and end, shape ``(n,)`` each.
        """
        # in order, which Lance reads fastest
        distinct, place = np.unique(np.asarray(rows, np.int64), return_inverse=True)
        shape = (self.info.pixels, self.info.pixels, self.info.bands)
        lists = self._dataset.take(distinct.tolist(), columns=["patches"])["patches"].combine_chunks()
        offsets = np.asarray(lists.offsets, np.int64)
        # not through objects: a batch of a thousand regions would take as long to unpack as to read
        views = lists.values
        _, where, content = views.buffers()
        edges = np.frombuffer(where, np.int64)[views.offset : views.offset + len(views) + 1] if where else np.zeros(1)
        flat = np.frombuffer(content or b"", np.uint8)[int(edges[0]) : int(edges[-1])]
        flat.setflags(write=False)
        return flat.reshape(len(views), *shape), offsets[:-1][place], offsets[1:][place]

    def iterate(self, batch: int = 256) -> Iterator[list[NDArray[np.uint8]]]:
        """Yield all regions' patches in order, ``batch`` regions at a time."""
        for start in range(0, len(self), batch):
            yield self.patches(range(start, min(start + batch, len(self))))


def write_store(
    path: Path,
    *,
    regions: gpd.GeoDataFrame,
    patches: Iterable[Patches],
    bags: PoiBags,
    info: StoreInfo,
    batch: int = 128,
) -> RegionStore:
    """Append regions to the store at ``path``, in batches that are each committed whole.

    Parameters
    ----------
    path
        Folder of the Lance dataset; made if it is not there.
    regions
        Indexed by ``region_id``, with ``group``, in ``info.crs``.
    patches
        In any order, each naming the row of ``regions`` that it belongs to. Regions for which
        nothing comes are not written: the caller decides whether a region without image is kept.
    bags
        POIs of all ``regions``, row by row.
    info
        Metadata, kept with the first batch.
    batch
        Regions a commit: a killed build loses at most these.
    """
    area = regions.area.to_numpy() / 1e6
    waiting: list[Patches] = []
    with explained_writes(path):
        for item in patches:
            waiting.append(item)
            if len(waiting) == batch:
                _append(path, waiting, regions, area, bags, info)
                waiting = []
        if waiting:
            _append(path, waiting, regions, area, bags, info)
    return RegionStore(path)


def stored_ids(path: Path) -> set[str]:
    """Return the ids of the regions that an unfinished store already holds."""
    if not path.is_dir():
        return set()
    try:
        return set(lance.dataset(str(path)).to_table(columns=["region_id"])["region_id"].to_pylist())
    except (OSError, ValueError):
        return set()  # nothing was committed before the kill


def _append(
    path: Path,
    items: list[Patches],
    regions: gpd.GeoDataFrame,
    area: NDArray[np.float64],
    bags: PoiBags,
    info: StoreInfo,
) -> None:
    rows = np.array([item.row for item in items])
    some = bags.take(rows)
    lists = _lists(some)
    patches = [[np.ascontiguousarray(view).tobytes() for view in item.pixels] for item in items]
    dates = [list(item.dates) for item in items]
    geometry = [shapely.to_wkb(regions.geometry.iloc[row]) for row in rows]
    digests = [_digest(*row) for row in zip(patches, dates, geometry, strict=True)]
    table = pa.table(
        {
            "region_id": pa.array([str(regions.index[row]) for row in rows]),
            "group": pa.array([str(regions["group"].iloc[row]) for row in rows]),
            "geometry": pa.array(geometry, pa.binary()),
            "area_km2": pa.array(area[rows]),
            "dates": pa.array(dates, pa.list_(pa.string())),
            "patches": pa.array(patches, pa.list_(pa.large_binary())),
            **lists,
            "poi_area_km2": pa.array(some.area_km2),
            "poi_unit": pa.array([str(unit) for unit in some.unit]),
            "digest": pa.array(digests, pa.binary(DIGEST_BYTES)),
        },
        schema=_SCHEMA.with_metadata({"mmgr": info.to_json()}),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        lance.write_dataset(table, str(path), mode="append" if path.is_dir() else "create")


def _digest(patches: Sequence[bytes], dates: Sequence[str], geometry: bytes | None) -> bytes:
    """Return the digest of a row: of its patches' pixels, their dates, and its geometry as WKB; None for no place."""
    # lengths first, so that the same bytes cut otherwise are another row
    head = json.dumps([[len(view) for view in patches], dates, geometry is not None])
    content = hashlib.blake2b(head.encode(), digest_size=DIGEST_BYTES)
    for part in (*patches, geometry or b""):
        content.update(part)
    return content.digest()


def _lists(bags: PoiBags) -> dict[str, pa.Array]:
    starts = pa.array(bags.starts.astype(np.int32))
    flat = {
        "poi_category": pa.array(bags.category, pa.int32()),
        "poi_count": pa.array(bags.count, pa.float32()),
        "poi_x": pa.array(bags.offset[:, 0], pa.float32()),
        "poi_y": pa.array(bags.offset[:, 1], pa.float32()),
    }
    return {name: pa.ListArray.from_arrays(starts, values) for name, values in flat.items()}


def _bags_from_table(table: pa.Table) -> PoiBags:
    category = table["poi_category"].combine_chunks()
    lengths = np.asarray(category.value_lengths().fill_null(0))
    columns = {name: np.asarray(table[name].combine_chunks().flatten()) for name in _BAG_COLUMNS[:4]}
    return PoiBags(
        starts=np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int64),
        category=columns["poi_category"].astype(np.int32),
        count=columns["poi_count"].astype(np.float32),
        offset=np.stack([columns["poi_x"], columns["poi_y"]], axis=1).astype(np.float32),
        area_km2=table["poi_area_km2"].to_numpy().astype(np.float32),
        unit=np.array(table["poi_unit"].to_pylist(), object),
    )
