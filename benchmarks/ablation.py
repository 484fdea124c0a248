"""What each part of our vectors adds, on a made city: written into a page of results.

    python benchmarks/ablation.py --folder ../runs/ablation --write docs/results/ablation.md \
        --json benchmarks/results/2026-11-25-ablation.json

A made city (`mmgr synth`) has labels that are known functions of what is seen in images only, in POIs only, and in
both. An image-only encoder (`simclr`) and ours (`mmgr`) are trained on it from each seed; their vectors are scored part
by part, on the same folds, by one probe. A training that ended is not repeated.
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pages import write_page

from mmgr import Run
from mmgr.actions.embed import centres_of, context_vectors, scales_of
from mmgr.bench.machine import machine
from mmgr.config import Evaluate
from mmgr.evaluate import Scores, poi_density_features, read_units, score_features
from mmgr.learn.embed import embed
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import RECIPES
from mmgr.learn.surroundings import image_surroundings, standardise_by_group
from mmgr.pois import PoiTables
from mmgr.store import RegionStore
from mmgr.synth import Settings, write_city

TASKS = ("population", "economy", "function")
Features = dict[str, NDArray[np.float32]]


def main() -> None:
    """Make cities, train, score, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where cities and trainings are kept")
    parser.add_argument("--write", type=Path, required=True, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, required=True, help="file for all numbers")
    parser.add_argument("--regions", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1, help="cities, each with trainings of its own")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    scores = [score_city(seed, arguments) for seed in range(1, arguments.seeds + 1)]
    facts = {
        "benchmark": "ablation",
        "date": datetime.now(UTC).date().isoformat(),
        "machine": machine(),
        "regions": arguments.regions,
        "epochs": arguments.epochs,
        "cities": [one.to_json() for one in scores],
    }
    arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    write_page(arguments.write, tables(scores, arguments))


def score_city(seed: int, arguments: argparse.Namespace) -> Scores:
    """Make the two cities of a seed, train on them, and score every set of features."""
    place = arguments.folder / f"city-{seed}"
    if not place.exists():
        write_city(place, Settings(arguments.regions, cities=2, pixels=64, metres_per_pixel=2.0, seed=seed))
    run = Run(place / "city.yaml")
    store, vectors = run.build(), run.categories()
    tables = PoiTables.load(run.layout.pois)
    scales = scales_of("auto", tables, store.regions)
    pois = {
        "densities": np.nan_to_num(poi_density_features(store.bags, len(store.info.taxonomy))),
        "context": context_vectors(tables, store.regions, scales),
    }
    images = {}
    for name in ("simclr", "mmgr"):
        changes = {"encoder": "resnet18", "crop": 56, "epochs": arguments.epochs, "batch_size": 64, "held_out": 0.0}
        recipe = RECIPES[name].model_copy(update=changes)
        model = pretrain(store, vectors, recipe, folder=arguments.folder / f"{name}-{seed}", seed=seed, device="cpu")
        found = embed(model, store, recipe, device="cpu")
        images[name] = found.image
    pois["readout"] = found.poi  # of `mmgr`, the last
    settings = Evaluate(splits=("blocks", "groups"), seeds=1, probes=("ridge",))
    parts = []
    for task in run.config.tasks:
        if task.name in TASKS:
            units = read_units(task, store.regions)
            parts.append(
                score_features(units, feature_sets(store, images, pois), settings, edge=store.info.edge, seed=0)
            )
    return Scores.joined(parts)


def feature_sets(store: RegionStore, images: Features, pois: Features) -> Features:
    """Return the sets of features, each one step from the one before."""
    group, seen = store.regions["group"].to_numpy(object), store.views > 0

    def alike(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return standardise_by_group(image, seen, group)

    def around(image: NDArray[np.float32]) -> NDArray[np.float32]:
        scales = [scale * store.info.edge for scale in RECIPES["mmgr"].image_scales]
        return image_surroundings(image, seen, centres_of(store.regions), scales=scales, dimensions=64)

    simclr, ours = images["simclr"], images["mmgr"]
    level, ours_level = alike(simclr), alike(ours)
    densities, both = pois["densities"], [pois["densities"], pois["context"]]
    return {
        "POI densities": densities,
        "POI densities, context": np.hstack(both),
        "simclr": simclr,
        "simclr, densities": np.hstack([simclr, densities]),
        "simclr, densities, context": np.hstack([simclr, *both]),
        "simclr alike in cities, densities, context": np.hstack([level, *both]),
        "simclr alike in cities, around, densities, context": np.hstack([level, around(level), *both]),
        "mmgr's images": ours,
        "mmgr's images alike in cities, around, densities, context": np.hstack([ours_level, around(ours_level), *both]),
        "mmgr, as `mmgr embed` writes it": np.hstack(
            [ours_level, around(ours_level), pois["readout"], pois["context"]]
        ),
    }


def tables(scores: list[Scores], arguments: argparse.Namespace) -> str:
    """Return one table: a row a set of features, a column a task and split."""
    made = machine()
    columns = list(dict.fromkeys((one.task, one.split) for one in scores[0].records))
    names = list(dict.fromkeys(one.features for one in scores[0].records))
    metric = {(one.task, one.split): one.metric for one in scores[0].records}
    split = {"blocks": "blocks", "groups": "unseen city"}
    heads = [f"{task}, {split[kind]} ({metric[task, kind]})" for task, kind in columns]
    lines = [
        (
            f"{arguments.regions:,} regions in two made cities, {len(scores)} seed(s) of city and training, "
            f"{arguments.epochs} epochs of ResNet-18 on views of 56 pixels; ridge, one seed of folds. Finished "
            f"{datetime.now(UTC).date().isoformat()} on {made['cores']} cores ({made['cpu']}, no GPU)."
        ),
        "",
        "| features | " + " | ".join(heads) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name in names:
        cells = []
        for task, kind in columns:
            values = [
                s.value for one in scores for s in one.records if (s.task, s.split, s.features) == (task, kind, name)
            ]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
