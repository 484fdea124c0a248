"""Embeddings and predictions as GeoParquet tables, one row a region."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmgr.errors import ArtefactError
from mmgr.files import write_aside

SCHEMA_VERSION = 1
"""Version of the columns and metadata below."""


def write_embeddings(
    path: Path, regions: gpd.GeoDataFrame, vectors: NDArray[np.float32], provenance: Mapping[str, Any]
) -> None:
    """Write one vector per region as GeoParquet, in the column ``embedding``.

    Parameters
    ----------
    path
        The file; it appears when complete.
    regions
        Indexed by ``region_id``, with geometry and further columns to keep.
    vectors
        Shape ``(n, d)``.
    provenance
        Kept in the file's metadata under ``mmgr``.
    """
    table = regions.copy()
    table["embedding"] = list(np.asarray(vectors, np.float32))
    write_geoparquet(path, table, {**provenance, "dimensions": int(vectors.shape[1])})


def write_geoparquet(path: Path, table: gpd.GeoDataFrame, provenance: Mapping[str, Any]) -> None:
    """Write a table as GeoParquet with our metadata beside GeoPandas' own."""
    with write_aside(path) as aside:
        table.to_parquet(aside)
        arrow = pq.read_table(aside)
        note = json.dumps({"schema_version": SCHEMA_VERSION, **provenance}, default=str)
        pq.write_table(arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), b"mmgr": note}), aside)


def read_embeddings(path: Path) -> NDArray[np.float32]:
    """Read the vectors of all regions, shape ``(n, d)``, in the order of the region store.

    Raises
    ------
    ArtefactError
        If there is no such file, or no column ``embedding`` in it.
    """
    try:
        column = pq.read_table(path, columns=["embedding"])["embedding"].combine_chunks()
    except (OSError, ValueError, KeyError) as error:
        raise ArtefactError(f"{path} holds no embeddings ({error}); run `mmgr embed` again.") from error
    values = np.asarray(column.flatten(), np.float32)
    return values.reshape(len(column), -1) if len(column) else np.zeros((0, 0), np.float32)


def read_provenance(path: Path) -> dict[str, Any]:
    """Read what a table of :func:`write_embeddings` or :func:`write_geoparquet` says of itself; empty if nothing."""
    metadata = pq.read_schema(path).metadata or {}
    return dict(json.loads(metadata.get(b"mmgr", b"{}")))
