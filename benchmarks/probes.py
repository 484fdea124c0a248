"""Which small model on frozen vectors: all probes on the same vectors and folds, in several cities.

    python benchmarks/probes.py --folder ../runs/probes --data ../shared/data --probes ridge kernel mlp knn \
        --covered ridge kernel --json benchmarks/results/2026-11-30-probes.json --write docs/results/probes.md

Cities are the sample that ships with the package; California, as examples/california.yaml has it, and Singapore's cells
and subzones from POIs alone (both left out without --data); and made worlds. Each is embedded once by `mmgr`'s own
choices; what is embedded already is not done again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pages import write_page

from mmgr import RegionStore, Run
from mmgr.actions.evaluate import feature_sets, main_features, part_widths
from mmgr.bench.machine import machine, software
from mmgr.benchmark.table import markdown_table
from mmgr.console import show_log
from mmgr.evaluate import METRICS, Score, score_features, task_units
from mmgr.evaluate.coverage import score_intervals
from mmgr.files import write_text
from mmgr.synth import Settings, write_city

PROBES = ("ridge", "kernel", "mlp", "forest", "boosting", "knn")
EPOCHS = 5
"""Of a made world's training."""
LEVEL = 0.9
"""Of the intervals whose coverage is measured."""


@dataclass(frozen=True)
class Found:
    """What one probe is worth in one task of one city."""

    city: str
    task: str
    split: str
    probe: str
    metric: str
    value: float
    spread: float
    """Standard deviation over the seeds of folds and probes."""
    seconds: float
    """Of all splits of the task together, with all seeds."""

    @property
    def panel(self) -> tuple[str, str, str]:
        """Return what probes are compared in."""
        return self.city, self.task, self.split


@dataclass(frozen=True)
class Held:
    """How often the intervals, or sets of classes, around one probe's predictions held for held-out units."""

    city: str
    task: str
    split: str
    probe: str
    coverage: float
    worst: float
    """Coverage of the fold where it was lowest."""
    width: float
    """Mean width over the range of the labels, on the probe's scale; or size of sets over the number of classes."""


def main() -> None:
    """Score all probes in all cities, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the cities' runs are kept")
    parser.add_argument("--data", type=Path, help="folder of the development data, beside the repository")
    parser.add_argument("--worlds", type=int, nargs="*", default=[4, 5, 6], help="seeds of made worlds")
    parser.add_argument("--regions", type=int, default=900, help="of each made world")
    parser.add_argument("--seeds", type=int, default=3, help="draws of folds and starts of probes")
    parser.add_argument("--probes", nargs="+", choices=PROBES, default=list(PROBES))
    parser.add_argument("--covered", nargs="*", choices=PROBES, default=[], help="probes whose intervals are measured")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    asked = parser.parse_args()
    show_log()
    results = [one for name, path in cities(asked) for one in scored(name, path, asked)]
    found = [one for one in results if isinstance(one, Found)]
    held = [one for one in results if isinstance(one, Held)]
    here = machine()
    if asked.json is not None:
        facts = {"benchmark": "probes", "date": datetime.now(UTC).date().isoformat(), "machine": here}
        facts |= {"software": software("scikit-learn", "torch"), "seeds": asked.seeds, "regions": asked.regions}
        facts |= {"scores": [asdict(one) for one in found], "level": LEVEL, "intervals": [asdict(one) for one in held]}
        asked.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    text = page(found, f"{here['cores']} cores ({here['cpu']})", asked)
    if held:
        text += "\n\n" + intervals_text(held, asked)
    print(text)
    if asked.write is not None:
        write_page(asked.write, text)


def cities(asked: argparse.Namespace) -> Iterator[tuple[str, Path]]:
    """Yield the name and the configuration of each city."""
    sample = Path(str(files("mmgr") / "sample" / "city.yaml"))
    yield "sample", configured(asked, "sample", yaml.safe_load(sample.read_text(encoding="utf-8")), beside=sample)
    if asked.data is not None:
        california = Path(__file__).parents[1] / "examples" / "california.yaml"
        content = yaml.safe_load(california.read_text(encoding="utf-8"))
        yield "california", configured(asked, "california", content, beside=california)
        for name, content in singapore(asked.data.resolve() / "singapore").items():
            yield name, configured(asked, name, content)
    for seed in asked.worlds:
        folder = asked.folder / f"world-{seed}"
        if not folder.exists():
            write_city(folder, Settings(asked.regions, cities=3, pixels=64, metres_per_pixel=2.0, seed=seed))
        content = yaml.safe_load((folder / "city.yaml").read_text(encoding="utf-8"))
        content["pretrain"] |= {"epochs": EPOCHS}
        # the same labels over larger units
        content["tasks"] = [task for task in content["tasks"] if task["name"] != "population_of_tracts"]
        yield f"world {seed}", configured(asked, f"world-{seed}", content, beside=folder / "city.yaml")


def configured(asked: argparse.Namespace, name: str, content: dict[str, Any], *, beside: Path | None = None) -> Path:
    """Write a configuration, and lay its results, into the benchmark's folder; its other paths are as they were."""
    path = asked.folder / name / "probes.yaml"
    content["output"] = str((asked.folder / name / "output").resolve())
    content["evaluate"] = {"seeds": asked.seeds, "probes": list(asked.probes), "intervals": []}
    if beside is not None:
        absolute(content, beside.parent.resolve())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


def absolute(content: Any, folder: Path) -> None:
    """Make a configuration's paths absolute."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key == "path" and value is not None:
                content[key] = str(folder / value)
            absolute(value, folder)
    elif isinstance(content, list):
        for value in content:
            absolute(value, folder)


def singapore(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the configurations of Singapore, as `mmgr init` proposes them but for names."""
    points = {"kind": "points", "path": str(folder / "pois.geojson"), "first_level": "first_level"}
    pois = {"sources": [points | {"second_level": "second_level"}]}
    subzones = str(folder / "subzones.geojson")
    amount = {"kind": "raster_sum"}
    return {
        "singapore": {
            "regions": {"kind": "grid", "size": 1000, "crs": "EPSG:32648"},
            "pois": pois,
            "tasks": [
                {"name": "population", "path": str(folder / "population_2024.tif"), **amount},
                {"name": "gdp", "path": str(folder / "gdp_2024.tif"), **amount},
                {
                    "name": "landuse",
                    "kind": "point_class",
                    "path": str(folder / "landuse_2026_points.parquet"),
                    "column": "label",
                    "x": "x",
                    "y": "y",
                },
            ],
        },
        "subzones": {
            "regions": {"kind": "polygons", "path": subzones, "crs": "EPSG:32648"},
            "pois": pois,
            "tasks": [
                {"name": "population", "kind": "polygon_total", "path": subzones, "column": "population"},
                {"name": "land_use", "kind": "polygon_shares", "path": subzones, "columns": "land_use_*"},
            ],
        },
    }


def scored(name: str, path: Path, asked: argparse.Namespace) -> Iterator[Found | Held]:
    """Embed a city, score each probe on its vectors, and measure how often its intervals hold."""
    run = Run(path)
    for stage in ("build", "categories", "pretrain", "embed"):
        run.do(stage)
    store, config = RegionStore(run.layout.regions), run.config
    features = feature_sets(store, run.layout)
    main = main_features(features)
    parts = part_widths(run.layout, features)
    for task in config.tasks:
        units = task_units(config, task, store.regions)
        for probe in asked.probes:
            begun = time.perf_counter()
            scores = score_features(
                units,
                {main: features[main]},
                config.evaluate.model_copy(update={"probes": (probe,)}),
                edge=store.info.edge,
                seed=config.seed,
                main=main,
                parts=parts,
            )
            took = time.perf_counter() - begun
            for score in scores.records:
                yield of_score(name, probe, score, took)
        settings = config.evaluate.model_copy(update={"intervals": (LEVEL,)})
        for probe in asked.covered:
            for one in score_intervals(
                units,
                features[main],
                settings,
                edge=store.info.edge,
                seed=config.seed,
                probe=probe,
                parts=parts.get(main, ()),
            ):
                yield Held(name, task.name, one.split, probe, one.coverage, one.lowest_fold, one.width_share)


def of_score(city: str, probe: str, score: Score, seconds: float) -> Found:
    """Return the first metric of a score."""
    spread = score.metrics[score.metric].std
    return Found(city, score.task, score.split, probe, score.metric, score.value, spread, seconds)


def page(found: Sequence[Found], where: str, asked: argparse.Namespace) -> str:
    """Return what stands between the page's marks."""
    probes = [probe for probe in PROBES if probe in asked.probes]
    panels = list(dict.fromkeys(one.panel for one in found))
    of = {(one.panel, one.probe): one for one in found}
    rows = []
    for panel in panels:
        first = of[panel, probes[0]]
        best = max(probes, key=lambda probe: signed(of[panel, probe]))
        cells = [f"{one.value:.3f} ± {one.spread:.3f}" for one in (of[panel, probe] for probe in probes)]
        cells = [f"**{cell}**" if probe == best else cell for cell, probe in zip(cells, probes, strict=True)]
        rows.append([panel[0], panel[1], panel[2], METRICS[first.metric].title, *cells])
    ranks = {probe: [rank(of, panel, probe, probes) for panel in panels] for probe in probes}
    summary = [["mean rank", *(f"{np.mean(ranks[probe]):.1f}" for probe in probes)]]
    for metric in dict.fromkeys(one.metric for one in found):
        own = [panel for panel in panels if of[panel, probes[0]].metric == metric]
        cells = []
        for probe in probes:
            less = [signed(of[panel, probe]) - signed(of[panel, probes[0]]) for panel in own]
            spread = np.std(less, ddof=1) if len(less) > 1 else float("nan")
            ahead = sum(value > 0 for value in less)
            cells.append("" if probe == probes[0] else f"{np.mean(less):+.3f} ± {spread:.3f} [{ahead} of {len(own)}]")
        summary.append([f"gain over {probes[0]}, {METRICS[metric].title}", *cells])
    tasks = dict.fromkeys((one.city, one.task) for one in found)
    total = [sum({(o.city, o.task): o.seconds for o in found if o.probe == probe}.values()) for probe in probes]
    summary.append([f"seconds, {len(tasks)} tasks", *(f"{seconds:.0f}" for seconds in total)])
    when = datetime.now(UTC).date().isoformat()
    about = (
        f"Written {when} on {where}, no GPU. {asked.seeds} seeds of folds and probes: mean ± standard deviation over "
        "them; the best of a line is bold."
    )
    read = (
        "A gain is positive where a probe is better: mean ± standard deviation over the lines of that metric, and in "
        "brackets in how many it is ahead."
    )
    heads = [["City", "Task", "Split", "Metric", *probes], ["---"] * 4 + ["---:"] * len(probes)]
    together = [["", *probes], ["---", *["---:"] * len(probes)]]
    return "\n\n".join(
        [about, markdown_table([*heads, *rows]), "## Together", read, markdown_table([*together, *summary])]
    )


def intervals_text(held: Sequence[Held], asked: argparse.Namespace) -> str:
    """Return the table of intervals: coverage, that of the worst fold, and width, for each probe."""
    of = {(one.city, one.task, one.split, one.probe): one for one in held}
    panels = list(dict.fromkeys((one.city, one.task, one.split) for one in held))
    rows = []
    for panel in panels:
        own = [of[*panel, probe] for probe in asked.covered]
        rows.append([*panel, *(f"{one.coverage:.3f} ({one.worst:.2f}), {one.width:.3f}" for one in own)])
    means = [[one for one in held if one.probe == probe] for probe in asked.covered]
    cells = [f"{np.mean([o.coverage for o in own]):.3f}, {np.mean([o.width for o in own]):.3f}" for own in means]
    heads = [["City", "Task", "Split", *asked.covered], ["---"] * 3 + ["---:"] * len(asked.covered)]
    read = (
        f"Intervals, and sets of classes, of {LEVEL:.0%}: the part of held-out units for which they held, in brackets "
        "that of the worst fold, and their mean width over the range of labels (of sets, over the number of classes)."
    )
    return "\n\n".join(["## Intervals", read, markdown_table([*heads, *rows, ["mean", "", "", *cells]])])


def signed(one: Found) -> float:
    """Return a value of which more is better."""
    return one.value if METRICS[one.metric].better(1.0, 0.0) else -one.value


def rank(of: dict[Any, Found], panel: tuple[str, str, str], probe: str, probes: Sequence[str]) -> int:
    """Return a probe's place among all in one panel, 1 for the best."""
    return 1 + sum(signed(of[panel, other]) > signed(of[panel, probe]) for other in probes)


if __name__ == "__main__":
    main()
