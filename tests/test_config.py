"""The configuration: every fault is named with its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmgr.config import Config, Task, dump_config, load_config
from mmgr.config.names import COLUMNS, ENDINGS
from mmgr.errors import ConfigError, InputError
from mmgr.maps.predictions import BESIDE

MINIMAL = """\
images:
  path: images
regions:
  kind: grid
  size: 200
"""
POIS = "pois: {sources: [{path: p.csv, first_level: kind}]}"


def write(folder: Path, text: str) -> Path:
    path = folder / "city.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_paths_are_relative_to_the_configuration(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "output: results\n"))
    assert config.images.path == tmp_path / "images"
    assert config.output == tmp_path / "results"


def test_an_output_that_is_not_given_lies_beside_the_configuration(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, MINIMAL)).output == tmp_path / "output"


def test_a_dumped_configuration_loads_again(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, MINIMAL + "tasks:\n- {name: a, path: b, kind: raster_sum}\n"))
    (tmp_path / "again").mkdir()
    assert load_config(write(tmp_path / "again", dump_config(config))) == config


def test_pois_are_enough_and_images_are(tmp_path: Path) -> None:
    alone = load_config(write(tmp_path, f"regions: {{size: 9}}\n{POIS}"))
    assert alone.images is None
    assert alone.build_inputs == {"pois.sources[0].path": tmp_path / "p.csv"}
    assert load_config(write(tmp_path, MINIMAL)).build_inputs == {"images.path": tmp_path / "images"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "images: {path: a, bnds: [1]}\nregions: {size: 1}\n",
            "city.yaml:1: unknown key `images.bnds`; did you mean `bands`?",
        ),
        (MINIMAL + "evaluat: {}\n", "city.yaml:6: unknown key `evaluat`; did you mean `evaluate`?"),
        (MINIMAL + "evaluate: {splits: []}\n", "`splits` is empty, and there is no `protocol`"),
        (MINIMAL + "qqq: {}\n", "known are attribution, categories, embed, evaluate"),
        ("images: {path: a}\n", "`regions` is missing"),
        ("regions: {size: 1}\n", "nothing to learn from: name `images`, `pois`, or both"),
        (
            f"regions: {{kind: footprints}}\n{POIS}",
            "footprints are outlines of images: without `images`, name polygons",
        ),
        (f"regions: {{size: 9, unit: pixels}}\n{POIS}", "without `images`, give it in metres"),
        (f"regions: {{size: 9, group: folder}}\n{POIS}", "without `images`, name a column"),
        ("images: {path: a}\nregions: {kind: grid}\n", "city.yaml:2: `regions`: a grid needs `size`"),
        ("images: {path: a}\nregions: {kind: polygons}\n", "need `path`"),
        ("images: {path: a}\nregions: {size: -3}\n", "city.yaml:2: `regions.size`"),
        ("images: {path: a, date: '_2020_'}\nregions: {size: 1}\n", "needs one group in parentheses"),
        ("images: {path: a, date: '(('}\nregions: {size: 1}\n", "not a regular expression"),
        (MINIMAL + "pois:\n  sources:\n  - {kind: points, path: a, frst_level: b}\n", "did you mean `first_level`?"),
        (
            MINIMAL + "pois:\n  sources:\n  - {kind: dots, path: a}\n",
            "city.yaml:8: `pois.sources.0`: `kind` is `points` or `counts`",
        ),
        (
            MINIMAL + "pois:\n  sources:\n  - {path: a}\n",
            "city.yaml:8: `pois.sources.0`: name `first_level`, the column",
        ),
        (MINIMAL + "pois:\n  sources: []\n", "city.yaml:6: `pois`: name `sources`, files of points or"),
        (MINIMAL + "tasks:\n- {name: a, path: b, kind: polygon_total}\n", "labels from polygons need `column`"),
        (MINIMAL + "tasks:\n- {name: a, path: b, kind: raster_sum, units: polygons}\n", "belong to regions"),
        (
            MINIMAL + "tasks:\n- {name: a, path: b, kind: raster_sum}\n- {name: a, path: c, kind: raster_sum}\n",
            "two tasks are called a",
        ),
        (MINIMAL + "tasks:\n- {name: geometry, path: b, kind: raster_sum}\n", "a task may not be called geometry"),
        (MINIMAL + "tasks:\n- {name: group, path: b, kind: raster_sum}\n", "a task may not be called group"),
        (
            MINIMAL + "tasks:\n- {name: a_lower, path: b, kind: raster_sum}\n- {name: a, path: c, kind: raster_sum}\n",
            "a task may not be called a_lower beside one called a",
        ),
        (MINIMAL + "evaluate: {probes: [rigde]}\n", "'knn' or 'kernel'; did you mean 'ridge'? (got 'rigde')"),
        (MINIMAL + "evaluate:\n  seeds: 2\n  seeds: 3\n", "city.yaml:8: `seeds` stands here a second time"),
        (MINIMAL + "tasks:\n- {name: a, path: b, name: c}\n", "city.yaml:7: `name` stands here a second time"),
        ("images: [\n", "not valid YAML"),
        ("just words\n", "holds no configuration"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert expected in str(caught.value)


def test_a_list_is_not_called_short_for_a_wrong_item(tmp_path: Path) -> None:
    for probes, lines in (("[rigde]", 1), ("[]", 1), ("[rigde, knm]", 2)):
        with pytest.raises(ConfigError) as caught:
            load_config(write(tmp_path, MINIMAL + f"evaluate: {{probes: {probes}}}\n"))
        assert len(str(caught.value).splitlines()) == 1 + lines


def test_no_task_is_called_as_what_stands_beside_predictions() -> None:
    assert set(BESIDE) <= set(COLUMNS)
    assert set(BESIDE) <= set(ENDINGS)


def test_all_faults_come_in_one_message(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, "images: {pth: a}\nregions: {sze: 1}\n"))
    assert "images.pth" in str(caught.value)
    assert "regions.sze" in str(caught.value)


def test_a_missing_configuration_proposes_the_nearest_file(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(InputError, match=r"Did you mean city\.yaml"):
        load_config(tmp_path / "citi.yaml")


def test_an_empty_configuration_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is empty"):
        load_config(write(tmp_path, ""))


@pytest.mark.parametrize(
    ("kind", "density", "log"),
    [
        ("polygon_total", True, True),
        ("raster_sum", True, True),
        ("polygon_rate", False, False),
        ("raster_mean", False, False),
    ],
)
def test_amounts_are_densities_on_a_log_scale_unless_set_otherwise(kind: str, density: bool, log: bool) -> None:  # noqa: FBT001
    task = Task.model_validate({"name": "a", "path": "b", "kind": kind, "column": "c"})
    assert (task.is_density, task.uses_log) == (density, log)
    task = Task.model_validate(
        {"name": "a", "path": "b", "kind": kind, "column": "c", "density": False, "transform": "none"}
    )
    assert (task.is_density, task.uses_log) == (False, False)


def test_a_configuration_cannot_be_changed_by_accident(tmp_path: Path) -> None:
    config: Config = load_config(write(tmp_path, MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        config.seed = 3  # type: ignore[misc]
