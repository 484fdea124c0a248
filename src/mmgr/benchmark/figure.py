"""A benchmark as a picture: dots of scores, and how far the main row is ahead of each, with intervals."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from mmgr.benchmark.results import Benchmark, Panel
from mmgr.evaluate import METRICS, Difference
from mmgr.maps.style import INK, LINE, MAIN, QUIET, SERIES, WIDTH, draw_png

_COLOURS = {"image": SERIES[2], "poi": SERIES[1], "both": SERIES[3]}
_SEES = {"image": "images", "poi": "POIs", "both": "both"}
_LOWEST = -0.5
"""Dots of R2 further left stand at the edge, as an arrow: how bad is of no interest."""


def benchmark_figure(found: Benchmark) -> bytes | None:
    """Draw each task and split as a line of two panels; None where nothing was scored.

    On the left is the score of each row with its spread over seeds, the best mean rank on top; on the right the main
    row less each other, paired by fold and seed, with its 95 % interval.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    panels, names = found.panels, list(found.ranks)
    if not panels:
        return None
    compared = bool(found.scores.differences)
    kinds = {row.name: row.kind for row in found.outcomes}

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(panels), 1 + compared, squeeze=False, sharey=True)
        for axes, panel in zip(grid, panels, strict=True):
            _draw_scores(axes[0], found, panel, names, kinds)
            if compared:
                _draw_differences(axes[1], found, panel, names)
        handles = [grid[0, 0].scatter([], [], color=_COLOURS[kind], s=24, label=_SEES[kind]) for kind in _COLOURS]
        figure.legend(handles=handles, loc="outside lower left", ncols=3, title="what a row sees", alignment="left")

    return draw_png(WIDTH, 0.9 + len(panels) * (0.7 + 0.21 * len(names)), draw)


def _draw_scores(axes: Any, found: Benchmark, panel: Panel, names: list[str], kinds: dict[str, str]) -> None:
    scores = {score.features: score for score in found.of_panel(panel)}
    metric = METRICS[next(iter(scores.values())).metric]
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    for name in axes.get_yticklabels():
        if name.get_text() == found.main:
            name.set_fontweight("bold")
            name.set_color(MAIN)
    for place, name in enumerate(names):
        axes.axhline(place, color=LINE, lw=0.6, zorder=0)
        if name not in scores or not math.isfinite(scores[name].value):
            continue
        value, spread = scores[name].value, scores[name].metrics[metric.name].std
        colour = MAIN if name == found.main else _COLOURS[kinds.get(name, "both")]
        out = metric.name == "r2" and value < _LOWEST
        shown = _LOWEST if out else value
        width = 0.0 if out or math.isnan(spread) else spread
        axes.errorbar(shown, place, xerr=width, fmt="<" if out else "o", color=colour, ms=5, lw=1.4, capsize=0)
        axes.annotate(f"{value:.3f}", (shown + width, place), (5, 0), textcoords="offset points", va="center",
                      fontsize=7.5, color=QUIET)  # fmt: skip
    one = found.of_panel(panel)[0]
    way = "" if metric.highest else ", less is better"
    axes.set(title=f"{panel[0]}, {panel[1]}{' (optimistic)' if one.optimistic else ''}",
             xlabel=f"{metric.title}, {one.probe}{way}")  # fmt: skip
    axes.margins(x=0.14)


def _draw_differences(axes: Any, found: Benchmark, panel: Panel, names: list[str]) -> None:
    metric = METRICS[found.of_panel(panel)[0].metric]
    own: dict[str, Difference] = {
        difference.other: difference
        for difference in found.scores.differences
        if (difference.task, difference.split, difference.metric) == (*panel, metric.name)
    }
    axes.axvline(0, color=INK, lw=0.8)
    for place, name in enumerate(names):
        axes.axhline(place, color=LINE, lw=0.6, zorder=0)
        difference = own.get(name)
        if difference is None or not math.isfinite(difference.difference):
            continue
        value = difference.difference
        known = math.isfinite(difference.low) and math.isfinite(difference.high)
        ends = [[value - difference.low], [difference.high - value]] if known else None
        colour = INK if difference.clear else QUIET
        face = colour if difference.clear else "white"
        axes.errorbar(value, place, xerr=ends, fmt="o", color=colour, mfc=face, ms=4.5, lw=1.2, capsize=2)
    way = f"{found.main} is better to the {'right' if metric.highest else 'left'}"
    axes.set(title=f"{found.main} less the row, 95 % interval", xlabel=f"difference in {metric.title}: {way}")
