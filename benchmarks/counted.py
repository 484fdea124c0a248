"""What regions know of POIs that are counts of polygons, beside the same POIs as points: Singapore, no images.

    python benchmarks/counted.py --data ../shared/data/singapore --folder ../runs/counted --seeds 5 \
        --write docs/results/counted.md --json benchmarks/results/2026-11-28-counted.json

The POIs of OpenStreetMap are counted in the planning subzones, which makes of points what statistical offices publish.
Both become a run without images on the same cells, with and without what lies around, and are scored on the same folds.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
import yaml
from pages import write_page

from mmgr import Run
from mmgr.bench.machine import machine

METRES = "EPSG:32648"
CELLS = {"population": 500.0, "gdp": 1000.0}
"""Edge in metres of the cells of each task: those of GDP are not smaller than its raster's."""


@dataclass(frozen=True)
class Score:
    """One row of the table."""

    task: str
    pois: str
    features: str
    probe: str
    r2: float
    spread: float


def main() -> None:
    """Make the two kinds of POIs, run, score, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of Singapore")
    parser.add_argument("--folder", type=Path, required=True, help="where inputs and runs are kept")
    parser.add_argument("--seeds", type=int, default=5, help="of folds")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    data, folder = arguments.data.resolve(), arguments.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    zones = gpd.read_file(data / "subzones.geojson").to_crs(METRES)
    count_pois(gpd.read_file(data / "pois.geojson").to_crs(METRES), zones, folder)
    scores: list[Score] = []
    for task, edge in CELLS.items():
        make_cells(zones, edge, folder / f"cells-{task}.gpkg")
        for kind in ("points", "counts"):
            for context in ("auto", []):
                scores += score(task, kind, context, data=data, folder=folder, seeds=arguments.seeds)
    made = {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "seeds": arguments.seeds}
    if arguments.json is not None:
        facts = {"benchmark": "counted", **made, "scores": [vars(one) for one in scores]}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, tables(scores, made))


def count_pois(pois: gpd.GeoDataFrame, zones: gpd.GeoDataFrame, folder: Path) -> None:
    """Write the subzones with the number of POIs of each category, and the first level of each category."""
    pair = pois[["first_level", "second_level"]].drop_duplicates().sort_values(["first_level", "second_level"])
    names = {tuple(levels): "poi_" + "_".join(levels) for levels in pair.to_numpy()}
    inside = gpd.sjoin(pois, zones[["geometry"]], predicate="within")
    column = [names[levels] for levels in zip(inside["first_level"], inside["second_level"], strict=True)]
    counts = inside.assign(column=column).groupby(["index_right", "column"]).size().unstack(fill_value=0)
    counts = counts.reindex(zones.index, fill_value=0)
    zones[["geometry"]].assign(zone=np.arange(len(zones))).join(counts).to_file(folder / "counts.gpkg")
    firsts = {name: levels[0] for levels, name in names.items() if name in counts.columns}
    (folder / "firsts.json").write_text(json.dumps(firsts), encoding="utf-8")


def make_cells(zones: gpd.GeoDataFrame, edge: float, path: Path) -> None:
    """Write the squares of which POIs are known either way: their centre and half of them lie in subzones."""
    west, south, east, north = zones.total_bounds
    x = np.arange(np.floor(west / edge) * edge, east, edge)
    y = np.arange(np.floor(south / edge) * edge, north, edge)
    corners = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    land = zones.make_valid().union_all()
    corners = corners[shapely.contains_xy(land, *(corners + edge / 2).T)]
    squares = shapely.box(*corners.T, *(corners + edge).T)
    squares = squares[shapely.area(shapely.intersection(squares, land)) >= 0.5 * edge**2]
    gpd.GeoDataFrame({"cell": np.arange(len(squares))}, geometry=squares, crs=METRES).to_file(path)


def score(task: str, kind: str, context: Any, *, data: Path, folder: Path, seeds: int) -> list[Score]:
    """Run one city and return its scores, `POI densities` once."""
    if kind == "points":
        # complete wherever the counts are, too
        source = {"path": str(data / "pois.geojson"), "first_level": "first_level", "second_level": "second_level"}
        source["area"] = str(data / "subzones.geojson")
    else:
        firsts = json.loads((folder / "firsts.json").read_text(encoding="utf-8"))
        source = {"kind": "counts", "path": str(folder / "counts.gpkg"), "id": "zone", "columns": "poi_*"}
        source["first_levels"] = firsts
    name = f"{task}-{kind}-{'around' if context else 'inside'}"
    config = {
        "name": name,
        "output": str(folder / name),
        "seed": 0,
        "regions": {"kind": "polygons", "path": str(folder / f"cells-{task}.gpkg"), "id": "cell"},
        "pois": {"sources": [source], "context": context},
        "tasks": [{"name": task, "kind": "raster_sum", "path": str(data / f"{task}_2024.tif")}],
        "evaluate": {"seeds": seeds, "splits": ["blocks"], "probes": ["ridge", "mlp"]},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    run = Run(path)
    for stage in ("build", "categories", "pretrain", "embed"):
        run.do(stage)
    found = []
    for row in run.evaluate().to_frame().to_dict("records"):
        if row["features"] == "POI densities" and not context:
            continue
        shown = (
            "POI densities" if row["features"] == "POI densities" else f"`mmgr`{'' if context else ', inside alone'}"
        )
        found.append(Score(task, kind, shown, row["probe"], row["r2"], row["r2_std"]))
    return found


def tables(scores: list[Score], made: dict[str, Any]) -> str:
    """Return one table, a row a kind of POIs and features."""
    columns = list(dict.fromkeys((one.task, one.probe) for one in scores))
    rows = list(dict.fromkeys((one.features, one.pois) for one in scores))
    rows.sort(key=lambda row: ("mmgr" in row[0], "inside" not in row[0], row[1]))
    cell = {(one.features, one.pois, one.task, one.probe): f"{one.r2:.3f} ± {one.spread:.3f}" for one in scores}
    heads = [f"{task}, {probe}" for task, probe in columns]
    lines = [f"| Features | POIs as | {' | '.join(heads)} |", "| --- | --- |" + " ---: |" * len(columns)]
    lines += [f"| {a} | {b} | {' | '.join(cell[a, b, *column] for column in columns)} |" for a, b in rows]
    computer = made["machine"]
    text = (
        f"R2 under spatial blocks, mean ± standard deviation over {made['seeds']} seeds of folds. Written "
        f"{made['date']} on {computer['cores']} cores ({computer['cpu']}, no GPU)."
    )
    return "\n\n".join([text, "\n".join(lines)])


if __name__ == "__main__":
    main()
