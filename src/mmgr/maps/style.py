"""How every figure looks, and how it becomes a PNG."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from mmgr.files import write_aside
from mmgr.fonts import draw_legibly

DPI = 150
WIDTH = 10.0
"""Inches: 1,500 pixels, sharp on a page of 1,000."""

INK = "#22262b"
QUIET = "#6b7280"
LINE = "#d5d8dc"
PAPER = "#f5f6f7"
MAIN = "#0072b2"
SERIES = (MAIN, "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colours, which colour-blind people can tell apart."""

_STYLE = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#9aa0a8",
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.useoffset": False,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": INK,
    "text.parse_math": False,  # a region called "$a$" is a name
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "grid.color": "#e6e8eb",
    "grid.linewidth": 0.7,
    "savefig.dpi": DPI,
}


def draw_png(width: float, height: float, draw: Callable[[Figure], None], *, constrained: bool = True) -> bytes:
    """Draw a figure of some inches in the house style, without any global state of pyplot.

    Where names have letters of other scripts, ``draw`` is called a second time.
    """
    stream = io.BytesIO()

    def save(families: list[str]) -> Figure:
        with mpl.rc_context(_STYLE | {"font.family": families}):
            figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white")
            FigureCanvasAgg(figure)
            if constrained:
                figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1, wspace=0.04, hspace=0.06)
            draw(figure)
            stream.seek(0)
            stream.truncate()
            figure.savefig(stream, format="png", metadata={"Software": None})
        return figure

    draw_legibly(save)
    return stream.getvalue()


def write_png(path: Path, png: bytes) -> Path:
    """Write a figure, whole or not at all."""
    with write_aside(path) as aside:
        aside.write_bytes(png)
    return path
