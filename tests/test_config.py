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


TASK = "tasks:\n- {name: a, path: b, kind: raster_sum}\n"
A_LIST = "needs a list: a line `- ...` for each item, or [..., ...]"
KEYS = "needs keys with values: a line `key: value` for each"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pois:\n  sources: file.csv\n", f"city.yaml:7: `pois.sources`: {A_LIST} (got 'file.csv')"),
        ("tasks: {name: a}\n", f"city.yaml:6: `tasks`: {A_LIST}"),
        ("tasks: [population]\n", f"city.yaml:6: `tasks.0`: {KEYS} (got 'population')"),
        ("tasks:\n-\n", f"city.yaml:7: `tasks.0`: {KEYS} (got None)"),
        ("pois: a.csv\n", f"city.yaml:6: `pois`: {KEYS} (got 'a.csv')"),
        ("pois: {sources: [a.csv]}\n", "`pois.sources.0`: needs keys with values, such as `path: FILE` (got 'a.csv')"),
        (f"{POIS[:-1]}, context: 300}}\n", f"`pois.context`: must be 'auto'; or {A_LIST} (got 300)"),
        (TASK.replace("name: a", "name: Größe 1"), "`_` and `-` alone, such as Groe_1 (got 'Größe 1')"),
        (TASK.replace("name: a", "name: 人口"), "such as my_task (got"),
        ("name: true\n", "city.yaml:6: `name`: needs a text; put it in quotes (got True)"),
        ("seed: many\n", "`seed`: needs a whole number (got 'many')"),
        ("seed: 1.5\n", "`seed`: needs a whole number (got 1.5)"),
        ("evaluate: {block: 2 km}\n", "`evaluate.block`: needs a number (got '2 km')"),
        ("evaluate: {folds: 1}\n", "`evaluate.folds`: must be at least 2 (got 1)"),
        ("evaluate: {block: 0}\n", "`evaluate.block`: must be above 0 (got 0)"),
        ("evaluate: {probes: []}\n", "`evaluate.probes`: has 0 values, and needs 1 or more"),
        ("categories: {level_weights: [1]}\n", "`categories.level_weights` has only 1 of the values that it needs"),
        ("categories: {level_weights: [1, 2, 3]}\n", "`categories.level_weights`: has 3 values, and takes 2"),
        ("pretrain: {tensorboard: perhaps}\n", "`pretrain.tensorboard`: needs true or false (got 'perhaps')"),
        ("output: [a]\n", "`output`: needs a path"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_in_plain_words(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, MINIMAL + text))
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("key", ["tasks", "evaluate", "pretrain", "notes", "seed", "output", "pois", "finetune"])
def test_a_key_of_which_all_is_commented_out_is_as_if_it_were_not_there(tmp_path: Path, key: str) -> None:
    config = load_config(write(tmp_path, MINIMAL + f"{key}:\n#  - {{a: 1}}\n"))
    assert config == load_config(write(tmp_path, MINIMAL))


def test_a_section_that_is_needed_is_missing_where_it_is_empty(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="`regions` is missing"):
        load_config(write(tmp_path, "images: {path: a}\nregions:\n"))
    with pytest.raises(ConfigError, match="unknown key `evaluat`"):
        load_config(write(tmp_path, MINIMAL + "evaluat:\n"))


def test_a_number_or_date_is_the_text_that_was_written_where_one_is_wanted(tmp_path: Path) -> None:
    text = MINIMAL + "name: 2024-01-30\noutput: 010\nnotes: [1.50, a]\n"
    text += "tasks:\n- {name: 2020, path: b, kind: polygon_total, column: 2020, classes: {1: 1.0}}\n"
    config = load_config(write(tmp_path, text))
    assert (config.name, config.output, config.notes) == ("2024-01-30", tmp_path / "010", ("1.50", "a"))
    assert (config.tasks[0].name, config.tasks[0].column, config.tasks[0].classes) == ("2020", "2020", {"1": "1.0"})


def test_a_number_is_an_epsg_code_where_a_crs_is_wanted(tmp_path: Path) -> None:
    pois = POIS.replace("kind", "kind, crs: '4326'")
    config = load_config(write(tmp_path, f"regions: {{size: 9, crs: 32648}}\n{pois}\n"))
    assert config.regions.crs == "EPSG:32648"
    assert config.pois.sources[0].crs == "EPSG:4326"


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
