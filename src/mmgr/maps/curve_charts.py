"""Label curves as PNG: the score by the share of labels that were trained on."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from mmgr.maps.style import MAIN, QUIET, SERIES, WIDTH, draw_png
from mmgr.maps.summary import metric_of, title_of

_COLUMNS = 3
_LOWEST = -0.5  # how much worse than the mean a score is, is of no interest


def label_curve_figure(curves: pd.DataFrame, *, main: str = "") -> bytes:
    """Draw the score of each feature set by the share of labels, with its spread over seeds, a panel a task.

    Parameters
    ----------
    curves
        ``task``, ``features``, ``fraction``, ``n_units``, ``probe``, and the metric that ``metric`` names with its
        ``_std``; ``trained``, the number of units that were trained on, where it is known.
    main
        The feature set to highlight.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    tasks = list(dict.fromkeys(curves["task"]))
    features = list(dict.fromkeys(curves["features"]))
    colours = dict(zip([f for f in features if f != main], [*SERIES[1:], QUIET] * len(features), strict=False))
    columns = min(_COLUMNS, len(tasks))
    rows = -(-len(tasks) // columns)

    def draw(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, task in zip(grid, tasks, strict=False):
            of_task = curves[curves["task"] == task]
            metric = metric_of(of_task)
            for name in features:
                own = of_task[of_task["features"] == name].sort_values("fraction")
                share, value = own["fraction"].to_numpy(float), own[metric.name].to_numpy(float)
                spread = own[f"{metric.name}_std"].fillna(0).to_numpy(float)
                value = np.maximum(value, _LOWEST) if metric.highest else value
                look = {"color": MAIN, "lw": 2.2, "zorder": 3} if name == main else {"color": colours[name], "lw": 1.3}
                axes.errorbar(share, value, yerr=spread, marker="o", ms=3, elinewidth=0.8, label=name, **look)
            ticks = sorted(set(of_task["fraction"]))
            axes.set_xscale("log")
            axes.set_xticks(ticks)
            axes.xaxis.set_minor_locator(NullLocator())
            written = share_labels(of_task)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda part, _, of=written: of.get(part, "")))
            way = "" if metric.highest else " (less is better)"
            axes.set(
                title=textwrap.shorten(task, 34), xlabel="of the training labels, units", ylabel=title_of(metric) + way
            )
            axes.grid(axis="y")
        for axes in grid[len(tasks) :]:
            axes.set_visible(False)
        handles, labels = grid[0].get_legend_handles_labels()
        names = [textwrap.shorten(label, 34) for label in labels]
        figure.legend(handles, names, loc="outside lower center", ncols=min(4, len(labels)))

    return draw_png(WIDTH, 0.7 + 2.8 * rows + 0.2 * -(-len(features) // 4), draw)


def share_labels(curves: pd.DataFrame) -> dict[float, str]:
    """Write each share in per cent, over the mean number of units that it came to, where that is known."""
    trained = curves.groupby("fraction")["trained"].first() if "trained" in curves else pd.Series(dtype=float)
    return {
        part: f"{100 * part:g} %" + (f"\n{trained[part]:,.0f}" if np.isfinite(trained.get(part, np.nan)) else "")
        for part in sorted(set(curves["fraction"]))
    }
