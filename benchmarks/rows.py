"""All rows of `mmgr benchmark` on a place that anybody can have: two made cities, or the sample of the package.

    python benchmarks/rows.py made --folder ../runs/rows-made --write docs/results/benchmark-made.md
    python benchmarks/rows.py sample --folder ../runs/rows-sample --write docs/results/benchmark-sample.md

The made cities' labels are known functions of what is seen in images, in POIs and in both (docs/synth.md). A killed
call goes on; one that is up to date only writes the page.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pages import write_page

from mmgr import Run
from mmgr.bench.machine import machine
from mmgr.console import show_log
from mmgr.demo import prepare_demo
from mmgr.files import write_text
from mmgr.synth import Settings, write_city

CITIES = Settings(600, cities=2, pixels=64, metres_per_pixel=2.0, seed=5)
QUICK: dict[str, Any] = {"crop": 32, "epochs": 10, "batch_size": 64}
"""What the made cities' encoders are trained with: hours without it."""


def main() -> None:
    """Make the place, score all rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("place", choices=("made", "sample"))
    parser.add_argument("--folder", type=Path, required=True, help="where the place and the rows are kept")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    arguments = parser.parse_args()
    show_log()
    config = made(arguments.folder) if arguments.place == "made" else prepare_demo(arguments.folder)
    run = Run(config)
    run.benchmark()
    if arguments.write is not None:
        found = (run.layout.benchmark / "benchmark.md").read_text(encoding="utf-8")
        here = machine()
        when = datetime.now(UTC).date().isoformat()
        facts = f"Written {when} on {here['cores']} cores ({here['cpu']}, no GPU); seconds are of busy cores."
        write_page(arguments.write, f"{facts}\n\n{found.strip()}".replace("\n# ", "\n## "))


def made(folder: Path) -> Path:
    """Return the configuration of the made cities, which are made where they are not there yet."""
    if not folder.exists():
        write_city(folder, CITIES)
    content = yaml.safe_load((folder / "city.yaml").read_text(encoding="utf-8"))
    content["pretrain"] |= QUICK
    content["evaluate"] = {"seeds": 2, "probes": ["ridge"], "intervals": []}
    content["tasks"] = [task for task in content["tasks"] if task["name"] != "population_of_tracts"]
    path = folder / "benchmark.yaml"
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return path


if __name__ == "__main__":
    main()
