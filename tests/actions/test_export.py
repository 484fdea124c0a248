"""Embeddings as other people's tools read them, through the command line."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely

from mmgr.actions.export import dimension_names, export
from mmgr.embeddings import write_embeddings
from mmgr.errors import ArtefactError, RegionError
from mmgr.layout import Layout

COUNT = 40


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Two cities of 20 cells, each with a vector of 3 dimensions of the image and 2 of the POIs."""
    row, column = np.divmod(np.arange(20), 5)
    corners = [(500_000.0, 4_000_000.0), (560_050.0, 4_000_030.0)]
    boxes = np.concatenate(
        [shapely.box(x + 100 * column, y + 100 * row, x + 100 * column + 100, y + 100 * row + 100) for x, y in corners]
    )
    regions = gpd.GeoDataFrame(
        {"group": np.repeat(["Köln Süd", "b/c"], 20)},
        geometry=boxes,
        index=pd.Index([f"r{number}" for number in range(COUNT)], name="region_id"),
        crs=32632,
    )
    vectors = np.random.default_rng(0).normal(size=(COUNT, 5)).astype(np.float32)
    found = Layout(tmp_path / "output")
    found.embeddings.mkdir(parents=True)
    facts = {"name": "two cities", "seed": 3, "recipe": "mmgr", "image_dimensions": 3, "poi_dimensions": 2}
    write_embeddings(found.embeddings / "embeddings.parquet", regions, vectors, facts)
    write_embeddings(found.embeddings / "poi.parquet", regions, vectors[:, 3:], facts)
    return found


def stored(layout: Layout, part: str = "embeddings") -> gpd.GeoDataFrame:
    return gpd.read_parquet(layout.embeddings / f"{part}.parquet")


def test_each_city_becomes_an_image_that_gives_back_its_vectors(layout: Layout, tmp_path: Path) -> None:
    files = export(layout, tmp_path / "out")
    assert [path.name for path in files] == ["Köln_Süd_embeddings.tif", "b_c_embeddings.tif"]
    table = stored(layout)
    for path, group in zip(files, ("Köln Süd", "b/c"), strict=True):
        some = table[table["group"] == group]
        with rasterio.open(path) as raster:
            assert raster.descriptions == ("image_000", "image_001", "image_002", "poi_000", "poi_001")
            assert raster.tags()["GROUP"] == group
            assert raster.tags()["SEED"] == "3"
            read = np.array(list(raster.sample(shapely.get_coordinates(some.centroid.to_numpy()))))
        np.testing.assert_array_equal(read, np.stack(some["embedding"]))


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_table_has_ids_places_and_exact_numbers(layout: Layout, tmp_path: Path, form: str) -> None:
    (path,) = export(layout, tmp_path, form=form, part="poi")
    assert path.name == f"poi.{form}"
    table = pd.read_parquet(path) if form == "parquet" else pd.read_csv(path)
    assert list(table.columns) == ["region_id", "group", "longitude", "latitude", "poi_000", "poi_001"]
    there = stored(layout, "poi")
    assert table["region_id"].tolist() == there.index.tolist()
    exact = table[["poi_000", "poi_001"]].to_numpy(np.float32)
    np.testing.assert_array_equal(exact, np.stack(there["embedding"]))
    places = gpd.points_from_xy(table["longitude"], table["latitude"], crs=4326).to_crs(32632)
    assert np.max(shapely.distance(np.asarray(places), there.centroid.to_numpy())) < 0.01


def test_a_part_that_the_run_lacks_is_named_with_those_it_has(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="no vectors called random; it has embeddings, poi"):
        export(layout, tmp_path, part="random")


def test_groups_that_would_share_a_file_are_refused(layout: Layout, tmp_path: Path) -> None:
    table = stored(layout)
    table["group"] = table["group"].replace({"Köln Süd": "b c"})
    write_embeddings(layout.embeddings / "poi.parquet", table[["group", "geometry"]], np.zeros((COUNT, 2)), {})
    with pytest.raises(RegionError, match=r"two groups would both be written to b_c_poi.tif"):
        export(layout, tmp_path, part="poi")


def test_a_resolution_is_positive(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(RegionError, match="positive metres"):
        export(layout, tmp_path, resolution=-1.0)


def test_dimensions_without_a_known_part_still_have_names() -> None:
    assert dimension_names({}, "embeddings", 2) == ["embedding_000", "embedding_001"]
    assert dimension_names({}, "image", 1001)[-1] == "image_1000"
    assert dimension_names({}, "image", 1001)[0] == "image_0000"
