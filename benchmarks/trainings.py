"""Rows of `mmgr benchmark` in several trainings on one place: what a training more would change.

    python benchmarks/trainings.py --folder ../runs/trainings --seeds 0 1 2 3 4 --write docs/results/trainings.md \
        --json benchmarks/results/2026-11-29-trainings.json

The place is the sample of the package. Each seed trains all rows anew and deals folds anew, on the same places and
labels: what is told is how far the rows differ by luck of training and folds, and nothing of other cities, of which
`worlds.py` tells. What ended is not repeated.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import yaml
from pages import write_page
from worlds import Panel, World, column, score_tables

from mmgr import Run
from mmgr.bench.machine import machine
from mmgr.console import show_log
from mmgr.demo import prepare_demo
from mmgr.evaluate import METRICS
from mmgr.files import write_text

ROWS = (
    "colour-texture", "random-encoder", "pretrained-encoder", "simclr", "poi-one-hot", "poi-densities", "poi-context",
    "count-table", "place2vec", "category-vectors", "hgi-like", "pg-simclr", "best-image+best-poi", "mmgr-2023", "mmgr",
)  # fmt: skip
"""Without BYOL and Tile2Vec, which docs/results/benchmark-sample.md has."""


def main() -> None:
    """Train and score all rows from each seed, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the trainings are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="a training of each row each")
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    show_log()
    found = [training(seed, arguments) for seed in arguments.seeds]
    if arguments.json is not None:
        told = ("features", "task", "split", "metric", "value")
        scores = [
            {"seed": one.seed} | {key: getattr(score, key) for key in told}
            for one in found
            for score in one.found.scores.records
        ]
        facts = {"benchmark": "trainings", "date": datetime.now(UTC).date().isoformat(), "machine": machine()}
        facts |= {"shared": dict(found[0].found.shared), "scores": scores}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, page(found))


def training(seed: int, arguments: argparse.Namespace) -> World:
    """Train and score all rows from a seed."""
    path = prepare_demo(arguments.folder / f"seed-{seed}")
    content = yaml.safe_load(path.read_text(encoding="utf-8")) | {"seed": seed}
    own = path.with_name("seed.yaml")
    write_text(own, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return World(seed, Run(own).benchmark(rows=arguments.rows))


def page(found: Sequence[World]) -> str:
    """Return what stands between the page's marks."""
    about = (f"{len(found)} trainings a row, each with folds of its own.", "")
    less = (
        "Mean ± standard deviation over trainings of the difference at the same seed; in brackets, in how many ours is "
        "ahead."
    )
    return "\n\n".join(score_tables(found, about, over="trainings", difference=difference, less=less))


def difference(found: Sequence[World], panel: Panel, main: str, other: str) -> str:
    """Return how far the main row is ahead of another, over trainings."""
    less = column(found, panel, main) - column(found, panel, other)
    sign = 1 if METRICS[found[0].found.of_panel(panel)[0].metric].highest else -1
    spread = f" ± {less.std(ddof=1):.3f}" if len(less) > 1 else ""
    return f"{less.mean():+.3f}{spread} ({int((sign * less > 0).sum())} of {len(less)})"


if __name__ == "__main__":
    main()
