"""Regions: grids, footprints and polygons."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from mmgr.config import Images, Regions
from mmgr.errors import InputError, RegionError
from mmgr.imagery import ImageFile, Imagery
from mmgr.regions import (
    crs_of_polygons,
    crs_on_images,
    make_regions,
    make_regions_over,
    polygon_bounds,
    region_edge,
)

UTM = CRS.from_epsg(32611)


def image(
    name: str = "a.tif",
    *,
    left: float = 400_000,
    top: float = 4_000_000,
    width: int = 1000,
    height: int = 800,
    pixel: float = 1.0,
    crs: CRS = UTM,
    folder: str = "",
    place: str = "a",
    date: str = "",
) -> ImageFile:
    return ImageFile(
        path=Path(folder) / name,
        crs=crs,
        transform=Affine(pixel, 0, left, 0, -pixel, top),
        width=width,
        height=height,
        count=3,
        dtype="uint8",
        nodata=None,
        date=date,
        place=place,
        folder=folder,
        block_height=64,
        overviews=(),
    )


def imagery(*files: ImageFile) -> Imagery:
    return Imagery(files, bands=(1, 2, 3), stretch={})


def grid(size: float = 100, unit: str = "metres", **more: object) -> Regions:
    return Regions.model_validate({"kind": "grid", "size": size, "unit": unit} | more)


def test_cells_of_a_mosaic_start_at_its_own_corner() -> None:
    regions = make_regions(grid(), imagery(image(left=400_003.5, top=4_000_001.5)))
    assert len(regions) == 80
    assert regions.index.name == "region_id"
    assert regions.loc["x00000_y00000"].geometry.bounds == (400_003.5, 3_999_901.5, 400_103.5, 4_000_001.5)
    assert regions.loc["x00009_y00007"].geometry.bounds == (400_903.5, 3_999_201.5, 401_003.5, 3_999_301.5)
    assert set(regions["group"]) == {""}
    assert region_edge(regions) == pytest.approx(100)


def test_pixels_are_a_unit() -> None:
    regions = make_regions(grid(256, "pixels"), imagery(image(pixel=0.6)))
    assert region_edge(regions) == pytest.approx(153.6)


def test_cells_in_another_crs_lie_on_multiples_of_the_edge() -> None:
    regions = make_regions(grid(crs="EPSG:32610"), imagery(image()))
    assert regions.crs == CRS.from_epsg(32610)
    assert np.abs(regions.bounds.to_numpy() % 100).max() == 0


def test_scattered_images_get_cells_only_where_they_are() -> None:
    far = imagery(image(width=100, height=100), image("b.tif", left=500_000, width=100, height=100))
    assert list(make_regions(grid(), far).index) == ["x00000_y00000", "x01000_y00000"]


def test_an_absurd_size_is_refused() -> None:
    with pytest.raises(RegionError, match=r"choose a larger `regions.size`"):
        make_regions(grid(0.01), imagery(image()))


@settings(deadline=None, max_examples=40)
@given(
    left=st.floats(3e5, 6e5),
    top=st.floats(1e6, 5e6),
    width=st.integers(1, 900),
    height=st.integers(1, 900),
    edge=st.floats(40, 400),
    aligned=st.booleans(),
)
def test_cells_tile_the_images_without_overlap(
    left: float, top: float, width: int, height: int, edge: float, *, aligned: bool
) -> None:
    file = image(left=left, top=top, width=width, height=height, pixel=0.7)
    # a second image off the first one's pixels puts the grid on multiples of its edge
    files = [file] if aligned else [file, image("b.tif", left=left + 0.33, top=top, width=1, height=1, pixel=0.7)]
    regions = make_regions(grid(edge), imagery(*files))
    union = regions.union_all()
    assert union.area == pytest.approx(len(regions) * edge**2, rel=1e-6)  # no overlap
    assert file.footprint.difference(union).area < 1e-4 * edge**2  # all is covered
    assert all(shapely.intersects(cell, shapely.box(*_bounds(files))) for cell in regions.geometry)
    again = make_regions(grid(edge), imagery(*reversed(files)))
    assert list(again.index) == list(regions.index)
    assert regions.index.is_unique


def _bounds(files: list[ImageFile]) -> tuple[float, ...]:
    return shapely.total_bounds(np.array([file.footprint for file in files], object))


def test_files_of_one_place_are_one_region() -> None:
    files = [
        image("chico_2016_1.tif", place="chico_1", date="2016"),
        image("chico_2018_1.tif", place="chico_1", date="2018", left=400_000.4),
        image("chico_2018_2.tif", place="chico_2", date="2018", left=401_000),
    ]
    regions = make_regions(Regions(kind="footprints"), imagery(*files))
    assert list(regions.index) == ["chico_1", "chico_2"]
    assert regions.geometry.iloc[0].equals(files[0].footprint)


def test_equal_names_in_several_folders_stay_unique() -> None:
    files = [
        image(place="1", folder="chico"),
        image(place="1", folder="eureka", left=500_000),
        image(place="2", folder="eureka", left=510_000),
        image("b.tif", place="1", folder="eureka", left=520_000),
    ]
    regions = make_regions(Regions(kind="footprints", group="folder"), imagery(*files))
    assert list(regions.index) == ["chico_1", "eureka_1_1", "2", "eureka_1_2"]
    assert list(regions["group"]) == ["chico", "eureka", "eureka", "eureka"]


def write(path: Path, frame: gpd.GeoDataFrame) -> Path:
    frame.to_file(path)
    return path


@pytest.fixture
def cells() -> gpd.GeoDataFrame:
    boxes = [shapely.box(400_000 + 200 * i, 3_999_500, 400_200 + 200 * i, 3_999_700) for i in range(7)]
    columns = {"cell": [10, 11, 12, 13, 14, 15, 16], "city": ["a", "a", None, "b", "b", "b", "b"]}
    return gpd.GeoDataFrame(columns, geometry=boxes, crs=UTM)


def test_polygons_keep_their_ids_and_groups_and_leave_out_what_has_no_image(
    tmp_path: Path, cells: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mmgr")
    path = write(tmp_path / "cells.geojson", cells.to_crs(4326))
    regions = make_regions(Regions(kind="polygons", path=path, id="cell", group="city"), imagery(image(width=990)))
    assert list(regions.index) == ["10", "11", "12", "13", "14"]
    assert list(regions["group"]) == ["a", "a", "", "b", "b"]
    assert regions.crs == UTM
    assert regions.geometry.iloc[0].bounds == pytest.approx(cells.geometry[0].bounds, abs=0.01)
    assert "2 of 7 polygons" in caplog.text


def test_polygons_without_an_id_column_are_numbered(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    path = write(tmp_path / "cells.gpkg", cells)
    regions = make_regions(Regions(kind="polygons", path=path), imagery(image()))
    assert list(regions.index)[:2] == ["region_1", "region_2"]


def test_splinters_are_left_out_and_named(
    tmp_path: Path, cells: gpd.GeoDataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    cells.loc[[1, 4], "geometry"] = [shapely.box(400_300, 3_999_600, 400_300.9, 3_999_601)] * 2
    path = write(tmp_path / "cells.gpkg", cells)
    regions = make_regions_over(np.empty(0, object), Regions(kind="polygons", path=path, group="city"), UTM)
    assert list(regions.index) == ["region_1", "region_3", "region_4", "region_6", "region_7"]
    assert list(regions["group"]) == ["a", "", "b", "b", "b"]
    assert f"2 polygons of {path} smaller than 1 m2" in caplog.text
    assert "are left out: number 2, number 5" in caplog.text
    small = write(tmp_path / "kilometres.gpkg", cells.scale(1e-3, 1e-3).to_frame("geometry"))
    with pytest.raises(RegionError, match=r"none of 7 polygons .* the largest has 0\.04 m2 in EPSG:32611 .*CRS right"):
        make_regions(Regions(kind="polygons", path=small), imagery(image()))


def test_double_and_empty_ids_are_named_together(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    cells["name"] = ["x", "x", None, "y", "y", "y", "z"]
    path = write(tmp_path / "cells.gpkg", cells)
    with pytest.raises(RegionError) as caught:
        make_regions(Regions(kind="polygons", path=path, id="name"), imagery(image()))
    message = str(caught.value)
    assert "no id in feature 3" in message
    assert "'x' (2 times), 'y' (3 times)" in message


def test_polygons_elsewhere_show_both_extents(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    path = write(tmp_path / "far.gpkg", cells.translate(50_000).to_frame("geometry"))
    with pytest.raises(RegionError, match=r"polygons reach from longitude -117\.\d+ to .*images from longitude -118\."):
        make_regions(Regions(kind="polygons", path=path), imagery(image()))


def test_swapped_coordinates_are_recognised(tmp_path: Path) -> None:
    lonlat = imagery(image(left=10, top=50, pixel=1e-4, crs=CRS.from_epsg(4326)))
    box = gpd.GeoDataFrame(geometry=[shapely.box(49.93, 10.01, 49.95, 10.03)], crs=4326)
    path = write(tmp_path / "swapped.gpkg", box)
    with pytest.raises(RegionError, match="longitude and latitude swapped"):
        make_regions(Regions(kind="polygons", path=path), lonlat)


def test_grid_cells_take_the_folder_of_their_image() -> None:
    files = [image(width=300, height=100, folder="a"), image("b.tif", left=400_300, height=100, folder="b")]
    regions = make_regions(grid(200, group="folder"), imagery(*files))
    assert list(regions["group"])[:3] == ["a", "a", "b"]
    one = make_regions(grid(200, group="folder"), imagery(files[0]))
    assert set(one["group"]) == {""}


def test_without_images_a_grid_covers_shapes_on_multiples_of_the_edge() -> None:
    shapes = np.array(
        [shapely.box(400_050, 4_000_010, 400_250, 4_000_090), shapely.box(400_900, 0, 401_000, 1)], object
    )
    regions = make_regions_over(shapes[:1], grid(), UTM)
    assert list(regions.index) == ["x00000_y00000", "x00001_y00000", "x00002_y00000"]
    assert regions.total_bounds.tolist() == [400_000, 4_000_000, 400_300, 4_000_100]
    assert regions.crs == UTM
    assert len(make_regions_over(shapes, grid(), UTM)) == 4
    with pytest.raises(RegionError, match=r"over these POIs; choose a larger `regions.size`"):
        make_regions_over(shapes, grid(0.01), UTM)


def test_without_images_all_polygons_are_regions(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    path = write(tmp_path / "cells.geojson", cells.to_crs(4326))
    chosen = Regions(kind="polygons", path=path, id="cell", group="city")
    regions = make_regions_over(np.empty(0, object), chosen, UTM)
    assert list(regions.index) == ["10", "11", "12", "13", "14", "15", "16"]
    assert list(regions["group"]) == ["a", "a", "", "b", "b", "b", "b"]
    assert regions.geometry.iloc[0].bounds == pytest.approx(cells.geometry[0].bounds, abs=0.01)
    assert polygon_bounds(chosen) == pytest.approx(cells.to_crs(4326).total_bounds, abs=1e-6)


def test_polygons_of_a_file_without_crs_are_in_the_one_that_is_named(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    path = tmp_path / "cells.parquet"
    cells.to_crs(4326).set_crs(None, allow_override=True).to_parquet(path)
    with pytest.raises(InputError, match=r"names no CRS; set `regions\.source_crs`"):
        crs_of_polygons(Regions(kind="polygons", path=path))
    chosen = Regions(kind="polygons", path=path, id="cell", source_crs="EPSG:4326")
    assert crs_of_polygons(chosen) == UTM
    regions = make_regions_over(np.empty(0, object), chosen, UTM)
    assert regions.geometry.iloc[0].bounds == pytest.approx(cells.geometry[0].bounds, abs=0.01)


def test_polygons_of_one_of_several_layers(tmp_path: Path, cells: gpd.GeoDataFrame) -> None:
    path = tmp_path / "layers.gpkg"
    cells.iloc[:1].to_file(path, layer="frame")
    cells.to_file(path, layer="cells")
    with pytest.raises(InputError, match=r"several layers \(frame, cells\); set `layer` to one of them"):
        make_regions_over(np.empty(0, object), Regions(kind="polygons", path=path), UTM)
    chosen = Regions(kind="polygons", path=path, layer="cells", id="cell")
    assert len(make_regions_over(np.empty(0, object), chosen, UTM)) == len(cells)


def test_polygons_on_both_sides_of_the_date_line_are_near_each_other(tmp_path: Path) -> None:
    """One of them is cut there, as GeoJSON asks for."""
    cut = shapely.MultiPolygon([shapely.box(179.99, -17, 180, -16.99), shapely.box(-180, -17, -179.99, -16.99)])
    shapes = [shapely.box(179.97, -17, 179.98, -16.99), cut, shapely.box(-179.98, -17, -179.97, -16.99)]
    chosen = Regions(kind="polygons", path=write(tmp_path / "p.gpkg", gpd.GeoDataFrame(geometry=shapes, crs=4326)))
    assert polygon_bounds(chosen) == pytest.approx((179.97, -17, 180.03, -16.99))
    assert crs_of_polygons(chosen) in {CRS.from_epsg(32701), CRS.from_epsg(32760)}


def test_polygons_on_an_image_across_the_date_line(tmp_path: Path) -> None:
    fiji = image(left=810_000, top=8_140_000, width=2_000, height=2_000, pixel=10, crs=CRS.from_epsg(32760))
    west, _, east, _ = imagery(fiji).lonlat_bounds
    assert west < 180 < east < west + 0.3
    shapes = [shapely.box(179.96, -16.9, 179.98, -16.88), shapely.box(-179.98, -16.9, -179.96, -16.88)]
    chosen = Regions(kind="polygons", path=write(tmp_path / "p.gpkg", gpd.GeoDataFrame(geometry=shapes, crs=4326)))
    assert crs_on_images(chosen, imagery(fiji)) == CRS.from_epsg(32760)
    assert len(make_regions(chosen, imagery(fiji))) == 2


def test_of_polygons_on_images_only_those_that_meet_one_decide_whether_a_crs_will_do(tmp_path: Path) -> None:
    """The file reaches far beyond the images, where the CRS that is named is far from true."""
    middle = shapely.Point(-117.0, 36.1)
    far = shapely.Point(-60.0, 36.1)
    path = write(tmp_path / "p.gpkg", gpd.GeoDataFrame(geometry=[middle.buffer(0.1), far.buffer(0.1)], crs=4326))
    chosen = Regions(kind="polygons", path=path, crs="EPSG:32611")
    assert crs_on_images(chosen, imagery(image(left=490_000, width=20_000, height=10_000))) == UTM
    with pytest.raises(RegionError, match=r"EPSG:32611 .* where the regions are \(longitude -59\.9"):
        crs_of_polygons(chosen)


def test_of_wide_images_only_what_polygons_take_decides_whether_a_crs_will_do(tmp_path: Path) -> None:
    wide = image(left=-2_300_000, top=3_000_000, width=4_500, height=2_500, pixel=1000, crs=CRS.from_epsg(5070))
    city = gpd.GeoDataFrame(geometry=[shapely.Point(-117.0, 36.1).buffer(0.1)], crs=4326)
    chosen = Regions(kind="polygons", path=write(tmp_path / "p.gpkg", city), crs="EPSG:32611")
    assert crs_on_images(chosen, imagery(wide)) == UTM
    with pytest.raises(RegionError, match=r"EPSG:32611 .* where the images are"):
        crs_on_images(grid(1000, crs="EPSG:32611"), imagery(wide))


def test_real_places_are_the_tiles(shared_data: Path) -> None:
    """504 places of 1,351 files: the names of the published tiles, found from the files alone."""
    california = shared_data / "california"
    found = make_regions(Regions(kind="footprints"), Imagery.open(Images(path=california / "images/chico")))
    tiles = gpd.read_file(california / "tiles.geojson")
    tiles = tiles[tiles["city"] == "chico"].set_index("tile").to_crs(found.crs)
    assert set(found.index) == set(tiles.index)
    shared = found.geometry.intersection(tiles.geometry.reindex(found.index)).area
    assert (shared / found.area).min() > 0.999
