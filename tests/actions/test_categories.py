"""The stage that gives categories their vectors, by every method that needs no files of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import geopandas as gpd
import numpy as np
import pytest

from mmgr.actions import categories
from mmgr.categories import CategoryVectors
from mmgr.config import parse_config
from mmgr.layout import Layout
from mmgr.pois import PoiTables, Source
from mmgr.taxonomy import Taxonomy

CITY = """
images: {path: images}
regions: {size: 100}
pois: {sources: [{path: pois.csv, first_level: kind}]}
categories: {method: METHOD, iterations: 20}
"""


def tables() -> PoiTables:
    random = np.random.default_rng(0)
    points = gpd.GeoDataFrame(
        {"category": random.integers(0, 3, 60).astype(np.int32), "source": np.int32(0)},
        geometry=gpd.points_from_xy(*random.uniform(0, 900, (2, 60))),
        crs=32648,
    )
    units = gpd.GeoDataFrame({"unit": [], "source": np.zeros(0, np.int32), "area_km2": []}, geometry=[], crs=32648)
    taxonomy = Taxonomy(("food", "food", "shop"), ("bar", "café", "books"))
    return PoiTables(taxonomy, points, units, np.zeros((0, 3), np.float32), (Source("pois.csv"),))


@pytest.mark.parametrize("method", ["skip-gram", "one-hot", "tf-idf", "place2vec"])
def test_each_method_leaves_vectors_and_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    layout = Layout(tmp_path)
    tables().save(layout.pois)
    monkeypatch.setattr(categories, "RegionStore", lambda _: SimpleNamespace(info=SimpleNamespace(edge=100.0)))
    categories.act(parse_config(CITY.replace("METHOD", method), tmp_path / "city.yaml"), layout)
    assert sorted(path.name for path in layout.categories.iterdir()) == [
        "categories.png",
        "neighbours.json",
        "taxonomy.json",
        "vectors.safetensors",
    ]
    made = CategoryVectors.load(layout.categories)
    assert made.provenance["method"] == method
    assert made.frequency.sum() == 60
