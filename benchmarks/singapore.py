"""Score region vectors from POIs on Singapore, as published benchmarks score theirs.

Usage: python benchmarks/singapore.py --data ../shared/data/singapore
           --json benchmarks/results/2026-11-30-singapore.json [--write docs/results/singapore.md]

Every row is written when it is done, and a row that was done with the same number of units is skipped: a run that was
cut off goes on. With --write, what stands between `<!-- tables -->` and `<!-- end of tables -->` of a page is replaced.
"""

from __future__ import annotations

import argparse
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pages import write_page
from singapore_rows import BASELINE, ROWS, City, Row, UnavailableError, vectors_of
from singapore_tables import tables
from singapore_units import TASKS, Units, read_pois

from mmgr.bench.machine import machine, software
from mmgr.evaluate.protocols import PROTOCOLS, get_protocol
from mmgr.files import write_aside


def main() -> None:
    """Run what is asked for and not done yet; print the tables."""
    asked = arguments()
    run = read_run(asked.json)
    city = City(read_pois(asked.data), asked.text_model)
    for task in asked.tasks:
        units = TASKS[task](asked.data, None if asked.full else asked.cells)
        for row in (ROWS[name] for name in asked.rows):
            names = [name for name in protocols(row, units) if name in asked.protocols]
            names = [name for name in names if asked.again or not done(run, task, row, name, units)]
            if names:
                score_row(run, task, row, city, units, names)
                write_run(asked.json, run)
    text = tables(run["results"])
    print(text)
    if asked.write is not None:
        write_page(asked.write, page_text(text, run))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Score region vectors from POIs on Singapore.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the Singapore data")
    parser.add_argument("--json", type=Path, required=True, help="where results are kept")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="NAME")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    parser.add_argument("--protocols", nargs="+", choices=PROTOCOLS, default=list(PROTOCOLS), metavar="NAME")
    parser.add_argument("--cells", type=int, default=12_000, help="at most as many cells, or points, of a task")
    parser.add_argument("--full", action="store_true", help="all cells and points")
    parser.add_argument("--text-model", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--again", action="store_true", help="score rows that are done once more")
    parser.add_argument("--write", type=Path, help="page whose tables are replaced")
    return parser.parse_args()


def protocols(row: Row, units: Units) -> list[str]:
    """Return the protocols that score a row: cells' numbers have probes of ours beside the published network."""
    ours = ["cityrep-kernel", *(["cityrep-trees"] if row.trees else [])]
    return [*units.protocols, *(ours if units.kind == "number" and "cityrep" in units.protocols else [])]


def score_row(run: dict[str, Any], task: str, row: Row, city: City, units: Units, names: list[str]) -> None:
    """Make a row's vectors, score them under some protocols, and add the results to the run."""
    begun = time.perf_counter()
    try:
        vectors = vectors_of(row, city, units.regions)
    except UnavailableError as reason:
        print(f"{task}: {row.name}: skipped: {reason}", flush=True)
        return
    took = time.perf_counter() - begun
    for name in names:
        begun = time.perf_counter()
        protocol = get_protocol(name)
        scores = protocol.score(vectors, units.labels, units.places, kind=units.kind, rows=units.rows)
        result = {
            "task": task,
            "protocol": protocol.name,
            "row": row.name,
            "units": len(vectors),
            "of_units": len(units.places),
            "dimensions": vectors.shape[1],
            "scores": scores,
            "vector_seconds": round(took, 2),
            "probe_seconds": round(time.perf_counter() - begun, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        same = [old for old in run["results"] if not is_of(old, task, row, protocol.name)]
        run["results"] = [*same, result | summary(scores)]
        best = ", ".join(f"{metric} {value:.3f}" for metric, value in result_mean(scores).items())
        print(f"{task}: {row.name}: {protocol.name}: {best}", flush=True)


def result_mean(scores: list[dict[str, float]]) -> dict[str, float]:
    """Return the mean over seeds of each metric."""
    return {metric: float(np.mean([score[metric] for score in scores])) for metric in scores[0] if metric != "seed"}


def summary(scores: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Return means and standard deviations over seeds; the latter as published, without Bessel's correction."""
    metrics = [metric for metric in scores[0] if metric != "seed"]
    spread = {metric: float(np.std([score[metric] for score in scores])) for metric in metrics}
    return {"mean": result_mean(scores), "sd": spread}


def done(run: dict[str, Any], task: str, row: Row, protocol: str, units: Units) -> bool:
    """Return whether a row has results of as many units under a protocol."""
    return any(is_of(old, task, row, protocol) and old["units"] == len(units.regions) for old in run["results"])


def is_of(result: dict[str, Any], task: str, row: Row, protocol: str) -> bool:
    """Return whether a result is that of a task, a row and a protocol."""
    return (result["task"], result["row"], result["protocol"]) == (task, row.name, protocol)


def add_differences(results: list[dict[str, Any]]) -> None:
    """Set each result's difference to the baseline, seed by seed, where the baseline has the same units."""
    for result in results:
        base = [
            old
            for old in results
            if (old["task"], old["protocol"], old["row"], old["units"])
            == (result["task"], result["protocol"], BASELINE, result["units"])
        ]
        if base:
            pairs = list(zip(result["scores"], base[0]["scores"], strict=True))
            apart = [{m: own[m] - other[m] for m in own if m != "seed"} | {"seed": own["seed"]} for own, other in pairs]
            result["difference"] = summary(apart)


def read_run(path: Path) -> dict[str, Any]:
    """Return what was done before, or an empty run."""
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    return {"schema_version": 1, "benchmark": "singapore", "baseline": BASELINE, "results": []}


def write_run(path: Path, run: dict[str, Any]) -> None:
    """Write the run in the order of tasks and rows."""
    order = {name: place for place, name in enumerate([*TASKS, *ROWS])}
    run["results"].sort(key=lambda result: (order[result["task"]], order.get(result["row"], 99), result["protocol"]))
    add_differences(run["results"])
    head = {key: value for key, value in run.items() if key != "results"}
    head |= {"date": datetime.now(UTC).date().isoformat(), "machine": machine(), "software": software()}
    with write_aside(path) as aside:
        aside.write_text(json.dumps(head | {"results": run["results"]}, indent=1) + "\n", encoding="utf-8")
    run |= head


def page_text(text: str, run: dict[str, Any]) -> str:
    """Return what the page says between its marks."""
    made = run["machine"]
    shared = f"{made['cores']} cores ({made['cpu']}, {made['memory_gb']} GB), shared with others."
    return f"Finished {run['date']} on {shared}\n\n{text}"


if __name__ == "__main__":
    main()
