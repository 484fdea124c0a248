"""Points that are there twice are named, and left out only where the user says so."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from pyproj import CRS

from mmgr.config import PointSource, Pois
from mmgr.pois import PoiTables, read_pois

GENOA = CRS.from_epsg(32632)
OWN = ["9.0000000,44.2000000,cafe", "9.0010000,44.2000000,bank", "9.0000000,44.2000000,bank", "9.0000000,44.2,cafe"]
OTHER = ["9.0020000,44.2000000,cafe", "9.0010002,44.2000000,bank", "9.0010000,44.2000100,bank"]


@pytest.fixture
def read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Any:
    """Two files: the last row of one stands in it before, the second row of the other is 2 cm from one of the first."""
    caplog.set_level(logging.INFO, logger="mmgr")
    paths = []
    for name, rows in (("own.csv", OWN), ("other.csv", OTHER)):
        paths.append(tmp_path / name)
        paths[-1].write_text("\n".join(["lon,lat,type", *rows]) + "\n", encoding="utf-8")

    def make(**settings: Any) -> PoiTables:
        sources = tuple(PointSource(path=path, first_level="type") for path in paths)
        return read_pois(Pois(sources=sources, **settings), crs=GENOA)

    return make


def test_they_are_named_and_kept_by_default(read: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert len(read().points) == 7
    ends = {record.levelname: record.getMessage().partition(".csv: ")[2] for record in caplog.records}
    then = "set pois.duplicates: drop to leave them out"
    assert ends["INFO"] == f"1 of 4 POIs have place and category of an earlier one in the same file (row 4); {then}"
    assert ends["WARNING"].startswith("1 of 3 POIs have place and category of an earlier one in ")
    assert ends["WARNING"].endswith(f"own.csv (row 2); {then}")


def test_they_are_left_out_where_the_user_says_so(read: Any, caplog: pytest.LogCaptureFixture) -> None:
    points = read(duplicates="drop").points
    found = list(zip(points["source"], points["row"], strict=True))
    assert found == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 3)]
    assert caplog.text.count("they are left out (pois.duplicates: drop)") == 2


def test_nothing_is_said_where_there_are_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mmgr")
    path = tmp_path / "p.csv"
    path.write_text("\n".join(["lon,lat,type", *OWN[:3]]) + "\n", encoding="utf-8")
    assert len(read_pois(Pois(sources=(PointSource(path=path, first_level="type"),)), crs=GENOA).points) == 3
    assert not caplog.records
