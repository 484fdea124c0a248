"""Train the four recipes on California and write their curves and what the monitor says into a page of results.

    python benchmarks/pretraining.py --data ../shared/data/california --folder ../runs/pretraining \
        --write docs/results/pretraining.md --figure docs/images/pretraining.png

All recipes get one encoder, crop, batch size and number of epochs, small enough for two cores; everything else is the
recipe's own. A training that ended is not repeated; one that was killed goes on.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import numpy as np
from pages import write_page

from mmgr import Run
from mmgr.actions.pretrain import pois_around
from mmgr.bench.machine import machine
from mmgr.config import load_config
from mmgr.files import write_aside
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import RECIPES

mpl.use("Agg")
import matplotlib.pyplot as plt

NAMES = ("mmgr-2023-as-published", "mmgr-2023", "simclr", "mmgr")
CONFIG = Path(__file__).parents[1] / "examples" / "california.yaml"
LOSSES = {"intra": "image with image", "inter": "image with POIs", "counts": "POI densities from the image"}
COLOURS = {"intra": "#2a5f8a", "inter": "#c4572e", "counts": "#5b8c5a"}
Curves = dict[str, list[dict[str, list[float]]]]
"""For each recipe the columns of the monitor, a list of epochs each, seed by seed."""


def main() -> None:
    """Train what is not trained, and write the page, its figure and the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the Californian data")
    parser.add_argument("--folder", type=Path, required=True, help="where region store and trainings are kept")
    parser.add_argument("--write", type=Path, required=True, help="the page, with its two marks")
    parser.add_argument("--figure", type=Path, required=True, help="the picture")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    arguments = parser.parse_args()
    curves = {name: list(train(name, arguments)) for name in NAMES}
    draw(curves, arguments.figure)
    write_page(arguments.write, tables(curves, arguments))
    if arguments.json:
        facts = {"benchmark": "pretraining", "date": today(), "machine": machine(), "curves": curves}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def train(name: str, arguments: argparse.Namespace) -> Iterator[dict[str, list[float]]]:
    """Train a recipe from each seed, and yield what its monitor wrote."""
    example = load_config(CONFIG)
    text = example.model_dump_json().replace(str(example.images.path.parent), str(arguments.data.resolve()))
    config = type(example).model_validate_json(text).model_copy(update={"output": arguments.folder / "city"})
    run = Run(config)
    store, vectors = run.build(), run.categories()
    same = {"encoder": "resnet18", "weights": "random", "crop": arguments.crop, "epochs": arguments.epochs}
    recipe = RECIPES[name].model_copy(update=same | {"batch_size": arguments.batch, "held_out": 0.1})
    around = pois_around(config, run.layout, store) if recipe.uses_pois and recipe.pois_around else None
    for seed in range(arguments.seeds):
        folder = arguments.folder / f"{name}-{seed}"
        pretrain(store, vectors, recipe, folder=folder, seed=seed, around=around, device="cpu")
        yield read_monitor(folder / "monitor.csv")


def read_monitor(path: Path) -> dict[str, list[float]]:
    """Return the columns of a monitor; NaN where a cell is empty."""
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def draw(curves: Curves, path: Path) -> None:
    """Draw each loss of each recipe as a part of its chance."""
    figure, axes = plt.subplots(1, len(curves), figsize=(11, 2.9), sharey=True, layout="constrained")
    for axis, (name, runs) in zip(axes, curves.items(), strict=True):
        for loss in LOSSES:
            for run in runs:
                share = np.array(run[loss]) / np.array(run[f"{loss}_chance"])
                if np.isfinite(share).any():
                    axis.plot(run["epoch"], share, color=COLOURS[loss], linewidth=1.4)
        axis.axhline(1, color="0.4", linewidth=0.8, linestyle=(0, (4, 3)))
        axis.set_title(name, fontsize=10, loc="left")
        axis.set_xlabel("epoch", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylim(top=1.12)  # all share one axis
    axes[0].set_ylabel("loss / chance", fontsize=9)
    axes[0].annotate("chance", (0.98, 1.01), xycoords=("axes fraction", "data"), ha="right", fontsize=8, color="0.4")
    handles = [plt.Line2D([], [], color=COLOURS[loss], label=label) for loss, label in LOSSES.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=130, format="png")


def tables(curves: Curves, arguments: argparse.Namespace) -> str:
    """Return what the monitor says at the end of each training."""
    made = machine()
    seeds = "1 seed" if arguments.seeds == 1 else f"{arguments.seeds} seeds"
    setting = (
        f"ResNet-18 from random weights, views of {arguments.crop} pixels, batches of {arguments.batch}, "
        f"{arguments.epochs} epochs, {seeds}; the last epoch. Finished {today()} on "
        f"{made['cores']} cores ({made['cpu']}, no GPU)."
    )
    lines = [
        setting,
        "",
        "| recipe | intra / chance | inter / chance | view → view, held out | image → POI, held out | effective rank |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, runs in curves.items():
        cells = [
            pairs(runs, "intra", "intra_chance"),
            pairs(runs, "inter", "inter_chance"),
            pairs(runs, "held_out_view_retrieval", "held_out_view_retrieval_chance", digits=3),
            pairs(runs, "held_out_poi_retrieval", "held_out_poi_retrieval_chance", digits=3),
            " and ".join(f"{run['effective_rank'][-1]:.0f}" for run in runs),
        ]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def pairs(runs: list[dict[str, list[float]]], value: str, chance: str, digits: int = 2) -> str:
    """Return each seed's last value, and the chance beside them; a dash where the recipe has none."""
    if any(value not in run or np.isnan(run[value][-1]) for run in runs):
        return "-"
    values = " and ".join(f"{run[value][-1]:.{digits}f}" for run in runs)
    return f"{values} / {runs[0][chance][-1]:.{digits}f}"


def today() -> str:
    """Return the date."""
    return datetime.now(UTC).date().isoformat()


if __name__ == "__main__":
    main()
