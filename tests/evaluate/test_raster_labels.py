from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.errors import NotGeoreferencedWarning

from mmgr.config import Task
from mmgr.errors import InputError, LabelError
from mmgr.evaluate import Units, read_units
from mmgr.evaluate.audit.labels import label_sources

CRS = "EPSG:32611"
X, Y = 500_000.0, 3_800_000.0
Grid = Callable[..., gpd.GeoDataFrame]
Read = Callable[..., Units]


@pytest.fixture
def read(tmp_path: Path, task: Callable[..., Task]) -> Read:
    """Write bands of 50 m cells over the grid of 4 x 4 regions, and read them as units."""

    def call(
        regions: gpd.GeoDataFrame, *bands: Any, file_crs: str | None = CRS, nodata: float | None = None,
        transform: Affine | None = None, dtype: str = "float32", **settings: Any,
    ) -> Units:  # fmt: skip
        path = tmp_path / "labels.tif"
        height, width = bands[0].shape
        profile = {"driver": "GTiff", "count": len(bands), "height": height, "width": width, "dtype": dtype}
        transform = north_up(X, Y + 50 * height, 50, 50) if transform is None else transform
        with rasterio.open(path, "w", **profile, crs=file_crs, nodata=nodata, transform=transform) as raster:
            for number, band in enumerate(bands, start=1):
                raster.write(band.astype(dtype), number)
        return read_units(task(path=path, column=None, **{"kind": "raster_sum"} | settings), regions)

    return call


def north_up(west: float, north: float, width: float, height: float) -> Affine:
    return Affine(width, 0, west, 0, -height, north)


def cells(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 100, (8, 8))


def by_cells(raster: np.ndarray) -> np.ndarray:
    """Sum of the four 50 m cells of each 100 m region, row by row from the south-west."""
    return raster.reshape(4, 2, 4, 2).sum(axis=(1, 3))[::-1].ravel()


def test_a_sum_counts_the_cells_and_becomes_a_density(grid: Grid, read: Read) -> None:
    raster = cells()
    units = read(grid(4, 4), raster, density=False)
    np.testing.assert_allclose(units.values, by_cells(raster), rtol=1e-5)
    np.testing.assert_allclose(read(grid(4, 4), raster).values, by_cells(raster) / 0.01, rtol=1e-5)
    np.testing.assert_allclose(units.coverage, 1.0)


def test_a_mean_is_weighted_by_fractions_of_cells(grid: Grid, read: Read) -> None:
    regions = grid(4, 4)
    # 20 m to the east: of each 50 m cell 30 m, 50 m and 20 m lie inside
    regions["geometry"] = regions.translate(20, 0)
    raster = cells()
    units = read(regions, raster, kind="raster_mean", min_cover=0.0)
    row = raster[6:8].sum(axis=0)
    expected = (0.6 * row[0] + 1.0 * row[1] + 0.4 * row[2]) / 4
    assert units.values[0] == pytest.approx(expected, rel=1e-5)
    # the last region of a row hangs over the raster's edge by 20 m
    assert units.coverage[3] == pytest.approx(0.8)


def test_nodata_is_no_amount_and_no_area(grid: Grid, read: Read) -> None:
    raster = cells()
    raster[7, 0] = raster[6, 2:4] = raster[7, 2:4] = raster[7, 4] = raster[6, 4] = raster[7, 5] = -99
    units = read(grid(4, 4), raster, nodata=-99)
    # r1 has no value, r2 one cell of four, which is less than half
    assert list(units.ids)[:2] == ["r0", "r3"]
    assert units.coverage[0] == pytest.approx(0.75)
    assert units.values[0] == pytest.approx((raster[6, 0] + raster[6, 1] + raster[7, 1]) / 0.0075, rel=1e-5)


def test_nan_is_nodata(grid: Grid, read: Read) -> None:
    raster = cells()
    raster[7, 0] = np.nan
    assert read(grid(4, 4), raster, nodata=np.nan).coverage[0] == pytest.approx(0.75)


def test_the_band_is_chosen(grid: Grid, read: Read) -> None:
    raster = cells()
    units = read(grid(4, 4), np.zeros((8, 8)), raster, band=2, density=False)
    np.testing.assert_allclose(units.values, by_cells(raster), rtol=1e-5)
    with pytest.raises(LabelError, match=r"has 1 band\(s\), but `band` is 3"):
        read(grid(4, 4), raster, band=3)


def test_regions_are_brought_to_a_raster_in_degrees(grid: Grid, read: Read) -> None:
    """One person a cell of known area: the density is the inverse of that area."""
    regions = grid(4, 4)
    west, south, east, north = regions.to_crs("EPSG:4326").total_bounds
    size = (east - west) / 16
    transform = north_up(west - 2 * size, north + 2 * size, size, size)
    rows = int(np.ceil((north - south) / size)) + 4
    raster = np.ones((rows, 20)) * np.linspace(1, 1.001, 20)
    units = read(regions, raster, file_crs="EPSG:4326", transform=transform)
    cell = gpd.GeoSeries([shapely.box(west, south, west + size, south + size)], crs="EPSG:4326").to_crs(CRS).area[0]
    np.testing.assert_allclose(units.values, 1e6 / cell, rtol=0.005)
    np.testing.assert_allclose(units.coverage, 1.0, atol=1e-3)


def test_a_raster_that_cannot_be_used_is_refused(grid: Grid, read: Read, tmp_path: Path, task: Any) -> None:
    regions = grid(4, 4)
    with pytest.raises(LabelError, match="has no CRS; set `crs`, such as EPSG:4326"):
        read(regions, cells(), file_crs=None)
    with pytest.raises(LabelError, match="crs 'EPSG:1' is no known CRS"):
        read(regions, cells(), file_crs=None, crs="EPSG:1")
    with pytest.raises(LabelError, match="rotated or upside down"):
        read(regions, cells(), transform=Affine(50, 5, X, 5, -50, Y + 400))
    (tmp_path / "torn.tif").write_bytes(b"II*\0torn")
    with pytest.raises(LabelError, match="cannot be read as a raster"):
        read_units(task(path=tmp_path / "torn.tif", column=None, kind="raster_mean"), regions)
    with pytest.raises(InputError, match="does not exist"):
        read_units(task(path=tmp_path / "gone.tif", column=None, kind="raster_mean"), regions)


def test_the_crs_of_a_raster_that_names_none_is_the_task_s(grid: Grid, read: Read) -> None:
    regions, raster = grid(4, 4), cells()
    own = read(regions, raster)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told = read(regions, raster, file_crs=None, crs=CRS)
    np.testing.assert_array_equal(told.values, own.values)
    # the file knows better
    np.testing.assert_array_equal(read(regions, raster, crs="EPSG:4326").values, own.values)
    assert label_sources(told.task, told, regions).what == label_sources(own.task, own, regions).what


def test_a_local_crs_gives_way_to_the_task_s(grid: Grid, read: Read) -> None:
    regions, raster = grid(4, 4), cells()
    local = 'LOCAL_CS["site",UNIT["metre",1],AXIS["Easting",EAST],AXIS["Northing",NORTH]]'
    with pytest.raises(LabelError, match="has a local CRS, which says nothing of where it lies; set `crs`"):
        read(regions, raster, file_crs=local)
    told = read(regions, raster, file_crs=local, crs=CRS)
    np.testing.assert_array_equal(told.values, read(regions, raster).values)
    assert label_sources(told.task, told, regions).what


def test_a_raster_without_a_place_is_said_to_have_none(grid: Grid, task: Callable[..., Task], tmp_path: Path) -> None:
    def write(name: str, **options: Any) -> Task:
        profile = {"driver": "GTiff", "count": 1, "height": 8, "width": 8, "dtype": "float32"}
        with (
            warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning),
            rasterio.open(tmp_path / name, "w", **profile, **options) as raster,
        ):
            raster.write(cells().astype("float32"), 1)
        return task(path=tmp_path / name, column=None, kind="raster_mean")

    with pytest.raises(LabelError, match=r"plain\.tif has no georeference: it does not say where its cells lie"):
        read_units(write("plain.tif"), grid(4, 4))
    corners = [(0, 0, X, Y + 400), (0, 8, X + 400, Y + 400), (8, 0, X, Y)]
    points = [GroundControlPoint(*corner) for corner in corners]
    with pytest.raises(LabelError, match=r"has ground control points alone: .* warp it by them with `gdalwarp`"):
        read_units(write("tied.tif", gcps=points, crs=CRS), grid(4, 4))


def test_areas_of_a_raster_in_degrees_of_which_only_the_task_says_so_are_those_on_the_ellipsoid(
    grid: Grid, read: Read
) -> None:
    regions = grid(4, 4)
    west, south, east, north = regions.to_crs("EPSG:4326").total_bounds
    transform = north_up(west - 1e-4, north + 1e-4, (east - west + 2e-4) / 8, (north - south + 2e-4) / 8)
    settings = {"transform": transform, "min_cover": 0.1}
    own = read(regions, cells(), file_crs="EPSG:4326", **settings)
    told = read(regions, cells(), file_crs=None, crs="EPSG:4326", **settings)
    np.testing.assert_array_equal(told.values, own.values)


@pytest.mark.parametrize(
    ("gap", "dtype"), [(-9999, "float32"), (np.finfo("float32").min, "float32"), (65535, "uint16")]
)
def test_a_usual_gap_that_is_not_declared_is_warned_of(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture, gap: float, dtype: str
) -> None:
    raster = cells()
    raster[6:, :2] = raster[5, 5] = gap
    read(grid(4, 4), raster, kind="raster_mean", dtype=dtype, nodata=gap)
    assert "nodata" not in caplog.text
    read(grid(4, 4), raster, kind="raster_mean", dtype=dtype)
    assert f"labels.tif holds {gap:g} under 2 regions and declares no nodata; if that means 'missing'" in caplog.text
    assert f"gdal_edit.py -a_nodata {gap:g}" in caplog.text


def test_a_usual_gap_beside_the_declared_one_is_warned_of(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    raster = cells()
    raster[6:, :2], raster[5, 5] = -9999, -32768
    read(grid(4, 4), raster, kind="raster_mean", nodata=-9999)
    assert "labels.tif holds -32768 under 1 regions and declares another value, -9999, as nodata" in caplog.text
    assert "write -9999 in place of -32768" in caplog.text


@pytest.mark.parametrize("kind", ["raster_mean", "raster_sum", "raster_class"])
def test_infinite_cells_are_refused_with_the_region(grid: Grid, read: Read, kind: str) -> None:
    raster = np.round(cells() / 50)
    raster[7, 0], raster[0, 7] = np.inf, -np.inf
    with pytest.raises(LabelError, match=r"infinite values under 2 region\(s\), such as inf in region r0; if that"):
        read(grid(4, 4), raster, kind=kind)


def test_infinity_may_be_no_value(grid: Grid, read: Read) -> None:
    raster = np.round(cells() / 50)
    raster[7, 0] = np.inf
    assert read(grid(4, 4), raster, kind="raster_mean", nodata=np.inf).coverage[0] == pytest.approx(0.75)
    named = read(grid(4, 4), raster, kind="raster_class", classes={0: "low", 1: "some", 2: "high"})
    assert named.coverage[0] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("dtype", "codes", "names"),
    [
        ("int32", (1_110_001, 1_110_002), ("1110001", "1110002")),
        ("float64", (1_110_001, 1_110_002), ("1110001", "1110002")),
        ("int64", (2**60, 2**60 + 1), ("1152921504606846976", "1152921504606846977")),
        ("float32", (0.1, 3), ("0.1", "3")),
        ("float64", (0.1, 1e-9), ("1e-09", "0.1")),
    ],
)
def test_codes_keep_all_their_digits(
    grid: Grid, read: Read, dtype: str, codes: tuple[float, float], names: tuple[str, str]
) -> None:
    low = cells() < 50
    raster = np.where(low, *(np.array(code, dtype) for code in codes))
    units = read(grid(4, 4), raster, kind="raster_shares", dtype=dtype)
    assert units.classes == names
    np.testing.assert_allclose(units.values[:, names.index(f"{codes[0]}")], by_cells(low) / 4, atol=1e-6)
    named = read(grid(4, 4), raster, kind="raster_shares", dtype=dtype, classes={codes[0]: "a", codes[1]: "b"})
    assert set(named.classes) == {"a", "b"}


def test_a_class_that_looks_like_a_gap_is_warned_of(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    codes = np.where(cells() < 50, 1, 2)
    codes[6:, :2] = -32768
    assert read(grid(4, 4), codes, kind="raster_class", dtype="int16").classes == ("-32768", "1", "2")
    assert "holds -32768 under 1 regions and declares no nodata" in caplog.text


def test_a_raster_elsewhere_is_refused_with_both_extents(grid: Grid, read: Read) -> None:
    with pytest.raises(LabelError, match=r"do not overlap: labels span lon -116\.\d+ .* regions lon -117\.0000"):
        read(grid(4, 4), cells(), transform=north_up(X + 50_000, Y + 400, 50, 50))


def test_negative_amounts_are_refused_with_the_region(grid: Grid, read: Read) -> None:
    raster = cells()
    raster[7, 0] = -9999
    with pytest.raises(LabelError, match=r"such as -9999 in region r0; if that value means 'missing'"):
        read(grid(4, 4), raster)
    assert len(read(grid(4, 4), raster, kind="raster_mean")) == 16


def test_worldpop_of_singapore_adds_up(shared_data: Path, task: Callable[..., Task]) -> None:
    """Subzones hold what the raster's cells inside the island hold, summed without any polygon."""
    path = shared_data / "singapore" / "population_2024.tif"
    with rasterio.open(path) as raster:
        total = float(np.nansum(raster.read(1)[150:250, 200:350]))
        size, left, top = raster.transform.a, raster.transform.c, raster.transform.f
    west, east, north, south = left + 200 * size, left + 350 * size, top - 150 * size, top - 250 * size
    xs, ys = np.linspace(west, east, 6), np.linspace(south, north, 4)
    regions = gpd.GeoDataFrame(
        {"group": ""}, index=[f"r{number}" for number in range(15)],
        geometry=[shapely.box(xs[i], ys[j], xs[i + 1], ys[j + 1]) for i in range(5) for j in range(3)],
        crs="EPSG:4326",
    ).to_crs("EPSG:32648")  # fmt: skip
    units = read_units(task(path=path, column=None, kind="raster_sum", density=False, min_cover=0.0), regions)
    assert units.values.sum() == pytest.approx(total, rel=1e-3)


def test_densities_of_a_raster_in_degrees_are_by_area_on_the_ellipsoid(read: Read) -> None:
    """Far north, in Web Mercator, a region's own area is nine times too large; the ellipsoid's is the true one."""
    west, south, size = 20.0, 70.0, 0.01
    cells_of = [(column, row) for row in range(4) for column in range(4)]
    shapes = [shapely.box(west + size * i, south + size * j, west + size * (i + 1), south + size * (j + 1))
              for i, j in cells_of]  # fmt: skip
    regions = gpd.GeoDataFrame(
        {"group": ""}, index=[f"r{i}" for i in range(16)], geometry=shapes, crs="EPSG:4326"
    ).to_crs("EPSG:3857")  # fmt: skip
    people = np.random.default_rng(0).uniform(10, 100, (4, 4))
    units = read(regions, people, file_crs="EPSG:4326", transform=north_up(west, south + 4 * size, size, size))
    geod = Geod(ellps="WGS84")
    true = [abs(geod.geometry_area_perimeter(shape)[0]) / 1e6 for shape in shapes]
    np.testing.assert_allclose(units.values, people[::-1].ravel() / true, rtol=1e-4)
    assert (regions.area.to_numpy() / 1e6 / true).min() > 8
