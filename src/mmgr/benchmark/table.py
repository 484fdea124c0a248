"""A benchmark as Markdown: scores with ranks and costs, differences, what the rows are, and what was not made."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from mmgr.benchmark.concatenation import NAME as CONCATENATION
from mmgr.benchmark.results import Benchmark, Panel
from mmgr.evaluate import METRICS, Difference, Score
from mmgr.evaluate.differences import interval, written

_SEES = {"image": "images", "poi": "POIs", "both": "both"}
_ABOUT_BOTH = "the best row of images and the best of POIs, chosen inside each fold's training units"


def to_markdown(found: Benchmark) -> str:
    """Return the whole page."""
    parts = [f"## Benchmark of {found.title}", _setting(found), score_table(found)]
    if any(difference.features == found.main for difference in found.scores.differences):
        parts += [f"### `{found.main}` less each row", _about_differences(), difference_table(found)]
    elif found.scores.records:
        parts.append(f"`{found.main}` was not made: nothing is compared with it.")
    parts += ["### What the rows are", _legend(found)]
    for state, title in (("left out", "Left out"), ("failed", "Failed")):
        rows = [f"- `{row.name}`: {_one_line(row.reason)}" for row in found.outcomes if row.state == state]
        if rows:
            parts += [f"### {title}", "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def score_table(found: Benchmark) -> str:
    """Return the first metric of each task and split, mean rank, dimensions, parameters and seconds of each row."""
    rows = {row.name: row for row in found.outcomes if row.state == "made"}
    panels = found.panels
    cells = [
        ["Row", "Sees", *(panel_title(found, panel) for panel in panels), "Mean rank", "Dim.", "Parameters", "Seconds"]
    ]
    cells.append(["---", "---", *["---:"] * (len(panels) + 4)])
    best = {panel: _best(found.of_panel(panel)) for panel in panels}
    for name, rank in found.ranks.items():
        own = {(score.task, score.split): score for score in found.scores.records if score.features == name}
        values = [_cell(own.get(panel), bold=name == best[panel]) for panel in panels]
        row = rows.get(name)
        cost = ["", "", ""] if row is None else [f"{row.dimensions:,}", f"{row.parameters:,}", f"{row.seconds:,.1f}"]
        sees = "both" if row is None else _SEES[row.kind]
        cells.append([f"`{name}`", sees, *values, f"{rank:.1f}", *cost])
    return markdown_table(cells)


def difference_table(found: Benchmark) -> str:
    """Return the main row less each other by task and split, with its interval."""
    panels = found.panels
    own: dict[str, dict[Panel, Difference]] = {}
    for difference in found.scores.differences:
        panel = (difference.task, difference.split)
        if difference.features == found.main and difference.metric == found.of_panel(panel)[0].metric:
            own.setdefault(difference.other, {})[panel] = difference
    cells = [["Less", *(panel_title(found, panel) for panel in panels)], ["---", *["---:"] * len(panels)]]
    ranked = [name for name in found.ranks if name in own]
    cells.extend([f"`{name}`", *(_difference(own[name].get(panel)) for panel in panels)] for name in ranked)
    return markdown_table(cells)


def _setting(found: Benchmark) -> str:
    lines = []
    for panel in found.panels:
        one = found.of_panel(panel)[0]
        block = "" if one.block is None else f" of {one.block:g} m"
        warning = ", optimistic" if one.optimistic else ""
        offsets = f", offsets of {one.offsets} groups" if one.offsets else ""
        lines.append(
            f"- {one.task}, {one.split}{block}: {one.n_units} units, {one.folds} folds, seeds: {one.seeds}, buffer "
            f"{one.buffer:g} m, probe `{one.probe}`, {METRICS[one.metric].title} ± spread over seeds{offsets}{warning}"
        )
    if found.shared:
        shown = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in found.shared.items())
        lines.append(f"- all trained rows, unless said below: {shown}; one training each")
    return "\n".join(lines) or "No task is in the configuration: rows were made, and none was scored."


def _about_differences() -> str:
    return (
        "Paired by fold and seed on the same folds and probe, with 95 % intervals (Nadeau and Bengio 2003); **bold** "
        "where the interval leaves out no difference and that is worth a word. Of metrics marked ↓ less is better."
    )


def _legend(found: Benchmark) -> str:
    made = [row for row in found.outcomes if row.state == "made"]
    lines = [f"- `{row.name}`: {'; '.join(filter(None, (row.title, row.note)))}" for row in made]
    if CONCATENATION in found.ranks:
        lines.append(f"- `{CONCATENATION}`: {_ABOUT_BOTH}{_chosen(found)}")
    return "\n".join(lines)


def _chosen(found: Benchmark) -> str:
    told = []
    for task, splits in found.chosen.items():
        for split, counters in splits.items():
            parts = "; ".join(
                ", ".join(f"{name} {count}" for name, count in sorted(counter.items(), key=lambda item: -item[1]))
                for counter in counters
            )
            told.append(f"{task}, {split}: {parts}")
    return f". Folds in which each was chosen: {'. '.join(told)}" if told else ""


def panel_title(found: Benchmark, panel: Panel) -> str:
    """Return the head of a column: task, split and metric."""
    metric = METRICS[found.of_panel(panel)[0].metric]
    return f"{panel[0]}, {panel[1]}: {metric.title}{'' if metric.highest else ' ↓'}"


def _best(scores: Iterable[Score]) -> str:
    known = [score for score in scores if math.isfinite(score.value)]
    if not known:
        return ""
    highest = METRICS[known[0].metric].highest
    return (max if highest else min)(known, key=lambda score: score.value).features


def _cell(score: Score | None, *, bold: bool) -> str:
    if score is None or not math.isfinite(score.value):
        return "-"
    spread = score.metrics[score.metric].std
    text = f"{score.value:.3f}" + ("" if math.isnan(spread) else f" ± {spread:.3f}")
    return f"**{text}**" if bold else text


def _difference(difference: Difference | None) -> str:
    if difference is None:
        return "-"
    text = f"{written(difference.difference)} {interval(difference.low, difference.high)}".strip()
    return f"**{text}**" if difference.clear else text


def markdown_table(cells: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as Markdown; the second line has the dashes."""
    return "\n".join(f"| {' | '.join(row)} |" for row in cells)


def _one_line(text: str) -> str:
    return " ".join(text.split())
