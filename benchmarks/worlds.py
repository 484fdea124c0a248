"""The rows of `mmgr benchmark` in several made worlds: what is ahead in general, and not in one city by luck.

    python benchmarks/worlds.py --folder ../runs/worlds --seeds 1 2 3 4 5 6 7 8 9 10 \
        --write docs/results/benchmark-made.md --json benchmarks/results/2026-11-29-worlds.json

    for size in 62 66; do python benchmarks/worlds.py --folder ../runs/worlds-$size --seeds 4 --rows mmgr \
        --no-group-offsets --batch-size $size --json benchmarks/results/2026-11-29-worlds-$size.json; done

Each world has cities, labels, trainings and folds of its own, so that worlds are independent, which folds of one
place are not: differences are paired by world, and their intervals are Student's. What ended is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pages import write_page
from scipy import stats

from mmgr import Run
from mmgr.bench.machine import machine
from mmgr.benchmark.results import Benchmark
from mmgr.benchmark.table import markdown_table, panel_title
from mmgr.console import show_log
from mmgr.evaluate import METRICS
from mmgr.evaluate.differences import interval, written
from mmgr.files import write_text
from mmgr.synth import Settings, write_city

ROWS = (
    "colour-texture", "random-encoder", "pretrained-encoder", "simclr", "poi-one-hot", "poi-densities", "poi-context",
    "count-table", "place2vec", "category-vectors", "hgi-like", "best-image+best-poi", "mmgr-2023", "mmgr",
)  # fmt: skip
"""Without rows of images that take as long as `simclr` each; docs/results/benchmark-sample.md has them."""
Panel = tuple[str, str]
Values = Mapping[str, Mapping[Panel, float]]
"""The first metric of each row in one world."""


@dataclass(frozen=True)
class World:
    """What a benchmark found in one world."""

    seed: int
    found: Benchmark

    @property
    def values(self) -> Values:
        """Return the scores of all rows."""
        values: dict[str, dict[Panel, float]] = {}
        for score in self.found.scores.records:
            values.setdefault(score.features, {})[(score.task, score.split)] = score.value
        return values


def main() -> None:
    """Make the worlds, score all rows in each, and write the page and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the worlds and their rows are kept")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5], help="a world each")
    parser.add_argument("--regions", type=int, default=900)
    parser.add_argument("--cities", type=int, default=3, help="of each world, which share the regions")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64, help="another one is another training of the same rows")
    parser.add_argument(
        "--group-offsets", action=argparse.BooleanOptionalAction, default=True, help="for cities, in probes of all rows"
    )
    parser.add_argument("--rows", nargs="+", default=list(ROWS), metavar="NAME")
    parser.add_argument("--less", type=Path, metavar="JSON", help="numbers of another run to compare with")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    show_log()
    worlds = [World(seed, benchmark(seed, arguments)) for seed in arguments.seeds]
    if arguments.json is not None:
        facts = {
            "benchmark": "worlds",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "regions": arguments.regions,
            "cities": arguments.cities,
            "group_offsets": arguments.group_offsets,
            "shared": dict(worlds[0].found.shared),
            "worlds": [
                {
                    "seed": world.seed,
                    "scores": [
                        {key: getattr(one, key) for key in ("features", "task", "split", "metric", "value")}
                        for one in world.found.scores.records
                    ],
                }
                for world in worlds
            ],
        }
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if arguments.write is not None:
        write_page(arguments.write, page(worlds, arguments))


def benchmark(seed: int, arguments: argparse.Namespace) -> Benchmark:
    """Score all rows in the world of a seed."""
    folder = arguments.folder / f"world-{seed}"
    if not folder.exists():
        settings = Settings(arguments.regions, cities=arguments.cities, pixels=64, metres_per_pixel=2.0, seed=seed)
        write_city(folder, settings)
    content: dict[str, Any] = yaml.safe_load((folder / "city.yaml").read_text(encoding="utf-8"))
    content |= {"seed": seed, "evaluate": {"seeds": 1, "probes": ["ridge"], "intervals": []}}
    content["evaluate"]["group_offsets"] = arguments.group_offsets
    content["pretrain"] |= {"epochs": arguments.epochs, "batch_size": arguments.batch_size}
    # the same labels over larger units: they tell nothing else of the rows
    content["tasks"] = [task for task in content["tasks"] if task["name"] != "population_of_tracts"]
    path = folder / "benchmark.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return Run(path).benchmark(rows=arguments.rows)


def page(worlds: Sequence[World], arguments: argparse.Namespace) -> str:
    """Return what stands between the page's marks."""
    size = f"{len(worlds)} worlds of {arguments.cities} cities and {arguments.regions} regions"
    about = (f"{size}, one training a row in each.", "Probe `ridge`, and `softmax` for shares.")
    less = (
        "Mean over worlds with Student's 95 % interval; **bold** where it leaves out no difference. In brackets, in "
        "how many worlds ours is ahead. Of metrics marked ↓ less is better."
    )
    parts = score_tables(worlds, about, over="worlds", difference=difference, less=less)
    if arguments.less is not None:
        found, names = worlds[0].found, ranked(worlds)
        before = values_of(arguments.less)
        wanted = [(world.seed, panel) for world in worlds for panel in found.panels]
        there = [name for name in names if all((seed, name, *panel) in before for seed, panel in wanted)]
        gains = [[f"`{name}`", *(gain(worlds, panel, name, before) for panel in found.panels)] for name in there]
        titles = [panel_title(found, panel) for panel in found.panels]
        parts += [
            f"## Less each row's score in {arguments.less.name}",
            "Mean ± standard deviation over worlds of the difference in the same world; in brackets, its range.",
            markdown_table([["Row", *titles], ["---", *["---:"] * len(titles)], *gains]),
        ]
    return "\n\n".join(parts)


def ranked(worlds: Sequence[World]) -> dict[str, float]:
    """Return the mean rank of each row, the best first; a row that one world could not make is compared in none."""
    names = [name for name in worlds[0].found.ranks if all(name in world.values for world in worlds)]
    ranks = {name: float(np.mean([world.found.ranks[name] for world in worlds])) for name in names}
    return dict(sorted(ranks.items(), key=lambda rank: rank[1]))


def score_tables(
    worlds: Sequence[World],
    about: tuple[str, str],
    *,
    over: str,
    difference: Callable[[Sequence[World], Panel, str, str], str],
    less: str,
) -> list[str]:
    """Return the facts, the scores of all rows, and the main row's differences from each, over worlds or trainings.

    Parameters
    ----------
    worlds
        What benchmarks found.
    about
        What stands in the facts before and after the settings of trained rows.
    over
        What means are over.
    difference
        Writes a cell of the second table, of worlds, panel, main row and other row.
    less
        What that table says.
    """
    found, here, ranks = worlds[0].found, machine(), ranked(worlds)
    shared = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.shared.items() if key != "seed")
    panels, when = found.panels, datetime.now(UTC).date().isoformat()
    titles = [panel_title(found, panel) for panel in panels]
    dashes = ["---", *["---:"] * len(panels)]
    before, after = about
    facts = (
        f"Written {when} on {here['cores']} cores ({here['cpu']}, no GPU). {before} All trained rows: {shared}. {after}"
    )
    scores = [
        [f"`{name}`", *(cell(worlds, panel, name, list(ranks)) for panel in panels), f"{rank:.1f}"]
        for name, rank in ranks.items()
    ]
    differences = [
        [f"`{name}`", *(difference(worlds, panel, found.main, name) for panel in panels)]
        for name in ranks
        if name != found.main
    ]
    return [
        facts.strip(),
        "## Scores",
        f"Mean ± standard deviation over {over}; the mean rank is over columns and {over}.",
        markdown_table([["Row", *titles, "Mean rank"], [*dashes, "---:"], *scores]),
        f"## `{found.main}` less each row",
        less,
        markdown_table([["Less", *titles], dashes, *differences]),
    ]


def column(worlds: Sequence[World], panel: Panel, name: str) -> np.ndarray:
    """Return a row's scores in all worlds."""
    return np.array([world.values[name][panel] for world in worlds])


def values_of(path: Path) -> dict[tuple[int, str, str, str], float]:
    """Return the scores of an earlier run by world, row, task and split."""
    facts = json.loads(path.read_text(encoding="utf-8"))
    return {
        (world["seed"], score["features"], score["task"], score["split"]): score["value"]
        for world in facts["worlds"]
        for score in world["scores"]
    }


def gain(worlds: Sequence[World], panel: Panel, name: str, before: Mapping[tuple[int, str, str, str], float]) -> str:
    """Return how far a row's scores are above its own of an earlier run, over worlds."""
    less = column(worlds, panel, name) - np.array([before[world.seed, name, *panel] for world in worlds])
    spread = f" ± {less.std(ddof=1):.3f}" if len(less) > 1 else ""
    return f"{less.mean():+.3f}{spread} ({less.min():+.3f} to {less.max():+.3f})"


def cell(worlds: Sequence[World], panel: Panel, name: str, names: Sequence[str]) -> str:
    """Return a row's mean and spread; the best mean is bold."""
    values = column(worlds, panel, name)
    means = {other: column(worlds, panel, other).mean() for other in names}
    best = max if METRICS[worlds[0].found.of_panel(panel)[0].metric].highest else min
    text = f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if len(values) > 1 else "")
    return f"**{text}**" if best(means, key=means.__getitem__) == name else text


def difference(worlds: Sequence[World], panel: Panel, main: str, other: str) -> str:
    """Return how far the main row is ahead of another, over worlds."""
    less = column(worlds, panel, main) - column(worlds, panel, other)
    low, high = stats.ttest_1samp(less, 0).confidence_interval(0.95) if len(less) > 1 else (math.nan, math.nan)
    sign = 1 if METRICS[worlds[0].found.of_panel(panel)[0].metric].highest else -1
    ahead = f"({int((sign * less > 0).sum())} of {len(less)})"
    text = f"{written(float(less.mean()))} {interval(float(low), float(high))} {ahead}"
    return f"**{text}**" if low > 0 or high < 0 else text


if __name__ == "__main__":
    main()
