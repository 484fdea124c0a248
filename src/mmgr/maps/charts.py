"""Charts as PNG: how the losses fell, what the scores are, how predictions meet observations.

Every function returns the bytes of a PNG, which :func:`mmgr.maps.style.write_png` saves.
"""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from mmgr.evaluate.metrics import Metric
from mmgr.maps.colours import Scale, readable
from mmgr.maps.style import INK, LINE, MAIN, QUIET, SERIES, WIDTH, draw_png
from mmgr.maps.summary import metric_of, title_of

_LOSS_PANELS = (
    ("Contrastive loss", "nats", (("intra", "two views"), ("inter", "image and POIs"))),
    ("Right partner found in the batch", "share", (("view_retrieval", "other view"), ("poi_retrieval", "own POIs"))),
    (
        "Right partner found among held-out regions",
        "share",
        (("held_out_view_retrieval", "other view"), ("held_out_poi_retrieval", "own POIs")),
    ),
    ("Effective rank of the vectors", "dimensions", (("effective_rank", "rank"),)),
    ("Learning rate", "", (("learning_rate", "learning rate"),)),
)
_LOWEST_R2 = -0.5  # dots further left are marked at the edge: how bad is of no interest
_MARKERS = "oDs^v"


def loss_curves(monitor: pd.DataFrame) -> bytes:
    """Draw what pre-training logged by epoch, each loss beside its value by chance.

    Parameters
    ----------
    monitor
        ``epoch`` and any of ``loss``, ``intra``, ``intra_chance``, ``inter``, ``inter_chance``,
        ``view_retrieval``, ``poi_retrieval``, ``held_out_view_retrieval``, ``held_out_poi_retrieval``, each
        with its ``_chance``, ``effective_rank``, ``learning_rate``; columns that are absent or all NaN are left out.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    panels = [
        (title, unit, [(column, name) for column, name in series if _has(monitor, column)])
        for title, unit, series in _LOSS_PANELS
    ]
    panels = [panel for panel in panels if panel[2]] or [("Loss", "", [("loss", "loss")])]
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)

    def draw(figure: Figure) -> None:
        all_axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, (title, unit, series) in zip(all_axes, panels, strict=False):
            _draw_series(axes, monitor, series)
            axes.set(title=title, ylabel=unit, xlabel="epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.grid(axis="y")
        for axes in all_axes[len(panels) :]:
            axes.set_visible(False)

    return draw_png(WIDTH, 0.3 + 2.6 * rows, draw)


def _has(frame: pd.DataFrame, column: str) -> bool:
    return column in frame and bool(frame[column].notna().any())


def _draw_series(axes: Any, monitor: pd.DataFrame, series: list[tuple[str, str]]) -> None:
    marker = "o" if len(monitor) < 30 else ""
    ends: list[tuple[float, str, str]] = []
    for (column, name), colour in zip(series, SERIES, strict=False):
        axes.plot(monitor["epoch"], monitor[column], color=colour, lw=1.6, marker=marker, ms=3)
        if len(series) > 1 or _has(monitor, f"{column}_chance"):
            ends.append((float(monitor[column].dropna().iloc[-1]), name, colour))
        if _has(monitor, f"{column}_chance"):
            chance = monitor[f"{column}_chance"]
            axes.plot(monitor["epoch"], chance, color=colour, ls=(0, (4, 3)), lw=1.2)
            ends.append((float(chance.dropna().iloc[-1]), "by chance", QUIET))
    _label_ends(axes, ends)


def _label_ends(axes: Any, ends: list[tuple[float, str, str]]) -> None:
    """Name lines beside their right ends, apart from each other."""
    low, high = axes.get_ylim()
    last = -1.0
    seen: set[tuple[float, str]] = set()
    for value, name, colour in sorted(ends):
        if (round(value, 3), name) in seen:
            continue  # two losses of one batch size have one chance
        seen.add((round(value, 3), name))
        place = max((value - low) / (high - low), last + 0.085)
        axes.text(1.02, place, name, transform=axes.transAxes, color=colour, va="center", fontsize=8.5)
        last = place


def score_figure(scores: pd.DataFrame, *, main: str = "") -> bytes:
    """Draw the score of each feature set with its spread over seeds, a panel for each task and split.

    Parameters
    ----------
    scores
        ``task``, ``split``, ``features``, ``probe``, ``n_units``, ``optimistic``, and the metric that ``metric`` names
        (``r2`` without that column) with its ``_std``.
    main
        The feature set to highlight.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    tasks, splits, features = (list(dict.fromkeys(scores[c])) for c in ("task", "split", "features"))
    metrics = [metric_of(scores[scores["task"] == task]) for task in tasks]
    probes = {task: list(dict.fromkeys(scores.loc[scores["task"] == task, "probe"])) for task in tasks}

    def draw(figure: Figure) -> None:
        grid = figure.subplots(len(tasks), len(splits), squeeze=False, sharex="row")
        for (row, column), axes in np.ndenumerate(grid):
            of_task = scores[scores["task"] == tasks[row]]
            chosen = of_task[of_task["split"] == splits[column]]
            axes.set(xlim=_score_limits(of_task, metrics[row]), ylim=(len(features) - 0.5, -0.5))
            _draw_scores(axes, chosen, features, probes[tasks[row]], main)
            _label_scores(axes, chosen, features if column == 0 else [], main)
            if row == len(tasks) - 1 or metrics[row] != metrics[row + 1]:
                way = "" if metrics[row].highest else " (less is better)"
                axes.set_xlabel(f"{title_of(metrics[row])} of held-out units{way}")
        handles: dict[str, Any] = {}
        for axes in grid.ravel():
            handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if len(handles) > 1:
            figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles), title=None)

    return draw_png(WIDTH, 0.55 + len(tasks) * (0.75 + 0.3 * len(features)), draw)


def _score_limits(scores: pd.DataFrame, metric: Metric) -> tuple[float, float]:
    """Return the ends of an axis that holds the scores of a task; hopeless ones may lie outside."""
    values, spread = scores[metric.name], scores[f"{metric.name}_std"].fillna(0)
    drawn = values[values >= _LOWEST_R2] if metric.name == "r2" else values
    low = min(0.0, float(drawn.min()) if len(drawn) else 0.0)
    high = max(0.1, float((values + spread).max())) * 1.06
    most = 1.02 if metric.highest else math.inf
    return low - 0.05 * (1.0 if metric.name == "r2" else 0.5 * high), min(high, most)


def _draw_scores(axes: Any, scores: pd.DataFrame, features: list[str], probes: list[str], main: str) -> None:
    axes.axvline(0, color="#9aa0a8", lw=0.8)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    if main in features:
        axes.axhspan(features.index(main) - 0.5, features.index(main) + 0.5, color=MAIN, alpha=0.07, lw=0)
    left = axes.get_xlim()[0]
    if scores.empty:
        return
    metric = metric_of(scores).name
    for place, probe in enumerate(probes):
        rows = scores[scores["probe"] == probe]
        y = np.array([features.index(f) for f in rows["features"]]) + 0.26 * (place - (len(probes) - 1) / 2)
        value = rows[metric].to_numpy(float)
        inside = value >= left
        colour = SERIES[place % len(SERIES)]
        look = {"fmt": _MARKERS[place % 5], "color": colour, "ms": 4.5, "lw": 1.4, "label": probe}
        axes.errorbar(value[inside], y[inside], xerr=rows[f"{metric}_std"].fillna(0).to_numpy(float)[inside], **look)
        for low, height in zip(value[~inside], y[~inside], strict=True):
            axes.text(left, height, f" ◂ {readable(low, 2)}", color=colour, va="center", fontsize=8)


def _label_scores(axes: Any, scores: pd.DataFrame, features: list[str], main: str) -> None:
    axes.set_yticks(range(len(features)), labels=[textwrap.shorten(f, 34) for f in features])
    for label, name in zip(axes.get_yticklabels(), features, strict=True):
        if name == main:
            label.set(weight="bold", color=MAIN)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    if scores.empty:
        axes.text(0.5, 0.5, "not scored", transform=axes.transAxes, ha="center", va="center", color=QUIET)
        return
    first = scores.iloc[0]
    flag = " (optimistic)" if bool(first["optimistic"]) else ""
    axes.set_title(f"{first['task']}, {first['split']}{flag}", color="#9a5b00" if flag else INK)


def observed_predicted(predictions: pd.DataFrame, *, unit: str = "", title: str = "") -> bytes:
    """Draw held-out predictions against observations, with the line on which they agree.

    Axes are logarithmic where observations are skewed; values at or under zero are then drawn at
    the edge, and the figure says how many.

    Parameters
    ----------
    predictions
        ``observed`` and ``predicted``; rows that are not finite are left out.
    unit, title
        Of the values, and above the figure.

    Returns
    -------
    A PNG of 660 x 660 pixels.
    """
    both = predictions[["observed", "predicted"]].to_numpy(float)
    both = both[np.isfinite(both).all(axis=1)]
    scale = Scale.of(both[:, 0])
    log = scale.log
    low, high = _limits(both, log=log)
    shown = np.clip(both, low, high)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if log:
            axes.set(xscale="log", yscale="log")
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        axes.plot([low, high], [low, high], color="#9aa0a8", lw=1, ls=(0, (4, 3)), zorder=1)
        alpha = float(np.clip(12 / np.sqrt(max(len(both), 1)), 0.12, 0.75))
        axes.scatter(shown[:, 0], shown[:, 1], s=16, color=MAIN, alpha=alpha, lw=0, zorder=2, clip_on=False)
        suffix = f" ({unit})" if unit else ""
        axes.set(xlabel=f"observed{suffix}", ylabel=f"predicted, held out{suffix}")
        axes.set_title(textwrap.shorten(title, 60))
        _number_axes(axes, log=log)
        text = _scatter_note(both, low, log=log)
        paper = {"facecolor": "white", "alpha": 0.8, "linewidth": 0, "pad": 2}  # dots may lie below
        axes.text(0.03, 0.97, text, transform=axes.transAxes, va="top", color=QUIET, fontsize=8.5, bbox=paper)

    return draw_png(4.4, 4.4, draw)


def _limits(both: NDArray[np.float64], *, log: bool) -> tuple[float, float]:
    if both.size == 0:
        return 0.0, 1.0
    if log:
        observed = both[:, 0][both[:, 0] > 0]
        low = max(float(np.percentile(observed, 1)), float(observed.max()) / 1e4)
        return low / 1.5, float(both.max()) * 1.5
    low, high = float(both.min()), float(both.max())
    room = 0.05 * ((high - low) or 1.0)
    return low - room, high + room


def _number_axes(axes: Any, *, log: bool) -> None:
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(numticks=6) if log else MaxNLocator(5))
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: readable(value)))
    axes.grid(color=LINE, lw=0.5)
    axes.set_axisbelow(True)


def _scatter_note(both: NDArray[np.float64], low: float, *, log: bool) -> str:
    below = int((both < low).any(axis=1).sum())
    edge = f"\n{below:,} at the edge: lower than the axis shows" if log and below else ""
    return f"{len(both):,} held-out values{edge}"
