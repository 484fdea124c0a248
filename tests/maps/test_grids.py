from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from rio_cogeo.cogeo import cog_validate

from mmgr.errors import RegionError
from mmgr.maps.grids import is_grid, write_cog
from mmgr.maps.panels import centres_of


def sampled(path: Path, regions: gpd.GeoDataFrame) -> np.ndarray:
    """Read the file at the centre of each region."""
    with rasterio.open(path) as raster:
        return np.array(list(raster.sample(centres_of(regions.geometry.to_numpy()))))


@settings(deadline=None, max_examples=40)
@given(
    cells=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=5),
    size=st.floats(0.5, 5000),
    origin=st.tuples(st.floats(-1e6, 1e6), st.floats(0, 9e6)),
)
def test_any_cells_of_a_lattice_are_a_grid_that_knows_their_places(
    cells: set[tuple[int, int]], size: float, origin: tuple[float, float]
) -> None:
    column, row = np.array(sorted(cells)).T
    x, y = origin[0] + column * size, origin[1] - row * size
    regions = gpd.GeoDataFrame(geometry=shapely.box(x, y - size, x + size, y), crs="EPSG:32611")
    spec = is_grid(regions)
    assert spec is not None
    np.testing.assert_array_equal(spec.column, column - column.min())
    np.testing.assert_array_equal(spec.row, row - row.min())
    assert spec.bounds == pytest.approx(tuple(regions.total_bounds))


def test_what_is_no_grid_is_known(cities: gpd.GeoDataFrame, hexagons: gpd.GeoDataFrame, grid: gpd.GeoDataFrame) -> None:
    assert is_grid(cities) is None
    assert is_grid(hexagons) is None
    assert is_grid(grid.iloc[:0]) is None
    assert is_grid(grid.assign(geometry=grid.geometry.rotate(10))) is None
    assert is_grid(grid.iloc[[0, 1, 1]]) is None, "two regions in a cell"
    larger = gpd.GeoDataFrame(geometry=[*grid.geometry[:5], grid.geometry.iloc[6].buffer(125, join_style="mitre")])
    assert is_grid(larger) is None
    far = grid.iloc[[0, 1]].copy()
    far.geometry = [far.geometry.iloc[0], shapely.affinity.translate(far.geometry.iloc[1], 250 * 99)]
    assert is_grid(far) is None, "two squares in a hundred cells"


def test_a_cog_of_values_is_valid_and_right_at_every_centre(tmp_path: Path, grid: gpd.GeoDataFrame) -> None:
    shuffled = grid.sample(frac=0.7, random_state=0)
    values = np.random.default_rng(0).normal(size=(len(shuffled), 2))
    values[3, 0] = np.nan
    path = write_cog(tmp_path / "map.tif", shuffled, values, names=["population", "jobs"], tags={"MMGR": "0.1"})
    assert cog_validate(path, strict=True, quiet=True)[0]
    np.testing.assert_allclose(sampled(path, shuffled), values.astype(np.float32))
    with rasterio.open(path) as raster:
        assert raster.descriptions == ("population", "jobs")
        assert raster.crs.to_epsg() == 32611
        assert np.isnan(raster.nodata)
        assert raster.tags()["MMGR"] == "0.1"
        assert np.isfinite(raster.read(2)).sum() == len(shuffled)


def test_a_cog_of_colours_is_transparent_where_there_is_no_region(tmp_path: Path, grid: gpd.GeoDataFrame) -> None:
    some = grid.iloc[::2]
    colours = np.random.default_rng(0).integers(0, 256, (len(some), 3), dtype=np.uint8)
    path = write_cog(tmp_path / "colours.tif", some, colours, names=["red", "green", "blue"])
    assert cog_validate(path, strict=True, quiet=True)[0]
    np.testing.assert_array_equal(sampled(path, some)[:, :3], colours)
    with rasterio.open(path) as raster:
        assert raster.colorinterp[3] == rasterio.enums.ColorInterp.alpha
        assert (raster.read(4) == 255).sum() == len(some)
        assert (raster.dataset_mask() == 255).sum() == len(some)


def test_a_large_grid_has_overviews(tmp_path: Path) -> None:
    row, column = (v.ravel() for v in np.indices((600, 300)))
    regions = gpd.GeoDataFrame(
        geometry=shapely.box(column * 10.0, -row * 10.0 - 10, column * 10.0 + 10, -row * 10.0), crs="EPSG:32611"
    )
    path = write_cog(tmp_path / "large.tif", regions, np.ones(len(regions)), names=["one"])
    valid, faults, warnings = cog_validate(path, strict=True, quiet=True)
    assert valid, (faults, warnings)
    with rasterio.open(path) as raster:
        assert raster.overviews(1)


def test_regions_that_are_no_grid_are_refused_with_what_to_do(tmp_path: Path, cities: gpd.GeoDataFrame) -> None:
    with pytest.raises(RegionError, match="GeoParquet instead"):
        write_cog(tmp_path / "map.tif", cities, np.zeros(120), names=["zero"])
    assert list(tmp_path.iterdir()) == []
