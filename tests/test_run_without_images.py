"""A whole run on POIs alone: regions from polygons or a grid, no training, scores, maps and a report."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio

import mmgr
from mmgr.embeddings import read_embeddings, read_provenance
from mmgr.evaluate import predict_everywhere, predict_intervals, task_units
from mmgr.evaluate.intervals import Intervals
from mmgr.run import STAGES

if TYPE_CHECKING:
    from conftest import City

GRID = "{kind: grid, size: 120, crs: EPSG:32632}"
POLYGONS = "{kind: polygons, path: census.geojson, id: block}"
SOURCE = "{path: pois.geojson, first_level: category, second_level: subcategory}"


def configured(city: City, *, regions: str = GRID, source: str = SOURCE, more: str = "") -> mmgr.Run:
    path = city.folder / "city.yaml"
    path.write_text(
        f"""\
regions: {regions}
pois: {{sources: [{source}], context: [200, 400, 800, 1600, 3200]}}
categories: {{dimensions: 8}}
tasks:
  - {{name: population, kind: polygon_total, path: census.geojson, column: population, id: block, units: regions}}
evaluate: {{folds: 3, seeds: 1}}
{more}
""",
        encoding="utf-8",
    )
    return mmgr.Run(path)


def test_a_grid_of_cells_goes_from_start_to_end(city: City) -> None:
    run = configured(city)
    page = run.all().read_text(encoding="utf-8")
    layout = run.layout
    store = mmgr.RegionStore(layout.regions)
    # POIs reach from 5 to 715 m, and cells start at multiples of 120 m: 7 x 7 of them
    assert len(store) == 49
    assert store.regions.total_bounds.tolist() == [499_920, 3_999_240, 500_760, 4_000_080]
    assert (store.info.pixels, store.info.bands, store.views.sum()) == (0, 0, 0)
    assert store.patches([0])[0].shape == (0, 0, 0, 0)
    # every POI is in a region, and each region has its own
    points = gpd.read_file(city.pois).to_crs(32632)
    assert store.regions["pois"].sum() == 300
    inside = [int(points.within(cell).sum()) for cell in store.regions.geometry]
    assert store.regions["pois"].to_list() == inside
    assert sorted(path.stem for path in layout.embeddings.iterdir()) == ["embeddings", "poi"]
    vectors = read_embeddings(layout.embeddings / "embeddings.parquet")
    # components of the POIs inside (8 dimensions and the log densities), and of those around as many as tell 49 regions
    # apart, in columns of equal weight: powers of two
    assert vectors.shape == (49, 32 + 64)
    assert np.ptp(vectors, axis=0).max() > 0
    scores = run.evaluate().to_frame()
    assert set(scores["features"]) == {"POI only", "POI densities"}
    # labels cover a third of the outer row and column in the north and west, and four ninths of one corner
    assert len(pd.read_parquet(layout.evaluation / "held_out.parquet")) == 35
    with rasterio.open(layout.maps / "population.tif") as raster:
        assert raster.shape == (7, 7)
    assert "learned without labels from points of interest alone" in page
    for part in ("Alike regions", "no image<", "Encoder", "random encoder", 'id="training"'):
        assert part not in page
    assert mmgr.describe(layout.regions)[3] == ("patches", "none: the run has no images")


def test_the_first_probe_makes_the_map_and_its_intervals(city: City) -> None:
    configured(city)
    path = city.folder / "city.yaml"
    path.write_text(path.read_text().replace("seeds: 1}", "seeds: 1, probes: [knn, ridge]}"))
    run = mmgr.Run(path)
    run.all()
    page = run.layout.report.read_text(encoding="utf-8")
    assert "The nearest neighbours on the vectors, fitted on all labelled units" in page
    store = mmgr.RegionStore(run.layout.regions)
    units = task_units(run.config, run.config.tasks[0], store.regions)
    vectors = read_embeddings(run.layout.embeddings / "embeddings.parquet")
    table = gpd.read_parquet(run.layout.evaluation / "predictions.parquet")
    by = {name: predict_everywhere(units, vectors, probe=name, seed=0) for name in ("knn", "ridge")}
    np.testing.assert_allclose(table["population"], by["knn"], rtol=1e-5)
    assert np.abs(by["knn"] - by["ridge"]).max() > 100
    settings = run.config.evaluate
    found = predict_intervals(units, vectors, by["knn"], settings, edge=120, seed=0, probe="knn")
    assert isinstance(found, Intervals)
    np.testing.assert_allclose(table["population_upper"], found.upper, rtol=1e-5)
    records = json.loads((run.layout.evaluation / "scores.json").read_text())["intervals"]
    assert {record["probe"] for record in records} == {"knn"}


def test_nothing_is_trained_and_no_bundle_is_left(city: City, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="mmgr")
    run = configured(city)
    # what a run with images left in the same folder must go
    run.layout.bundle.mkdir(parents=True)
    (run.layout.bundle / "manifest.json").write_text("{}")
    run.build()
    run.categories()
    assert run.pretrain() is None
    assert "no images in the configuration: nothing to train" in caplog.text
    assert not run.layout.bundle.exists()
    status = {status.stage: status.up_to_date for status in run.plan()}
    assert [name for name in STAGES if status[name]] == ["build", "categories", "pretrain"]
    table = run.embed()
    assert not table["has_image"].any()
    assert table["has_poi"].all()


def test_no_heavy_library_is_needed(city: City) -> None:
    configured(city)
    code = (
        f"import sys, mmgr\nmmgr.Run({str(city.folder / 'city.yaml')!r}).all()\n"
        "assert not {'torch', 'timm', 'lightning'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_polygons_are_the_regions_and_those_where_pois_are_unknown_are_left_out(
    city: City, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="mmgr")
    census = gpd.read_file(city.labels)
    far = census.iloc[[0]].assign(block=99, geometry=census.geometry.iloc[[0]].translate(0.05, 0.05))
    pd.concat([census, far]).to_file(city.labels)
    run = configured(city, regions=POLYGONS)
    run.all()
    store = mmgr.RegionStore(run.layout.regions)
    assert store.info.crs == "EPSG:32632"
    assert sorted(store.regions.index, key=int) == [str(number) for number in range(36)]
    assert "1 of 37 regions have unknown POIs and are left out" in caplog.text


def test_the_same_bits_come_out_twice(city: City) -> None:
    found = []
    for output in ("one", "two"):
        run = configured(city, more=f"output: {output}")
        found.append(np.stack(run_to_embed(run)["embedding"]))
    assert np.array_equal(*found)


def run_to_embed(run: mmgr.Run) -> gpd.GeoDataFrame:
    for stage in STAGES[:3]:
        run.do(stage)
    return run.embed()


def test_counts_alone_are_enough(city: City) -> None:
    tracts = gpd.read_file(city.labels)
    rng = np.random.default_rng(0)
    for name in ("bar", "shop", "bank"):
        tracts[f"n_{name}"] = rng.poisson(3, len(tracts))
    tracts.to_file(city.folder / "tracts.gpkg")
    source = "{kind: counts, path: tracts.gpkg, id: block, columns: n_*}"
    run = configured(city, source=source)
    run.all()
    assert set(run.evaluate().to_frame()["features"]) == {"POI only", "POI densities"}
    # cells of one block have the same counts inside, and others around
    facts = read_provenance(run.layout.embeddings / "embeddings.parquet")
    assert facts["poi_context_metres"] == []
    assert facts["poi_counts_metres"] == [200, 400, 800, 1600, 3200]
    vectors = read_embeddings(run.layout.embeddings / "embeddings.parquet")
    assert len(np.unique(vectors, axis=0)) == len(vectors) == 35


def test_without_tasks_there_are_embeddings_and_their_map(city: City) -> None:
    run = configured(city)
    path = city.folder / "city.yaml"
    lines = [line for line in path.read_text().splitlines() if "population" not in line and "tasks" not in line]
    path.write_text("\n".join(lines))
    run = mmgr.Run(path)
    run.all()
    assert (run.layout.maps / "embeddings.png").is_file()


@pytest.mark.slow
def test_real_subzones(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "singapore"
    path = tmp_path / "city.yaml"
    path.write_text(
        f"""\
name: Singapore
regions: {{kind: polygons, path: {folder}/subzones.geojson}}
pois:
  sources: [{{path: {folder}/pois.geojson, first_level: first_level, second_level: second_level}}]
categories: {{dimensions: 16}}
tasks:
  - {{name: population, kind: polygon_total, path: {folder}/subzones.geojson, column: population}}
evaluate: {{folds: 3, seeds: 1, probes: [ridge]}}
""",
        encoding="utf-8",
    )
    run = mmgr.Run(path)
    assert "Singapore" in run.all().read_text(encoding="utf-8")
    store = mmgr.RegionStore(run.layout.regions)
    assert store.info.crs == "EPSG:32648"
    assert 340 < len(store) <= 374
    assert store.regions["pois"].sum() > 4000
    assert len(run.evaluate().to_frame()) == 2
