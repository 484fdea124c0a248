"""Write the tables of a finished run into a page of results, between its two marks.

Usage: python scripts/write_results.py examples/california.yaml docs/results/california.md

The page keeps its own words; what stands between `<!-- tables -->` and `<!-- end of tables -->` is replaced by the
command, the time it took, and the scores that it wrote.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from pathlib import Path

from mmgr.config import load_config
from mmgr.evaluate import Results
from mmgr.layout import Layout
from mmgr.run import STAGES

BEGIN, END = "<!-- tables -->", "<!-- end of tables -->"


def main() -> None:
    """Replace what stands between the marks."""
    config_path, page_path = Path(sys.argv[1]), Path(sys.argv[2])
    text = page_path.read_text(encoding="utf-8")
    head, rest = text.split(BEGIN, 1)
    tail = rest.split(END, 1)[1]
    page_path.write_text(f"{head}{BEGIN}\n\n{tables(config_path)}\n{END}{tail}", encoding="utf-8")


def tables(config_path: Path) -> str:
    """Return the command, its times and memory, the last line of the monitor, and the scores."""
    layout = Layout(load_config(config_path).output)
    records = [json.loads((layout.folder / "stages" / f"{name}.json").read_text()) for name in STAGES]
    scores = Results.read(layout.evaluation / "scores.json").scores
    total = sum(record["seconds"] for record in records)
    memory = max(record["peak_rss_mb"] for record in records)
    took = (
        f"{total / 60:.1f} minutes of stages on {os.cpu_count()} cores ({platform.machine()}, no GPU), at most "
        f"{memory / 1000:.1f} GB of memory; finished {records[-1]['finished'][:10]}."
    )
    lines = [
        f"    mmgr run {config_path.as_posix()}",
        "",
        took,
        "",
        "| stage | seconds |",
        "|---|---:|",
        *(f"| {record['stage']} | {record['seconds']:,.0f} |" for record in records),
        "",
        *monitor_lines(layout.monitor),
        "",
        scores.to_markdown(),
    ]
    return "\n".join(lines)


def monitor_lines(path: Path) -> list[str]:
    """Return the first and the last epoch of the monitor beside the levels of chance."""
    header, *rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = ("epoch", "intra", "intra_chance", "inter", "inter_chance", "counts", "counts_chance", "view_retrieval",
              "poi_retrieval", "effective_rank", "regions_per_second")  # fmt: skip
    shown = [name for name in wanted if name in header]
    return [
        "| " + " | ".join(name.replace("_", " ") for name in shown) + " |",
        "|" + "---:|" * len(shown),
        *("| " + " | ".join(f"{float(row[header.index(n)]):.4g}" for n in shown) + " |" for row in (rows[0], rows[-1])),
    ]


if __name__ == "__main__":
    main()
