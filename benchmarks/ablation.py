"""What each part of our vectors adds, what each choice of the training does, and what weighing the parts does.

    python benchmarks/ablation.py --folder ../runs/ablation --seeds 1 2 3 4 5 --write docs/results/ablation.md \
        --json benchmarks/results/2026-11-29-ablation.json
    python benchmarks/ablation.py --study choices --folder ../runs/ablation --seeds 1 2 3 4 5 \
        --write docs/results/choices.md --json benchmarks/results/2026-11-29-choices.json
    python benchmarks/ablation.py --study weights --folder ../runs/ablation --seeds 1 2 3 4 5 --probes ridge knn mlp \
        --write docs/results/weights.md --json benchmarks/results/2026-11-29-weights.json

Made cities (`mmgr synth`) have labels that are known functions of what is seen in images only, in POIs only, and in
both. Recipes are trained on them from each seed; their vectors, and ours with one part left out at a time, are
scored on the same folds, by one probe or several. What ended is not repeated, so that seeds can be shared out: without
`--write` a call leaves its scores in the folder, and the last call collects them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pages import write_page

from mmgr import Run
from mmgr.actions.embed import inside_vectors
from mmgr.bench.machine import machine
from mmgr.benchmark.texture import describe_patch
from mmgr.config import Evaluate
from mmgr.contexts.around import points_around
from mmgr.evaluate import poi_density_features, score_features, task_units
from mmgr.learn.embed import embed, random_model
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER
from mmgr.learn.surroundings import image_part
from mmgr.pois import PoiTables
from mmgr.regions import centres_of
from mmgr.store import RegionStore
from mmgr.synth import Settings, write_city

TASKS = ("population", "economy", "function")
OURS = "mmgr"
CONCATENATION = "simclr, densities, context"
Vectors = NDArray[np.float32]
Parts = Vectors | tuple[Vectors, ...]
"""Vectors, or several parts of them, which probes weigh against each other."""
Record = dict[str, Any]


def main() -> None:
    """Make cities, train, score, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", choices=("parts", "choices", "weights"), default="parts", help="which rows")
    parser.add_argument("--folder", type=Path, required=True, help="where cities, trainings and scores are kept")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--regions", type=int, default=900)
    parser.add_argument("--cities", type=int, default=3, help="which share the regions")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of cities, each with trainings of its own")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--encoder", default=SHIPPED_ENCODER, help="of all trainings, those as published, too")
    parser.add_argument("--weights", default=SHIPPED, help="that all trainings begin with; `random` for other encoders")
    parser.add_argument("--probes", nargs="+", default=["ridge"], help="small models; a table each")
    parser.add_argument("--rows", nargs="+", metavar="NAME", help="of the study; all by default")
    arguments = parser.parse_args()
    records = {seed: score_city(seed, arguments) for seed in arguments.seeds}
    if arguments.json is not None:
        facts = {
            "benchmark": "ablation",
            "study": arguments.study,
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "regions": arguments.regions,
            "cities": arguments.cities,
            "epochs": arguments.epochs,
            "encoder": arguments.encoder,
            "weights": arguments.weights,
            "worlds": [{"seed": seed, "scores": found} for seed, found in records.items()],
        }
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, tables(records, arguments))


def score_city(seed: int, arguments: argparse.Namespace) -> list[Record]:
    """Make the cities of a seed, train on them, and score every row with every probe."""
    done = arguments.folder / f"scores-{arguments.study}-{seed}.json"
    kept: list[Record] = json.loads(done.read_text(encoding="utf-8")) if done.exists() else []
    place = arguments.folder / f"city-{seed}"
    if not place.exists():
        settings = Settings(arguments.regions, cities=arguments.cities, pixels=64, metres_per_pixel=2.0, seed=seed)
        write_city(place, settings)
    run = Run(place / "city.yaml")
    city = City(run, arguments, seed)
    rows = {"parts": city.parts, "choices": city.choices, "weights": city.weights}[arguments.study]()
    names = list(rows) if arguments.rows is None else arguments.rows
    units = {
        task.name: task_units(run.config, task, city.store.regions) for task in run.config.tasks if task.name in TASKS
    }
    for name in names:
        have = {one["probe"] for one in kept if one["features"] == name}
        probes = tuple(probe for probe in arguments.probes if probe not in have)
        if not probes:
            continue
        settings = Evaluate(splits=("blocks", "groups"), seeds=1, probes=probes)
        made = rows[name]()
        sides = made if isinstance(made, tuple) else (made,)
        vectors, widths = {name: np.hstack(sides)}, {name: tuple(side.shape[1] for side in sides)}
        for own in units.values():
            for probe in probes:
                alone = settings.model_copy(update={"probes": (probe,)})
                scores = score_features(own, vectors, alone, edge=city.store.info.edge, seed=0, parts=widths)
                kept += [
                    {"features": name, "probe": probe}
                    | {key: getattr(one, key) for key in ("task", "split", "metric", "value")}
                    for one in scores.records
                ]
        done.write_text(json.dumps(kept) + "\n", encoding="utf-8")
    order = {name: number for number, name in enumerate(names)}
    return sorted((one for one in kept if one["features"] in order), key=lambda one: order[one["features"]])


class City:
    """The made cities of a seed, what is trained on them, and what describes their regions."""

    def __init__(self, run: Run, arguments: argparse.Namespace, seed: int) -> None:
        self.folder, self.seed, self.epochs = arguments.folder, seed, arguments.epochs
        self.start = {"encoder": arguments.encoder, "weights": arguments.weights}
        self.store: RegionStore = run.build()
        self.vectors = run.categories()
        self.context = points_around(PoiTables.load(run.layout.pois), self.store.regions, "auto").vectors
        self.densities = np.nan_to_num(poi_density_features(self.store.bags, len(self.store.info.taxonomy)))

    def recipe(self, name: str, **changes: Any) -> Recipe:
        """Return a recipe at the size of this study."""
        size = self.start | {"crop": 56, "epochs": self.epochs, "batch_size": 64, "held_out": 0.0}
        return Recipe.model_validate(RECIPES[name].model_dump() | size | changes)

    def train(self, name: str, *, tag: str = "", **changes: Any) -> MultiModalModel:
        """Return the model of a recipe, with some choices changed."""
        folder = self.folder / f"{name}{tag}-{self.seed}"
        recipe = self.recipe(name, **changes)
        around = self.context if recipe.pois_around else None
        return pretrain(self.store, self.vectors, recipe, folder=folder, seed=self.seed, around=around, device="cpu")

    def images(self, model: MultiModalModel, recipe: Recipe) -> Vectors:
        """Return the image part of an embedding by a recipe's choices, whatever the model was trained by."""
        model.recipe = model.recipe.model_copy(
            update={key: getattr(recipe, key) for key in ("true_size", "feature_maps")}
        )
        vars(model).pop("whole_edge", None)  # which a model finds once
        found = embed(model, self.store, recipe, device="cpu")
        group = self.store.regions["group"].to_numpy(object)
        centres, edge = centres_of(self.store.regions), self.store.info.edge
        return image_part(found.image, found.has_image, group, centres, recipe=recipe, edge=edge)

    def inside(self, model: MultiModalModel) -> Vectors:
        """Return what a model says of the POIs inside regions."""
        return embed(model, self.store, model.recipe, device="cpu").poi

    def poi_part(self, model: MultiModalModel) -> Vectors:
        """Return the POI part of an embedding by a model."""
        inside = inside_vectors(self.inside(model), self.store.bags, self.store.info.taxonomy)
        return np.hstack([inside, self.context])

    @cached_property
    def ours(self) -> MultiModalModel:
        """The model of our recipe."""
        return self.train("mmgr")

    @cached_property
    def simclr(self) -> MultiModalModel:
        """The model of images alone."""
        return self.train("simclr")

    @cached_property
    def own_images(self) -> Vectors:
        """The image part of ours."""
        return self.images(self.ours, self.recipe("mmgr"))

    @cached_property
    def pois(self) -> Vectors:
        """The POI part of ours."""
        return self.poi_part(self.ours)

    @cached_property
    def alone(self) -> Vectors:
        """The vectors of images alone."""
        return self.images(self.simclr, self.recipe("simclr"))

    @cached_property
    def texture(self) -> Vectors:
        """Colours and texture of patches."""
        return np.stack([describe_patch(dates[0]) for part in self.store.iterate(256) for dates in part])

    def parts(self) -> dict[str, Callable[[], Parts]]:
        """Return what is scored to see what each part of the vectors adds."""
        ours = self.recipe("mmgr")

        def without(**changes: Any) -> Callable[[], Parts]:
            return lambda: (self.images(self.ours, self.recipe("mmgr", **changes)), self.pois)

        def beside(make: Callable[[], MultiModalModel]) -> Callable[[], Parts]:
            return lambda: (self.images(make(), ours), self.pois)

        return {
            "POI densities": lambda: self.densities,
            "POI densities, context": self._plain,
            "mmgr's POI part": lambda: self.pois,
            "colours and texture": lambda: self.texture,
            "simclr": lambda: self.alone,
            "mmgr's image part": lambda: self.own_images,
            "simclr, densities": lambda: (self.alone, self.densities),
            CONCATENATION: lambda: (self.alone, self._plain()),
            "colours and texture, densities, context": lambda: (self.texture, self._plain()),
            "mmgr-2023": self._published,
            OURS: lambda: (self.own_images, self.pois),
            "mmgr, encoder of random weights": beside(
                lambda: random_model(ours, self.ours.category_vectors, 3, self.seed)
            ),
            "mmgr, encoder as training begins": beside(
                lambda: seeded_model(ours, self.ours.category_vectors, 3, self.seed)
            ),
            "mmgr, encoder of simclr": beside(lambda: self.simclr),
            "mmgr, images meet the POIs inside alone": beside(
                lambda: self.train("mmgr", tag="-inside", pois_around=False)
            ),
            "mmgr, colours jittered as in the paper": beside(
                lambda: self.train("mmgr", tag="-strong", augmentation=_strong(ours))
            ),
            "mmgr, last features alone": without(feature_maps=False),
            "mmgr, patches as small as crops": without(true_size=False),
            "mmgr, cities as they are": without(group_means=1.0),
            "mmgr, cities alike": without(group_means=0.0),
            "mmgr, nothing around in images": without(image_scales=()),
            "mmgr, last features in columns as they come": without(image_components=None, feature_maps=False),
            "mmgr, POI columns as they come": lambda: (
                self.own_images,
                np.hstack([self.inside(self.ours), self.context]),
            ),
        }

    def choices(self) -> dict[str, Callable[[], Parts]]:
        """Return what is scored to see what each choice of the training does: each is a training of its own."""

        def changed(tag: str, **changes: Any) -> Callable[[], Parts]:
            return lambda: self._whole(self.train("mmgr", tag=f"-{tag}", **changes))

        near = 2.5 * self.store.info.edge
        return {
            OURS: lambda: self._whole(self.ours),
            "temperature learned": changed("learned", learn_temperature=True),
            "a crop meets the POIs inside it": changed("crops", crop_pois=True),
            "POIs read by attention": changed("attention", poi_encoder="attention"),
            "POIs read by attention, with their positions": changed(
                "positions", poi_encoder="attention", poi_positions=True
            ),
            "neighbours are no negatives": changed("near", mask_near=near),
            "regions of like POIs are no negatives": changed("alike", mask_alike=0.9),
            "vectors of both modalities are negatives": changed("joint", negatives="joint"),
            "no side task": changed("task", counts_weight=0.0),
            "side task without contrast of images and POIs": changed("contrast", intra_weight=1.0),
        }

    def weights(self) -> dict[str, Callable[[], Parts]]:
        """Return what is scored to see what it does that probes weigh images and POIs against each other."""
        return {
            "mmgr's image part": lambda: self.own_images,
            "mmgr's POI part": lambda: self.pois,
            OURS: lambda: (self.own_images, self.pois),
            "mmgr, not weighed": lambda: np.hstack([self.own_images, self.pois]),
            CONCATENATION: lambda: (self.alone, self._plain()),
            f"{CONCATENATION}, not weighed": lambda: np.hstack([self.alone, self._plain()]),
        }

    def _plain(self) -> Vectors:
        return np.hstack([self.densities, self.context])

    def _published(self) -> Parts:
        model = self.train("mmgr-2023")
        found = embed(model, self.store, model.recipe, device="cpu")
        return found.image, found.poi

    def _whole(self, model: MultiModalModel) -> Parts:
        """Return both parts of the embedding by a model."""
        images = self.images(model, self.recipe("mmgr"))
        return images, self.poi_part(model)


def _strong(recipe: Recipe) -> dict[str, Any]:
    """Return our views with the paper's changes of colour."""
    paper = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1, "gray": 0.2}
    return recipe.augmentation.model_dump() | paper


def tables(records: dict[int, list[Record]], arguments: argparse.Namespace) -> str:
    """Return the scores, a row a set of features, and the paired differences of ours from each, for each probe."""
    made = machine()
    probes = ", ".join(arguments.probes)
    head = (
        f"{arguments.regions:,} regions in {arguments.cities} made cities, {len(records)} seed(s) of cities and "
        f"trainings, {arguments.epochs} epochs of {arguments.encoder} from {arguments.weights} weights on views of 56 "
        f"pixels; {probes}, one seed of folds; mean ± standard deviation over seeds. Finished "
        f"{datetime.now(UTC).date().isoformat()} on {made['cores']} cores ({made['cpu']}, no GPU)."
    )
    parts = [head]
    for probe in arguments.probes:
        own = {seed: [one for one in found if one["probe"] == probe] for seed, found in records.items()}
        parts += [f"### {probe}"] if len(arguments.probes) > 1 else []
        parts += table_pair(own)
    return "\n\n".join(parts)


def table_pair(records: dict[int, list[Record]]) -> list[str]:
    """Return the scores of one probe, what the second table says, and that table."""
    first = next(iter(records.values()))
    columns = list(dict.fromkeys((one["task"], one["split"]) for one in first))
    names = list(dict.fromkeys(one["features"] for one in first))
    metric = {(one["task"], one["split"]): one["metric"] for one in first}
    split = {"blocks": "blocks", "groups": "unseen city"}
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

    def table(cell: Callable[[str, str, str], str], skip: str | None = None) -> str:
        some = [name for name in names if name != skip]
        rows = [f"| {name} | " + " | ".join(cell(name, *column) for column in columns) + " |" for name in some]
        return "\n".join(["| features | " + " | ".join(heads) + " |", "|---|" + "---:|" * len(columns), *rows])

    def difference(name: str, task: str, kind: str) -> str:
        return _difference(values(OURS, task, kind) - values(name, task, kind), metric[task, kind], shown)

    return [
        table(lambda name, task, kind: shown(values(name, task, kind))),
        (
            f"What `{OURS}` has more than each, seed by seed: mean ± standard deviation of the differences, and at "
            "how many seeds ours was better. Of R2 more is better, of L1 less."
        ),
        table(difference, skip=OURS),
    ]


def _difference(found: NDArray[np.float64], metric: str, shown: Callable[..., str]) -> str:
    better = int((found < 0).sum() if metric == "l1" else (found > 0).sum())
    return f"{shown(found, '+')} ({better} of {len(found)})"


if __name__ == "__main__":
    main()
