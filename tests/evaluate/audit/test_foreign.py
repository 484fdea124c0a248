from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from pyproj import Geod

from mmgr.errors import InputError
from mmgr.evaluate.audit import Columns, Finding, audit_split, read_split
from mmgr.evaluate.audit.flat import laid_flat


def lattice(side: int, step: float = 0.001) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.meshgrid(np.arange(side), np.arange(side))
    return 9 + step * x.ravel(), 48 + step * y.ravel()


def write(folder: Path, table: dict[str, object]) -> Path:
    path = folder / "splits.csv"
    pd.DataFrame(table).to_csv(path, index=False)
    return path


def by_path(path: Path, *, window: float | None = None, **columns: str) -> dict[str, Finding]:
    audit = audit_split(read_split(path, columns=Columns(**columns)), window=window)
    return {finding.path: finding for finding in audit.findings}


def test_random_folds_are_named_and_halves_with_a_buffer_are_not(tmp_path: Path) -> None:
    lon, lat = lattice(20)
    random = np.random.default_rng(0).choice(["train", "test"], 400)
    found = by_path(write(tmp_path, {"lon": lon, "lat": lat, "split": random}))
    assert found["adjacent places"].status == "named"
    # 0.001 degrees of longitude are 74.5 m at 48 degrees north, of latitude 111.2 m
    assert abs(found["adjacent places"].numbers["nearest_metres"] - 74.5) < 0.5
    column = np.tile(np.arange(20), 20)
    halves = np.where(column < 9, "train", np.where(column < 12, "unused", "test"))
    kept = halves != "unused"
    found = by_path(write(tmp_path, {"lon": lon[kept], "lat": lat[kept], "split": halves[kept]}))
    assert found["adjacent places"].status == "pass"
    assert abs(found["adjacent places"].numbers["nearest_metres"] - 4 * 74.5) < 2
    assert found["overlapping windows"].status == "note", "points have no extent"
    assert found["one id, both sides"].status == "pass"


def test_windows_of_points_overlap_where_images_do(tmp_path: Path) -> None:
    path = write(tmp_path, {"lon": [9.0, 9.004, 9.02], "lat": [48.0, 48.0, 48.0], "split": ["train", "test", "test"]})
    # 0.004 degrees are 298 m
    assert by_path(path, window=290.0)["overlapping windows"].status == "pass"
    named = by_path(path, window=310.0)["overlapping windows"]
    assert named.status == "named"
    assert named.numbers["overlapping"] == 1


def test_images_narrower_than_the_spacing_do_not_part_neighbours(tmp_path: Path) -> None:
    lon, lat = lattice(20, step=0.006)  # 447 m by 667 m
    random = np.random.default_rng(0).choice(["train", "test"], 400, p=[0.8, 0.2])
    path = write(tmp_path, {"lon": lon, "lat": lat, "split": random})
    bare, narrow = by_path(path)["adjacent places"], by_path(path, window=250.0)
    assert bare.status == narrow["adjacent places"].status == "named"
    for key in ("nearest_metres", "spacing_metres", "neighbours"):
        assert narrow["adjacent places"].numbers[key] == bare.numbers[key]
    assert narrow["overlapping windows"].status == "pass"


def test_images_that_touch_are_adjacent_however_far_apart_places_are(tmp_path: Path) -> None:
    table = {"lon": [9.0, 9.001, 9.008], "lat": [48.0] * 3, "split": ["train", "train", "test"]}
    path = write(tmp_path, table)  # 522 m from the nearest, where places are 75 m apart
    assert by_path(path)["adjacent places"].status == "pass"
    assert by_path(path, window=500.0)["adjacent places"].status == "pass"
    named = by_path(path, window=530.0)["adjacent places"]
    assert (named.status, named.numbers["neighbours"], named.numbers["touching"]) == ("named", 0, 1)
    assert "Images of 530 m touch" in named.text


@pytest.mark.parametrize("window", [0.0, -250.0, np.nan, np.inf])
def test_a_window_without_an_edge_is_refused(tmp_path: Path, window: float) -> None:
    path = write(tmp_path, {"lon": [9.0, 9.1], "lat": [48.0, 48.0], "split": ["train", "test"]})
    with pytest.raises(InputError, match=r"`--window` .*metres above 0"):
        by_path(path, window=window)


def test_an_id_or_a_place_on_both_sides_is_named(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        {"id": [1, 2, 2, 3], "lon": [9.0, 9.1, 9.1, 9.0], "lat": [48.0, 48.1, 48.1, 48.0],
         "split": ["train", "train", "test", "test"]},
    )  # fmt: skip
    found = by_path(path)
    assert (found["one id, both sides"].status, found["one id, both sides"].numbers["shared"]) == ("named", 1)
    assert (found["one place, both sides"].status, found["one place, both sides"].numbers["shared"]) == ("named", 2)


def test_labels_alike_nearby_are_named_with_the_share_of_test_units(tmp_path: Path) -> None:
    lon, lat = lattice(24)
    rng = np.random.default_rng(0)
    smooth = np.sin(lon * 400) + np.sin(lat * 400) + 0.1 * rng.normal(size=576)
    random = rng.choice(["train", "test"], 576)
    table = {"lon": lon, "lat": lat, "split": random, "people": smooth, "noise": rng.normal(size=576)}
    path = write(tmp_path, table)
    named = by_path(path, label="people")["alike labels nearby"]
    assert named.status == "named"
    assert named.numbers["share"] == 1.0
    assert by_path(path, label="noise")["alike labels nearby"].status == "pass"
    assert by_path(path)["alike labels nearby"].status == "note", "not looked at without labels"


def test_one_value_broadcast_over_many_units_is_named(tmp_path: Path) -> None:
    lon, lat = lattice(24)
    rng = np.random.default_rng(0)
    random = rng.choice(["train", "test"], 576)
    coarse = rng.gamma(2, 100, 36)[(np.arange(576) % 24 // 4) + 6 * (np.arange(576) // 24 // 4)]
    path = write(tmp_path, {"lon": lon, "lat": lat, "split": random, "gdp": coarse, "fine": rng.gamma(2, 100, 576)})
    assert by_path(path, label="gdp")["one label, many units"].status == "named"
    assert by_path(path, label="fine")["one label, many units"].status == "pass"


def test_validation_is_counted_as_learned_from_and_said(tmp_path: Path) -> None:
    path = write(tmp_path, {"lon": [9.0, 9.001, 9.5], "lat": [48.0] * 3, "split": ["val", "test", "train"]})
    found = by_path(path)
    assert found["validation"].status == "note"
    assert found["adjacent places"].numbers["nearest_metres"] < 80


def test_cities_on_several_continents_keep_true_distances() -> None:
    places = [(9.0, 48.0), (9.01, 48.0), (-122.4, 37.8), (-122.39, 37.8), (103.8, 1.3), (103.81, 1.3)]
    flat, cluster = laid_flat(gpd.GeoSeries(shapely.points(places), crs=4326))
    assert (cluster[::2] == cluster[1::2]).all()
    assert len(set(cluster.tolist())) == 3
    for one in (0, 2, 4):
        true = Geod(ellps="WGS84").inv(*places[one], *places[one + 1])[2]
        assert abs(shapely.distance(flat[one], flat[one + 1]) - true) < 0.001 * true
    assert shapely.distance(flat[1], flat[2]) > 1e7


def test_a_metric_crs_is_kept() -> None:
    shapes = gpd.GeoSeries(shapely.box([0, 100], 0, [100, 200], 100), crs=32632)
    flat, _ = laid_flat(shapes)
    assert shapely.distance(flat[0], flat[1]) == 0
    assert flat[0].equals(shapes[0])


@pytest.mark.parametrize("crs", ["EPSG:3857", "EPSG:6933"])
def test_metres_of_a_projection_far_from_true_scale_are_not_taken_for_metres(crs: str) -> None:
    places = [(24.0, 60.0), (24.001, 60.0), (24.0, 60.001)]  # EPSG:6933 keeps areas, not lengths
    flat, _ = laid_flat(gpd.GeoSeries(shapely.points(places), crs=4326).to_crs(crs))
    for other in (1, 2):
        true = Geod(ellps="WGS84").inv(*places[0], *places[other])[2]
        assert shapely.distance(flat[0], flat[other]) == pytest.approx(true, rel=0.01)


def test_web_mercator_is_kept_at_the_equator() -> None:
    places = gpd.GeoSeries(shapely.points([(103.8, 1.3), (103.81, 1.3)]), crs=4326).to_crs(3857)
    assert list(laid_flat(places)[0]) == list(places)


def test_without_places_the_audit_says_what_it_did_not_look_at(tmp_path: Path) -> None:
    found = by_path(write(tmp_path, {"id": [1, 2], "split": ["train", "test"]}))
    assert found["adjacent places"].status == "note"
    assert "--geometry" in found["adjacent places"].text
