"""Vectors as GeoParquet: readable by others, with our metadata."""

from __future__ import annotations

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely

from mmgr.embeddings import read_embeddings, write_embeddings
from mmgr.errors import ArtefactError


def regions(count: int) -> gpd.GeoDataFrame:
    squares = [shapely.box(i, 0, i + 1, 1) for i in range(count)]
    return gpd.GeoDataFrame(
        {"group": ["a"] * count}, index=[f"r{i}" for i in range(count)], geometry=squares, crs=32632
    ).rename_axis("region_id")


def test_vectors_come_back_bit_for_bit_and_geopandas_reads_them(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    path = tmp_path / "embeddings.parquet"
    write_embeddings(path, regions(5), vectors, {"seed": 3})
    assert np.array_equal(read_embeddings(path), vectors)
    table = gpd.read_parquet(path)
    assert list(table.index) == [f"r{i}" for i in range(5)]
    assert table.crs.to_epsg() == 32632
    assert np.array_equal(np.stack(table["embedding"]), vectors)
    note = json.loads(pq.read_schema(path).metadata[b"mmgr"])
    assert note["seed"] == 3
    assert note["dimensions"] == 7


def test_what_holds_no_embeddings_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="holds no embeddings"):
        read_embeddings(tmp_path / "missing.parquet")
    regions(2).to_parquet(tmp_path / "other.parquet")
    with pytest.raises(ArtefactError, match="holds no embeddings"):
        read_embeddings(tmp_path / "other.parquet")
