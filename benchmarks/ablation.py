"""What each part of our vectors adds, on made cities: written into a page of results.

    python benchmarks/ablation.py --folder ../runs/ablation --seeds 1 2 3 4 5 --write docs/results/ablation.md \
        --json benchmarks/results/2026-11-28-ablation.json

A made city (`mmgr synth`) has labels that are known functions of what is seen in images only, in POIs only, and in
both. Three recipes are trained on it from each seed; their vectors, and ours with one part left out at a time, are
scored on the same folds, by one probe. What ended is not repeated, so that seeds can be shared out: without `--write` a
call leaves its scores in the folder, and the last call collects them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pages import write_page

from mmgr import Run
from mmgr.actions.embed import centres_of, context_vectors, even_components, scales_of
from mmgr.bench.machine import machine
from mmgr.benchmark.texture import describe_patch
from mmgr.config import Evaluate
from mmgr.evaluate import Scores, poi_density_features, read_units, score_features
from mmgr.learn.embed import embed, random_model
from mmgr.learn.model import MultiModalModel
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.learn.surroundings import image_part
from mmgr.pois import PoiTables
from mmgr.store import RegionStore
from mmgr.synth import Settings, write_city

TASKS = ("population", "economy", "function")
OURS = "mmgr"
CONCATENATION = "simclr, densities, context"
Features = dict[str, NDArray[np.float32]]
Record = dict[str, Any]


def main() -> None:
    """Make cities, train, score, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where cities, trainings and scores are kept")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--regions", type=int, default=1500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of cities, each with trainings of its own")
    parser.add_argument("--epochs", type=int, default=10)
    arguments = parser.parse_args()
    records = {seed: score_city(seed, arguments) for seed in arguments.seeds}
    if arguments.json is not None:
        facts = {
            "benchmark": "ablation",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "regions": arguments.regions,
            "epochs": arguments.epochs,
            "cities": [{"seed": seed, "scores": found} for seed, found in records.items()],
        }
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, tables(records, arguments))


def score_city(seed: int, arguments: argparse.Namespace) -> list[Record]:
    """Make the two cities of a seed, train on them, and score every set of features."""
    done = arguments.folder / f"scores-{seed}.json"
    if done.exists():
        kept: list[Record] = json.loads(done.read_text(encoding="utf-8"))
        return kept
    place = arguments.folder / f"city-{seed}"
    if not place.exists():
        write_city(place, Settings(arguments.regions, cities=2, pixels=64, metres_per_pixel=2.0, seed=seed))
    run = Run(place / "city.yaml")
    city = City(run, arguments, seed)
    settings = Evaluate(splits=("blocks", "groups"), seeds=1, probes=("ridge",))
    sets = city.feature_sets()
    parts = [
        score_features(read_units(task, city.store.regions), sets, settings, edge=city.store.info.edge, seed=0)
        for task in run.config.tasks
        if task.name in TASKS
    ]
    found = [
        {"features": one.features, "task": one.task, "split": one.split, "metric": one.metric, "value": one.value}
        for one in Scores.joined(parts).records
    ]
    done.write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


class City:
    """The made cities of a seed, what is trained on them, and what describes their regions."""

    def __init__(self, run: Run, arguments: argparse.Namespace, seed: int) -> None:
        self.folder, self.seed, self.epochs = arguments.folder, seed, arguments.epochs
        self.store: RegionStore = run.build()
        self.vectors = run.categories()
        tables = PoiTables.load(run.layout.pois)
        self.context = context_vectors(tables, self.store.regions, scales_of("auto", tables, self.store.regions))
        self.densities = np.nan_to_num(poi_density_features(self.store.bags, len(self.store.info.taxonomy)))

    def recipe(self, name: str, **changes: Any) -> Recipe:
        """Return a recipe at the size of this study."""
        size = {"encoder": "resnet18", "crop": 56, "epochs": self.epochs, "batch_size": 64, "held_out": 0.0}
        return Recipe.model_validate(RECIPES[name].model_dump() | size | changes)

    def train(self, name: str, *, tag: str = "", **changes: Any) -> MultiModalModel:
        """Return the model of a recipe, with some choices changed."""
        folder = self.folder / f"{name}{tag}-{self.seed}"
        recipe = self.recipe(name, **changes)
        around = self.context if recipe.pois_around else None
        return pretrain(self.store, self.vectors, recipe, folder=folder, seed=self.seed, around=around, device="cpu")

    def images(self, model: MultiModalModel, recipe: Recipe) -> NDArray[np.float32]:
        """Return the image part of an embedding by a recipe's choices, whatever the model was trained by."""
        model.recipe = model.recipe.model_copy(
            update={key: getattr(recipe, key) for key in ("true_size", "feature_maps")}
        )
        found = embed(model, self.store, recipe.model_copy(update={"encoder": "resnet18"}), device="cpu")
        group = self.store.regions["group"].to_numpy(object)
        centres, edge = centres_of(self.store.regions), self.store.info.edge
        return image_part(found.image, found.has_image, group, centres, recipe=recipe, edge=edge)

    def feature_sets(self) -> Features:
        """Return the sets of features that are scored."""
        ours, simclr = self.recipe("mmgr"), self.recipe("simclr")
        ours_model, simclr_model = self.train("mmgr"), self.train("simclr")
        published = self.train("mmgr-2023")
        by_published = embed(published, self.store, published.recipe, device="cpu")
        inside = embed(ours_model, self.store, ours_model.recipe, device="cpu").poi
        pois = np.hstack([even_components(inside), self.context])

        def without(**changes: Any) -> NDArray[np.float32]:
            return np.hstack([self.images(ours_model, self.recipe("mmgr", **changes)), pois])

        images = self.images(ours_model, ours)
        alone = self.images(simclr_model, simclr)
        texture = np.stack([describe_patch(dates[0]) for part in self.store.iterate(256) for dates in part])
        plain = self.train("mmgr", tag="-inside", pois_around=False)
        strong = self.train("mmgr", tag="-strong", augmentation=_strong(ours))
        raw = {"image_components": None, "feature_maps": False}
        return {
            "POI densities": self.densities,
            "POI densities, context": np.hstack([self.densities, self.context]),
            "mmgr's POI part": pois,
            "colours and texture": texture,
            "simclr": alone,
            "mmgr's image part": images,
            "simclr, densities": np.hstack([alone, self.densities]),
            CONCATENATION: np.hstack([alone, self.densities, self.context]),
            "colours and texture, densities, context": np.hstack([texture, self.densities, self.context]),
            "mmgr-2023": by_published.combined,
            OURS: np.hstack([images, pois]),
            "mmgr, encoder untrained": np.hstack(
                [self.images(random_model(ours, ours_model.category_vectors, 3, self.seed), ours), pois]
            ),
            "mmgr, encoder of simclr": np.hstack([self.images(simclr_model, ours), pois]),
            "mmgr, images meet the POIs inside alone": np.hstack([self.images(plain, ours), pois]),
            "mmgr, colours jittered as in the paper": np.hstack([self.images(strong, ours), pois]),
            "mmgr, last features alone": without(feature_maps=False),
            "mmgr, patches as small as crops": without(true_size=False),
            "mmgr, cities as they are": without(group_means=1.0),
            "mmgr, cities alike": without(group_means=0.0),
            "mmgr, nothing around in images": without(image_scales=()),
            "mmgr, last features in columns as they come": without(**raw),
            "mmgr, POI columns as they come": np.hstack([images, inside, self.context]),
        }


def _strong(recipe: Recipe) -> dict[str, Any]:
    """Return our views with the paper's changes of colour."""
    paper = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "gray": 0.2}
    return recipe.augmentation.model_dump() | paper


def tables(records: dict[int, list[Record]], arguments: argparse.Namespace) -> str:
    """Return the scores, a row a set of features, and the paired differences of ours from each."""
    first = next(iter(records.values()))
    columns = list(dict.fromkeys((one["task"], one["split"]) for one in first))
    names = list(dict.fromkeys(one["features"] for one in first))
    metric = {(one["task"], one["split"]): one["metric"] for one in first}
    made, split = machine(), {"blocks": "blocks", "groups": "unseen city"}
    heads = [f"{task}, {split[kind]} ({metric[task, kind]})" for task, kind in columns]

    def values(name: str, task: str, kind: str) -> NDArray[np.float64]:
        found = [
            one["value"]
            for city in records.values()
            for one in city
            if (one["features"], one["task"], one["split"]) == (name, task, kind)
        ]
        return np.array(found)

    def shown(numbers: NDArray[np.float64], sign: str = "") -> str:
        spread = f" ± {np.std(numbers, ddof=1):.3f}" if len(numbers) > 1 else ""
        return f"{np.mean(numbers):{sign}.3f}{spread}"

    def rows(cell: Callable[[str, str, str], str], skip: str | None = None) -> list[str]:
        some = [name for name in names if name != skip]
        return [f"| {name} | " + " | ".join(cell(name, *column) for column in columns) + " |" for name in some]

    head = ["| features | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns)]
    return "\n".join(
        [
            (
                f"{arguments.regions:,} regions in two made cities, {len(records)} seed(s) of cities and trainings, "
                f"{arguments.epochs} epochs of ResNet-18 on views of 56 pixels; ridge, one seed of folds; mean ± "
                f"standard deviation over seeds. Finished {datetime.now(UTC).date().isoformat()} on {made['cores']} "
                f"cores ({made['cpu']}, no GPU)."
            ),
            "",
            *head,
            *rows(lambda name, task, kind: shown(values(name, task, kind))),
            "",
            (
                f"What `{OURS}` has more than each, seed by seed: mean ± standard deviation of the differences, and at "
                "how many seeds ours was better. Of R2 more is better, of L1 less."
            ),
            "",
            *head,
            *rows(
                lambda name, task, kind: _difference(
                    values(OURS, task, kind) - values(name, task, kind), metric[task, kind], shown
                ),
                skip=OURS,
            ),
        ]
    )


def _difference(found: NDArray[np.float64], metric: str, shown: Callable[..., str]) -> str:
    better = int((found < 0).sum() if metric == "l1" else (found > 0).sum())
    return f"{shown(found, '+')} ({better} of {len(found)})"


if __name__ == "__main__":
    main()
