"""The whole command on the made city, with rows of a user's own."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from conftest import make_city
from typer.testing import CliRunner

from mmgr.benchmark import Context, Made, Row, known
from mmgr.benchmark.cache import Outcome, make_row, vectors_of
from mmgr.benchmark.concatenation import NAME as CONCATENATION
from mmgr.benchmark.known import choose_rows
from mmgr.benchmark.settings import common_recipe, departures, pretrain_of
from mmgr.cli import app
from mmgr.config import Pretrain
from mmgr.errors import ConfigError
from mmgr.files import remove_tree
from mmgr.learn.recipes import resolve
from mmgr.run import Run

OWN = """
import numpy as np
from mmgr.benchmark import Made, Row

CALLS = []

def east(context):
    CALLS.append("east")
    return context.store.regions.geometry.centroid.x.to_numpy()[:, None].astype("float32")

def broken(context):
    CALLS.append("broken")
    return [][1]

def short(context):
    return np.zeros((3, 2), np.float32)

def stops(context):
    CALLS.append("stops")
    raise KeyboardInterrupt

EAST = Row("east", "poi", east, "the easting")
ROWS = [EAST, Row("broken", "image", broken), Row("short", "poi", short)]
KILLED = [EAST, Row("stops", "poi", stops)]
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of rows, in which the command is given."""
    (tmp_path / "own_rows.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_rows", None)


@pytest.fixture
def here(run: Run) -> Iterator[Run]:
    """The built run, with no benchmark in it."""
    remove_tree(run.layout.benchmark)
    yield run
    remove_tree(run.layout.benchmark)


@pytest.mark.usefixtures("own")
def test_one_command_scores_names_failures_and_goes_on(here: Run) -> None:
    path = here.name
    words = [
        "benchmark",
        path,
        "--rows",
        "own_rows:ROWS",
        "--rows",
        f"poi-densities,colour-texture,{CONCATENATION},mmgr",
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "`broken`: IndexError" in result.output
    assert "`short`: it gave vectors of shape (3, 2) for 36 regions" in result.output
    folder = here.layout.benchmark
    value = json.loads((folder / "benchmark.json").read_text())
    states = {row["name"]: row["state"] for row in value["rows"]}
    assert states == {"poi-densities": "made", "colour-texture": "made", "mmgr": "made", "east": "made",
                      "broken": "failed", "short": "failed"}  # fmt: skip
    assert value["rows"][-1]["name"] == "mmgr"
    scored = {score["features"] for score in value["scores"]}
    assert scored == {"poi-densities", "colour-texture", "east", "mmgr", CONCATENATION}
    assert {score["probe"] for score in value["scores"]} == {"ridge"}
    assert {d["other"] for d in value["differences"]} == scored - {"mmgr"}
    assert set(value["mean_rank"]) == scored
    assert value["chosen"]["population"]["blocks"][0] == {"colour-texture": 3}
    assert (folder / "benchmark.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "benchmark.md").read_text() in result.output
    made = {row["name"]: row for row in value["rows"]}
    assert made["mmgr"]["parameters"] > 1000
    assert made["poi-densities"]["parameters"] == 0

    # again: nothing is made that is there, and the numbers are the same
    module = sys.modules["own_rows"]
    assert sorted(module.CALLS) == ["broken", "east"]
    before = sorted((folder / "predictions").iterdir())
    again = CliRunner().invoke(app, words)
    assert again.exit_code == 0
    assert module.CALLS.count("east") == 1
    assert module.CALLS.count("broken") == 2  # what failed is tried again
    assert sorted((folder / "predictions").iterdir()) == before
    assert json.loads((folder / "benchmark.json").read_text())["scores"] == value["scores"]

    # the row `mmgr` is what `mmgr pretrain` and `mmgr embed` make
    here.do("pretrain")
    record = here.ledger.record("pretrain")
    assert record is not None
    embedded = np.stack(list(here.embed()["embedding"]))
    np.testing.assert_array_equal(vectors_of(folder / "rows" / "mmgr"), embedded)

    # and now that the run has trained so, its bundle is taken
    anew = here.benchmark(rows=["mmgr"], force=True)
    assert anew.outcomes[0].seconds >= record["seconds"]
    np.testing.assert_array_equal(vectors_of(folder / "rows" / "mmgr"), embedded)
    assert not (folder / "work" / "mmgr" / "pretrain").exists()


@pytest.mark.usefixtures("own")
def test_a_killed_benchmark_goes_on(here: Run) -> None:
    with pytest.raises(KeyboardInterrupt):
        here.benchmark(rows=["own_rows:KILLED"])
    module = sys.modules["own_rows"]
    assert module.CALLS == ["east", "stops"]
    found = here.benchmark(rows=["own_rows:EAST"])
    assert module.CALLS == ["east", "stops"]
    assert [row.state for row in found.outcomes] == ["made"]
    here.benchmark(rows=["own_rows:EAST"], force=True)
    assert module.CALLS == ["east", "stops", "east"]


def test_a_row_is_made_again_where_what_it_depends_on_changed(here: Run, own: Path) -> None:
    here.benchmark(rows=["own_rows:EAST"])
    other = Run(here.config.model_copy(update={"seed": 1}))
    other.benchmark(rows=["own_rows:EAST"])
    assert sys.modules["own_rows"].CALLS == ["east", "east"]
    # an own row's source is part of what it depends on
    (own / "own_rows.py").write_text(OWN.replace("centroid.x", "centroid.y"))
    sys.modules.pop("own_rows")
    other.benchmark(rows=["own_rows:EAST"])
    assert sys.modules["own_rows"].CALLS == ["east"]


@pytest.mark.usefixtures("own")
def test_folds_of_a_column_are_those_of_the_evaluation(here: Run, tmp_path: Path) -> None:
    census = gpd.read_file(here.config.tasks[0].path).to_crs(32632)
    census["part"] = np.where(census.geometry.centroid.x < census.geometry.centroid.x.median(), "west", "east")
    census.to_file(tmp_path / "census.gpkg")
    task = here.config.tasks[0].model_copy(update={"path": tmp_path / "census.gpkg"})
    evaluate = here.config.evaluate.model_copy(update={"splits": ("column",), "column": "part", "buffer": 0.0})
    other = Run(here.config.model_copy(update={"tasks": (task,), "evaluate": evaluate}))
    (score,) = other.benchmark(rows=["own_rows:EAST"]).scores.records
    assert (score.split, score.folds, score.n_units) == ("column", 2, 36)


def test_names_that_are_unknown_get_a_hint() -> None:
    with pytest.raises(ConfigError, match="did you mean 'simclr'"):
        choose_rows(["simclar"])
    with pytest.raises(ConfigError, match="no row 'nothing'"):
        choose_rows((), ["nothing"])
    with pytest.raises(ConfigError, match="no_such_module"):
        choose_rows(["no_such_module:ROW"])
    with pytest.raises(ConfigError, match="not a mmgr"):
        choose_rows(["math:pi"])
    with pytest.raises(ConfigError, match="no row is left"):
        choose_rows(["byol"], ["byol"])


def test_rows_are_chosen_and_skipped() -> None:
    everything, concatenated = choose_rows()
    assert concatenated
    assert everything[-1].name == "mmgr"
    some, concatenated = choose_rows(["mmgr", "byol"])
    assert [row.name for row in some] == ["byol", "mmgr"]
    assert not concatenated
    fewer, concatenated = choose_rows((), ["byol", CONCATENATION])
    assert {row.name for row in everything} - {row.name for row in fewer} == {"byol"}
    assert not concatenated


def test_entry_points_add_rows_and_a_broken_one_is_a_row_that_fails(
    monkeypatch: pytest.MonkeyPatch, own: Path, run: Run, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(own))
    points = (EntryPoint("mine", "own_rows:EAST", known.GROUP), EntryPoint("lost", "no_such:ROW", known.GROUP))
    monkeypatch.setattr(known, "entry_points", lambda group: points if group == known.GROUP else ())
    rows = known.all_rows()
    assert rows["east"].title == "the easting"
    lost = make_row(rows["lost"], Context(run.config, run.layout, tmp_path / "work"), tmp_path / "lost", "key")
    assert lost.state == "failed"
    assert "no_such" in lost.reason


def test_rows_must_have_names_of_folders(own: Path) -> None:
    (own / "own_rows.py").write_text(OWN + "\nEAST = Row('../east', 'poi', east)\n")
    with pytest.raises(ConfigError, match="cannot be called"):
        choose_rows(["own_rows:EAST"])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("x(:", r"own_rows cannot be imported: SyntaxError: .*own_rows\.py, line"),
        ("raise RuntimeError('boom')", "own_rows cannot be imported: RuntimeError: boom; mend it"),
        ("import not_there_xyz", "No module named 'not_there_xyz'"),
        ("EAST = Row('east', 'images', east)", "row east: `kind` is image or poi or both, not 'images'"),
        ("EAST = Row('east', 'poi', east, needs='POIs')", "row east: `needs` is image or poi or both, not 'POIs'"),
    ],
)
def test_faults_of_a_module_of_rows_are_its_own(own: Path, line: str, message: str) -> None:
    (own / "own_rows.py").write_text(f"{OWN}\n{line}\n")
    with pytest.raises(ConfigError, match=message) as caught:
        choose_rows(["own_rows:EAST"])
    assert str(caught.value).startswith("--rows own_rows:EAST: ")


@pytest.mark.parametrize("as_made", [False, True])
def test_a_row_may_give_any_table_of_numbers(run: Run, tmp_path: Path, *, as_made: bool) -> None:
    def give(table: Any) -> Outcome:
        row = Row("own", "poi", lambda _: Made(table) if as_made else table)
        return make_row(row, Context(run.config, run.layout, tmp_path / "work"), tmp_path / "own", "key")

    table = np.arange(72).reshape(36, 2)
    for numbers in (table.tolist(), table, pd.DataFrame(table)):
        assert give(numbers).state == "made"
        np.testing.assert_array_equal(vectors_of(tmp_path / "own"), table.astype(np.float32))
    for wrong, reason in (
        ([*table.astype(str).tolist()[:-1], ["a", "b"]], "could not convert string to float"),
        ([[1.0], [1.0, 2.0]], "inhomogeneous"),
        ([1.0] * 36, "shape \\(36,\\)"),
        (np.where(table == 7, 1e300, table), "1 of its 36 vectors hold values that are not finite"),
    ):
        found = give(wrong)
        assert found.state == "failed"
        assert re.search(reason, found.reason)


def test_trained_rows_share_encoder_crop_epochs_and_batch() -> None:
    mine = Pretrain(recipe="mmgr", encoder="resnet34", crop=96, epochs=7, batch_size=24, learning_rate=2e-3)
    for name in ("mmgr", "mmgr-2023", "simclr"):
        recipe = resolve(pretrain_of(mine, name))
        assert (recipe.encoder, recipe.crop, recipe.epochs, recipe.batch_size) == ("resnet34", 96, 7, 24)
    published = resolve(pretrain_of(mine, "mmgr-2023"))
    assert (published.optimiser, published.learning_rate, published.schedule) == ("adam", 1e-2, "steps")
    common = common_recipe(mine)
    assert (common.learning_rate, common.optimiser, common.intra_weight) == (2e-3, "adamw", 1.0)
    assert "learning rate 0.01" in departures(mine, "mmgr-2023")
    assert not departures(mine, "mmgr")


def test_a_published_learning_rate_stays_with_its_recipe() -> None:
    mine = Pretrain(recipe="mmgr-2023", learning_rate=5e-3, epochs=3)
    assert resolve(pretrain_of(mine, "mmgr-2023")).learning_rate == 5e-3
    assert resolve(pretrain_of(mine, "mmgr")).learning_rate == 1e-3
    assert common_recipe(mine).encoder == "resnet50"


def test_without_images_rows_of_images_are_left_out(tmp_path: Path) -> None:
    make_city(tmp_path)
    (tmp_path / "city.yaml").write_text(
        "regions: {kind: grid, size: 120}\n"
        "pois: {sources: [{path: pois.geojson, first_level: category, second_level: subcategory}]}\n"
        "categories: {method: one-hot}\n"
        "tasks: [{name: population, kind: polygon_total, path: census.geojson, column: population, units: regions}]\n"
        "evaluate: {folds: 3, seeds: 1}\n"
    )
    found = Run(tmp_path / "city.yaml").benchmark(rows=["simclr", "poi-densities", "mmgr", "mmgr-2023"])
    states = {row.name: (row.state, row.reason) for row in found.outcomes}
    assert states["simclr"] == ("left out", "the configuration has no images")
    assert states["mmgr-2023"][0] == "left out"
    assert states["mmgr"][0] == states["poi-densities"][0] == "made"
    assert set(found.ranks) == {"poi-densities", "mmgr"}
