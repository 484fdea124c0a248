"""The command line on bad input: one clear message, the right exit code, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import pandas as pd
import pytest
import rasterio
import shapely

from mmgr import cli
from mmgr.files import exclusive

if TYPE_CHECKING:
    from conftest import City

Mmgr = Callable[..., tuple[int, str]]


@pytest.fixture
def mmgr(capfd: pytest.CaptureFixture[str]) -> Mmgr:
    """Call the command line in this process; returns its exit code and all that it printed."""

    def call(*words: str | Path) -> tuple[int, str]:
        capfd.readouterr()
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return code, " ".join((out + err).split())

    return call


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def assert_refused(result: tuple[int, str], *expected: str) -> None:
    code, printed = result
    assert code == 2, printed
    assert "Traceback" not in printed
    assert printed.count("error:") == 1, printed
    for words in expected:
        assert words in printed, printed


class TestHelp:
    def test_help_lists_every_command(self, mmgr: Mmgr) -> None:
        code, printed = mmgr("--help")
        assert code == 0
        for command in (
            "demo",
            "init",
            "run",
            "build",
            "categories",
            "pretrain",
            "embed",
            "evaluate",
            "benchmark",
            "finetune",
            "map",
            "report",
            "import-reference",
            "import-checkpoint",
            "audit",
            "export",
            "info",
        ):
            assert f" {command} " in printed

    def test_help_loads_no_heavy_library(self) -> None:
        code = "import sys, mmgr.cli\nassert not {'torch', 'rasterio', 'sklearn', 'matplotlib'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)

    def test_an_unknown_option_is_one_message(self, mmgr: Mmgr, city_yaml: Path) -> None:
        code, printed = mmgr("run", city_yaml, "--drY-run")
        assert code == 2
        assert "No such option" in printed


class TestConfiguration:
    def test_missing(self, mmgr: Mmgr, tmp_path: Path) -> None:
        assert_refused(mmgr("run", tmp_path / "city.yaml"), "does not exist")

    def test_names_between_colons_are_no_pictures(self, mmgr: Mmgr, tmp_path: Path) -> None:
        assert_refused(mmgr("run", tmp_path / "my:key:A:.yaml"), "my:key:A:.yaml does not exist")

    def test_empty(self, mmgr: Mmgr, tmp_path: Path) -> None:
        (tmp_path / "city.yaml").touch()
        assert_refused(mmgr("run", tmp_path / "city.yaml"), "is empty")

    def test_unknown_key(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, "batch_size", "batch_sise")
        assert_refused(mmgr("run", city_yaml), "unknown key `pretrain.batch_sise`; did you mean `batch_size`?")

    def test_an_init_that_would_overwrite(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        assert_refused(mmgr("init", "--images", city.images, "--config", city_yaml), "is there already")


class TestPretrain:
    """What a training says of data and weights that do not fit it, once the store is built."""

    @pytest.fixture
    def built(self, city_yaml: Path) -> Path:
        from mmgr import Run

        for stage in ("build", "categories"):
            Run(city_yaml).do(stage)
        return city_yaml

    def test_weights_and_bundles_of_others(self, mmgr: Mmgr, built: Path) -> None:
        import timm
        from learn_samples import small_recipe
        from safetensors.torch import save_file

        from mmgr.bundle import save_bundle
        from mmgr.learn.embed import random_model
        from mmgr.taxonomy import Taxonomy

        def pretrain(settings: str) -> tuple[int, str]:
            text = built.read_text()
            start = text.index("pretrain:")
            built.write_text(text[:start] + f"pretrain: {settings}" + text[text.index("\n", start) :])
            return mmgr("pretrain", built)

        for name, bands in (("test_vit", 3), ("test_resnet", 5)):
            weights = timm.create_model(name, num_classes=0, in_chans=bands).state_dict()
            save_file(weights, built.with_name(f"{name}.safetensors"))
        small = "encoder: test_resnet, crop: 32, epochs: 1"
        other = pretrain(f"{{{small}, weights: test_vit.safetensors}}")
        assert_refused(other, "test_vit.safetensors", "does not fit test_resnet")
        five = pretrain(f"{{{small}, weights: test_resnet.safetensors}}")
        assert_refused(five, "is for images of 5 bands, and these have 3", "pretrain.weights_bands")
        # a vision transformer that sees patches of 8 pixels is none that sees 16
        weights = timm.create_model("test_vit", num_classes=0, patch_size=8).state_dict()
        save_file(weights, built.with_name("vit8.safetensors"))
        eight = pretrain("{encoder: test_vit, crop: 160, epochs: 1, weights: vit8.safetensors}")
        assert_refused(eight, "sees patches of 8 x 8 pixels in its first layer, test_vit of 16 x 16")
        assert_refused(pretrain("{encoder: test_vit, crop: 50, epochs: 1}"), "pretrain.", "50 pixels")

        recipe = small_recipe("simclr")
        save_bundle(built.with_name("four"), random_model(recipe, None, 4, seed=0), recipe, Taxonomy((), ()), {})
        assert_refused(pretrain("{bundle: four}"), "has patches of 3 bands, the model saw 4")
        assert_refused(pretrain("{bundle: none}"), "none does not exist")
        content = bytearray((built.with_name("four") / "model.safetensors").read_bytes())
        content[-1] ^= 1
        (built.with_name("four") / "model.safetensors").write_bytes(content)
        assert_refused(pretrain("{bundle: four}"), "model.safetensors is not the file that manifest.json names")

    def test_what_cannot_be_trained_is_told_before_the_build(self, mmgr: Mmgr, city_yaml: Path) -> None:
        import timm
        from safetensors.torch import save_file

        text = city_yaml.read_text()
        folder = city_yaml.parent

        def run(settings: str, text: str = text) -> tuple[int, str]:
            start = text.index("pretrain:")
            city_yaml.write_text(text[:start] + f"pretrain: {settings}" + text[text.index("\n", start) :])
            return mmgr("run", city_yaml)

        for name, bands in (("test_vit", 3), ("test_resnet", 5)):
            weights = timm.create_model(name, num_classes=0, in_chans=bands).state_dict()
            save_file(weights, folder / f"{name}.safetensors")
        small = "encoder: test_resnet, crop: 32, epochs: 1"
        other = run(f"{{{small}, weights: test_vit.safetensors}}")
        assert_refused(other, "test_vit.safetensors", "does not fit test_resnet")
        five = run(f"{{{small}, weights: test_resnet.safetensors}}")
        assert_refused(five, "test_resnet.safetensors is for images of 5 bands, and these have 3", "weights_bands")
        assert_refused(run("{encoder: resnet5O, epochs: 1}"), "timm has no model 'resnet5O'")
        alone = text.replace(text[text.index("pois:") : text.index("categories:")], "")
        refused = run(f"{{{small}}}", alone)
        assert_refused(refused, "recipe mmgr contrasts images with POIs, but the configuration names none", "simclr")
        assert not (folder / "output").exists()

    def test_a_store_without_pois(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, city_yaml.read_text().split("pois:")[1].split("categories:")[0], "{X}\n")
        change(city_yaml, "pois:{X}\n", "")
        assert mmgr("build", city_yaml)[0] == mmgr("categories", city_yaml)[0] == 0
        assert_refused(mmgr("pretrain", city_yaml), "recipe mmgr contrasts images with POIs", "pretrain.recipe: simclr")


class TestImports:
    def test_what_cannot_be_imported(self, mmgr: Mmgr, tmp_path: Path) -> None:
        out = ("--output", tmp_path / "out")
        (tmp_path / "empty").mkdir()
        assert_refused(mmgr("import-reference", tmp_path / "empty", *out), "holds no folder of PNGs")
        assert_refused(mmgr("import-reference", tmp_path / "gone", *out), "gone is no folder")
        assert_refused(mmgr("import-checkpoint", tmp_path / "img_120.tar", *out), "img_120.tar does not exist")
        (tmp_path / "img_120.tar").write_bytes(b"no checkpoint")
        refused = mmgr("import-checkpoint", tmp_path / "img_120.tar", *out)
        assert_refused(refused, "img_120.tar cannot be imported", "no file of tensors and plain values")
        assert not (tmp_path / "out").exists()

    def test_a_bundle_takes_the_place_of_nothing_but_a_bundle(self, mmgr: Mmgr, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "thesis.txt").write_text("mine")
        # seen before the file is read
        refused = mmgr("import-checkpoint", tmp_path / "gone.tar", "--output", precious)
        assert_refused(refused, "precious is not a bundle", "holds thesis.txt", "name another folder")
        assert (precious / "thesis.txt").read_text() == "mine"

    def test_without_an_output_folders_are_named_after_what_is_imported(
        self, mmgr: Mmgr, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import timm
        import torch
        from reference_samples import make_folder

        monkeypatch.chdir(tmp_path)
        make_folder(tmp_path / "data" / "shanghai", 4)
        code, printed = mmgr("import-reference", "data/shanghai")
        assert code == 0, printed
        assert "Wrote shanghai-mmgr/city.yaml" in printed
        weights = {f"encoder.{key}": value for key, value in timm.create_model("resnet18").state_dict().items()}
        torch.save(weights, tmp_path / "data" / "wuhan_img_120.tar")
        code, printed = mmgr("import-checkpoint", "data/wuhan_img_120.tar")
        assert code == 0, printed
        assert "set `bundle: wuhan_img_120-bundle` under `pretrain`" in printed
        assert {path.name for path in tmp_path.iterdir()} == {"data", "shanghai-mmgr", "wuhan_img_120-bundle"}
        # nothing of them is replaced unasked
        assert_refused(mmgr("import-reference", "data/shanghai"), "shanghai-mmgr is there already", "--output")
        assert_refused(mmgr("import-checkpoint", "data/wuhan_img_120.tar"), "wuhan_img_120-bundle is there already")
        assert mmgr("import-reference", "data/shanghai", "--force")[0] == 0


class TestInit:
    """What init says before it writes anything."""

    def refuse(self, mmgr: Mmgr, city: City, *words: str | Path, expected: Sequence[str]) -> None:
        config = city.folder / "mine.yaml"
        assert_refused(mmgr("init", "--config", config, *words), *expected)
        assert not config.exists()

    def test_missing_images(self, mmgr: Mmgr, city: City) -> None:
        self.refuse(mmgr, city, "--images", city.folder / "mosaik.tif", expected=["mosaik.tif", "mosaic.tif"])

    def test_pois_without_a_category(self, mmgr: Mmgr, city: City) -> None:
        pois = city.folder / "pois.csv"
        pois.write_text("lon,lat,height\n9.0,36.1,1.5\n9.0,36.1,2.5\n")
        words = ("--images", city.images, "--pois", pois)
        self.refuse(mmgr, city, *words, expected=["pois.csv", "no column that looks like a category", "height"])

    def test_pois_without_coordinates(self, mmgr: Mmgr, city: City) -> None:
        pois = city.folder / "pois.csv"
        pois.write_text("kind,where\nbar,here\ncafe,there\n")
        expected = ["pois.csv", "no columns that look like coordinates", "where"]
        self.refuse(mmgr, city, "--images", city.images, "--pois", pois, expected=expected)

    def test_pois_elsewhere(self, mmgr: Mmgr, city: City) -> None:
        points = gpd.read_file(city.pois)
        points.geometry = points.geometry.translate(5, 5)
        points.to_file(city.pois)
        words = ("--images", city.images, "--pois", city.pois)
        self.refuse(mmgr, city, *words, expected=["no POIs lie near", "longitude 14.0"])

    def test_swapped_coordinates(self, mmgr: Mmgr, city: City) -> None:
        points = gpd.read_file(city.pois)
        table = pd.DataFrame({"category": points["category"], "lon": points.geometry.y, "lat": points.geometry.x})
        table.to_csv(city.folder / "pois.csv", index=False)
        words = ("--images", city.images, "--pois", city.folder / "pois.csv")
        self.refuse(mmgr, city, *words, expected=["swapped", "x: lat"])

    def test_labels_without_numbers(self, mmgr: Mmgr, city: City) -> None:
        labels = gpd.read_file(city.labels)
        labels[["geometry"]].assign(name="a").to_file(city.labels)
        words = ("--images", city.images, "--labels", city.labels)
        self.refuse(mmgr, city, *words, expected=["census.geojson", "no column that can be a label", "name"])


class TestAudit:
    def test_of_nothing_or_of_both(self, mmgr: Mmgr, city_yaml: Path) -> None:
        assert_refused(mmgr("audit"), "either a configuration or `--splits FILE`")
        assert_refused(mmgr("audit", city_yaml, "--splits", city_yaml), "either a configuration or `--splits FILE`")

    def test_before_the_run_is_built(self, mmgr: Mmgr, city_yaml: Path) -> None:
        assert_refused(mmgr("audit", city_yaml), "what `build` writes", "mmgr build")

    def test_a_missing_file(self, mmgr: Mmgr, tmp_path: Path) -> None:
        assert_refused(mmgr("audit", "--splits", tmp_path / "splits.csv"), "splits.csv does not exist")

    def test_a_file_without_parts(self, mmgr: Mmgr, tmp_path: Path) -> None:
        path = tmp_path / "splits.csv"
        path.write_text("id,lon,lat\n1,9,48\n2,9.1,48\n")
        assert_refused(mmgr("audit", "--splits", path), "no column `split`", "id, lon, lat")

    def test_a_window_without_an_edge(self, mmgr: Mmgr, tmp_path: Path) -> None:
        path = tmp_path / "splits.csv"
        path.write_text("id,lon,lat,split\n1,9,48,train\n2,9.1,48,test\n")
        assert_refused(mmgr("audit", "--splits", path, "--window", 0), "`--window` 0", "metres above 0")

    def test_a_word_in_a_label_of_numbers(self, mmgr: Mmgr, tmp_path: Path) -> None:
        path = tmp_path / "splits.csv"
        path.write_text("id,lon,lat,split,people\n1,9,48,train,5\n2,9.1,48,test,hidden\n3,9.2,48,test,7\n")
        refused = mmgr("audit", "--splits", path, "--label", "people")
        assert_refused(refused, "splits.csv", "`people`", "row 2", "'hidden'", "Empty such cells")

    def test_a_torn_file(self, mmgr: Mmgr, tmp_path: Path) -> None:
        torn, path = tmp_path / "torn.parquet", tmp_path / "splits.csv"
        torn.write_text("torn")
        path.write_text("id,split\n1,train\n2,test\n")
        assert_refused(mmgr("audit", "--splits", torn), "torn.parquet is not readable")
        assert_refused(mmgr("audit", "--splits", path, "--geometry", torn), "torn.parquet is not readable")

    def test_folds_that_are_never_tested(self, mmgr: Mmgr, tmp_path: Path) -> None:
        path = tmp_path / "splits.csv"
        path.write_text("id,lon,lat,fold\n1,9,48,-1\n2,9.1,48,-1\n")
        assert_refused(mmgr("audit", "--splits", path), "`fold` has no fold that is tested")

    def test_the_exit_code_says_whether_something_is_named(self, mmgr: Mmgr, tmp_path: Path) -> None:
        path = tmp_path / "splits.csv"
        path.write_text("id,lon,lat,split\n1,9,48,train\n2,9.1,48,train\n3,9.9,48,test\n")
        code, printed = mmgr("audit", "--splits", path)
        assert code == 0, printed
        assert "nothing named" in printed
        path.write_text("id,lon,lat,split\n1,9,48,train\n2,9.1,48,train\n3,9.1,48,test\n")
        code, printed = mmgr("audit", "--splits", path, "--json")
        assert code == 4
        found = json.loads(printed)
        named = {finding["path"] for finding in found["findings"] if finding["status"] == "named"}
        assert named == {"one place, both sides", "adjacent places"}
        assert found["named"] == 2
        code, printed = mmgr("--help")
        assert "4 an audit named a leak" in printed


class TestExport:
    def test_before_there_are_embeddings(self, mmgr: Mmgr, city_yaml: Path) -> None:
        assert_refused(mmgr("export", city_yaml), "what `build` writes", "mmgr build")

    def test_an_unknown_format(self, mmgr: Mmgr, city_yaml: Path) -> None:
        code, printed = mmgr("export", city_yaml, "--format", "png")
        assert code == 2
        assert "'geotiff', 'parquet', 'csv'" in printed


class TestImages:
    def test_missing(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.images.rename(city.folder / "mosaik.tif")
        assert_refused(mmgr("build", city_yaml), "mosaic.tif does not exist", "Did you mean mosaik.tif?")

    def test_empty(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.images.write_bytes(b"")
        assert_refused(mmgr("build", city_yaml), "mosaic.tif")

    def test_a_folder_without_images(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        (city.folder / "tiles").mkdir()
        change(city_yaml, "mosaic.tif", "tiles")
        assert_refused(mmgr("build", city_yaml), "tiles")

    def test_no_crs(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        rewrite(city.images, crs=None)
        assert_refused(mmgr("build", city_yaml), "mosaic.tif", "CRS")

    def test_a_geographic_crs_where_metres_are_needed(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, "pixels: 32}", "pixels: 32, crs: EPSG:4326}")
        assert_refused(mmgr("build", city_yaml), "4326", "EPSG:326")

    def test_too_few_bands(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, "images: {path: mosaic.tif}", "images: {path: mosaic.tif, bands: [1, 2, 9]}")
        assert_refused(mmgr("build", city_yaml), "mosaic.tif", "9")

    @pytest.mark.parametrize("keep", [200, 60_000])
    def test_a_torn_image_is_set_aside_and_the_run_goes_on(
        self, mmgr: Mmgr, city: City, city_yaml: Path, keep: int
    ) -> None:
        folder = split_in_two(city)
        change(city_yaml, "mosaic.tif", "tiles")
        torn = folder / "east.tif"
        torn.write_bytes(torn.read_bytes()[:keep])
        code, printed = mmgr("build", city_yaml)
        assert code == 3, printed
        assert "1 image was set aside" in printed
        assert "east.tif" in (city.folder / "output" / "set_aside.json").read_text()
        code, printed = mmgr("info", city.folder / "output" / "regions.lance")
        assert "regions 18 of 120.0 m" in printed

    def test_only_torn_images(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.images.write_bytes(city.images.read_bytes()[:200])
        assert_refused(mmgr("build", city_yaml), "mosaic.tif")


class TestPois:
    def test_missing(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.pois.unlink()
        assert_refused(mmgr("build", city_yaml), "pois.geojson does not exist")

    def test_empty(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.pois.write_text("")
        assert_refused(mmgr("build", city_yaml), "pois.geojson", "empty")

    def test_a_missing_column_proposes_the_nearest(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, "first_level: category", "first_level: categry")
        assert_refused(mmgr("build", city_yaml), "pois.geojson", "categry", "category")

    def test_pois_elsewhere(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        points.geometry = points.geometry.translate(5, 5)
        points.to_file(city.pois)
        assert_refused(mmgr("build", city_yaml), "no POIs lie near the regions", "longitude 14.0")

    def test_swapped_coordinates(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        table = pd.DataFrame({"category": points["category"], "lon": points.geometry.y, "lat": points.geometry.x})
        table.to_csv(city.folder / "pois.csv", index=False)
        change(city_yaml, "path: pois.geojson", "path: pois.csv, x: lon, y: lat")
        change(city_yaml, ", second_level: subcategory", "")
        assert_refused(mmgr("build", city_yaml), "swapped")

    def test_coordinates_that_are_no_numbers(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        pd.DataFrame({"category": ["a"], "lon": ["east"], "lat": ["north"]}).to_csv(
            city.folder / "pois.csv", index=False
        )
        change(city_yaml, "path: pois.geojson", "path: pois.csv, x: lon, y: lat")
        change(city_yaml, ", second_level: subcategory", "")
        assert_refused(mmgr("build", city_yaml), "pois.csv", "1 have no usable coordinates")


class TestRepairedPois:
    """What is left out, joined or only named: the build goes on and says how many there were."""

    def build(self, mmgr: Mmgr, city_yaml: Path, points: gpd.GeoDataFrame, suffix: str = "geojson") -> str:
        path = city_yaml.parent / f"mine.{suffix}"
        points.to_parquet(path) if suffix == "parquet" else points.to_file(path)
        change(city_yaml, "path: pois.geojson", f"path: mine.{suffix}")
        code, printed = mmgr("build", city_yaml)
        assert code == 0, printed
        assert "Traceback" not in printed
        return printed

    def saved(self, city_yaml: Path) -> gpd.GeoDataFrame:
        return gpd.read_parquet(city_yaml.parent / "output" / "pois" / "pois.parquet")

    def test_a_file_of_no_features(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.pois.write_text('{"type": "FeatureCollection", "features": []}')
        assert_refused(mmgr("build", city_yaml), "pois.geojson", "0 rows")

    def test_a_table_of_column_names_only(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        (city.folder / "pois.csv").write_text("lon,lat,category,subcategory\n")
        change(city_yaml, "path: pois.geojson", "path: pois.csv")
        assert_refused(mmgr("build", city_yaml), "pois.csv has column names but no rows")

    def test_rows_that_are_all_unusable(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        (city.folder / "pois.csv").write_text("lon,lat,category,subcategory\n9,36.1,,bar\n9,36.1,food,\n,,food,bar\n")
        change(city_yaml, "path: pois.geojson", "path: pois.csv")
        expected = "pois.csv holds no usable point: of 3 rows 1 have no usable coordinates and 2 no category"
        assert_refused(mmgr("build", city_yaml), expected)

    def test_categories_empty_or_missing(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        points.loc[[0, 4], "category"] = [None, "  "]
        printed = self.build(mmgr, city_yaml, points)
        assert "2 of 300 POIs without a category are left out (rows 1, 5)" in printed
        assert len(self.saved(city_yaml)) == 298

    @pytest.mark.parametrize("suffix", ["geojson", "gpkg", "parquet"])
    def test_geometries_empty_or_missing(self, mmgr: Mmgr, city: City, city_yaml: Path, suffix: str) -> None:
        points = gpd.read_file(city.pois)
        points.loc[[1, 2], "geometry"] = [None, shapely.Point()]
        printed = self.build(mmgr, city_yaml, points, suffix)
        assert "2 of 300 POIs without usable coordinates are left out (rows 2, 3)" in printed

    def test_coordinates_infinite_or_no_number(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        table = points.drop(columns="geometry").assign(lon=points.geometry.x, lat=points.geometry.y)
        table.loc[[0, 7], "lon"] = [float("inf"), float("nan")]
        table.to_csv(city.folder / "pois.csv", index=False)
        change(city_yaml, "path: pois.geojson", "path: pois.csv")
        code, printed = mmgr("build", city_yaml)
        assert code == 0, printed
        assert "2 of 300 POIs without usable coordinates are left out (rows 1, 8)" in printed

    def test_a_second_level_below_two_first_levels(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        points["subcategory"] = points["subcategory"].replace({"food_1": "kiosk", "shop_1": "kiosk"})
        printed = self.build(mmgr, city_yaml, points)
        assert "second level 'kiosk' stands under 2 first levels: food (" in printed
        assert "kept as 2 categories" in printed

    def test_other_alphabets_in_two_spellings(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        names = {"food": "食べ物", "shop": "متجر", "park": "🌳", "school": "\u00e9cole"}
        points["category"] = points["category"].replace(names)
        apart = points.index[points["category"] == "\u00e9cole"][:3]
        points.loc[apart, "category"] = "e\u0301cole"
        printed = self.build(mmgr, city_yaml, points)
        rows = ", ".join(str(row + 1) for row in apart)
        assert f"names of 3 POIs are spelt in another Unicode form; read as NFC (rows {rows})" in printed
        code, printed = mmgr("categories", city_yaml)
        assert code == 0, printed
        taxonomy = json.loads((city.folder / "output" / "categories" / "taxonomy.json").read_text(encoding="utf-8"))
        assert set(taxonomy["first_level"]) == set(names.values())

    def test_one_category_only(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois).assign(category="food", subcategory="food")
        printed = self.build(mmgr, city_yaml, points)
        assert "there is one category only, food" in printed
        code, printed = mmgr("run", city_yaml)
        assert code == 0, printed
        assert "Traceback" not in printed

    def test_far_points_are_named_and_kept_or_dropped(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        points = gpd.read_file(city.pois)
        points.loc[[4, 8, 76], "geometry"] = [shapely.Point(9, 38), shapely.Point(0, 0), shapely.Point(9.1, 35.8)]
        printed = self.build(mmgr, city_yaml, points)
        assert (
            "3 of 300 POIs lie more than 10 km from the regions (rows 5, 9, 77; the furthest at lon 0.000, "
            "lat 0.000); set pois.outside: drop to leave them out" in printed
        )
        assert len(self.saved(city_yaml)) == 300
        change(city_yaml, "pois:", "pois:\n  outside: drop")
        code, printed = mmgr("build", city_yaml)
        assert code == 0, printed
        assert "they are left out (pois.outside: drop)" in printed
        assert len(self.saved(city_yaml)) == 297

    def test_a_wish_for_far_points_that_is_unknown(self, mmgr: Mmgr, city_yaml: Path) -> None:
        change(city_yaml, "pois:", "pois:\n  outside: remove")
        assert_refused(mmgr("build", city_yaml), "`pois.outside`", "'keep' or 'drop'", "remove")


class TestWithoutImages:
    @pytest.fixture
    def bare(self, city_yaml: Path) -> Path:
        """The made city without its images, over a grid."""
        change(city_yaml, "images: {path: mosaic.tif}\n", "")
        return city_yaml

    def test_neither_images_nor_pois(self, mmgr: Mmgr, bare: Path) -> None:
        text = bare.read_text()
        bare.write_text(text[: text.index("pois:")] + text[text.index("categories:") :])
        assert_refused(mmgr("run", bare), "there is nothing to learn from: name `images`, `pois`, or both")
        assert_refused(mmgr("init", "--config", bare.with_name("new.yaml")), "give images, POIs, or both")

    def test_footprints_without_polygons(self, mmgr: Mmgr, bare: Path) -> None:
        change(bare, "{kind: grid, size: 120, pixels: 32}", "{kind: footprints}")
        assert_refused(mmgr("run", bare), "footprints are outlines of images: without `images`, name polygons")

    def test_cells_in_pixels(self, mmgr: Mmgr, bare: Path) -> None:
        change(bare, "pixels: 32", "unit: pixels")
        assert_refused(mmgr("run", bare), "without `images`, give it in metres")

    def test_folders_of_images_as_groups(self, mmgr: Mmgr, bare: Path) -> None:
        change(bare, "pixels: 32", "group: folder")
        assert_refused(mmgr("run", bare), "without `images`, name a column")

    def test_polygons_that_are_not_there(self, mmgr: Mmgr, bare: Path) -> None:
        change(bare, "{kind: grid, size: 120, pixels: 32}", "{kind: polygons, path: blocks.gpkg}")
        assert_refused(mmgr("run", bare), "regions.path", "blocks.gpkg does not exist")

    def test_a_geographic_crs_where_metres_are_needed(self, mmgr: Mmgr, bare: Path) -> None:
        change(bare, "pixels: 32", "crs: EPSG:4326")
        assert_refused(mmgr("build", bare), "4326", "EPSG:32632", "where the POIs are")

    def test_polygons_away_from_the_pois(self, mmgr: Mmgr, city: City, bare: Path) -> None:
        labels = gpd.read_file(city.labels)
        labels.set_geometry(labels.translate(5, 5)).to_file(city.folder / "away.gpkg")
        change(bare, "{kind: grid, size: 120, pixels: 32}", "{kind: polygons, path: away.gpkg}")
        assert_refused(mmgr("build", bare), "no POIs lie near the regions")

    def test_pois_of_several_zones(self, mmgr: Mmgr, city: City, bare: Path) -> None:
        points = gpd.read_file(city.pois)
        half = points.index < len(points) / 2
        points.loc[half, "geometry"] = points.loc[half].translate(30, 0)
        points.to_file(city.pois)
        assert_refused(mmgr("build", bare), "the POIs reach from longitude 9.00 to 39.0", "set `regions.crs`")

    def test_an_area_away_from_the_regions(self, mmgr: Mmgr, city: City, bare: Path) -> None:
        area = gpd.read_file(city.labels).iloc[[0]]
        area.set_geometry(area.translate(1, 0)).to_file(city.folder / "area.gpkg")
        change(bare, "{kind: grid, size: 120, pixels: 32}", "{kind: polygons, path: census.geojson}")
        change(bare, "path: pois.geojson", "path: pois.geojson, area: area.gpkg")
        assert_refused(mmgr("build", bare), "no POIs are known in any of the 36 regions")

    def test_a_stray_poi_does_not_stretch_the_grid(self, mmgr: Mmgr, city: City, bare: Path) -> None:
        points = gpd.read_file(city.pois)
        points.loc[4, "geometry"] = shapely.Point(0, 0)
        points.to_file(city.pois)
        code, printed = mmgr("build", bare)
        assert code == 0, printed
        assert "1 of 300 POIs lie apart from the others, and no grid is made there" in printed
        assert "1 of 300 POIs lie more than 10 km from the regions (row 5;" in printed
        assert "regions of 120 m in EPSG:32632, without images" in printed

    def test_pois_at_longitude_and_latitude_zero_are_named_or_left_out(
        self, mmgr: Mmgr, city: City, bare: Path
    ) -> None:
        points = gpd.read_file(city.pois)
        points.loc[points.index[-12:], "geometry"] = shapely.Point(0, 0)
        points.to_file(city.pois)
        code, printed = mmgr("build", bare)
        assert code == 0, printed
        assert "12 of 300 POIs lie more than 10 km from the regions (rows 289, 290, 291, 292, 293 and 7 more" in printed
        assert "set pois.outside: drop to leave them out" in printed
        change(bare, "pois:", "pois:\n  outside: drop")
        code, printed = mmgr("build", bare)
        assert code == 0, printed
        assert "lat 0.000); they are left out (pois.outside: drop)" in printed

    def test_a_grid_that_wrong_coordinates_make_too_large_names_them(self, mmgr: Mmgr, city: City, bare: Path) -> None:
        points = gpd.read_file(city.pois)
        moved = range(280, 300)
        points.loc[moved, "geometry"] = [shapely.Point(9 + 0.1 * row, -30 + 0.05 * row) for row in range(20)]
        points.to_file(city.pois)
        refused = mmgr("build", bare)
        assert_refused(
            refused, "choose a larger `regions.size`", "But 20 of 300 POIs lie more than", "row 281 at lon 9.000"
        )

    def test_what_init_proposes_for_pois_alone_builds(self, mmgr: Mmgr, city: City) -> None:
        path = city.folder / "mine.yaml"
        code, printed = mmgr("init", "--pois", city.pois, "--labels", city.labels, "--config", path)
        assert code == 0, printed
        assert "No images: square cells of 50 m over the POIs" in printed
        code, printed = mmgr("build", path)
        assert code == 0, printed
        assert "without images" in printed


class TestLabels:
    @pytest.fixture
    def embedded(self, city: City, city_yaml: Path, mmgr: Mmgr) -> Path:
        """The made city, embedded without training."""
        change(city_yaml, "epochs: 2", "epochs: 0")
        for stage in ("build", "categories", "pretrain", "embed"):
            code, printed = mmgr(stage, city_yaml)
            assert code == 0, printed
        return city.labels

    def test_one_value(self, mmgr: Mmgr, embedded: Path, city_yaml: Path) -> None:
        labels = gpd.read_file(embedded)
        labels["population"] = 7.0
        labels.to_file(embedded)
        assert_refused(mmgr("evaluate", city_yaml), "population", "one value")

    def test_missing_column(self, mmgr: Mmgr, embedded: Path, city_yaml: Path) -> None:  # noqa: ARG002
        change(city_yaml, "column: population", "column: popolation")
        assert_refused(mmgr("evaluate", city_yaml), "census.geojson", "popolation", "population")

    def test_negative_amounts(self, mmgr: Mmgr, embedded: Path, city_yaml: Path) -> None:
        labels = gpd.read_file(embedded)
        labels.loc[5, "population"] = -40.0
        labels.to_file(embedded)
        assert_refused(mmgr("evaluate", city_yaml), "-40")

    def test_labels_elsewhere(self, mmgr: Mmgr, embedded: Path, city_yaml: Path) -> None:
        labels = gpd.read_file(embedded)
        labels.geometry = labels.geometry.translate(5, 5)
        labels.to_file(embedded)
        assert_refused(mmgr("evaluate", city_yaml), "overlap")

    def test_missing_labels_are_found_before_anything_runs(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.labels.unlink()
        assert_refused(mmgr("run", city_yaml), "tasks.population.path", "census.geojson does not exist")
        assert not (city.folder / "output" / "regions.lance").exists()

    def test_empty_labels(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        city.labels.write_text("")
        assert_refused(mmgr("run", city_yaml), "census.geojson", "empty")

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [("column: population", "column: peple", "peple"), ("folds: 3", "folds: 40", "fewer than 40 folds")],
    )
    def test_what_cannot_be_scored_is_found_before_the_training(
        self, mmgr: Mmgr, city: City, city_yaml: Path, old: str, new: str, expected: str
    ) -> None:
        change(city_yaml, old, new)
        assert_refused(mmgr("run", city_yaml), expected)
        assert (city.folder / "output" / "regions.lance").exists()
        assert not (city.folder / "output" / "pretrain").exists()

    def test_fewer_regions_than_folds(self, mmgr: Mmgr, embedded: Path, city_yaml: Path) -> None:  # noqa: ARG002
        change(city_yaml, "folds: 3", "folds: 40")
        assert_refused(mmgr("evaluate", city_yaml), "36", "40")


class TestOutput:
    def test_an_interrupted_command_says_how_it_goes_on(self, mmgr: Mmgr, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("mmgr.run.Run.__init__", interrupted)
        code, printed = mmgr("run", "city.yaml")
        assert code == 130
        assert printed == "error: interrupted; the same command goes on from here."

    def test_a_folder_that_another_run_writes(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        with exclusive(city.folder / "output"):
            assert_refused(mmgr("build", city_yaml), "is being written by another run")

    def test_a_stage_before_its_time(self, mmgr: Mmgr, city_yaml: Path) -> None:
        assert_refused(mmgr("embed", city_yaml), "`embed` reads what `build` writes", "has not run")
        assert_refused(mmgr("export", city_yaml), "`export` reads what `build` writes", "has not run")
        assert_refused(mmgr("audit", city_yaml), "`audit` reads what `build` writes", "has not run")

    def test_a_full_disk_leaves_nothing_half_written(self, city: City, city_yaml: Path) -> None:
        # files may not grow past 20 kB: writes fail as they do on a full disk
        result = run_apart("build", city_yaml, before="ulimit -f 20")
        assert result.returncode == 2, result.stderr
        assert "no room to write" in " ".join(result.stderr.split())
        assert "Traceback" not in result.stderr
        assert not (city.folder / "output" / "regions.lance").exists()

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_a_folder_without_permission(self, mmgr: Mmgr, city: City, city_yaml: Path) -> None:
        (city.folder / "output").mkdir(mode=0o500)
        assert_refused(mmgr("build", city_yaml), "no permission to write")

    @pytest.mark.parametrize("below", ["", "/sub"])
    def test_an_output_that_is_a_file_or_below_one(self, mmgr: Mmgr, city: City, city_yaml: Path, below: str) -> None:
        taken = city.folder / "taken.geojson"
        taken.touch()
        change(city_yaml, "output: output", f"output: taken.geojson{below}")
        for words in (("build", city_yaml), ("run", city_yaml), ("run", "--dry-run", city_yaml)):
            assert_refused(mmgr(*words), f"{taken} is no folder", "choose another `output`")
        assert_refused(mmgr("demo", "--output", f"{taken}{below}"), f"{taken} is no folder")
        assert_refused(mmgr("synth", f"{taken}/a", "--regions", 9), f"{taken} is no folder", "name another folder")
        named = ("init", "--images", city.images, "--config", f"{taken}{below}/a.yaml")
        assert_refused(mmgr(*named), f"{taken} is no folder", "choose another --config")

    def test_info_of_nothing_of_ours(self, mmgr: Mmgr, city: City) -> None:
        assert_refused(mmgr("info", city.folder), "no artefact of MMGR")
        assert_refused(mmgr("info", city.folder / "nothing"), "does not exist")

    def test_debug_shows_the_traceback(self, mmgr: Mmgr, tmp_path: Path) -> None:
        code, printed = mmgr("run", tmp_path / "city.yaml", "--debug")
        assert code == 2
        assert "Traceback" in printed

    def test_an_unexpected_error_is_one_line(
        self, mmgr: Mmgr, city_yaml: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("surprise")

        monkeypatch.setattr("mmgr.run.Run.__init__", fail)
        code, printed = mmgr("run", city_yaml)
        assert code == 1
        assert "unexpected ZeroDivisionError: surprise" in printed
        assert "Traceback" not in printed


def run_apart(*words: str | Path, before: str = "true") -> subprocess.CompletedProcess[str]:
    code = "from mmgr.cli import main; main()"
    command = ["bash", "-c", f'{before}; exec "$@"', "bash", sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def rewrite(path: Path, **profile: object) -> None:
    with rasterio.open(path) as source:
        pixels, before = source.read(), source.profile
    with rasterio.open(path, "w", **{**before, **profile}) as target:
        target.write(pixels)


def split_in_two(city: City) -> Path:
    """Cut the mosaic into a western and an eastern file."""
    folder = city.folder / "tiles"
    folder.mkdir()
    with rasterio.open(city.images) as source:
        for name, start in (("west", 0), ("east", 180)):
            window = rasterio.windows.Window(start, 0, 180, 360)
            profile = {**source.profile, "width": 180, "transform": source.window_transform(window)}
            with rasterio.open(folder / f"{name}.tif", "w", **profile) as target:
                target.write(source.read(window=window))
    city.images.unlink()
    return folder


def test_the_module_and_the_option_tell_the_version(mmgr: Mmgr) -> None:
    code, printed = mmgr("--version")
    assert code == 0
    assert printed == f"mmgr {version('mmgr')}"
    done = subprocess.run([sys.executable, "-m", "mmgr", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == printed
