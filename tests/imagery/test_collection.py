"""Which images there are, what is set aside, and how values are stretched."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from pyproj import CRS, Geod, Transformer
from rasterio.enums import ColorInterp

from mmgr.config import Images
from mmgr.errors import ImageryError, RegionError
from mmgr.imagery import Imagery, choose_crs, store_crs
from mmgr.imagery.stretch import apply_stretch

Write = Callable[..., Path]
Noise = Callable[..., np.ndarray]


def test_a_folder_is_searched_with_its_sub_folders(write_image: Write, noise: Noise) -> None:
    write_image("a/x_2018.tif", noise())
    root = write_image("b/y_2020.TIFF", noise(), at=(100, 0)).parents[1]
    (root / "notes.txt").write_text("no image", encoding="utf-8")
    (root / ".hidden").mkdir()
    shutil.copy(root / "a/x_2018.tif", root / ".hidden/z.tif")
    imagery = Imagery.open(Images(path=root))
    assert [(file.path.name, file.folder, file.date, file.place) for file in imagery.files] == [
        ("x_2018.tif", "a", "2018", "x"),
        ("y_2020.TIFF", "b", "2020", "y"),
    ]
    assert imagery.crs == CRS.from_epsg(32611)
    assert imagery.set_aside == ()
    assert imagery.files[1].footprint.bounds == (400_100, 3_999_936, 400_164, 4_000_000)


def test_a_date_comes_from_the_tag_where_the_name_has_none(write_image: Write, noise: Noise) -> None:
    path = write_image("plain.tif", noise())
    with rasterio.open(path, "r+") as raster:
        raster.update_tags(TIFFTAG_DATETIME="2019:07:04 10:11:12")
    assert Imagery.open(Images(path=path)).files[0].date == "2019-07-04"


def test_a_vrt_of_tiles_that_are_used_themselves_is_left_out(write_image: Write, noise: Noise) -> None:
    tile = write_image("tile.tif", noise())
    rasterio.shutil.copy(tile, tile.with_name("all.vrt"), driver="VRT")
    assert [file.path.name for file in Imagery.open(Images(path=tile.parent)).files] == ["tile.tif"]
    assert len(Imagery.open(Images(path=tile.with_name("all.vrt")))) == 1


def test_unusable_files_are_set_aside_with_their_reason(write_image: Write, noise: Noise) -> None:
    good = write_image("good.tif", noise())
    write_image("nowhere.tif", noise(), crs=None)
    write_image("torn.tif", noise(300, 300), tiled=True, blockxsize=64, blockysize=64)
    torn = good.with_name("torn.tif")
    torn.write_bytes(torn.read_bytes()[: torn.stat().st_size * 2 // 3])
    good.with_name("text.tif").write_text("not an image", encoding="utf-8")
    good.with_name("void.tif").touch()
    imagery = Imagery.open(Images(path=good.parent))
    assert [file.path for file in imagery.files] == [good]
    reasons = {entry.path.name: entry.reason for entry in imagery.set_aside}
    assert sorted(reasons) == ["nowhere.tif", "text.tif", "torn.tif", "void.tif"]
    assert reasons["nowhere.tif"] == "has no CRS"
    assert "truncated: its last block ends at byte" in reasons["torn.tif"]
    assert "not recognized" in reasons["text.tif"]


def test_a_crs_without_a_place_is_set_aside(write_image: Write, noise: Noise) -> None:
    good = write_image("good.tif", noise())
    with pytest.warns(rasterio.errors.NotGeoreferencedWarning):
        write_image("lost.tif", noise(), transform=Affine.identity())
    assert "no geotransform" in Imagery.open(Images(path=good.parent)).set_aside[0].reason


def test_images_without_any_crs_are_one_error_with_the_remedy(write_image: Write, noise: Noise) -> None:
    path = write_image("a.tif", noise(), crs=None)
    with pytest.raises(ImageryError, match=r"gdal_edit\.py -a_srs EPSG:xxxx"):
        Imagery.open(Images(path=path.parent))


def test_missing_empty_and_hopeless_folders_are_errors(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(ImageryError, match=r"does not exist. Did you mean images"):
        Imagery.open(Images(path=tmp_path / "image"))
    (tmp_path / "images/a.jpg").touch()
    with pytest.raises(ImageryError, match=r"holds no image .*1 of suffix \.jpg"):
        Imagery.open(Images(path=tmp_path / "images"))
    for number in range(7):
        (tmp_path / f"images/{number}.tif").write_text("x", encoding="utf-8")
    with pytest.raises(ImageryError, match=r"(?s)none of the 7 files .*and 2 more"):
        Imagery.open(Images(path=tmp_path / "images"))


def test_too_few_bands_name_file_count_and_bands(write_image: Write, noise: Noise) -> None:
    path = write_image("grey.tif", noise(bands=2))
    with pytest.raises(ImageryError, match=r"grey\.tif has 2 bands, but `images\.bands` asks for 1, 2, 3"):
        Imagery.open(Images(path=path))


def test_a_palette_is_told_how_to_expand(write_image: Write, noise: Noise) -> None:
    path = write_image("palette.tif", noise(bands=1))
    with rasterio.open(path, "r+") as raster:
        raster.write_colormap(1, {0: (0, 0, 0, 255), 1: (255, 0, 0, 255)})
        raster.colorinterp = [ColorInterp.palette]
    with pytest.raises(ImageryError, match="gdal_translate -expand rgb"):
        Imagery.open(Images(path=path))


def test_eight_bit_images_are_not_stretched_unless_asked(write_image: Write, noise: Noise) -> None:
    path = write_image("a.tif", noise())
    assert Imagery.open(Images(path=path)).stretch == {}
    fixed = Imagery.open(Images(path=path, stretch=(10, 20))).stretch["uint8"]
    values = np.array([[[0, 10, 15], [20, 30, 12]]], np.uint8)
    assert apply_stretch(values, fixed)[0].round(2).tolist() == [[0, 0, 127.5], [255, 255, 51]]
    with pytest.raises(ImageryError, match="20 is not below 10"):
        Imagery.open(Images(path=path, stretch=(20, 10)))


def test_sixteen_bits_are_stretched_between_percentiles_of_valid_values(write_image: Write) -> None:
    rng = np.random.default_rng(0)
    data = rng.normal([[[1000]], [[2000]], [[3000]]], 100, (3, 64, 64)).astype(np.uint16)
    data[:, :32] = 0
    path = write_image("a.tif", data, nodata=0)
    stretch = Imagery.open(Images(path=path)).stretch["uint16"]
    expected = np.percentile(data[:, 32:].reshape(3, -1), [2, 98], axis=1).T
    assert stretch == pytest.approx(expected, abs=1)


def test_an_image_of_nodata_alone_has_no_stretch(write_image: Write) -> None:
    path = write_image("a.tif", np.zeros((3, 64, 64), np.uint16), nodata=0)
    with pytest.raises(ImageryError, match=r"set `images\.stretch`"):
        Imagery.open(Images(path=path))


def test_a_constant_image_can_be_stretched(write_image: Write) -> None:
    path = write_image("a.tif", np.full((3, 64, 64), 7, np.uint16))
    assert Imagery.open(Images(path=path)).stretch["uint16"].tolist() == [[7, 8]] * 3


def holed(dtype: str, value: float, rows: int) -> np.ndarray:
    """Values about 1000 (8 bits: 100) with ``rows`` of 64 rows of another value in all bands."""
    middle, spread = (100, 20) if dtype == "uint8" else (1000, 100)
    data = np.random.default_rng(0).normal(middle, spread, (3, 64, 64)).clip(1, 2000).astype(dtype)
    data[:, :rows] = value
    return data


@pytest.mark.parametrize(
    ("dtype", "value", "rows", "words"),
    [
        ("uint8", 0, 30, "47 % of the sampled pixels of {} are exactly 0 in all bands; if that is no data, set"),
        ("uint8", 255, 7, "11 % of the sampled pixels of {} are exactly 255 in all bands"),
        ("uint16", 0, 16, "25 % of the sampled pixels of {} are exactly 0 in all bands"),
        ("uint16", 65535, 2, "3.1 % of the sampled pixels of {} are exactly 65535 in all bands"),
        ("int16", -32768, 1, "1.6 % of the sampled pixels of {} are exactly -32768 in all bands; .*nodata: -32768"),
        ("float32", -9999, 1, "1.6 % of the sampled pixels of {} are exactly -9999 in all bands; .*nodata: -9999"),
    ],
)  # fmt: skip
def test_values_that_look_like_no_image_are_told_of(
    write_image: Write, caplog: pytest.LogCaptureFixture, dtype: str, value: float, rows: int, words: str
) -> None:
    path = write_image("a.tif", holed(dtype, value, rows))
    imagery = Imagery.open(Images(path=path))
    assert re.search(words.format(re.escape(str(path))), caplog.text)
    assert caplog.text.count("sampled pixels") == 1
    assert [gap.value for gap in imagery.gaps] == [value]
    caplog.clear()
    assert Imagery.open(Images(path=path, nodata=value, stretch=(0, 99))).gaps == ()
    assert "sampled pixels" not in caplog.text


@pytest.mark.parametrize(
    ("dtype", "value", "rows"), [("uint8", 0, 6), ("uint8", 255, 6), ("uint16", 900, 30), ("uint8", 7, 40)]
)
def test_some_black_water_or_a_roof_in_the_sun_is_no_gap(
    write_image: Write, caplog: pytest.LogCaptureFixture, dtype: str, value: int, rows: int
) -> None:
    write_image("a.tif", holed(dtype, value, rows))
    data = holed("uint8", 100, 0)
    data[0, :30] = 0  # of one band alone
    path = write_image("b.tif", data)
    assert Imagery.open(Images(path=path.parent)).gaps == ()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_what_a_mask_says_is_believed(write_image: Write, caplog: pytest.LogCaptureFixture) -> None:
    path = write_image("a.tif", holed("uint8", 0, 30), mask=np.full((64, 64), 255, np.uint8))
    assert Imagery.open(Images(path=path)).gaps == ()
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_gap_beside_a_declared_one_is_to_be_written_as_that(
    write_image: Write, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_image("a.tif", holed("float32", -9999, 2), nodata=-1)
    Imagery.open(Images(path=path, nodata=0))
    assert "if that is no data as -1 is, write -1 in its place" in caplog.text


def test_the_worst_of_several_files_is_named(write_image: Write, caplog: pytest.LogCaptureFixture) -> None:
    for number, rows in enumerate((0, 20, 40, 2)):
        path = write_image(f"{number}.tif", holed("uint8", 0, rows), at=(100 * number, 0))
    Imagery.open(Images(path=path.parent))
    assert "62 % of the sampled pixels of" in caplog.text
    assert "2.tif and 1 more are exactly 0" in caplog.text


@pytest.mark.parametrize(("dtype", "value"), [("float32", -9999), ("float32", np.finfo("f4").min), ("uint16", 65535)])
def test_a_gap_far_outside_does_not_decide_the_stretch(write_image: Write, dtype: str, value: float) -> None:
    data = holed(dtype, value, 20)
    stretch = Imagery.open(Images(path=write_image("a.tif", data))).stretch[dtype]
    assert stretch == pytest.approx(np.percentile(data[:, 20:].reshape(3, -1), [2, 98], axis=1).T, rel=1e-4)


def test_a_gap_near_other_values_may_be_light_and_stays_in_the_stretch(write_image: Write) -> None:
    data = np.random.default_rng(0).integers(200, 3000, (3, 64, 64)).astype(np.uint16)
    data[:, :30] = 0
    imagery = Imagery.open(Images(path=write_image("a.tif", data)))
    assert len(imagery.gaps) == 1
    assert imagery.stretch["uint16"] == pytest.approx(np.percentile(data.reshape(3, -1), [2, 98], axis=1).T, abs=1)


def test_the_store_crs_is_the_images_own_if_it_is_metric(write_image: Write, noise: Noise) -> None:
    imagery = Imagery.open(Images(path=write_image("a.tif", noise())))
    assert store_crs(imagery, None) == CRS.from_epsg(32611)
    assert store_crs(imagery, "EPSG:5070") == CRS.from_epsg(5070)
    with pytest.raises(RegionError, match=r"EPSG:4326 .* geographic.*EPSG:32611"):
        store_crs(imagery, "EPSG:4326")
    with pytest.raises(RegionError, match="no known CRS"):
        store_crs(imagery, "EPSG:none")


@pytest.mark.parametrize(("crs", "pixel"), [("EPSG:4326", 1e-5), ("EPSG:3857", 1.0)])
def test_degrees_and_web_mercator_give_way_to_utm(write_image: Write, noise: Noise, crs: str, pixel: float) -> None:
    origin = (-118.3, 34.1) if crs == "EPSG:4326" else (-13_169_000, 4_043_000)
    transform = Affine(pixel, 0, origin[0], 0, -pixel, origin[1])
    imagery = Imagery.open(Images(path=write_image("a.tif", noise(), crs=crs, transform=transform)))
    assert store_crs(imagery, None) == CRS.from_epsg(32611)


def test_a_crs_that_distorts_areas_is_refused_even_where_it_is_asked_for() -> None:
    """At 48 degrees Web Mercator makes an area 1 / cos(48)^2 = 2.23 times what it is."""
    munich, stuck = (11.4, 48.0, 11.7, 48.2), r"makes areas 2\.2\d times .* where the POIs are .*EPSG:32632"
    with pytest.raises(RegionError, match=stuck):
        choose_crs(munich, "EPSG:3857", what="the POIs")
    with pytest.raises(RegionError, match=r"has no place for the POIs.*EPSG:32747"):
        choose_crs((100.0, -1.0, 100.1, 0.0), "EPSG:32632", what="the POIs")
    with pytest.raises(RegionError, match=r"set it to .* or make a run for each city\.$"):
        choose_crs((-120.0, 30.0, -80.0, 45.0), "EPSG:3857", what="the POIs")
    # at the equator it is true, and so is a national one in its country
    assert choose_crs((103.7, 1.2, 103.9, 1.4), "EPSG:3857", what="the POIs") == CRS.from_epsg(3857)
    assert choose_crs((2.2, 48.8, 2.4, 48.9), "EPSG:2154", what="the POIs") == CRS.from_epsg(2154)


@pytest.mark.parametrize(("crs", "north", "east"), [("EPSG:6933", 0.575, 1.74), ("ESRI:54034", 0.499, 2.01)])
def test_an_equal_area_crs_far_from_where_it_is_true_is_refused(crs: str, north: float, east: float) -> None:
    """On a cylinder a parallel is cos(s) / cos(latitude) times as long, s being where it is true: here 30 or 0 degrees.

    On the ellipsoid at 60.17 degrees that is 1.738 and 2.005, and a meridian, since areas are kept, 1 / 1.738 and
    1 / 2.005.
    """
    helsinki = (24.94, 60.17, 24.94, 60.17)
    said = rf"makes lengths {north:g} times .* from north to south and {east:g} times from east to west .*EPSG:32635"
    with pytest.raises(RegionError, match=said):
        choose_crs(helsinki, crs, what="the POIs")


def test_lengths_in_an_equal_area_crs_are_those_of_a_geodesic() -> None:
    """A square kilometre of EPSG:6933 in Helsinki, measured on the ellipsoid."""
    helsinki = (24.94, 60.17)
    x, y = Transformer.from_crs(4326, 6933, always_xy=True).transform(*helsinki)
    corners = np.array([(x, y), (x + 1000, y), (x, y + 1000)])
    lon, lat = Transformer.from_crs(6933, 4326, always_xy=True).transform(*corners.T)
    _, _, (wide, high) = Geod(ellps="WGS84").inv(lon[[0, 0]], lat[[0, 0]], lon[1:], lat[1:])
    with pytest.raises(RegionError) as refused:
        choose_crs((*helsinki, *helsinki), "EPSG:6933", what="the POIs")
    told = re.search(r"a square of 1000 m is (\d+) m high and (\d+) m wide", str(refused.value))
    assert told is not None
    assert [float(number) for number in told.groups()] == pytest.approx([high, wide], rel=2e-3)


def test_cities_far_apart_are_looked_at_where_they_are_not_in_their_middle() -> None:
    """London and Sydney: at the latitude between them Web Mercator is nearly true, in neither city."""
    with pytest.raises(RegionError, match=r"makes areas 2\.\d+ times .*latitude 51\.50\).* make a run for each city"):
        choose_crs((-0.1, -33.9, 151.2, 51.5), "EPSG:3857", what="the POIs")


def test_a_crs_true_in_one_direction_only_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    singapore = (103.7, 1.2, 103.9, 1.4)
    with caplog.at_level("WARNING", "mmgr"):
        assert choose_crs(singapore, "EPSG:6933", what="the POIs") == CRS.from_epsg(6933)
    assert "makes lengths 1.15 times what they are from north to south and 0.867 times from east" in caplog.text
    assert "off by as much" in caplog.text
    assert "EPSG:32648" in caplog.text


def test_a_crs_whose_lengths_are_wrong_between_north_and_east_tells_so(caplog: pytest.LogCaptureFixture) -> None:
    """Far from the centre of Europe's azimuthal CRS the axes of its ellipses are neither meridians nor parallels."""
    with caplog.at_level("WARNING", "mmgr"):
        choose_crs((-95.0, 58.0, -94.9, 58.1), "EPSG:3035", what="the POIs")
    assert "makes lengths 0.889 to 1.12 times what they are, by their direction, where the POIs are" in caplog.text


def test_images_in_an_equal_area_crs_that_is_not_true_there_give_way_to_utm(write_image: Write, noise: Noise) -> None:
    transform = Affine(1, 0, 2_406_000, 0, -1, 6_340_000)
    imagery = Imagery.open(Images(path=write_image("a.tif", noise(), crs="EPSG:6933", transform=transform)))
    assert store_crs(imagery, None) == CRS.from_epsg(32635)


def test_a_national_crs_that_is_a_little_off_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    """Statistics Canada's Lambert is true at 49 and 77 degrees, and makes areas larger south of that."""
    south = (-82.8, 41.8, -82.4, 42.2)
    with caplog.at_level("WARNING", "mmgr"):
        assert choose_crs(south, "EPSG:3347", what="the POIs") == CRS.from_epsg(3347)
    assert "makes areas 1.07 times what they are where the POIs are" in caplog.text
    assert "EPSG:32617" in caplog.text


def test_images_too_far_apart_ask_for_a_crs(write_image: Write, noise: Noise) -> None:
    for number, longitude in enumerate((-120, -100)):
        transform = Affine(1e-5, 0, longitude, 0, -1e-5, 34)
        path = write_image(f"{number}.tif", noise(), crs="EPSG:4326", transform=transform)
    imagery = Imagery.open(Images(path=path.parent))
    with pytest.raises(RegionError, match=r"too far for one UTM zone; set `regions\.crs`"):
        store_crs(imagery, None)
    assert store_crs(imagery, "EPSG:5070") == CRS.from_epsg(5070)


def test_images_across_the_date_line_are_near_each_other(write_image: Write, noise: Noise) -> None:
    for number, longitude in enumerate((179.9, -179.9)):
        transform = Affine(1e-5, 0, longitude, 0, -1e-5, -17)
        path = write_image(f"{number}.tif", noise(), crs="EPSG:4326", transform=transform)
    imagery = Imagery.open(Images(path=path.parent))
    assert imagery.lonlat_bounds[2] - imagery.lonlat_bounds[0] == pytest.approx(0.2, abs=0.01)
    assert store_crs(imagery, None) in {CRS.from_epsg(32701), CRS.from_epsg(32760)}
