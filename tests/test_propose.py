"""What init sees in files, and what it proposes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine

import mmgr
from mmgr.config.names import check_task_names
from mmgr.errors import ConfigError, ImageryError, InputError, LabelError, PoiError
from mmgr.propose import labels
from mmgr.propose.images import look_at_images
from mmgr.propose.labels import label_entries
from mmgr.propose.names import own_names
from mmgr.propose.pois import pois_section

if TYPE_CHECKING:
    from conftest import City


def section(lines: list[str]) -> str:
    return "\n".join(lines)


def write_image(path: Path, count: int, **more: str) -> None:
    profile = {"driver": "GTiff", "dtype": "uint8", "count": count, "width": 256, "height": 256, "crs": 32632}
    with rasterio.open(path, "w", **profile, **more, transform=Affine(1, 0, 500_000, 0, -1, 4_000_000)) as target:
        target.write(np.full((count, 256, 256), 90, np.uint8))


class TestImages:
    def test_a_mosaic_becomes_a_grid_of_some_two_hundred_cells_or_more(self, city: City) -> None:
        facts = look_at_images(city.images)
        assert not facts.scattered
        assert facts.pixel == pytest.approx(2.0, rel=1e-3)
        assert facts.cell == 50
        assert facts.area_km2 == pytest.approx(0.72**2, rel=1e-3)

    def test_small_images_apart_become_footprints_with_their_folder_as_group(self, tmp_path: Path) -> None:
        for number in range(6):
            folder = tmp_path / "images" / ("east" if number % 2 else "west")
            folder.mkdir(parents=True, exist_ok=True)
            transform = Affine(1, 0, 500_000 + 1000 * number, 0, -1, 4_000_000)
            profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": 64, "height": 64}
            for year in (2019, 2021):
                with rasterio.open(
                    folder / f"place_{year}_{number}.tif", "w", **profile, crs=32632, transform=transform
                ) as target:
                    target.write(np.full((3, 64, 64), 90, np.uint8))
        config = mmgr.init(images=tmp_path / "images", path=tmp_path / "city.yaml")
        assert config.regions.kind == "footprints"
        assert config.regions.group == "folder"
        assert config.regions.pixels == 64
        assert config.pretrain.recipe == "simclr"
        assert "2019, 2021" in (tmp_path / "city.yaml").read_text()

    @pytest.mark.parametrize(
        ("count", "more", "bands"),
        [(1, {}, (1,)), (2, {}, (1, 2)), (2, {"alpha": "yes"}, (1,)), (4, {"alpha": "yes"}, (1, 2, 3))],
    )
    def test_images_of_fewer_bands_are_taken_as_they_are(
        self, tmp_path: Path, count: int, more: dict[str, str], bands: tuple[int, ...]
    ) -> None:
        write_image(tmp_path / "a.tif", count, **more)
        config = mmgr.init(images=tmp_path / "a.tif", path=tmp_path / "city.yaml")
        assert config.images is not None
        assert config.images.bands == bands
        assert ("red, green, blue" in (tmp_path / "city.yaml").read_text()) == (len(bands) == 3)

    def test_a_value_that_looks_like_no_image_is_proposed(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_image(tmp_path / "a.tif", 3)
        with rasterio.open(tmp_path / "a.tif", "r+") as target:
            target.write(np.zeros((3, 128, 256), np.uint8), window=((0, 128), (0, 256)))
        mmgr.init(images=tmp_path / "a.tif", path=tmp_path / "city.yaml")
        assert "50 % of the sampled pixels" in caplog.text
        assert "# nodata: 0                 # 50 % of a.tif is that" in (tmp_path / "city.yaml").read_text()

    def test_one_image_of_fewer_bands_does_not_decide_for_the_others(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.tif", 1)
        write_image(tmp_path / "b.tif", 3)
        with pytest.raises(ImageryError, match=r"a\.tif has 1 band, .* or move the file elsewhere"):
            look_at_images(tmp_path)

    def test_a_palette_is_no_band_of_light(self, tmp_path: Path) -> None:
        write_image(tmp_path / "a.tif", 1)
        with rasterio.open(tmp_path / "a.tif", "r+") as target:
            target.write_colormap(1, {0: (0, 0, 0), 90: (250, 0, 0)})
        with pytest.raises(ImageryError, match="expand its palette"):
            look_at_images(tmp_path)

    def test_real_places_are_scattered(self, shared_data: Path) -> None:
        facts = look_at_images(shared_data / "california" / "images" / "chico")
        assert facts.scattered
        assert facts.pixel == pytest.approx(0.6, rel=0.01)
        assert facts.dates == ("2018", "2020")


class TestPois:
    def test_two_levels_are_found_whatever_the_columns_are_called(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        kind = rng.choice(["food", "shop"], 80)
        detail = [f"{name}{number}" for name, number in zip(kind, rng.integers(0, 3, 80), strict=True)]
        table = pd.DataFrame(
            {"Lon": rng.uniform(9, 10, 80), "LAT": rng.uniform(36, 37, 80), "art": kind, "genau": detail}
        )
        table["note"] = [f"unique {number}" for number in range(80)]
        table.to_csv(tmp_path / "pois.csv", index=False, sep=";")
        text = section(pois_section(tmp_path / "pois.csv", "pois.csv"))
        for words in ("first_level: art", "second_level: genau", "x: Lon", "y: LAT", "food ("):
            assert words in text, text

    def test_a_coarser_column_is_the_first_level_and_a_brand_is_no_level(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        fclass = rng.choice(["bar", "cafe", "school", "bank"], 80)
        group = [{"bar": "food", "cafe": "food"}.get(name, "other") for name in fclass]
        brand = [f"{name}-{number}" if number < 3 else None for name, number in zip(fclass, range(80), strict=True)]
        table = {"fclass": fclass, "brand": brand, "group": group}
        points = gpd.points_from_xy(rng.uniform(9, 10, 80), rng.uniform(36, 37, 80))
        gpd.GeoDataFrame(table, geometry=points, crs=4326).to_parquet(tmp_path / "pois.parquet")
        text = section(pois_section(tmp_path / "pois.parquet", "pois.parquet"))
        assert "first_level: group" in text, text
        assert "second_level: fclass" in text, text

    @pytest.mark.parametrize("faulty", ["inf", "-inf", "", "words", "999"])
    def test_one_faulty_coordinate_does_not_make_degrees_metres(self, tmp_path: Path, faulty: str) -> None:
        rows = [f"103.{number},1.3,{'food' if number % 2 else 'shop'}" for number in range(10, 40)]
        (tmp_path / "pois.csv").write_text("\n".join(["lon,lat,kind", *rows, f"{faulty},1.3,food"]), encoding="utf-8")
        assert "crs:" not in section(pois_section(tmp_path / "pois.csv", "pois.csv"))

    @pytest.mark.parametrize("faulty", ["inf", "", "0"])
    def test_metres_ask_for_their_crs_beside_a_faulty_row(self, tmp_path: Path, faulty: str) -> None:
        rows = [f"3000{number},31000,{'food' if number % 2 else 'shop'}" for number in range(10, 40)]
        (tmp_path / "pois.csv").write_text("\n".join(["x,y,kind", *rows, f"{faulty},{faulty},food"]), encoding="utf-8")
        assert "crs: EPSG:XXXX" in section(pois_section(tmp_path / "pois.csv", "pois.csv"))

    def test_metres_in_a_table_are_refused_with_what_to_do(self, tmp_path: Path) -> None:
        rows = [f"3000{number},31000,{'food' if number % 2 else 'shop'}" for number in range(10, 40)]
        (tmp_path / "pois.csv").write_text("\n".join(["x,y,kind", *rows]), encoding="utf-8")
        with pytest.raises(PoiError, match=r"pois\.csv has coordinates that are no degrees.*by hand with `crs`"):
            mmgr.init(pois=tmp_path / "pois.csv", path=tmp_path / "city.yaml")

    @pytest.mark.parametrize(("head", "encoding"), [(" Longitude ,LAT,kind", "utf-8"), ("lon,lat,kind", "cp1252")])
    def test_a_table_as_a_spreadsheet_writes_it(self, tmp_path: Path, head: str, encoding: str) -> None:
        rows = [f"103.8{number},1.3{number},{'food €' if number % 2 else 'shop'}" for number in range(10, 40)]
        (tmp_path / "pois.csv").write_text("\n".join([head, *rows]), encoding=encoding)
        config = mmgr.init(pois=tmp_path / "pois.csv", path=tmp_path / "city.yaml")
        assert config.pois is not None
        assert config.pois.sources[0].first_level == "kind"
        assert "categories of `kind`: shop (15), food € (15)" in (tmp_path / "city.yaml").read_text("utf-8")

    def test_a_column_of_two_lines_and_control_characters(self, tmp_path: Path) -> None:
        table = pd.DataFrame({"main\nkind": ["food\x07", "shop"] * 20, "lon": 103.8, "lat": 1.3})
        table["lon"] += np.arange(40) / 1000
        table.to_csv(tmp_path / "pois.csv", index=False)
        config = mmgr.init(pois=tmp_path / "pois.csv", path=tmp_path / "city.yaml")
        assert config.pois is not None
        assert config.pois.sources[0].first_level == "main\nkind"

    def test_blank_cells_do_not_hide_the_second_level(self, tmp_path: Path) -> None:
        kinds = [
            ("food", "bar"),
            ("food", "cafe"),
            ("shop", "kiosk"),
            *[("shop", "kiosk"), ("food", "bar")] * 4,
        ] * 4 + [("shop", "  "), ("food", "  ")] * 3
        table = pd.DataFrame(kinds, columns=["kind", "detail"]).assign(lon=103.8, lat=1.3)
        table.to_csv(tmp_path / "pois.csv", index=False)
        text = section(pois_section(tmp_path / "pois.csv", "pois.csv"))
        assert "first_level: kind\n      second_level: detail" in text

    def test_the_layer_that_holds_pois_is_named(self, tmp_path: Path) -> None:
        path = tmp_path / "city.gpkg"
        places = gpd.points_from_xy(103.8 + np.arange(40) / 1000, 1.3 + np.arange(40) / 2000)
        pois = gpd.GeoDataFrame({"kind": ["food", "shop"] * 20}, geometry=places, crs=4326)
        gpd.GeoDataFrame({"width": [1.0]}, geometry=[shapely.box(0, 0, 1, 1)], crs=4326).to_file(path, layer="frame")
        pois.to_file(path, layer="points of interest")
        config = mmgr.init(pois=path, path=tmp_path / "city.yaml")
        assert config.pois is not None
        assert config.pois.sources[0].layer == "points of interest"
        pois.to_file(path, layer="more")
        with pytest.raises(InputError, match=r"several layers \(frame, points of interest, more\), and 2 of them look"):
            mmgr.init(pois=path, path=tmp_path / "other.yaml")

    def test_columns_without_any_number_ask_for_no_crs(self, tmp_path: Path) -> None:
        (tmp_path / "pois.csv").write_text("lon,lat,kind\n" + ",,food\n,,shop\n" * 4, encoding="utf-8")
        assert "crs:" not in section(pois_section(tmp_path / "pois.csv", "pois.csv"))

    def test_polygons_with_counts_are_counts(self, tmp_path: Path) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        columns = {"tract": list("abcd"), **{f"n_{name}": range(4) for name in ("bar", "shop", "bank")}}
        gpd.GeoDataFrame(columns, geometry=squares, crs=32632).to_file(tmp_path / "tracts.gpkg")
        text = section(pois_section(tmp_path / "tracts.gpkg", "tracts.gpkg"))
        for words in ("kind: counts", "columns: n_*", "id: tract"):
            assert words in text, text

    def test_real_points(self, shared_data: Path) -> None:
        text = section(pois_section(shared_data / "singapore" / "pois.geojson", "pois.geojson"))
        assert "first_level: first_level" in text
        assert "second_level: second_level" in text


class TestWithoutImages:
    def test_a_grid_over_the_pois_is_proposed(self, city: City) -> None:
        config = mmgr.init(pois=city.pois, labels=city.labels, path=city.folder / "city.yaml")
        assert config.images is None
        assert config.regions.kind == "grid"
        assert config.regions.crs == "EPSG:32632"
        # some 700 x 700 m with 300 POIs: five a cell would be fewer than two hundred cells
        assert config.regions.size == 50
        assert [task.name for task in config.tasks] == ["population"]
        assert "pretrain:" not in (city.folder / "city.yaml").read_text()

    def test_a_stray_poi_does_not_widen_it(self, city: City, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", logger="mmgr")
        points = gpd.read_file(city.pois)
        points.loc[3, "geometry"] = shapely.Point(0, 0)
        points.to_file(city.pois)
        config = mmgr.init(pois=city.pois, path=city.folder / "city.yaml")
        assert (config.regions.crs, config.regions.size) == ("EPSG:32632", 50)
        assert "1 of 300 POIs lie more than 10 km from the regions (row 4; the furthest at lon 0.000" in caplog.text

    def test_an_infinite_coordinate_is_left_out(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        rng = np.random.default_rng(0)
        x, y = rng.uniform(103.80, 103.83, 200), rng.uniform(1.30, 1.33, 200)
        table = pd.DataFrame({"lon": x, "lat": y, "kind": ["food", "shop"] * 100})
        table.loc[7, "lon"] = np.inf
        table.to_csv(tmp_path / "pois.csv", index=False)
        config = mmgr.init(pois=tmp_path / "pois.csv", path=tmp_path / "city.yaml")
        assert config.regions.crs == "EPSG:32648"
        assert "1 of 200 POIs without usable coordinates are left out (row 8)" in caplog.text

    def test_pois_may_lie_on_both_sides_of_the_date_line(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        x, y = 180.01 + rng.uniform(-0.05, 0.05, 200), rng.uniform(-16.9, -16.8, 200)
        table = pd.DataFrame({"lon": np.where(x > 180, x - 360, x), "lat": y, "kind": ["food", "shop"] * 100})
        table.to_csv(tmp_path / "pois.csv", index=False)
        config = mmgr.init(pois=tmp_path / "pois.csv", path=tmp_path / "city.yaml")
        assert config.regions.crs == "EPSG:32701"
        assert config.regions.size == 750  # 10.7 x 11.1 km in at least 200 cells

    def test_counts_are_enough(self, city: City) -> None:
        tracts = gpd.read_file(city.labels)
        for name in ("bar", "shop", "bank"):
            tracts[f"n_{name}"] = 1
        tracts.to_file(city.folder / "tracts.gpkg")
        config = mmgr.init(pois=city.folder / "tracts.gpkg", path=city.folder / "city.yaml")
        assert config.regions.size == 50

    def test_nothing_to_learn_from(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="give images, POIs, or both"):
            mmgr.init(path=tmp_path / "city.yaml")

    def test_real_points(self, shared_data: Path, tmp_path: Path) -> None:
        config = mmgr.init(pois=shared_data / "singapore" / "pois.geojson", path=tmp_path / "city.yaml")
        assert config.regions.crs == "EPSG:32648"
        assert config.regions.size == 1000


class TestLabels:
    def test_totals_and_rates_are_told_apart_and_counts_of_pois_left_out(self, shared_data: Path) -> None:
        text = section(label_entries(shared_data / "california" / "tracts.geojson", "tracts.geojson"))
        assert "column: population_acs" in text
        assert "column: jobs_lodes_2018" in text
        assert "poi_" not in text

    def test_a_rate_is_a_rate(self, tmp_path: Path) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        table = gpd.GeoDataFrame({"median_income": [1.0, 2, 3, 4]}, geometry=squares, crs=32632)
        table.to_file(tmp_path / "labels.gpkg")
        assert "kind: polygon_rate" in section(label_entries(tmp_path / "labels.gpkg", "labels.gpkg"))

    def test_a_column_that_no_task_may_be_called_is_proposed_under_another_name(self, tmp_path: Path) -> None:
        table = gpd.GeoDataFrame(
            {"pop": [3, 4], "pop_lower": [1, 2]}, geometry=[shapely.Point(i, 0).buffer(1) for i in range(2)], crs=4326
        )
        table.to_file(tmp_path / "labels.gpkg")
        text = section(label_entries(tmp_path / "labels.gpkg", "labels.gpkg"))
        assert "name: pop\n" in text
        assert "name: pop_lower_label\n" in text

    def test_a_raster_of_people_is_a_sum(self, shared_data: Path) -> None:
        text = section(label_entries(shared_data / "singapore" / "population_2024.tif", "population_2024.tif"))
        assert "kind: raster_sum" in text

    def test_shares_and_people_of_real_subzones(self, shared_data: Path) -> None:
        text = section(label_entries(shared_data / "singapore" / "subzones.geojson", "subzones.geojson"))
        assert "column: population" in text
        assert "kind: polygon_shares\n    path: subzones.geojson\n    columns: 'land_use_*'" in text

    def test_classes_of_real_points_in_a_table(self, shared_data: Path) -> None:
        path = shared_data / "singapore" / "landuse_2026_points.parquet"
        text = section(label_entries(path, "points.parquet"))
        assert "name: landuse_2026_points\n    kind: point_class" in text
        assert "column: label\n    x: x\n    y: y" in text

    def test_shares_without_a_prefix_are_a_list(self, tmp_path: Path) -> None:
        table = {"id": ["a", "b", "c"], "homes": [50.0, 0, 20], "work": [30.0, 0, 80], "people": [5000, 0, 8000]}
        table["parks"] = [20.0, 0, 0]  # a polygon without any class is no reason
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(3)]
        gpd.GeoDataFrame(table, geometry=squares, crs=32632).to_file(tmp_path / "plan 2030.gpkg")
        text = section(label_entries(tmp_path / "plan 2030.gpkg", "x.gpkg"))
        assert "name: plan_2030\n    kind: polygon_shares\n    path: x.gpkg\n    columns: [homes, work, parks]" in text
        assert "column: people" in text

    @pytest.mark.parametrize(
        ("name", "values"), [("Land use", ["homes", "work", "work", "homes"]), ("landuse_class", [1, 2, 1, 2])]
    )
    def test_polygons_of_classes_become_shares_of_regions(
        self, tmp_path: Path, name: str, values: list[str] | list[int]
    ) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        gpd.GeoDataFrame({name: values}, geometry=squares, crs=32632).to_file(tmp_path / "plan.gpkg")
        text = section(label_entries(tmp_path / "plan.gpkg", "plan.gpkg"))
        assert "kind: polygon_shares" in text
        assert "polygon_total" not in text

    def test_a_county_beside_people_is_no_label(self, tmp_path: Path) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        table = gpd.GeoDataFrame({"county": list("aabb"), "people": [1, 2, 3, 4]}, geometry=squares, crs=32632)
        table.to_file(tmp_path / "census.gpkg")
        text = section(label_entries(tmp_path / "census.gpkg", "census.gpkg"))
        assert "column: people" in text
        assert "county" not in text

    def test_amounts_that_a_file_holds_as_text_are_amounts(self, tmp_path: Path) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        table = {"tract": ["001", "002", "003", "004"], "people": ["10", "20.5", "", None]}
        gpd.GeoDataFrame(table, geometry=squares, crs=32632).to_file(tmp_path / "census.gpkg")
        text = section(label_entries(tmp_path / "census.gpkg", "census.gpkg"))
        assert "kind: polygon_total" in text
        assert "column: people\n    id: tract" in text

    @pytest.mark.parametrize("palette", [True, False])
    def test_a_raster_of_classes_has_a_palette_or_a_telling_name(self, tmp_path: Path, *, palette: bool) -> None:
        path = tmp_path / ("worldcover.tif" if palette else "land_use.tif")
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": 32, "height": 32, "nodata": 0}
        transform = rasterio.transform.from_origin(500_000, 4_000_000, 10, 10)
        with rasterio.open(path, "w", **profile, crs=32632, transform=transform) as target:
            target.write(np.random.default_rng(0).choice([0, 10, 50], (1, 32, 32)).astype(np.uint8))
            if palette:
                target.write_colormap(1, {10: (0, 100, 0), 50: (250, 0, 0)})
        text = section(label_entries(path, "x.tif"))
        assert "kind: raster_shares" in text
        assert "{10: NAME, 50: NAME}" in text

    @pytest.mark.parametrize("most", [3_000_000, 1_000_000])
    def test_a_rare_class_is_found_or_said_to_be_missing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int
    ) -> None:
        monkeypatch.setattr(labels, "_MOST_CELLS", most)
        monkeypatch.setattr(labels, "_AT_ONCE", 100_000)
        monkeypatch.setattr(labels, "_LOOK", 256)
        values = np.random.default_rng(0).choice([10, 50], (1, 1500, 1500)).astype(np.uint8)
        values[0, 1499, 1498] = 77  # one cell of two million
        profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "width": 1500, "height": 1500, "crs": 32632}
        profile["transform"] = rasterio.transform.from_origin(500_000, 4_000_000, 10, 10)
        with rasterio.open(tmp_path / "land_use.tif", "w", **profile, compress="deflate") as target:
            target.write(values)
        text = section(label_entries(tmp_path / "land_use.tif", "x.tif"))
        whole = most > values.size
        assert ("77: NAME" in text) == whole
        assert ("seen in 256 x 256 of its cells: rare classes may be missing" in text) != whole

    def test_points_of_numbers_say_what_points_can_hold(self, tmp_path: Path) -> None:
        points = gpd.GeoDataFrame({"people": [1, 2]}, geometry=gpd.points_from_xy([0, 1], [0, 1]), crs=4326)
        points.to_file(tmp_path / "points.gpkg")
        with pytest.raises(LabelError, match=r"points without a column of classes .* it has people\. Numbers are read"):
            label_entries(tmp_path / "points.gpkg", "points.gpkg")

    def test_nothing_that_can_be_a_label(self, tmp_path: Path) -> None:
        squares = [shapely.box(i, 0, i + 1, 1) for i in range(4)]
        gpd.GeoDataFrame({"name": list("abcd")}, geometry=squares, crs=32632).to_file(tmp_path / "names.gpkg")
        with pytest.raises(LabelError, match="no column that can be a label, neither numbers nor classes"):
            label_entries(tmp_path / "names.gpkg", "names.gpkg")

    def test_what_is_no_raster_says_so(self, tmp_path: Path) -> None:
        (tmp_path / "population.tif").write_text("words")
        with pytest.raises(LabelError, match="cannot be read as a raster"):
            label_entries(tmp_path / "population.tif", "population.tif")


class TestNames:
    @pytest.mark.parametrize(
        ("named", "expected"),
        [
            ([("population", "a.gpkg"), ("jobs", "a.gpkg")], ["population", "jobs"]),
            ([("population", "a.gpkg"), ("population", "b.gpkg")], ["population_a", "population_b"]),
            (
                [("population", "a.gpkg"), ("jobs", "b.gpkg"), ("population", "b.gpkg"), ("population", "c.gpkg")],
                ["population_a", "jobs", "population_b", "population_c"],
            ),
            (
                [("population", "population 2010.gpkg"), ("population", "population 2020.gpkg")],
                ["population_2010", "population_2020"],
            ),
            (
                [("population", "west/census.gpkg"), ("population", "east/census.gpkg"), ("population", "b.gpkg")],
                ["population_census_west", "population_census_east", "population_b_here"],
            ),
            ([("pop", "west/pop.tif"), ("pop", "east/pop.tif")], ["pop_west", "pop_east"]),
            ([("pop", "x/west/pop.tif"), ("pop", "y/west/pop.tif")], ["pop_west", "pop_west_2"]),
            ([("pop", "a.gpkg"), ("pop", "a.gpkg"), ("pop_2", "a.gpkg")], ["pop", "pop_3", "pop_2"]),
            ([("pop", "a.gpkg"), ("pop", "b.gpkg"), ("pop_a", "c.gpkg")], ["pop_a_here", "pop_b_here", "pop_a"]),
            ([("pop", "lower.gpkg"), ("pop", "upper.gpkg")], ["pop_lower_label", "pop_upper_label"]),
        ],
    )
    def test_tasks_of_one_name_are_told_apart(
        self, tmp_path: Path, named: list[tuple[str, str]], expected: list[str]
    ) -> None:
        found = own_names([(name, tmp_path / "here" / path) for name, path in named])
        assert found == expected
        check_task_names(found)

    def test_files_with_the_same_columns_are_tasks_of_one_configuration(self, city: City) -> None:
        for name in ("a", "b"):
            squares = [shapely.box(9 + i / 100, 36, 9.01 + i / 100, 36.01) for i in range(4)]
            table = gpd.GeoDataFrame(
                {"population": [1, 2, 3, 4], "2020 jobs": [4, 5, 6, 7], "Class": list("xyxy")},
                geometry=squares,
                crs=4326,
            )
            table.to_file(city.folder / f"{name}.gpkg")
        files = [city.folder / "a.gpkg", city.folder / "b.gpkg"]
        config = mmgr.init(images=city.images, labels=files, path=city.folder / "city.yaml")
        assert {task.name: task.path.name for task in config.tasks} == {
            "population_a": "a.gpkg", "2020_jobs_a": "a.gpkg", "a": "a.gpkg",
            "2020_jobs_b": "b.gpkg", "population_b": "b.gpkg", "b": "b.gpkg",
        }  # fmt: skip


def test_a_configuration_is_never_overwritten_unasked(city: City) -> None:
    path = city.folder / "city.yaml"
    mmgr.init(images=city.images, path=path)
    with pytest.raises(ConfigError, match="is there already"):
        mmgr.init(images=city.images, path=path)
    mmgr.init(images=city.images, pois=city.pois, labels=city.labels, path=path, force=True)
    assert mmgr.load_config(path).pois is not None


def test_a_name_that_yaml_would_misread_is_quoted(city: City) -> None:
    strange = city.folder / "#1: yes.geojson"
    city.pois.rename(strange)
    config = mmgr.init(images=city.images, pois=strange, path=city.folder / "city.yaml")
    assert config.pois is not None
    assert config.pois.sources[0].path == strange
