"""A whole run on a made city: stages, what is skipped, what goes on after a kill."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

import mmgr
from mmgr import cli
from mmgr.embeddings import read_embeddings
from mmgr.errors import ConfigError
from mmgr.run import STAGES

if TYPE_CHECKING:
    from conftest import City

ROOT = Path(__file__).resolve().parents[1]


def statuses(config: Path) -> dict[str, bool]:
    return {status.stage: status.up_to_date for status in mmgr.Run(config).plan()}


class TestWholeRun:
    def test_every_artefact_is_there_and_agrees(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        assert run.all() == city_yaml.parent / "output" / "report.html"
        output = city_yaml.parent / "output"
        store = mmgr.RegionStore(output / "regions.lance")
        assert len(store) == 36
        folder = output / "embeddings"
        tables = {part: gpd.read_parquet(folder / f"{part}.parquet") for part in ("embeddings", "image", "poi")}
        for table in tables.values():
            assert list(table.index) == list(store.regions.index)
            assert table.crs == store.regions.crs
        both, image, poi = (read_embeddings(folder / f"{part}.parquet") for part in tables)
        assert np.array_equal(both, np.hstack([image, poi]))
        assert np.isfinite(both).all()
        assert np.ptp(both, axis=0).max() > 0
        scores = run.evaluate().to_frame()
        assert set(scores["features"]) == {
            "[image, POI]", "image only", "POI only", "image + POI densities", "POI densities", "random encoder",
        }  # fmt: skip
        assert set(scores["probe"]) == {"ridge", "kernel"}
        assert set(scores["split"]) == {"blocks"}
        predictions = gpd.read_parquet(output / "evaluation" / "predictions.parquet")
        assert (predictions["population"] >= 0).all()
        held_out = pd.read_parquet(output / "evaluation" / "held_out.parquet")
        assert len(held_out) == 36
        # the labels come through untouched: people in a cell of 120 m, per km2
        people = gpd.read_file(city_yaml.parent / "census.geojson")["population"]
        assert np.allclose(sorted(held_out["observed"]), sorted(people / 0.0144), rtol=1e-3)

    def test_the_map_is_a_grid_in_its_place(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        run.all()
        predictions = gpd.read_parquet(run.layout.evaluation / "predictions.parquet")
        with rasterio.open(run.layout.maps / "population.tif") as raster:
            assert raster.shape == (6, 6)
            centres = predictions.geometry.centroid
            values = [value[0] for value in raster.sample(zip(centres.x, centres.y, strict=True))]
            assert raster.descriptions == ("population", "lower", "upper", "dissimilarity", "applicable")
        assert np.allclose(values, predictions["population"], rtol=1e-6)
        low, high = predictions["population_lower"], predictions["population_upper"]
        assert ((low <= predictions["population"]) & (predictions["population"] <= high)).all()
        assert predictions["population_applicable"].dtype == bool
        of_task = gpd.read_parquet(run.layout.maps / "population.parquet")
        assert {"population", "lower", "upper", "dissimilarity", "applicable"} < set(of_task.columns)
        (image,) = run.export()
        with rasterio.open(image) as raster:
            exported = list(raster.sample(zip(centres.x, centres.y, strict=True)))
        assert np.array_equal(exported, read_embeddings(run.layout.embeddings / "embeddings.parquet"))
        # the labels were made of what the images show: every other path must be clean
        named = {finding.path for finding in run.audit().named}
        assert named <= {
            "adjacent places",
            "alike labels nearby",
            "overlapping image windows",
            "overlapping POI windows",
        }
        for name in ("population.png", "embeddings.png", "embeddings.tif", "population.parquet", "embeddings.parquet"):
            assert (run.layout.maps / name).stat().st_size > 0

    def test_the_report_needs_no_network(self, city_yaml: Path) -> None:
        page = mmgr.Run(city_yaml).all().read_text(encoding="utf-8")
        assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]+"', page)
        for words in ("made city", "population", "random encoder", "seed"):
            assert words in page

    def test_without_pois_images_alone_are_learned_from(self, city_yaml: Path) -> None:
        text = city_yaml.read_text()
        text = re.sub(r"pois:\n.*?\n(?=categories)", "", text, flags=re.DOTALL)
        city_yaml.write_text(text.replace("encoder:", "recipe: simclr, encoder:"))
        run = mmgr.Run(city_yaml)
        run.all()
        assert set(run.evaluate().to_frame()["features"]) == {"image only", "random encoder"}
        assert not (run.layout.embeddings / "poi.parquet").exists()

    def test_a_look_at_labels_during_training_scores_as_the_evaluation_will(self, city_yaml: Path) -> None:
        text = city_yaml.read_text().replace("epochs: 2,", "epochs: 3, probe_every: 2, tensorboard: true,")
        # of this recipe, vectors are what the encoders give and nothing of the surroundings
        text = text.replace("encoder:", "recipe: mmgr-2023, encoder:")
        city_yaml.write_text(text)
        run = mmgr.Run(city_yaml)
        for stage in ("build", "categories", "pretrain", "embed"):
            run.do(stage)
        monitor = pd.read_csv(run.layout.monitor)
        columns = {"r2_population_image": "image only", "r2_population": "[image, POI]"}
        assert monitor[list(columns)].notna().all(axis=1).tolist() == [False, True, True]
        scores = run.evaluate().to_frame()
        for column, features in columns.items():
            (score,) = scores.loc[(scores["features"] == features) & (scores["probe"] == "ridge"), "r2"]
            assert monitor[column].iloc[-1] == pytest.approx(score, abs=2e-3)
        city_yaml.write_text(text.replace("probe_every: 2, tensorboard: true,", ""))
        assert statuses(city_yaml)["pretrain"], "what watches a training does not change it"

    def test_without_tasks_there_are_embeddings_and_their_map(self, city_yaml: Path) -> None:
        city_yaml.write_text(re.sub(r"tasks:\n.*\n", "", city_yaml.read_text()))
        run = mmgr.Run(city_yaml)
        run.all()
        assert run.evaluate().to_frame().empty
        assert (run.layout.maps / "embeddings.png").is_file()


class TestInputs:
    """Other forms of the same city, from start to end."""

    def change(self, path: Path, **parts: str) -> mmgr.Run:
        lines = path.read_text().splitlines()
        for key, text in parts.items():
            start = next(number for number, line in enumerate(lines) if line.startswith(f"{key}:"))
            stop = start + 1
            while stop < len(lines) and lines[stop].startswith(" "):
                stop += 1
            lines[start:stop] = [f"{key}: {text}"]
        path.write_text("\n".join(lines) + "\n")
        return mmgr.Run(path)

    def test_a_vrt_of_16_bits_cut_by_pixels(self, city: City, city_yaml: Path) -> None:
        with rasterio.open(city.images) as source:
            pixels, profile = source.read(), source.profile
        with rasterio.open(city.folder / "deep.tif", "w", **{**profile, "dtype": "uint16"}) as target:
            target.write(pixels.astype(np.uint16) * 20)
        bands = "".join(
            f'<VRTRasterBand dataType="UInt16" band="{band}"><NoDataValue>0</NoDataValue><SimpleSource>'
            f'<SourceFilename relativeToVRT="1">deep.tif</SourceFilename><SourceBand>{band}</SourceBand>'
            "</SimpleSource></VRTRasterBand>"
            for band in (1, 2, 3)
        )
        (city.folder / "deep.vrt").write_text(
            '<VRTDataset rasterXSize="360" rasterYSize="360"><SRS>EPSG:32632</SRS>'
            f"<GeoTransform>500000, 2, 0, 4000000, 0, -2</GeoTransform>{bands}</VRTDataset>"
        )
        run = self.change(
            city_yaml, images="{path: deep.vrt}", regions="{kind: grid, size: 60, unit: pixels, pixels: 32}"
        )
        run.all()
        store = mmgr.RegionStore(run.layout.regions)
        assert len(store) == 36
        spread = np.ptp(np.concatenate(store.patches(range(36))))
        assert spread > 200, "the stretch uses the whole range of 8 bits"

    def test_polygons_and_counts_with_the_published_recipe(self, city: City, city_yaml: Path) -> None:
        cells = gpd.read_file(city.labels).to_crs(32632)
        rng = np.random.default_rng(0)
        for name in ("food", "shop", "school"):
            cells[f"n_{name}"] = rng.poisson(3, len(cells))
        cells.to_file(city.folder / "cells.gpkg", layer="cells")
        run = self.change(
            city_yaml,
            regions="{kind: polygons, path: cells.gpkg, id: block, pixels: 32}",
            pois="{sources: [{kind: counts, path: cells.gpkg, id: block, columns: n_*}]}",
            pretrain="{recipe: mmgr-2023, encoder: test_resnet, crop: 32, epochs: 1}",
            evaluate="{folds: 3, seeds: 1, splits: [blocks, random]}",
        )
        run.all()
        store = mmgr.RegionStore(run.layout.regions)
        assert sorted(store.regions.index) == sorted(str(number) for number in range(36))
        assert store.info.taxonomy.names == ("food", "school", "shop")
        # a region that is its polygon has the polygon's counts
        counts = store.bags.counts(3)[np.argsort(store.regions.index.astype(int))]
        assert np.allclose(counts, cells[["n_food", "n_school", "n_shop"]], atol=1e-3)
        scores = run.evaluate().to_frame()
        assert set(scores.loc[scores["optimistic"], "split"]) == {"random"}

    def test_scattered_images_of_two_dates_in_two_folders(self, city: City, city_yaml: Path) -> None:
        with rasterio.open(city.images) as source:
            for row in range(6):
                for column in range(6):
                    window = rasterio.windows.Window(60 * column + 5, 60 * row + 5, 50, 50)
                    profile = {**source.profile, "width": 50, "height": 50, "tiled": False}
                    profile["transform"] = source.window_transform(window)
                    folder = city.folder / "places" / ("west" if column < 3 else "east")
                    folder.mkdir(parents=True, exist_ok=True)
                    for year in (2018, 2020)[: 1 + row % 2]:
                        with rasterio.open(folder / f"p_{year}_{row}{column}.tif", "w", **profile) as target:
                            target.write(source.read(window=window))
        run = self.change(city_yaml, images="{path: places}", regions="{kind: footprints, group: folder, pixels: 32}")
        run.all()
        store = mmgr.RegionStore(run.layout.regions)
        assert len(store) == 36
        assert sorted(set(store.regions["group"])) == ["east", "west"]
        assert sorted(store.regions["views"].unique()) == [1, 2]
        assert set(run.evaluate().to_frame()["split"]) == {"blocks", "groups"}


class TestUpToDate:
    def test_nothing_runs_twice(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        run.all()
        before = {path: path.stat().st_mtime_ns for path in run.layout.folder.rglob("*") if path.is_file()}
        assert all(statuses(city_yaml).values())
        mmgr.Run(city_yaml).all()
        after = {path: path.stat().st_mtime_ns for path in run.layout.folder.rglob("*") if path.is_file()}
        before.pop(run.layout.folder / ".lock")
        after.pop(run.layout.folder / ".lock")
        assert after == before

    def test_a_changed_setting_runs_its_stage_and_those_after(self, city_yaml: Path) -> None:
        mmgr.Run(city_yaml).all()
        city_yaml.write_text(city_yaml.read_text().replace("folds: 3", "folds: 4"))
        plan = {status.stage: status for status in mmgr.Run(city_yaml).plan()}
        assert [name for name in STAGES if not plan[name].up_to_date] == ["evaluate", "map", "report"]
        assert plan["evaluate"].reason == "evaluate.folds (3 -> 4) changed"

    def test_a_changed_label_file_runs_from_evaluate(self, city: City, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        for stage in ("build", "categories", "pretrain", "embed", "evaluate"):
            run.do(stage)
        labels = gpd.read_file(city.labels)
        labels.loc[0, "population"] += 1
        labels.to_file(city.labels)
        mmgr.stages.input_fingerprint.cache_clear()
        plan = {status.stage: status for status in mmgr.Run(city_yaml).plan()}
        assert plan["embed"].up_to_date
        assert plan["evaluate"].reason == "the file of tasks.population.path changed"

    def test_a_dry_run_writes_nothing(self, city_yaml: Path) -> None:
        result = call("run", city_yaml, "--dry-run")
        assert result.returncode == 0
        assert result.stdout.count("would run") == len(STAGES)
        assert not (city_yaml.parent / "output").exists()

    def test_a_removed_artefact_is_made_again(self, city_yaml: Path) -> None:
        mmgr.Run(city_yaml).all()
        (city_yaml.parent / "output" / "report.html").unlink()
        plan = {status.stage: status for status in mmgr.Run(city_yaml).plan()}
        assert plan["report"].reason == "report.html is missing"
        assert [name for name in STAGES if not plan[name].up_to_date] == ["report"]


class TestFilesOfOthers:
    @pytest.mark.parametrize("name", ["pois", "categories", "pretrain", "maps"])
    def test_a_folder_that_no_stage_wrote_is_refused_before_anything_runs(self, city_yaml: Path, name: str) -> None:
        mine = city_yaml.parent / "output" / name / "mine.txt"
        mine.parent.mkdir(parents=True)
        mine.write_text("precious")
        with pytest.raises(ConfigError, match=rf"{name} is not a folder that `mmgr \w+` wrote: it holds mine\.txt"):
            mmgr.Run(city_yaml).all()
        assert [path.name for path in mine.parent.parent.iterdir()] == [name]
        assert mine.read_text() == "precious"

    def test_a_configuration_beside_its_artefacts_is_left_as_it_is(self, city_yaml: Path) -> None:
        text = city_yaml.read_text(encoding="utf-8").replace("output: output", "output: .") + "# mine\n"
        own = city_yaml.with_name("config.yaml")
        own.write_text(text, encoding="utf-8")
        run = mmgr.Run(own)
        run.build()
        assert own.read_text(encoding="utf-8") == text
        assert run.layout.config.is_file()

    def test_a_stage_refuses_it_too_and_goes_on_once_it_is_moved(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        mine = run.layout.pois / "mine.txt"
        mine.parent.mkdir(parents=True)
        mine.write_text("precious")
        with pytest.raises(ConfigError, match="pois is not a folder that `mmgr build` wrote"):
            run.build()
        assert mine.read_text() == "precious"
        mine.unlink()
        run.build()
        # a folder of ours is replaced, whatever lies in it
        assert (run.layout.pois / "taxonomy.json").is_file()
        run.build(force=True)


class TestBundleOfOthers:
    def test_an_imported_encoder_takes_the_place_of_a_training(self, city_yaml: Path) -> None:
        torchvision = pytest.importorskip("torchvision")
        import torch

        from mmgr.bundle import load_bundle

        folder = city_yaml.parent
        weights = torchvision.models.resnet18(weights=None).state_dict()
        torch.save({f"encoder.{key}": value for key, value in weights.items()}, folder / "city_img_120.tar")
        result = call("import-checkpoint", folder / "city_img_120.tar", "--output", folder / "mine", "--crop", "32")
        assert result.returncode == 0, result.stderr
        text = re.sub(r"pretrain: \{.*\}", "pretrain: {bundle: mine}", city_yaml.read_text())
        city_yaml.write_text(re.sub(r"tasks:\n.*\n", "", text))
        run = mmgr.Run(city_yaml)
        page = run.all().read_text(encoding="utf-8")
        assert read_embeddings(run.layout.embeddings / "embeddings.parquet").shape == (36, 512)
        assert load_bundle(run.layout.bundle).manifest == load_bundle(folder / "mine").manifest
        assert "resnet18" in page
        assert all(statuses(city_yaml).values())
        # the bundle is an input: another one runs the stage again
        (folder / "mine" / "manifest.json").write_text((folder / "mine" / "manifest.json").read_text() + "\n")
        mmgr.stages.input_fingerprint.cache_clear()
        assert not statuses(city_yaml)["pretrain"]


class TestUnfinished:
    def test_a_changed_setting_is_refused_until_it_is_forced(
        self, city_yaml: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        import mmgr.bundle
        from mmgr import cli
        from mmgr.errors import MmgrError

        def fail(*_: object) -> None:
            raise MmgrError("stopped before the bundle")

        for stage in ("build", "categories"):
            mmgr.Run(city_yaml).do(stage)
        with monkeypatch.context() as patch:
            patch.setattr(mmgr.bundle, "save_bundle", fail)
            with pytest.raises(MmgrError, match="stopped"):
                mmgr.Run(city_yaml).pretrain()
        before = city_yaml.read_text()
        city_yaml.write_text(before.replace("batch_size: 16", "batch_size: 12"))
        for command in ("pretrain", "run"):
            with pytest.raises(SystemExit, match="2"):
                cli.main([command, str(city_yaml)])
            said = " ".join(capfd.readouterr().err.split())
            assert "holds another training, of which 2 epochs of 2 are done" in said
            assert "recipe.batch_size: 16 there, 12 now" in said
            assert "--force" in said
        # without images nothing is lost unasked either
        city_yaml.write_text(re.sub("images: .*\n", "", before))
        with pytest.raises(MmgrError, match="the configuration trains nothing any more"):
            mmgr.Run(city_yaml).all()
        # the store that is built again is the same data set
        city_yaml.write_text(before)
        for stage in ("build", "categories", "pretrain"):
            mmgr.Run(city_yaml).do(stage)
        # what is finished may be replaced
        city_yaml.write_text(before.replace("batch_size: 16", "batch_size: 12"))
        assert mmgr.Run(city_yaml).pretrain().recipe.batch_size == 12

    def test_force_forgets_it(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        run.build()
        run.categories()
        run.pretrain()
        (run.layout.bundle / "manifest.json").unlink()
        city_yaml.write_text(city_yaml.read_text().replace("batch_size: 16", "batch_size: 12"))
        assert mmgr.Run(city_yaml).pretrain(force=True).recipe.batch_size == 12


class TestKilled:
    @pytest.mark.slow
    def test_a_killed_run_ends_with_the_bits_of_one_never_killed(self, city_yaml: Path) -> None:
        text = city_yaml.read_text().replace("epochs: 2", "epochs: 6")
        city_yaml.write_text(text)
        whole = city_yaml.with_name("whole.yaml")
        whole.write_text(text.replace("output: output", "output: whole"))
        # in processes of their own: bits depend on the number of threads, which other tests may have changed here
        assert call("run", whole).returncode == 0
        killed_in = set()
        for wait in ("regions.unfinished", "pretrain/checkpoints", "evaluation"):
            killed_in.add(kill_when(city_yaml, wait))
        assert call("run", city_yaml).returncode == 0
        assert "pretrain/checkpoints" in killed_in, "the kill came too late to show anything"
        folder = city_yaml.parent
        for part in ("embeddings", "image", "poi", "random"):
            path = f"embeddings/{part}.parquet"
            assert np.array_equal(read_embeddings(folder / "output" / path), read_embeddings(folder / "whole" / path))
        scores = [
            json.loads((folder / name / "evaluation" / "scores.json").read_text()) for name in ("output", "whole")
        ]
        assert scores[0] == scores[1]


def kill_when(config: Path, sign: str) -> str | None:
    """Start a run, and kill it as soon as ``sign`` appears in its output; says whether that was in time."""
    command = [sys.executable, "-c", "from mmgr.cli import main; main()", "run", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        target = config.parent / "output" / sign
        while process.poll() is None and not (target.exists() and (target.is_file() or any(target.iterdir()))):
            time.sleep(0.005)
        if process.poll() is not None:
            return None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    return sign


def call(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from mmgr.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def small_encoder(text: str) -> str:
    """Return a configuration that `mmgr init` wrote with an encoder small enough for a test."""
    named = text.replace("encoder: tf_efficientnet_lite0", "encoder: test_resnet\n  epochs: 1\n  crop: 32")
    return named.replace("weights: shipped", "weights: random")


class TestFromPython:
    def test_the_example_of_the_readme(self, city: City, monkeypatch: pytest.MonkeyPatch) -> None:
        blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
        example = blocks[0]
        assert len([line for line in example.splitlines() if line.strip()]) <= 10
        # the example's names, and an encoder small enough for a test
        (city.folder / "images").mkdir()
        city.images.rename(city.folder / "images" / "mosaic.tif")
        monkeypatch.chdir(city.folder)
        text = example.replace('run = mmgr.Run("city.yaml")', 'shrink()\nrun = mmgr.Run("city.yaml")')

        def shrink() -> None:
            path = city.folder / "city.yaml"
            changed = small_encoder(path.read_text())
            path.write_text(changed)

        names: dict[str, object] = {"shrink": shrink}
        exec(compile(text, "README.md", "exec"), names)
        assert isinstance(names["embeddings"], gpd.GeoDataFrame)
        assert (city.folder / "output" / "report.html").is_file()


class TestInit:
    def test_a_configuration_that_init_wrote_runs(self, city: City, capsys: pytest.CaptureFixture[str]) -> None:
        path = city.folder / "mine.yaml"
        words = ["init", "--images", city.images, "--pois", city.pois, "--labels", city.labels, "--config", path]
        with pytest.raises(SystemExit) as stop:
            cli.main([str(word) for word in words])
        assert not stop.value.code
        text = path.read_text()
        for found in (
            "pixels of 2.00 m",
            "EPSG:32632",
            "first_level: category",
            "second_level: subcategory",
            "column: population",
        ):
            assert found in text, text
        assert "encoder: tf_efficientnet_lite0" in text
        assert "weights: shipped" in text
        path.write_text(small_encoder(text))
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            cli.main(["run", str(path)])
        assert not stop.value.code
        assert "[image, POI]" in capsys.readouterr().out

    def test_info_describes_every_artefact(self, city_yaml: Path) -> None:
        run = mmgr.Run(city_yaml)
        run.all()
        layout = run.layout
        said = {
            layout.regions: "36 of 120.0 m",
            layout.bundle: "mmgr: test_resnet",
            layout.categories: "in 4 first levels",
            layout.embeddings / "embeddings.parquet": "GeoParquet",
            layout.evaluation / "predictions.parquet": "population",
            layout.folder: "pretrain",
        }
        for path, words in said.items():
            facts = mmgr.describe(path)
            assert any(words in f"{name} {value}" for name, value in facts), facts
