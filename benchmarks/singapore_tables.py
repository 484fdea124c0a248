"""The Markdown tables of the Singapore benchmark."""

from __future__ import annotations

from typing import Any

TITLES = {
    ("population", "cityrep"): "population, 100 m cells, the published network",
    ("population", "cityrep-kernel"): "population, 100 m cells, kernel ridge regression",
    ("population", "cityrep-trees"): "population, 100 m cells, boosted trees",
    ("gdp", "cityrep"): "GDP, cells of 30 arc seconds, the published network",
    ("gdp", "cityrep-kernel"): "GDP, cells of 30 arc seconds, kernel ridge regression",
    ("gdp", "cityrep-trees"): "GDP, cells of 30 arc seconds, boosted trees",
    ("landuse", "cityrep"): "land use, points of 12 classes",
    ("subzone-landuse", "regiondcl"): "subzones' land use, random units (optimistic)",
    ("subzone-landuse", "regiondcl-blocks"): "subzones' land use, blocks of 5 km",
    ("subzone-population", "regiondcl"): "subzones' population, random units (optimistic)",
    ("subzone-population", "regiondcl-blocks"): "subzones' population, blocks of 5 km",
}
"""What is shown, in order, with its title."""
NAMES = {"r2": "R2", "macro_f1": "macro-F1", "l1": "L1", "kl": "KL", "cosine": "cosine"}
LOWER_IS_BETTER = {"l1", "kl"}


def tables(results: list[dict[str, Any]]) -> str:
    """Return one table a task and protocol, its rows in the order of the results."""
    parts = []
    for (task, protocol), title in TITLES.items():
        own = [r for r in results if r["task"] == task and r["protocol"] == protocol]
        if own:
            parts.append("\n".join([f"### {title}", "", scored(own, protocol), "", *table(own)]))
    return "\n\n".join(parts) + "\n"


def scored(results: list[dict[str, Any]], protocol: str) -> str:
    """Return what was scored, in a line."""
    sizes = sorted({(result["units"], result["of_units"]) for result in results})
    counts = "; ".join(f"{some:,} of {every:,}" if some < every else f"{every:,}" for some, every in sizes)
    seeds = len(results[0]["scores"])
    return (
        f"Protocol `{protocol}`, {counts} units, {seeds} seeds; mean ± standard deviation over seeds. "
        "Difference: to the plain table, seed by seed."
    )


def table(results: list[dict[str, Any]]) -> list[str]:
    """Return the lines of one table; the best mean of each metric is bold."""
    metrics = list(results[0]["mean"])
    best = {m: (min if m in LOWER_IS_BETTER else max)(result["mean"][m] for result in results) for m in metrics}
    head = ["Vectors", "Dimensions", *(c for m in metrics for c in (NAMES[m], "difference")), "Vectors, s", "Probes, s"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for result in results:
        cells = [result["row"], str(result["dimensions"])]
        for metric in metrics:
            shown = f"{result['mean'][metric]:.3f} ± {result['sd'][metric]:.3f}"
            cells += [f"**{shown}**" if result["mean"][metric] == best[metric] else shown, difference(result, metric)]
        cells += [f"{result['vector_seconds']:.1f}", f"{result['probe_seconds']:.0f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def difference(result: dict[str, Any], metric: str) -> str:
    """Return the difference to the baseline, or nothing for the baseline itself."""
    apart = result.get("difference")
    if apart is None or not any(apart["sd"].values()):
        return ""
    return f"{apart['mean'][metric]:+.3f} ± {apart['sd'][metric]:.3f}"
