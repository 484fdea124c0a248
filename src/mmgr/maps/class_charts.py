"""Charts of classes and shares: what was predicted where a class was observed, and shares against shares."""

from __future__ import annotations

import textwrap
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmgr.maps.colours import class_colours
from mmgr.maps.style import LINE, QUIET, draw_png

_NAME = 18  # characters of a class's name beside an axis


def observed_predicted_classes(predictions: pd.DataFrame, *, title: str = "") -> bytes:
    """Draw held-out classes as a table of observed by predicted, or held-out shares against observed ones.

    Parameters
    ----------
    predictions
        ``id``, ``class``, ``observed`` and ``predicted``: a row for each unit and class, with its share. They are
        classes where all that was observed is 0 or 1.
    title
        Above the figure.

    Returns
    -------
    A PNG of 660 x 660 pixels.
    """
    names = list(dict.fromkeys(predictions["class"]))
    observed, predicted = (_table(predictions, column, names) for column in ("observed", "predicted"))
    known = np.isfinite(observed).all(axis=1) & np.isfinite(predicted).all(axis=1)
    observed, predicted = observed[known], predicted[known]
    whole = bool(np.isin(observed, (0.0, 1.0)).all())

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        if whole:
            _draw_confusion(axes, observed, predicted, names)
        else:
            _draw_shares(axes, observed, predicted, names)
        axes.set_title(textwrap.shorten(title, 60))

    return draw_png(4.4, 4.4, draw)


def _table(predictions: pd.DataFrame, column: str, names: list[str]) -> NDArray[np.float64]:
    """Return the shares of each unit, shape ``(n, k)``."""
    # each unit has its rows together, in one order
    return predictions[column].to_numpy(float).reshape(-1, max(len(names), 1))


def _draw_confusion(axes: Any, observed: NDArray[np.float64], predicted: NDArray[np.float64], names: list[str]) -> None:
    counts = np.zeros((len(names), len(names)))
    np.add.at(counts, (observed.argmax(axis=1), predicted.argmax(axis=1)), 1)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(names) <= 12:
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if share[row, column] > 0.55 else "black"
                axes.text(column, row, f"{count:,.0f}", ha="center", va="center", color=colour, fontsize=7.5)
    labels = [textwrap.shorten(name, _NAME) for name in names]
    axes.set_xticks(range(len(names)), labels=labels, rotation=90)
    axes.set_yticks(range(len(names)), labels=labels)
    axes.tick_params(labelsize=7.5 if len(names) <= 16 else 5.5, length=0)
    axes.set(xlabel="predicted, held out", ylabel="observed")


def _draw_shares(axes: Any, observed: NDArray[np.float64], predicted: NDArray[np.float64], names: list[str]) -> None:
    axes.plot([0, 1], [0, 1], color="#9aa0a8", lw=1, ls=(0, (4, 3)), zorder=1)
    alpha = float(np.clip(12 / np.sqrt(max(observed.size, 1)), 0.15, 0.75))
    for number, colour in enumerate(class_colours(len(names)) / 255):
        x, y = observed[:, number], predicted[:, number]
        axes.scatter(
            x, y, s=12, color=[colour], alpha=alpha, lw=0, zorder=2, label=textwrap.shorten(names[number], _NAME)
        )
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    axes.set(xlabel="observed share", ylabel="predicted share, held out")
    axes.grid(color=LINE, lw=0.5)
    axes.set_axisbelow(True)
    if len(names) <= 10:
        legend = axes.legend(loc="upper left", fontsize=7.5, labelcolor=QUIET, frameon=True, framealpha=0.8)
        legend.get_frame().set_linewidth(0)
        for handle in legend.legend_handles:
            handle.set_alpha(1)
