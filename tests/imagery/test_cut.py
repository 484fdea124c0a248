"""Patches: exact where they can be, right everywhere else."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rasterio.windows import Window
from shapely.affinity import rotate

from mmgr.config import Images, Regions
from mmgr.imagery import Imagery, cut_patches
from mmgr.imagery.plan import plan_reading
from mmgr.regions import make_regions
from mmgr.store import Patches

Write = Callable[..., Path]
Noise = Callable[..., np.ndarray]
WEST, NORTH = 400_000.0, 4_000_000.0


def squares(*corners: tuple[float, float], edge: float = 32, crs: str = "EPSG:32611") -> gpd.GeoDataFrame:
    """Squares by their north-west corner, in columns and rows of 1 m."""
    boxes = [shapely.box(WEST + x, NORTH - y - edge, WEST + x + edge, NORTH - y) for x, y in corners]
    names = [f"r{number}" for number in range(len(boxes))]
    return gpd.GeoDataFrame({"group": ""}, index=names, geometry=boxes, crs=crs).rename_axis("region_id")


def cut(imagery: Imagery, regions: gpd.GeoDataFrame, pixels: int = 32, min_valid: float = 0.5) -> list[Patches]:
    found = cut_patches(imagery, regions, pixels=pixels, min_valid=min_valid)
    return sorted(found, key=lambda patches: patches.row)


def opened(path: Path, **more: Any) -> Imagery:
    return Imagery.open(Images(path=path, **more))


def last(data: np.ndarray) -> np.ndarray:
    return np.moveaxis(data, 0, 2)


def ramp(height: int = 200, width: int = 200) -> np.ndarray:
    """Bands: column, row, their sum; a value is the coordinate of the pixel's centre in metres."""
    row, column = np.mgrid[:height, :width] + 0.5
    return np.stack([column, row, column + row]).astype(np.float32)


KEEP = {"stretch": (0, 255)}
"""Floats whose values survive as they are."""


def test_a_region_on_the_images_pixels_is_the_file_bit_for_bit(write_image: Write, noise: Noise) -> None:
    data = noise(100, 120)
    imagery = opened(write_image("a.tif", data))
    (one,) = cut(imagery, squares((17, 40)))
    assert one.dates == ("",)
    assert np.array_equal(one.pixels[0], last(data[:, 40:72, 17:49]))
    assert one.pixels.dtype == np.uint8


@pytest.mark.parametrize("off", [0.0, 0.2, -0.2])
def test_a_region_a_hair_off_the_pixels_is_not_blurred(write_image: Write, noise: Noise, off: float) -> None:
    data = noise(100, 120)
    (one,) = cut(opened(write_image("a.tif", data)), squares((17 + off, 40 - off)))
    assert np.array_equal(one.pixels[0], last(data[:, 40:72, 17:49]))


def test_bands_are_read_in_the_order_asked(write_image: Write, noise: Noise) -> None:
    data = noise(64, 64, bands=4)
    (one,) = cut(opened(write_image("a.tif", data), bands=(4, 1)), squares((0, 0)))
    assert np.array_equal(one.pixels[0], last(data[[3, 0], :32, :32]))


def test_half_the_pixels_are_the_mean_of_four(write_image: Write, noise: Noise) -> None:
    data = noise()
    (one,) = cut(opened(write_image("a.tif", data)), squares((8, 4)), pixels=16)
    mean = data[:, 4:36, 8:40].reshape(3, 16, 2, 16, 2).astype(float).mean(axis=(2, 4))
    assert np.array_equal(one.pixels[0], last(np.rint(mean)))


def test_a_turned_image_is_read_on_its_own_pixels(write_image: Write, noise: Noise) -> None:
    data = noise(32, 32)
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    transform = Affine(cos, sin, WEST, sin, -cos, NORTH)  # turned by 30 degrees
    imagery = opened(write_image("a.tif", data, transform=transform))
    regions = make_regions(Regions(kind="footprints"), imagery)
    (one,) = cut(imagery, regions)
    assert np.array_equal(one.pixels[0], last(data))


def test_a_footprint_is_exact_in_the_next_zone_too(write_image: Write, noise: Noise) -> None:
    data = noise(64, 64)
    imagery = opened(write_image("a.tif", data))
    regions = make_regions(Regions(kind="footprints", crs="EPSG:32610"), imagery)
    (one,) = cut(imagery, regions, pixels=64)
    assert np.array_equal(one.pixels[0], last(data))


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=st.floats(5, 100),
    y=st.floats(5, 100),
    edge=st.floats(20, 80),
    pixels=st.sampled_from([16, 40, 100]),
    crs=st.sampled_from(["EPSG:32611", "EPSG:32610", "EPSG:5070"]),
)
def test_the_mean_of_a_ramp_is_the_centre(
    write_image: Write, x: float, y: float, edge: float, pixels: int, crs: str
) -> None:
    imagery = opened(write_image("ramp.tif", ramp()), **KEEP)
    regions = squares((x, y), edge=edge).to_crs(crs)
    (one,) = cut(imagery, regions, pixels=pixels, min_valid=0)
    centre = regions.to_crs("EPSG:32611").geometry.iloc[0].centroid
    inside = (one.pixels[0] > 0).any(axis=2)
    if inside.all():  # a square of another CRS may reach beyond the image
        mean = one.pixels[0].reshape(-1, 3).mean(axis=0)
        assert mean[:2] == pytest.approx([centre.x - WEST, NORTH - centre.y], abs=1)
    middle = one.pixels[0][pixels // 2 - 1 : pixels // 2 + 1, pixels // 2 - 1 : pixels // 2 + 1]
    assert middle.reshape(-1, 3).mean(axis=0)[:2] == pytest.approx([centre.x - WEST, NORTH - centre.y], abs=1.5)


def test_a_warped_patch_has_north_up(write_image: Write) -> None:
    imagery = opened(write_image("ramp.tif", ramp()), **KEEP)
    (one,) = cut(imagery, squares((80, 80)).to_crs("EPSG:32610"), pixels=32)
    view = one.pixels[0].astype(int)
    assert (view[:, -1, 0] > view[:, 0, 0] + 25).all()  # eastings grow to the right
    assert (view[-1, :, 1] > view[0, :, 1] + 25).all()  # rows grow downwards


def test_degrees_are_read_into_metres(write_image: Write) -> None:
    transform = Affine(1e-5, 0, -118.3, 0, -1e-5, 34.1)
    data = np.stack([np.full((400, 400), value, np.uint8) for value in (10, 20, 30)])
    imagery = opened(write_image("a.tif", data, crs="EPSG:4326", transform=transform))
    regions = make_regions(Regions(kind="grid", size=50), imagery)
    found = [patches for patches in cut(imagery, regions) if len(patches.pixels)]
    assert len(found) > 40
    for patches in found:
        inside = (patches.pixels[0] > 0).all(axis=2)
        assert (patches.pixels[0][inside] == [10, 20, 30]).all()


@pytest.mark.parametrize("offset", [(0, 0), (0.4, 0.4)])
def test_a_mosaic_has_no_seam(write_image: Write, offset: tuple[float, float]) -> None:
    whole = ramp(100, 120)
    write_image("left.tif", whole[:, :, :47])
    path = write_image("right.tif", whole[:, :, 47:], at=(47, 0))
    (one,) = cut(opened(path.parent, **KEEP), squares((30 + offset[0], 30 + offset[1])))
    (same,) = cut(opened(write_image("../one/whole.tif", whole), **KEEP), squares((30 + offset[0], 30 + offset[1])))
    assert np.abs(one.pixels[0].astype(int) - same.pixels[0]).max() <= 1


def test_other_files_fill_the_holes_of_the_first(write_image: Write) -> None:
    first = np.full((3, 64, 64), 50, np.uint8)
    first[:, 10:20, 10:20] = 0
    write_image("a.tif", first, nodata=0)
    path = write_image("b.tif", np.full((3, 64, 64), 90, np.uint8))
    (one,) = cut(opened(path.parent), squares((0, 0)))
    expected = np.full((32, 32), 50)
    expected[10:20, 10:20] = 90
    assert np.array_equal(one.pixels[0][:, :, 0], expected)


@pytest.mark.parametrize("how", ["nodata", "setting", "mask", "alpha", "nan"])
@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:32610"])
def test_pixels_without_image_are_0_and_counted(write_image: Write, how: str, crs: str) -> None:
    hole = np.zeros((64, 64), bool)
    hole[:, 16:] = True
    data = np.full((3, 64, 64), 200, np.float32 if how == "nan" else np.uint8)
    data[:, hole] = {"nodata": 7, "setting": 7, "nan": np.nan}.get(how, 99)
    more: dict[str, Any] = {"nodata": 7} if how == "nodata" else {}
    if how == "mask":
        more["mask"] = ~hole
    if how == "alpha":
        data = np.concatenate([data, np.where(hole, 0, 255).astype(np.uint8)[None]])
        more |= {"photometric": "RGB", "alpha": "YES"}
    asked: dict[str, Any] = {"nodata": 7} if how == "setting" else KEEP if how == "nan" else {}
    imagery = opened(write_image("a.tif", data, **more), **asked)
    regions = squares((8, 8), edge=32).to_crs(crs)
    (none,) = cut(imagery, regions, min_valid=0.5)
    assert none.pixels.shape == (0, 32, 32, 3)
    (one,) = cut(imagery, regions, min_valid=0.2)
    view = one.pixels[0]
    slack = 1 if crs == "EPSG:32611" else 3  # a warped square is turned by two degrees
    assert (view[slack:-slack, : 8 - slack] == 200).all()
    assert (view[:, 8 + slack :] == 0).all()
    assert set(np.unique(view)) == {0, 200}


def test_sixteen_bits_are_stretched_and_holes_stay_0(write_image: Write) -> None:
    data = np.full((3, 64, 64), 1000, np.uint16)
    data[:, :, 16:] = 3000
    data[:, :4] = 65535
    imagery = opened(write_image("a.tif", data, nodata=65535), stretch=(0, 4000))
    (one,) = cut(imagery, squares((0, 0)))
    assert (one.pixels[0][:4] == 0).all()
    assert (one.pixels[0][4:, :16] == 64).all()
    assert (one.pixels[0][4:, 16:] == 191).all()


def test_dates_are_sorted_views(write_image: Write, noise: Noise) -> None:
    data = {date: noise(seed=date) for date in (2020, 2016, 2018)}
    for date, values in data.items():
        path = write_image(f"place_{date}.tif", values, at=(0, 0) if date != 2018 else (20, 0))
    imagery = opened(path.parent)
    all_three, without_2018 = cut(imagery, squares((24, 0), (0, 0)))
    assert all_three.dates == ("2016", "2018", "2020")
    assert without_2018.dates == ("2016", "2020")
    assert np.array_equal(without_2018.pixels[1], last(data[2020][:, :32, :32]))


def test_regions_are_skipped_and_those_without_image_are_yielded(write_image: Write, noise: Noise) -> None:
    imagery = opened(write_image("a.tif", noise()))
    regions = squares((0, 0), (32, 0), (5000, 0))
    found = list(cut_patches(imagery, regions, pixels=32, min_valid=0.5, skip={"r0"}))
    assert [patches.row for patches in found] == [1, 2]
    assert [len(patches.pixels) for patches in found] == [1, 0]


def _break_in_the_middle(path: Path) -> None:
    """Spoil a block in the middle: the file opens, and its last block is there."""
    with rasterio.open(path) as raster:
        offset = int(raster.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
        size = int(raster.get_tag_item("BLOCK_SIZE_1_1", "TIFF", bidx=1))
    content = bytearray(path.read_bytes())
    content[offset : offset + size] = b"\xff" * size
    path.write_bytes(content)


@pytest.mark.parametrize("crs", ["EPSG:32611", "EPSG:32610"])
def test_a_file_that_fails_while_it_is_read_is_set_aside(write_image: Write, noise: Noise, crs: str) -> None:
    options = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "deflate"}
    write_image("good_2018.tif", noise(192, 192), **options)
    path = write_image("torn_2020.tif", noise(192, 192, seed=1), **options)
    _break_in_the_middle(path)
    imagery = opened(path.parent)
    assert imagery.set_aside == ()
    found = cut(imagery, squares((8, 8), (80, 80), (140, 140)).to_crs(crs))
    assert [patches.dates for patches in found] == [("2018", "2020"), ("2018",), ("2018",)]
    (entry,) = imagery.set_aside
    assert entry.path == path
    assert "cannot be read at x " in entry.reason


def test_gdal_says_nothing_on_standard_error(write_image: Write, noise: Noise) -> None:
    path = write_image("a.tif", noise(192, 192), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    _break_in_the_middle(path)
    path.with_name("text.tif").write_text("no image", encoding="utf-8")
    code = (
        "import sys, logging; logging.getLogger('mmgr').addHandler(logging.NullHandler())\n"
        "from pathlib import Path; from mmgr.config import Images, Regions\n"
        "from mmgr.imagery import Imagery, cut_patches; from mmgr.regions import make_regions\n"
        "imagery = Imagery.open(Images(path=Path(sys.argv[1])))\n"
        "regions = make_regions(Regions(kind='grid', size=64), imagery)\n"
        "print(sum(len(p.pixels) for p in cut_patches(imagery, regions, pixels=64, min_valid=0.5)))\n"
        "print(len(imagery.set_aside))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path.parent)], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == ["4", "2"]


def test_regions_are_visited_along_rows_of_blocks(write_image: Write, noise: Noise) -> None:
    path = write_image("a.tif", noise(128, 128), tiled=True, blockxsize=64, blockysize=64)
    write_image("b.tif", noise(128, 128), at=(128, 0), tiled=True, blockxsize=64, blockysize=64)
    corners = [(x, y) for x in (160, 96, 0, 32) for y in (96, 0, 32)]
    regions = squares(*corners)
    plan = plan_reading(opened(path.parent), regions)
    visited = [corners[row] for row in plan.order]
    assert visited == sorted(visited, key=lambda corner: (corner[0] >= 128, corner[1] // 64, corner[0]))
    assert all(len(plan.files_of(row)) == 1 for row in range(len(regions)))  # neighbours only touch


def test_an_overview_gives_nearly_the_full_mean(write_image: Write) -> None:
    smooth = ramp(512, 512) / 4
    path = write_image("a.tif", smooth, tiled=True, blockxsize=128, blockysize=128)
    imagery = opened(path, **KEEP)
    (full,) = cut(imagery, squares((0, 0), edge=512), pixels=32)
    with rasterio.open(path, "r+") as raster:
        raster.build_overviews([2, 4, 8], rasterio.enums.Resampling.average)
    with_overviews = opened(path, **KEEP)
    assert with_overviews.files[0].overviews == (2, 4, 8)
    (fast,) = cut(with_overviews, squares((0, 0), edge=512), pixels=32)
    assert np.abs(full.pixels[0].astype(int) - fast.pixels[0]).max() <= 1


def test_a_polygon_is_cut_as_the_square_around_it(write_image: Write, noise: Noise) -> None:
    data = noise(100, 100)
    diamond = rotate(shapely.box(0, 0, 32 / 2**0.5, 32 / 2**0.5), 45)
    box = shapely.affinity.translate(diamond, WEST + 50 - diamond.centroid.x, NORTH - 50 - diamond.centroid.y)
    regions = squares((0, 0)).set_geometry([box], crs="EPSG:32611")
    (one,) = cut(opened(write_image("a.tif", data)), regions)
    assert np.array_equal(one.pixels[0], last(data[:, 34:66, 34:66]))


def _exact(files: Sequence[Any], patches: Patches, place: str) -> list[bool]:
    found = []
    for date, view in zip(patches.dates, patches.pixels, strict=True):
        (file,) = [file for file in files if file.place == place and file.date == date]
        with rasterio.open(file.path) as raster:
            found.append(np.array_equal(last(raster.read(window=Window(0, 0, 256, 256))), view))
    return found


def test_real_patches_are_the_files_bit_for_bit(shared_data: Path) -> None:
    """Footprints given in degrees, regions in another zone than the files: still the file's own pixels."""
    california = shared_data / "california"
    imagery = Imagery.open(Images(path=california / "images/palm_springs"))
    tiles = Regions(kind="footprints", path=california / "tiles.geojson", id="tile", group="city", crs="EPSG:32610")
    regions = make_regions(tiles, imagery)
    assert set(regions["group"]) == {"palm_springs"}
    exact = []
    for patches in cut_patches(imagery, regions, pixels=256, min_valid=0.5):
        exact += _exact(imagery.files, patches, regions.index[patches.row])
    assert len(exact) == len(imagery.files)
    assert all(exact)


class _Counted(io.FileIO):
    """A file that counts the bytes that are read of it."""

    bytes_read = 0

    def read(self, size: int = -1) -> bytes:
        found = super().read(size) or b""
        _Counted.bytes_read += len(found)
        return found


def test_no_strip_is_decoded_twice(write_image: Write, noise: Noise, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regions in any order: each byte of a file in strips is read once, though the cache holds a third of it."""
    path = write_image("strips.tif", noise(1024, 1024), compress="deflate", blockysize=16)
    regions = squares(*((x, y) for y in range(0, 1024, 64) for x in range(0, 1024, 64)), edge=64)
    regions = regions.sample(frac=1, random_state=0)
    plain = rasterio.open
    monkeypatch.setattr(rasterio, "open", lambda file, **more: plain(file, opener=_Counted, **more))
    monkeypatch.setattr("mmgr.imagery.gdal.CACHE_BYTES", 2**20)
    imagery = opened(path)
    _Counted.bytes_read = 0
    assert len(cut(imagery, regions, pixels=64)) == 256
    assert _Counted.bytes_read < 1.05 * path.stat().st_size

    # what the order saves: the same windows as the regions come
    _Counted.bytes_read = 0
    with rasterio.Env(GDAL_CACHEMAX=2**20), rasterio.open(path) as raster:
        for west, _, _, north in regions.bounds.to_numpy():
            raster.read(window=Window(west - WEST, NORTH - north, 64, 64))
    assert _Counted.bytes_read > 3 * path.stat().st_size
