from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from matplotlib import colormaps
from PIL import Image

from mmgr.config import Task
from mmgr.evaluate import IntervalScore
from mmgr.maps.class_maps import set_size_map
from mmgr.maps.colours import readable
from mmgr.maps.explorer import Explorer
from mmgr.maps.figures import prediction_map
from mmgr.maps.predictions import (
    beware,
    class_figures,
    columns_of,
    prediction_figures,
    prediction_layer,
    prediction_layers,
    widest_of,
)
from mmgr.maps.reliance import applicability_sentence, interval_rows

TASK = Task(name="population", path=Path("a.gpkg"), kind="polygon_total", column="people", unit="people/km²")


def predictions(count: int) -> pd.DataFrame:
    value = np.linspace(100, 900, count)
    return pd.DataFrame(
        {
            "population": value,
            "population_lower": value / 2,
            "population_upper": value * 2,
            "population_dissimilarity": np.linspace(0, 2, count),
            "population_applicable": np.arange(count) < count - 5,
            "other": 0.0,
        }
    )


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), int)


def test_regions_outside_are_hatched_and_others_are_not(grid: gpd.GeoDataFrame) -> None:
    values = np.ones(len(grid))
    outside = np.zeros(len(grid), bool)
    outside[:5] = True
    plain = pixels(prediction_map(grid, values, title="x"))
    changed = (plain != pixels(prediction_map(grid, values, title="x", hatched=outside))).any(axis=2)
    # five cells in a row in the south-west: lines in them, and nothing elsewhere
    y, x = np.nonzero(changed)
    cell = (plain == plain[len(plain) // 2, 600]).all(axis=2).any(axis=0).sum() / 40
    assert np.ptp(x) + 1 <= 5 * cell + 3
    assert np.ptp(y) + 1 <= cell + 3
    assert 0.3 < changed.sum() / (5 * cell**2) < 1.05
    values[:5] = np.nan
    unknown = prediction_map(grid, values, title="x", hatched=outside)
    assert unknown == prediction_map(grid, values, title="x"), "what is unknown is grey, not hatched"


def test_each_task_has_a_map_of_its_values_and_one_of_how_sure_they_are(grid: gpd.GeoDataFrame) -> None:
    table = columns_of(predictions(len(grid)), "population")
    figures = dict(prediction_figures(grid, table, TASK, (0.8, 0.9)))
    assert list(figures) == ["population", "population_interval"]
    width = prediction_map(
        grid, table["upper"] - table["lower"], title="How sure: width of the 90% interval of population",
        unit=TASK.unit, note=beware(table), hatched=~table["applicable"].to_numpy(),
    )  # fmt: skip
    assert figures["population_interval"] == width


def test_old_predictions_without_intervals_are_drawn_as_before(grid: gpd.GeoDataFrame) -> None:
    table = predictions(len(grid))[["population"]]
    assert list(dict(prediction_figures(grid, columns_of(table, "population"), TASK, (0.9,)))) == ["population"]
    layer = prediction_layer(columns_of(table, "population"), TASK, (0.9,))
    assert layer.lower is None
    assert Explorer(grid, [layer]).payload()["layers"][0]["intervals"] is None


def test_the_note_says_how_many_regions_are_outside() -> None:
    table = columns_of(predictions(100), "population")
    assert beware(table).startswith("Hatched: unlike every labelled place (5 regions, 5.0%)")
    one = table.assign(applicable=np.arange(100) > 0)
    assert beware(one).startswith("Hatched: unlike every labelled place (1 region, 1.0%)")
    assert beware(table.assign(applicable=True)) == ""
    unknown = table.assign(value=table["value"].where(table["applicable"]))
    assert beware(unknown) == "", "a region without a prediction is grey, not hatched"


def test_the_tooltip_has_the_interval_and_the_warning(grid: gpd.GeoDataFrame) -> None:
    table = predictions(len(grid))
    table.loc[3, ["population_lower", "population_upper"]] = np.nan
    layer = prediction_layer(columns_of(table, "population"), TASK, (0.8, 0.9))
    payload = Explorer(grid, [layer]).payload()["layers"][0]
    assert payload["level"] == "90%"
    assert payload["intervals"][0] == "50 to 200"
    assert payload["intervals"][3] is None
    assert payload["doubtful"] == list(range(len(grid) - 5, len(grid)))


def test_the_report_names_what_was_not_reached() -> None:
    record = IntervalScore(
        task="population", split="blocks", features="vectors", probe="ridge", level=0.9, coverage=0.85,
        coverage_std=0.02, lowest_fold=0.6, width=1230.0, width_median=900.0, width_share=0.4, n_units=120, seeds=2,
        folds=5,
    )  # fmt: skip
    (row,) = interval_rows([record], {"population": "people/km²"})
    assert row == {
        "name": "population, blocks", "level": "90%", "coverage": "85%", "spread": "± 2", "reached": False,
        "lowest": "60%", "width": "1,230 people/km²", "share": "40%",
        "shortfall": "The intervals are too narrow for places never seen.",
    }  # fmt: skip


def test_the_share_outside_is_said() -> None:
    facts = {"task": "population", "regions": 1000, "outside": 120, "share_outside": 0.12}
    assert applicability_sentence(facts).startswith("population: 120 of 1,000 regions (12.0%) are less like")
    assert "all 1,000 regions are like" in applicability_sentence(facts | {"outside": 0, "share_outside": 0.0})


NAMES = ["home", "work", "park"]


def class_predictions(count: int, *, sets: bool) -> pd.DataFrame:
    shares = np.random.default_rng(0).dirichlet([1.0] * 3, count)
    table = {"zone": np.array(NAMES)[shares.argmax(axis=1)]} | {f"zone.{n}": shares[:, i] for i, n in enumerate(NAMES)}
    if not sets:
        lower = {f"zone_lower.{n}": shares[:, i] * 0.5 for i, n in enumerate(NAMES)}
        return pd.DataFrame(table | lower | {f"zone_upper.{n}": shares[:, i] for i, n in enumerate(NAMES)})
    members = shares > 0.3
    text = [" | ".join(np.array(NAMES)[row]) for row in members]
    whole = {f"zone_set.{n}": members[:, i] for i, n in enumerate(NAMES)}
    return pd.DataFrame(table | {"zone_set": text, "zone_set_size": members.sum(axis=1).astype(float)} | whole)


def of_kind(label: str) -> Task:
    return Task(name="zone", path=Path("a.gpkg"), kind=f"polygon_{label}", column="zone")  # type: ignore[arg-type]


def test_classes_have_a_map_of_how_many_are_possible(grid: gpd.GeoDataFrame) -> None:
    table = class_predictions(len(grid), sets=True)
    figures = dict(class_figures(grid, table, of_kind("class"), (0.8, 0.9)))
    assert list(figures) == ["zone", "zone_shares", "zone_interval"]
    title = "How sure: number of classes in the 90% set of zone"
    sizes = table["zone_set_size"].to_numpy()
    assert figures["zone_interval"] == set_size_map(grid, sizes, 3, title=title)
    drawn = pixels(figures["zone_interval"])
    for size, part in zip(*np.unique(sizes, return_counts=True), strict=True):
        colour = np.round(255 * np.array(colormaps["viridis"]((size - 1) / 2)[:3]))
        found = (np.abs(drawn - colour) <= 1).all(axis=2).mean()
        assert found > 0.4 * part / len(grid), f"sets of {size}"
    assert list(dict(class_figures(grid, table, of_kind("class"), ()))) == ["zone", "zone_shares"]


def test_shares_have_a_map_of_their_widest_interval(grid: gpd.GeoDataFrame) -> None:
    table = class_predictions(len(grid), sets=False)
    figures = dict(class_figures(grid, table, of_kind("shares"), (0.9,)))
    assert list(figures) == ["zone", "zone_shares", "zone_interval"]
    widest = widest_of(columns_of(table, "zone"))
    assert widest is not None
    np.testing.assert_allclose(widest, table[[f"zone.{name}" for name in NAMES]].max(axis=1) / 2)
    title = "How sure: widest 90% interval of a share of zone"
    assert figures["zone_interval"] == prediction_map(grid, widest, title=title, unit="share")


def test_the_tooltip_has_the_set_of_classes_or_the_interval_of_a_share(grid: gpd.GeoDataFrame) -> None:
    table = class_predictions(len(grid), sets=True)
    table.loc[3, "zone_set"] = None
    payload = Explorer(grid, prediction_layers(table, of_kind("class"), (0.8, 0.9))).payload()["layers"]
    assert (payload[0]["called"], payload[0]["level"]) == ("set", "90%")
    assert payload[0]["intervals"][:3] == table["zone_set"].to_list()[:3]
    assert payload[0]["intervals"][3] is None
    assert payload[1]["intervals"] is None
    table = class_predictions(len(grid), sets=False)
    payload = Explorer(grid, prediction_layers(table, of_kind("shares"), (0.9,))).payload()["layers"]
    assert payload[0]["intervals"] is None
    assert payload[1]["called"] == "interval"
    assert payload[1]["intervals"][0] == (
        f"{readable(table['zone_lower.home'][0])} to {readable(table['zone_upper.home'][0])}"
    )


def test_the_report_says_of_sets_and_shares_what_their_coverage_does_not() -> None:
    score = IntervalScore(
        task="zone", split="blocks", features="vectors", probe="logistic", level=0.9, coverage=0.93, coverage_std=0.02,
        lowest_fold=0.8, width=1.62, width_median=2.0, width_share=0.54, n_units=120, seeds=2, folds=5,
        label="class", classes={"home": 0.97, "park": 0.6}, empty=0.04,
    )  # fmt: skip
    (row,) = interval_rows([score], {})
    assert row["reached"]
    assert row["width"] == "1.6 classes"
    assert row["shortfall"] == (
        "For 4.0% no class passed: they are shown as sets of all classes, and not counted as held. Short by more than "
        "5 points for units that are park (60%)."
    )
    shares = replace(score, label="shares", together=0.71, width=0.312)
    (row,) = interval_rows([shares], {})
    assert row["width"] == "0.312"
    assert not row["reached"], "the share of one class is clearly short"
    assert row["shortfall"].startswith("All shares of a unit were inside at once for 71%, which no level promises.")
    assert "Short by more than 5 points for the share of park (60%)." in row["shortfall"]
