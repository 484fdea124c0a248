from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from mmgr.errors import RegionError
from mmgr.maps import rasters
from mmgr.maps.panels import centres_of
from mmgr.maps.rasters import write_vectors


def vectors_of(regions: gpd.GeoDataFrame, count: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(len(regions), count)).astype(np.float32)


def names_of(count: int) -> list[str]:
    return [f"image_{number:03}" for number in range(count)]


def test_a_grid_comes_back_bit_for_bit_at_every_centre(tmp_path: Path, grid: gpd.GeoDataFrame) -> None:
    some = grid.sample(frac=0.6, random_state=0)
    vectors = vectors_of(some, 5)
    vectors[3, 2] = np.nan
    path = tmp_path / "city.tif"
    assert write_vectors(path, some, vectors, names=names_of(5), tags={"PART": "image"}) == 0
    with rasterio.open(path) as raster:
        assert raster.dtypes == ("float32",) * 5
        assert np.isnan(raster.nodata)
        assert raster.crs == some.crs
        assert raster.descriptions == tuple(names_of(5))
        assert raster.tags()["PART"] == "image"
        assert raster.block_shapes == [(256, 256)] * 5
        assert raster.interleaving.name == "pixel", "one place's vector lies together"
        assert raster.res == (250, 250)
        read = np.array(list(raster.sample(centres_of(some.geometry.to_numpy()))))
        empty = np.isnan(raster.read(1)).sum()
        assert empty == raster.width * raster.height - len(some)
    np.testing.assert_array_equal(read, vectors)
    valid, errors, _ = cog_validate(path, quiet=True)
    assert valid, errors
    assert [p.name for p in tmp_path.iterdir()] == ["city.tif"], "no scratch is left"


def test_polygons_are_refused_with_both_ways_out(tmp_path: Path, hexagons: gpd.GeoDataFrame) -> None:
    with pytest.raises(RegionError, match=r"form no grid.*--resolution METRES.*--format parquet"):
        write_vectors(tmp_path / "a.tif", hexagons, vectors_of(hexagons, 2), names=names_of(2))
    assert not list(tmp_path.iterdir())


def test_a_cell_of_rasterised_polygons_is_of_the_polygon_that_holds_its_centre(
    tmp_path: Path, hexagons: gpd.GeoDataFrame
) -> None:
    vectors = vectors_of(hexagons, 3)
    path = tmp_path / "a.tif"
    assert write_vectors(path, hexagons, vectors, names=names_of(3), resolution=7.0) == 0
    with rasterio.open(path) as raster:
        image = raster.read()
        rows, columns = np.mgrid[0 : raster.height, 0 : raster.width]
        x, y = rasterio.transform.xy(raster.transform, rows.ravel(), columns.ravel())
        assert raster.transform.c % 7 == 0, "cells lie on multiples of the resolution, so that cities fit together"
    points = gpd.GeoDataFrame(geometry=gpd.points_from_xy(x, y), crs=hexagons.crs)
    owner = points.sjoin(hexagons.reset_index(drop=True), predicate="within", how="left")
    owner = owner[~owner.index.duplicated()]["index_right"].to_numpy()
    expected = np.full((3, len(owner)), np.nan, np.float32)
    inside = np.isfinite(owner)
    expected[:, inside] = vectors[owner[inside].astype(int)].T
    np.testing.assert_array_equal(image.reshape(3, -1), expected)


def test_polygons_narrower_than_a_cell_are_counted(tmp_path: Path, hexagons: gpd.GeoDataFrame) -> None:
    lost = write_vectors(tmp_path / "a.tif", hexagons, vectors_of(hexagons, 1), names=["a"], resolution=400.0)
    with rasterio.open(tmp_path / "a.tif") as raster:
        shown = len(np.unique(raster.read(1)[~np.isnan(raster.read(1))]))
    assert lost == len(hexagons) - shown > 0


def test_too_fine_a_resolution_is_refused(tmp_path: Path, hexagons: gpd.GeoDataFrame) -> None:
    with pytest.raises(RegionError, match="larger `--resolution`"):
        write_vectors(tmp_path / "a.tif", hexagons, vectors_of(hexagons, 1), names=["a"], resolution=0.01)


@pytest.mark.parametrize(("bands", "edge"), [(3, 256), (64, 256), (128, 128), (700, 64), (4000, 32), (20000, 16)])
def test_a_tile_of_all_bands_stays_small(bands: int, edge: int) -> None:
    assert rasters._tile_edge(bands) == edge
