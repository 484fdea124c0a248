from __future__ import annotations

import io
import json

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mmgr.config import Task
from mmgr.maps.class_charts import observed_predicted_classes
from mmgr.maps.class_maps import class_map, coloured, dominant, share_maps
from mmgr.maps.colours import MISSING, class_colours
from mmgr.maps.curve_charts import label_curve_figure, share_labels
from mmgr.maps.explorer import Explorer
from mmgr.maps.predictions import prediction_layers

NAMES = ["home", "work", "park"]


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.fixture
def shares(grid: gpd.GeoDataFrame) -> np.ndarray:
    table = np.random.default_rng(0).dirichlet([0.5] * 3, len(grid))
    table[7] = np.nan
    return table


def test_each_region_has_the_colour_of_its_largest_share(grid: gpd.GeoDataFrame, shares: np.ndarray) -> None:
    largest = dominant(shares)
    assert largest[7] == -1
    np.testing.assert_array_equal(np.delete(largest, 7), np.delete(shares, 7, axis=0).argmax(axis=1))
    rgb = coloured(largest, 3)
    assert tuple(rgb[7]) == MISSING
    assert {tuple(c) for c in rgb} == {MISSING, *map(tuple, class_colours(3))}
    drawn = pixels(class_map(grid, shares, NAMES, title="Zones"))
    for colour in class_colours(3):
        # a third of the map each
        assert (drawn == colour).all(axis=2).mean() > 0.05


def test_each_class_has_a_map_of_its_share_in_one_scale(grid: gpd.GeoDataFrame, shares: np.ndarray) -> None:
    three, five = (pixels(share_maps(grid, shares[:, [0] * k], ["a"] * k, title="x")) for k in (3, 5))
    assert three.shape[1] == five.shape[1] == 1500
    assert five.shape[0] > 1.4 * three.shape[0]


@pytest.mark.parametrize("count", [1, 8, 30, 64])
def test_classes_have_colours_of_their_own(count: int) -> None:
    assert len({tuple(colour) for colour in class_colours(count)}) == count


def test_the_explorer_names_classes_and_lists_their_colours(grid: gpd.GeoDataFrame, shares: np.ndarray) -> None:
    task = Task.model_validate({"name": "zone", "path": "x", "kind": "raster_shares"})
    names = np.array([*NAMES, None], object)[dominant(shares)]
    table = pd.DataFrame({"zone": names} | {f"zone.{name}": shares[:, i] for i, name in enumerate(NAMES)})
    layers = prediction_layers(table, task, ())
    assert [layer.title for layer in layers][:2] == ["Predicted zone", "Predicted zone: home"]
    payload = json.loads(json.dumps(Explorer(grid, layers).payload(), allow_nan=False))
    first = payload["layers"][0]
    assert first["values"][7] is None
    assert first["values"][0] == names[0]
    assert [name for _, name in first["legend"]["classes"]] == NAMES


def held_out(observed: np.ndarray, predicted: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": np.repeat(np.arange(len(observed)), 3),
            "class": np.tile(NAMES, len(observed)),
            "observed": observed.ravel(),
            "predicted": predicted.ravel(),
        }
    )


def test_classes_are_drawn_as_a_table_and_shares_as_dots(shares: np.ndarray) -> None:
    some = shares[:6]
    whole = np.eye(3)[some.argmax(axis=1)]
    table, dots = (pixels(observed_predicted_classes(held_out(seen, some), title="t")) for seen in (whole, some))
    assert table.shape == dots.shape
    assert (table != dots).any()
    # only dots have the classes' colours
    assert (dots == class_colours(1)[0]).all(axis=2).any()
    assert not (table == class_colours(2)[1]).all(axis=2).any()


def test_shares_of_labels_stand_over_the_units_that_they_are() -> None:
    curves = pd.DataFrame({"fraction": [0.01, 0.05, 0.01, 0.05], "trained": [5.0, 5.0, 5.0, 5.0]})
    assert share_labels(curves) == {0.01: "1 %\n5", 0.05: "5 %\n5"}
    assert share_labels(curves[["fraction"]]) == {0.01: "1 %", 0.05: "5 %"}


def test_label_curves_have_a_panel_for_each_task() -> None:
    rows = [
        {"task": task, "features": name, "fraction": part, "metric": metric, metric: 0.2 + part, f"{metric}_std": 0.1}
        for task, metric in (("population", "r2"), ("zone", "macro_f1"), ("use", "l1"), ("more", "r2"))
        for name in ("image", "POI")
        for part in (0.05, 0.5, 1.0)
    ]
    four, one = (pixels(label_curve_figure(pd.DataFrame(some), main="image")) for some in (rows, rows[:6]))
    assert four.shape[0] > 1.5 * one.shape[0]
    assert one.std() > 5
