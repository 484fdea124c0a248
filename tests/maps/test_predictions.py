from __future__ import annotations

import io
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
from PIL import Image

from mmgr.config import Task
from mmgr.evaluate import IntervalScore
from mmgr.maps.explorer import Explorer
from mmgr.maps.figures import prediction_map
from mmgr.maps.predictions import beware, columns_of, prediction_figures, prediction_layer
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
