"""The measurement of cutting, through the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmgr import cli
from mmgr.bench.build import LAYOUTS


def call(*words: str | Path) -> int:
    try:
        cli.main(["bench", "build", *map(str, words)])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_cutting_is_compared_with_plain_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "numbers.json"
    assert call("--edge", "3", "--pixels", "64", "--rounds", "1", "--json", path) == 0
    measured = json.loads(path.read_text())
    assert set(measured["layouts"]) == set(LAYOUTS)
    tiled = [found for name, found in measured["layouts"].items() if name.startswith("tiled")]
    assert measured["ratio"] == min(found["ratio"] for found in tiled)
    for found in measured["layouts"].values():
        assert found["patches_per_second"] > 0
        # of one round: the ratio is that of its rates
        expected = found["patches_per_second"] / found["plain_patches_per_second"]
        assert found["ratio"] == pytest.approx(expected, abs=0.002)
    assert (measured["patches"], measured["pixels"], measured["rounds"]) == (9, 64, 1)
    assert measured["machine"]["cores"] >= 1
    assert "gdal" in measured["software"]
    assert "patches per second" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [("--edge", "0"), ("--pixels", "512")])
def test_impossible_mosaics_are_one_message(wrong: tuple[str, str], capfd: pytest.CaptureFixture[str]) -> None:
    assert call(*wrong) == 2
    printed = capfd.readouterr().err
    assert printed.count("error:") == 1
    assert wrong[0] in printed
