from __future__ import annotations

import io
from pathlib import Path

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmgr.maps.charts import loss_curves, observed_predicted, score_figure
from mmgr.maps.colours import embedding_colours
from mmgr.maps.figures import embedding_map, panels_with_values, prediction_map
from mmgr.maps.style import write_png


def pixels(png: bytes) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def holds(png: bytes, colour: tuple[int, int, int]) -> int:
    """Count the pixels of a colour."""
    return int((pixels(png) == colour).all(axis=2).sum())


@pytest.mark.parametrize("name", ["cities", "grid", "hexagons"])
def test_a_prediction_map_is_wide_enough_and_not_blank(name: str, request: pytest.FixtureRequest) -> None:
    regions = request.getfixturevalue(name)
    values = np.exp(np.random.default_rng(0).normal(7, 1, len(regions)))
    image = pixels(prediction_map(regions, values, title="Population", unit="people/km\N{SUPERSCRIPT TWO}"))
    assert image.shape[1] == 1500
    assert 400 < image.shape[0] < 2000
    assert image.std() > 10


def test_each_cell_of_a_grid_has_its_own_colour_in_the_right_place(grid: gpd.GeoDataFrame) -> None:
    colours = np.full((1200, 3), 200, np.uint8)
    colours[0] = (255, 0, 0)  # the north-western cell
    colours[-1] = (0, 0, 255)
    image = pixels(embedding_map(grid, colours))
    red, blue = (np.argwhere((image == c).all(axis=2)) for c in ((255, 0, 0), (0, 0, 255)))
    assert len(red) > 100
    assert red.max(axis=0)[0] < blue.min(axis=0)[0]
    assert red.max(axis=0)[1] < blue.min(axis=0)[1]


def test_scattered_regions_are_large_enough_to_see(cities: gpd.GeoDataFrame) -> None:
    colours = np.full((120, 3), 200, np.uint8)
    colours[5] = (255, 0, 0)
    assert holds(embedding_map(cities, colours), (255, 0, 0)) > 60


@pytest.mark.parametrize("values", [np.full(120, np.nan), np.zeros(120), np.full(120, -3.0)])
def test_values_without_spread_or_without_any_number_still_make_a_map(
    cities: gpd.GeoDataFrame, values: NDArray[np.float64]
) -> None:
    assert pixels(prediction_map(cities, values, title="Nothing")).std() > 3


def test_cities_without_any_value_make_room_for_those_that_have_some(cities: gpd.GeoDataFrame) -> None:
    values = np.where(cities["group"] == "chico", 5.0, np.nan)
    assert pixels(prediction_map(cities, values, title="One city")).std() > 3
    assert panels_with_values(cities, values)[1] == ["palm_springs", "riverside"]
    assert panels_with_values(cities, np.full(120, np.nan))[1] == []


def test_a_single_region_makes_a_map(cities: gpd.GeoDataFrame) -> None:
    assert pixels(prediction_map(cities.iloc[:1], [3.0], title="One")).std() > 3


def test_names_with_dollars_are_no_mathematics(cities: gpd.GeoDataFrame) -> None:
    prediction_map(cities.assign(group="$x_{$"), np.arange(120.0), title=r"$\bad{$", unit="$$")


def test_figures_are_the_same_bytes_every_time_and_leave_no_state(cities: gpd.GeoDataFrame) -> None:
    before = dict(mpl.rcParams)
    colours = embedding_colours(np.random.default_rng(0).normal(size=(120, 8)))
    assert embedding_map(cities, colours) == embedding_map(cities, colours)
    assert dict(mpl.rcParams) == before


def test_loss_curves_draw_what_there_is(monitor: pd.DataFrame) -> None:
    whole = pixels(loss_curves(monitor))
    images_only = monitor.drop(columns=["poi_retrieval"]).assign(inter=np.nan, inter_chance=np.nan)
    assert whole.shape == pixels(loss_curves(images_only)).shape
    assert whole.std() > 10
    assert pixels(loss_curves(monitor[["epoch", "loss"]])).std() > 5
    held_out = monitor.assign(held_out_view_retrieval=monitor["view_retrieval"], held_out_view_retrieval_chance=0.02)
    assert pixels(loss_curves(held_out)).shape[0] > whole.shape[0], "one panel more"
    assert pixels(loss_curves(monitor.iloc[:1])).std() > 5


def test_the_score_figure_grows_with_tasks_and_marks_values_too_low_to_draw(scores: pd.DataFrame) -> None:
    two = pd.concat([scores, scores.assign(task="jobs")], ignore_index=True)
    two.loc[0, "r2"] = -40.0
    two["r2_std"] = np.nan
    one, both = pixels(score_figure(scores, main="image + POI")), pixels(score_figure(two))
    assert one.shape[1] == both.shape[1] == 1500
    assert both.shape[0] > one.shape[0]
    assert both.std() > 10


def test_a_task_missing_in_a_split_leaves_a_panel_that_says_so(scores: pd.DataFrame) -> None:
    more = pd.concat([scores, scores[scores["split"] == "blocks"].assign(task="jobs")], ignore_index=True)
    assert pixels(score_figure(more)).std() > 10


@pytest.mark.parametrize("skewed", [True, False])
def test_predictions_meet_observations(skewed: bool) -> None:  # noqa: FBT001 - a parameter of the test
    observed = np.random.default_rng(0).normal(5, 1.5, 300)
    observed = np.exp(observed) if skewed else observed
    frame = pd.DataFrame({"observed": observed, "predicted": observed * 1.1})
    frame.loc[0, "predicted"] = -5.0
    frame.loc[1, "observed"] = np.nan
    assert pixels(observed_predicted(frame, unit="m", title="t")).std() > 10
    assert pixels(observed_predicted(frame.iloc[:0])).std() > 3


def test_a_figure_is_saved_whole(tmp_path: Path, monitor: pd.DataFrame) -> None:
    path = write_png(tmp_path / "figures" / "loss.png", loss_curves(monitor))
    assert pixels(path.read_bytes()).shape[1] == 1500
