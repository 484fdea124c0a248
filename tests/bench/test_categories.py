"""The measurement of category vectors, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmgr import cli
from mmgr.bench.machine import machine, software


def call(*words: str | Path) -> int:
    try:
        cli.main(["bench", "categories", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_the_measurements_are_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "numbers.json"
    assert call("--pois", "3000", "--categories", "12", "--seed", "3", "--json", path) == 0
    measured = json.loads(path.read_text())
    parts = [measured[f"{part}_seconds"] for part in ("graph", "walk", "fit")]
    assert min(parts) > 0
    assert measured["total_seconds"] == pytest.approx(sum(parts), abs=0.002)
    assert measured["steps"] == 3000 * 5 * 9
    assert measured["steps_per_second"] == pytest.approx(measured["steps"] / measured["walk_seconds"], rel=0.1)
    assert (measured["pois"], measured["categories"], measured["seed"]) == (3000, 12, 3)
    assert measured["vertices"] < 3000
    assert measured["peak_rss_mb"] > 50
    assert measured["threads"] >= 1
    printed = capsys.readouterr().out
    for name in ("graph seconds", "walk seconds", "fit seconds", "total seconds", "peak rss mb", "steps per second"):
        assert name in printed


def test_a_city_of_one_poi_is_measured_without_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("--pois", "1") == 0
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "wrong", [("--pois", "0"), ("--pois", "5", "--categories", "0"), ("--pois", "5", "--seed", "-1")]
)
def test_an_impossible_city_is_one_message(
    wrong: tuple[str, ...], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert call(*wrong, "--json", tmp_path / "numbers.json") == 2
    printed = capfd.readouterr().err
    assert printed.count("error:") == 1
    assert wrong[-2] in printed
    assert not list(tmp_path.iterdir())


def test_a_folder_is_not_replaced_by_the_measurements(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept.txt").touch()
    assert call("--pois", "5", "--json", tmp_path) == 2
    assert "is a directory" in capfd.readouterr().err
    assert (tmp_path / "kept.txt").exists()


def test_the_machine_and_the_software_are_named() -> None:
    assert machine()["cores"] >= 1
    assert machine()["architecture"]
    assert set(software()) == {"python", "mmgr", "numpy", "scipy", "numba"}
