"""What makes a stage run again, and how messages name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgr.errors import ArtefactError, InputError
from mmgr.stages import Ledger, Stage, input_fingerprint


@pytest.fixture(autouse=True)
def _fresh_fingerprints() -> None:
    input_fingerprint.cache_clear()


def ledger(folder: Path, *, size: int = 200, first: str = "a") -> Ledger:
    (folder / "input").write_text("1") if not (folder / "input").exists() else None
    stages = [
        Stage("one", "", (), {"regions": {"size": size, "kind": "grid"}}, {"images.path": folder / "input"}, ()),
        Stage("two", "", ("one",), {"seed": first}, {}, (folder / "two.out",)),
    ]
    return Ledger(folder / "out", {stage.name: stage for stage in stages})


def finish(book: Ledger, *names: str) -> None:
    for name in names:
        with book.recorded(name):
            for path in book.stages[name].outputs:
                path.write_text("")


def test_a_finished_stage_is_up_to_date_until_something_changes(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    assert book.status("one").reason == "has not run"
    finish(book, "one", "two")
    assert book.status("one").up_to_date
    assert book.status("two").up_to_date
    changed = ledger(tmp_path, size=300)
    assert changed.status("one").reason == "regions.size (200 -> 300) changed"
    assert changed.status("two").reason == "`one` changed"


def test_a_changed_input_is_named(tmp_path: Path) -> None:
    finish(ledger(tmp_path), "one")
    (tmp_path / "input").write_text("2")
    input_fingerprint.cache_clear()
    assert ledger(tmp_path).status("one").reason == "the file of images.path changed"


def test_a_missing_artefact_is_named(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    finish(book, "one", "two")
    (tmp_path / "two.out").unlink()
    assert book.status("two").reason == "two.out is missing"


def test_a_failed_stage_leaves_no_record(tmp_path: Path) -> None:
    book = ledger(tmp_path)
    finish(book, "one")
    with pytest.raises(ZeroDivisionError), book.recorded("one"):
        _ = 1 / 0
    assert book.status("one").reason == "has not run"


def test_a_stage_before_its_time_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"run `mmgr one city\.yaml` first"):
        ledger(tmp_path).require("two", config="city.yaml")


def test_a_missing_input_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images\.path: .* does not exist"):
        input_fingerprint(tmp_path / "nothing", what="images.path")


def test_the_sources_of_a_vrt_count(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_text("1")
    vrt = tmp_path / "mosaic.vrt"
    vrt.write_text('<VRTDataset><SourceFilename relativeToVRT="1">a.tif</SourceFilename></VRTDataset>')
    before = input_fingerprint(vrt, what="")
    (tmp_path / "a.tif").write_text("2")
    input_fingerprint.cache_clear()
    assert input_fingerprint(vrt, what="") != before


def test_the_parts_of_a_shapefile_count(tmp_path: Path) -> None:
    for suffix in (".shp", ".dbf"):
        (tmp_path / f"a{suffix}").write_text("1")
    before = input_fingerprint(tmp_path / "a.shp", what="")
    (tmp_path / "a.dbf").write_text("2")
    input_fingerprint.cache_clear()
    assert input_fingerprint(tmp_path / "a.shp", what="") != before
