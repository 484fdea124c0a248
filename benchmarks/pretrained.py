"""What weights of ImageNet are worth as a start, on real patches: California, EfficientNet-Lite0.

    python benchmarks/pretrained.py --data ../shared/data/california --folder ../runs/pretrained --seeds 1 2 \
        --write docs/results/pretrained.md --json benchmarks/results/2026-11-28-pretrained.json

The weights are those that ship with the package. Every training has each seed; folds are the same for all. What ended
is not repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pages import write_page

from mmgr import Run
from mmgr.bench.machine import machine
from mmgr.config import Config, Evaluate, Pretrain, load_config
from mmgr.embeddings import read_embeddings
from mmgr.evaluate import read_units, score_features
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER

CONFIG = Path(__file__).resolve().parents[1] / "examples" / "california.yaml"
SHARED = CONFIG.parents[2] / "shared" / "data" / "california"
"""Where the example looks for its data."""
TASKS = ("population_blocks", "jobs")
"""Labels that images can be scored on here: people in patches, and jobs of tracts."""
Record = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """How vectors are made."""

    name: str
    imagenet: bool
    """Whether weights are ImageNet's, or random."""
    choices: dict[str, Any]
    """What the configuration says of the training."""


ROWS = (
    Row("random weights, as they are", imagenet=False, choices={"epochs": 0}),
    Row("random weights, 20 epochs at 1e-3", imagenet=False, choices={"epochs": 20, "learning_rate": 1e-3}),
    Row("ImageNet, as they are", imagenet=True, choices={"epochs": 0}),
    Row("ImageNet, 10 epochs at 3e-4", imagenet=True, choices={"epochs": 10, "learning_rate": 3e-4}),
    Row("ImageNet, 10 epochs at 1e-3", imagenet=True, choices={"epochs": 10, "learning_rate": 1e-3}),
    Row(
        "ImageNet, 10 epochs at 3e-4, images alone",
        imagenet=True,
        choices={"epochs": 10, "learning_rate": 3e-4, "intra_weight": 1.0, "counts_weight": 0.0},
    ),
)


def main() -> None:
    """Train what is not trained, score, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the Californian data")
    parser.add_argument("--folder", type=Path, required=True, help="where a run each, and its scores, are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="of trainings")
    parser.add_argument("--crop", type=int, default=112)
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    study = Study(arguments)
    records = [one for seed in arguments.seeds for row in ROWS for one in study.scores(row, seed)]
    made = {"date": datetime.now(UTC).date().isoformat(), "machine": machine()}
    if arguments.json is not None:
        facts = {
            "benchmark": "pretrained",
            **made,
            "encoder": SHIPPED_ENCODER,
            "crop": arguments.crop,
            "scores": records,
        }
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, page(records, arguments, made))


class Study:
    """The configuration that all trainings share, and their scores."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._folder: Path = arguments.folder.resolve()
        self._crop = arguments.crop
        example = load_config(CONFIG)
        text = example.model_dump_json().replace(str(SHARED), str(arguments.data.resolve()))
        self._config = Config.model_validate_json(text)

    def scores(self, row: Row, seed: int) -> list[Record]:
        """Return the scores of a training, made or read again."""
        kept = self._folder / f"{row.name.replace(' ', '-').replace(',', '')}-{seed}"
        done = kept / "pretrained-scores.json"
        if done.exists():
            return list(json.loads(done.read_text(encoding="utf-8")))
        weights = SHIPPED if row.imagenet else "random"
        size = {"encoder": SHIPPED_ENCODER, "weights": weights, "crop": self._crop}
        choices = Pretrain.model_validate(size | row.choices)
        run = Run(self._config.model_copy(update={"output": kept, "seed": seed, "pretrain": choices}))
        for stage in ("build", "categories", "pretrain", "embed"):
            run.do(stage)
        store = run.build()
        images = read_embeddings(run.layout.embeddings / "image.parquet")
        vectors, widths = {"images": images}, {"images": (images.shape[1],)}
        if (run.layout.embeddings / "poi.parquet").exists():  # a recipe of images alone has none
            pois = read_embeddings(run.layout.embeddings / "poi.parquet")
            vectors["both"], widths["both"] = np.hstack([images, pois]), (images.shape[1], pois.shape[1])
        found: list[Record] = []
        for task in self._config.tasks:
            if task.name not in TASKS:
                continue
            settings = Evaluate(splits=("blocks",), seeds=5, probes=("ridge",), intervals=())
            units = read_units(task, store.regions)
            scores = score_features(units, vectors, settings, edge=store.info.edge, seed=0, parts=widths)
            found += [
                {"row": row.name, "training": seed, "features": one.features, "task": one.task, "r2": one.value}
                for one in scores.records
                if one.metric == "r2"
            ]
        done.write_text(json.dumps(found) + "\n", encoding="utf-8")
        return found


def page(records: list[Record], arguments: argparse.Namespace, made: dict[str, Any]) -> str:
    """Return the table: mean over trainings, and how they spread."""
    seeds, cores = len(arguments.seeds), f"{made['machine']['cores']} cores ({made['machine']['cpu']}, no GPU)"
    heads = [(task, features) for task in TASKS for features in ("images", "both")]
    lines = [
        (
            f"EfficientNet-Lite0, views of {arguments.crop} pixels, recipe `mmgr` but for what is said; ridge under "
            f"blocks, five seeds of folds; R2, mean ± standard deviation over {seeds} trainings. Finished "
            f"{made['date']} on {cores}."
        ),
        "",
        "| weights at the start | " + " | ".join(f"{task}, {features}" for task, features in heads) + " |",
        "|---|" + "---:|" * len(heads),
    ]
    for row in ROWS:
        cells = []
        for task, features in heads:
            some = [one for one in records if (one["row"], one["task"], one["features"]) == (row.name, task, features)]
            found = [one["r2"] for one in some]  # one a training: seeds of folds are averaged in it
            spread = f" ± {np.std(found, ddof=1):.3f}" if len(found) > 1 else ""
            cells.append(f"{np.mean(found):.3f}{spread}" if found else "-")
        lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
