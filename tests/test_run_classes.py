"""Classes and distributions through a whole run: scores, predictions everywhere, maps and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pytest
import rasterio

import mmgr
from mmgr.errors import ConfigError
from mmgr.evaluate import Results

if TYPE_CHECKING:
    from conftest import City

YAML = """\
regions: {kind: grid, size: 120, crs: EPSG:32632}
pois: {sources: [{path: pois.geojson, first_level: category, second_level: subcategory}], context: []}
categories: {method: one-hot}
tasks:
  - {name: zone, kind: polygon_class, path: zones.gpkg, column: zone, units: regions}
  - {name: function, kind: polygon_shares, path: zones.gpkg, columns: u_*, units: regions, metrics: [kl, l1]}
  - {name: cover, kind: raster_shares, path: cover.tif, classes: {1: built, 2: green}}
evaluate: {folds: 3, seeds: 2, probes: [ridge]}
"""


@pytest.fixture
def run(city: City) -> mmgr.Run:
    zones = gpd.read_file(city.labels).to_crs(32632)
    centres = zones.geometry.centroid
    away = np.hypot(centres.x - 500_360, centres.y - 3_999_640) / 360
    zones["zone"] = np.where(away < 0.6, "centre", "edge")
    zones["u_living"], zones["u_work"] = np.clip(1.2 - away, 0, 1), np.clip(away, 0.1, 1)
    zones.to_file(city.folder / "zones.gpkg")
    y, x = np.mgrid[0:36, 0:36]
    cover = np.where(np.hypot(x - 17.5, y - 17.5) < 10, 1, 2).astype(np.uint8)
    cover[0, 0] = 9
    transform = rasterio.transform.from_origin(500_000, 4_000_000, 20, 20)
    profile = {"driver": "GTiff", "count": 1, "height": 36, "width": 36, "dtype": "uint8", "crs": "EPSG:32632"}
    with rasterio.open(city.folder / "cover.tif", "w", **profile, transform=transform) as raster:
        raster.write(cover, 1)
    (city.folder / "city.yaml").write_text(YAML, encoding="utf-8")
    return mmgr.Run(city.folder / "city.yaml")


def test_classes_and_shares_go_from_start_to_end(run: mmgr.Run) -> None:
    page = run.all().read_text(encoding="utf-8")
    scores = run.evaluate()
    frame = scores.to_frame()
    first = frame.drop_duplicates("task").set_index("task")
    assert first["metric"].to_dict() == {"zone": "macro_f1", "function": "kl", "cover": "l1"}
    assert first["probe"].to_dict() == {"zone": "logistic", "function": "softmax", "cover": "softmax"}
    assert frame.loc[frame["task"] == "zone", "accuracy"].max() > 0.6
    assert {d.task for d in scores.differences} == {"zone", "function", "cover"}
    table = gpd.read_parquet(run.layout.evaluation / "predictions.parquet")
    for task, classes in (
        ("zone", ["centre", "edge"]),
        ("function", ["living", "work"]),
        ("cover", ["built", "green"]),
    ):
        shares = table[[f"{task}.{name}" for name in classes]].to_numpy()
        np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-5)
        assert table[task].to_list() == [classes[i] for i in shares.argmax(axis=1)]
        with rasterio.open(run.layout.maps / f"{task}.tif") as raster:
            assert raster.descriptions == (
                f"{task}: 1 {classes[0]}, 2 {classes[1]}", f"share of {classes[0]}", f"share of {classes[1]}",
                *(
                    ["number of possible classes", *(f"{name} is possible" for name in classes)]
                    if task == "zone"
                    else [f"{end} end of share of {name}" for end in ("lower", "upper") for name in classes]
                ),
                "dissimilarity", "applicable",
            )  # fmt: skip
            centres = table.geometry.centroid
            values = np.array(list(raster.sample(zip(centres.x, centres.y, strict=True))))
        np.testing.assert_allclose(values[:, 1:3], shares, atol=1e-6)
        of_class = ["set"] if task == "zone" else ["lower", "upper"]
        sure = [f"{task}_{end}.{name}" for end in of_class for name in classes]
        sure = ["zone_set_size", *sure] if task == "zone" else sure
        np.testing.assert_allclose(values[:, 3:-2], table[sure].to_numpy(float), atol=1e-6)
        own = gpd.read_parquet(run.layout.maps / f"{task}.parquet")
        assert set(own) > {column.removeprefix(f"{task}_") for column in sure}
        assert (values[:, 0] == shares.argmax(axis=1) + 1).all()
        for suffix in (".png", "_shares.png", "_interval.png", ".parquet"):
            assert (run.layout.maps / f"{task}{suffix}").stat().st_size > 0
    chosen = [table[f"zone_set.{name}"].to_numpy() for name in ("centre", "edge")]
    assert (np.where(table["zone"] == "centre", *chosen)).all(), "the class on the map is possible"
    assert table["zone_set"].to_list() == [
        " | ".join(name for name, inside in zip(("centre", "edge"), row, strict=True) if inside)
        for row in zip(*chosen, strict=True)
    ]
    records = Results.read(run.layout.evaluation / "scores.json").intervals
    assert {(r.task, r.label, r.level) for r in records} == {
        (task, label, level) for task, label in (("zone", "class"), ("function", "shares"), ("cover", "shares"))
        for level in (0.8, 0.9)
    }  # fmt: skip
    summary = (run.layout.evaluation / "summary.txt").read_text(encoding="utf-8")
    for record in records:
        assert record.sentence in summary
        assert f"{record.coverage:.0%}" in page
    assert '"called": "set"' in page
    for words in ("macro-F1", "Predicted zone: centre", "KL (less is better)", "Paired differences", "[", "softmax"):
        assert words in page


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("columns: u_*, ", "", "shares from polygons need either `column`"),
        ("metrics: [kl, l1]", "metrics: [r2]", "`metrics` of a polygon_shares is l1 or kl or cosine"),
        ("metrics: [kl, l1]", "loss: absolute", "`loss` of a polygon_shares is kl, not absolute"),
        ("kind: raster_shares", "kind: raster_shares, units: polygons", "belong to regions, not polygons"),
        ("kind: raster_shares", "kind: raster_shares, transform: log1p", "are of numbers, not of classes or shares"),
        ("kind: raster_shares", "kind: point_class", "labels from points need `column`"),
    ],
)
def test_a_task_that_makes_no_sense_is_refused(run: mmgr.Run, old: str, new: str, message: str) -> None:
    path = run.layout.folder.parent / "city.yaml"
    path.write_text(YAML.replace(old, new), encoding="utf-8")
    with pytest.raises(ConfigError, match=message.replace("*", r"\*")):
        mmgr.Run(path)
