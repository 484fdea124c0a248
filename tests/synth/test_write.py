"""Made cities on disk: what is written, and that the whole pipeline runs on it."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import yaml
from numpy.testing import assert_allclose

import mmgr
from mmgr import cli
from mmgr.synth import Dirt, Settings, make_city, write_city
from mmgr.synth.images import write_images

SMALL = {
    "pretrain": {"encoder": "test_resnet", "crop": 32, "epochs": 1, "batch_size": 32},
    "categories": {"iterations": 20, "dimensions": 4},
    "evaluate": {"folds": 3, "seeds": 1, "probes": ["ridge"]},
}


def shrink(path: Path, *tasks: str, intervals: bool = True) -> None:
    """Let a made city's configuration run in seconds, with some of its tasks."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | SMALL
    content["evaluate"] = SMALL["evaluate"] | ({} if intervals else {"intervals": []})
    content["tasks"] = [task for task in content["tasks"] if task["name"] in tasks]
    assert len(content["tasks"]) == len(tasks)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


@pytest.mark.parametrize("layout", ["contiguous", "scattered"])
def test_the_whole_pipeline_runs_on_two_made_cities(layout: str, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    dirt = Dirt(duplicates=0.05, outside=0.01, unnamed=0.05)
    size = {"regions": 98, "cities": 2, "pixels": 32, "metres_per_pixel": 2.0, "tract": 2}
    settings = Settings(**size, layout=layout, dates=1 + (layout == "scattered"), dirt=dirt)
    made = write_city(folder, settings)
    mmgr.load_config(folder / "city.yaml")
    tasks = ("population", "function", "population_of_tracts")
    shrink(folder / "city.yaml", *tasks, intervals=layout == "contiguous")
    run = mmgr.Run(folder / "city.yaml")
    run.all()
    store = mmgr.RegionStore(run.layout.regions)
    assert sorted(store.regions.index) == sorted(made.truth.index)
    assert store.regions["group"].to_dict() == made.truth["city"].to_dict()
    assert store.regions["views"].unique().tolist() == [settings.dates]
    assert set(run.evaluate().to_frame()["split"]) == {"blocks", "groups"}
    held_out = pd.read_parquet(run.layout.evaluation / "held_out.parquet")
    amounts = held_out[held_out["task"] == "population"].drop_duplicates("id").set_index("id")["observed"]
    assert_allclose(amounts, made.truth.loc[amounts.index, "population_noisy"], rtol=1e-3)
    green = held_out[(held_out["task"] == "function") & (held_out["class"] == "green")].drop_duplicates("id")
    assert_allclose(green["observed"], made.truth.loc[green["id"], "green_noisy"], rtol=1e-3)
    # patches are the pictures of their own regions, up to JPEG
    for row in (0, 50):
        stored = store.patches([list(store.regions.index).index(made.truth.index[row])])[0]
        for date, pixels in enumerate(stored.reshape(-1, 32, 32, 3)):
            assert np.abs(pixels.astype(int) - made.patch(row, date=date)).mean() < 8


def test_tables_say_the_same_in_both_formats(tmp_path: Path) -> None:
    for vectors in ("geojson", "parquet"):
        write_city(tmp_path / vectors, Settings(regions=40, pixels=32), vectors=vectors)
        mmgr.load_config(tmp_path / vectors / "city.yaml")
    for name in ("pois", "area", "tracts", "land_use"):
        text = gpd.read_file(tmp_path / "geojson" / f"{name}.geojson").to_crs(32632)
        table = gpd.read_parquet(tmp_path / "parquet" / f"{name}.parquet")
        assert text.geometry.geom_equals_exact(table.geometry, 0.01).all()
        assert list(text.columns) == list(table.columns)


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_one_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_city(tmp_path / name, Settings(regions=40, pixels=32, dates=2, seed=4), vectors="parquet")
    assert digests(tmp_path / "one") == digests(tmp_path / "two")


def test_sheets_meet_without_a_seam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmgr.synth.images.SHEET", 96)
    monkeypatch.setattr("mmgr.synth.images._WINDOW", 64)
    made = make_city(Settings(regions=33, pixels=32))
    assert write_images(tmp_path, made) == 5, "two by two sheets, and one below them for the last, short row"
    whole = made.cities[0].image(0, 0, 6 * 32, 6 * 32).astype(int)
    covered = np.zeros((6 * 32, 6 * 32), int)
    west, north = made.sites[0].west, made.sites[0].north
    for path in tmp_path.rglob("*.tif"):
        with rasterio.open(path) as sheet:
            column, row = round(sheet.transform.c - west), round(north - sheet.transform.f)
            part = np.s_[row : row + sheet.height, column : column + sheet.width]
            covered[part] += 1
            assert np.abs(sheet.read().transpose(1, 2, 0) - whole[part]).mean() < 8
    assert covered.sum() == 33 * 32 * 32
    assert covered.max() == 1


def test_memory_does_not_grow_with_the_mosaic(tmp_path: Path) -> None:
    peaks = []
    for name, regions in (("warm", 16), ("small", 256), ("large", 2304)):
        made = make_city(Settings(regions=regions, pixels=32))
        tracemalloc.start()
        write_images(tmp_path / name, made)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < 1.3 * peaks[1], "nine times the pixels"


def test_the_truth_says_what_was_made(tmp_path: Path) -> None:
    made = write_city(tmp_path / "made", Settings(regions=40, pixels=32, noise=0.5))
    truth = gpd.read_parquet(tmp_path / "made" / "truth.parquet")
    facts = json.loads((tmp_path / "made" / "truth.json").read_text(encoding="utf-8"))
    b, s = truth["built"], truth["shared"]
    weights = facts["labels"]["population"]["weights"]
    expected = facts["labels"]["population"]["level"] * np.exp(weights["built"] * b + weights["shared"] * s)
    assert_allclose(truth["population"], expected)
    assert facts["r2_ceiling"]["expected_of_log_amounts"] == 0.8
    assert facts["r2_ceiling"]["regions"] == made.ceilings()
    assert facts["settings"]["seed"] == 0


class TestCommand:
    def call(self, capfd: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, str]:
        code = 0
        try:
            cli.main([str(word) for word in words])
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, " ".join("".join(capfd.readouterr()).split())

    def test_it_says_what_can_be_reached_and_what_to_do_next(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        code, printed = self.call(capfd, "synth", tmp_path / "new", "--regions", "20", "--pixels", "32", "--dirt", ".1")
        assert code == 0, printed
        assert "R2 at best: population 0." in printed
        assert (tmp_path / "new" / "city.yaml").is_file()
        assert not list(tmp_path.glob(".new*")), "nothing is left beside it"

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            (("--regions", "3"), "regions must be 4 to"),
            (("--regions", "9", "--cities", "3"), "regions must be 12 to"),
            (("--regions", "9", "--layout", "round"), "not 'round'; set --layout"),
            (("--regions", "9", "--pixels", "100"), "multiple of 16"),
            (("--regions", "9", "--metres-per-pixel", "nan"), "metres per pixel must be 0.3 to 2"),
            (("--regions", "9", "--noise", "-1"), "noise must be 0 to 10, got -1"),
            (("--regions", "9", "--dirt", "0.9"), "duplicates must be 0 to 0.5"),
            (("--regions", "9", "--seed", "-1"), "seed must be 0 to"),
            (("--regions", "9", "--vectors", "csv"), "`geojson` or `parquet`, not 'csv'"),
        ],
    )
    def test_what_cannot_be_made_is_refused(
        self, words: tuple[str, ...], expected: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        code, printed = self.call(capfd, "synth", tmp_path / "new", *words)
        assert code == 2, printed
        assert expected in printed
        assert "Traceback" not in printed
        assert not (tmp_path / "new").exists()

    def test_a_folder_with_files_is_left_alone(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "mine.txt").write_text("precious")
        code, printed = self.call(capfd, "synth", tmp_path, "--regions", "9")
        assert code == 2
        assert "is not an empty folder" in printed
        assert (tmp_path / "mine.txt").read_text() == "precious"
