"""All rows of `mmgr benchmark` on the sample of the package.

    python benchmarks/rows.py --folder ../runs/rows-sample --write docs/results/benchmark-sample.md

A killed call goes on; one that is up to date only writes the page. Of made cities: `worlds.py`.
"""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path

from pages import write_page

from mmgr import Run
from mmgr.bench.machine import machine
from mmgr.console import show_log
from mmgr.demo import prepare_demo


def main() -> None:
    """Score all rows, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the rows are kept")
    parser.add_argument("--write", type=Path, help="the page, with its two marks")
    arguments = parser.parse_args()
    show_log()
    run = Run(prepare_demo(arguments.folder))
    run.benchmark()
    if arguments.write is not None:
        found = (run.layout.benchmark / "benchmark.md").read_text(encoding="utf-8")
        here = machine()
        when = datetime.now(UTC).date().isoformat()
        facts = f"Written {when} on {here['cores']} cores ({here['cpu']}, no GPU); seconds are of busy cores."
        write_page(arguments.write, f"{facts}\n\n{found.strip()}".replace("\n# ", "\n## "))


if __name__ == "__main__":
    main()
