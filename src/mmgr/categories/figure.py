"""A picture of category vectors that shows a person whether they make sense."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from mmgr.categories.vectors import CategoryVectors
from mmgr.files import write_aside
from mmgr.fonts import draw_legibly
from mmgr.taxonomy import Taxonomy

_GREY = (0.62, 0.62, 0.62, 1.0)
_LABELS = 120
"""Only the most frequent categories are named, so that names stay legible."""
_COLOURS = 12
"""First levels with a colour of their own; smaller ones share grey."""
_FREQUENT = 10
_NEAREST = 4


def category_figure(vectors: CategoryVectors, path: str | Path) -> None:
    """Draw the categories on a plane, coloured by first level, and the neighbours of the most frequent.

    The plane is spanned by the two principal components of the vectors at unit length. Dots grow
    with the number of POIs of a category. The file's suffix chooses the format.
    """
    with write_aside(Path(path)) as aside:

        def save(families: list[str]) -> Figure:
            with mpl.rc_context({"font.family": families}):
                return _saved(vectors, aside)

        draw_legibly(save)


def _saved(vectors: CategoryVectors, path: Path) -> Figure:
    """Draw the figure into a file."""
    figure = Figure(figsize=(12, 9), dpi=150)
    canvas = FigureCanvasAgg(figure)
    plane, words = figure.subplots(1, 2, width_ratios=(2.2, 1))
    frequency = vectors.frequency
    places, explained = _principal_plane(vectors.vectors)
    colours, legend = _colours(vectors)
    size = 14 + 180 * np.sqrt(frequency / max(frequency.max(initial=0), 1))
    plane.scatter(*places.T, s=size, c=colours, alpha=0.75, linewidths=0.6, edgecolors="white")
    plane.margins(0.07)
    plane.set(xticks=[], yticks=[])
    plane.set_title(f"{len(vectors.taxonomy)} categories; the plane shows {explained:.0%} of their spread", loc="left")
    if legend:
        handles = [
            Line2D([], [], ls="", marker="o", color=colour, label=_literal(_plain(name))) for name, colour in legend
        ]
        plane.legend(handles=handles, loc="upper left", bbox_to_anchor=(0, -0.01), ncols=6, frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.02, right=0.99, top=0.94, bottom=0.1, wspace=0.03)
    _list_neighbours(words, canvas, vectors, frequency)
    _place_labels(plane, canvas, places, size, _labels(vectors, frequency))
    figure.savefig(path)
    return figure


def _principal_plane(vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], float]:
    """Return places on the plane of most spread, shape ``(n, 2)``, and the part of it that they show."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit = (vectors / np.where(length > 0, length, 1)).astype(np.float64)
    left, spread, _ = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    places = np.zeros((len(unit), 2))
    shown = min(2, len(spread))
    places[:, :shown] = left[:, :shown] * spread[:shown]
    total = (spread**2).sum()
    return places, float((spread[:2] ** 2).sum() / total) if total > 0 else 1.0


def _colours(vectors: CategoryVectors) -> tuple[NDArray[np.float64], list[tuple[str, Any]]]:
    """Return each category's colour and the legend; one colour where there is but one level."""
    taxonomy, palette = vectors.taxonomy, [colormaps["tab20"](number) for number in range(20)]
    if taxonomy.first == taxonomy.second:
        return np.array([palette[0]] * len(taxonomy)), []
    # the strong colours of the palette come before the pale ones
    shades = palette[::2] + palette[1::2]
    ranked = [name for name, _ in sorted(Counter(taxonomy.first).items(), key=lambda item: (-item[1], item[0]))]
    chosen = dict(zip(ranked[:_COLOURS], shades, strict=False))
    rest = [("other", _GREY)] if len(ranked) > _COLOURS else []
    return np.array([chosen.get(name, _GREY) for name in taxonomy.first]), [*chosen.items(), *rest]


def _labels(vectors: CategoryVectors, frequency: NDArray[np.float64]) -> list[tuple[int, str]]:
    """Return the row and name of the categories to label, the most frequent first."""
    order = np.argsort(-frequency, kind="stable")[:_LABELS]
    names = _names(vectors.taxonomy)
    return [(int(row), _literal(names[row])) for row in order]


def _names(taxonomy: Taxonomy) -> list[str]:
    """Return a name for each category: its second level, and the first before it where others have that, too."""
    short = [_plain(name) for name in taxonomy.second]
    often = Counter(short)
    return [_plain(full) if often[name] > 1 else name for name, full in zip(short, taxonomy.names, strict=True)]


def _plain(name: str) -> str:
    """Return a name as a reader wants it, on one line."""
    return " ".join(name.replace("_", " ").split()) or name


def _literal(name: str) -> str:
    """Return a name as it is to be drawn: a dollar would start a formula."""
    return name.replace("$", r"\$")


def _place_labels(
    axes: Axes,
    canvas: FigureCanvasAgg,
    places: NDArray[np.float64],
    size: NDArray[np.float64],
    labels: list[tuple[int, str]],
) -> None:
    """Write names beside their dots where they cover nothing, further away with a line to the dot."""
    canvas.draw()  # fixes the pixel of each dot
    renderer, scale = canvas.get_renderer(), axes.figure.dpi / 72
    frame = axes.get_window_extent()
    pixels = axes.transData.transform(places)
    radii = np.sqrt(size) / 2 * scale
    taken = [Bbox.from_extents(*(pixel - 0.7 * r), *(pixel + 0.7 * r)) for pixel, r in zip(pixels, radii, strict=True)]
    for row, name in labels:
        text = axes.text(0, 0, name, fontsize=8.5, transform=None, color="0.15")
        extent = text.get_window_extent(renderer)
        spot = _free_spot(
            pixels[row], radii[row], extent.width, extent.height, frame, np.array([b.extents for b in taken])
        )
        if spot is None:
            text.remove()
            continue
        text.set_position((spot.x0, spot.y0 + extent.height * 0.22))
        taken.append(spot)
        nearest = np.clip(pixels[row], spot.min, spot.max)
        if np.hypot(*(nearest - pixels[row])) > radii[row] + 6 * scale:
            line = Line2D(*np.stack([pixels[row], nearest]).T, lw=0.5, color="0.6", transform=None, zorder=0.5)
            axes.add_artist(line)


def _free_spot(
    dot: NDArray[np.float64],
    radius: float,
    width: float,
    height: float,
    frame: Bbox,
    taken: NDArray[np.float64],
) -> Bbox | None:
    """Return the nearest box of a size around a dot that lies in the frame and meets no taken one."""
    for ring in range(12):
        reach = radius + 1 + ring * 0.7 * height
        for angle in np.linspace(0, 2 * np.pi, 8 + 4 * ring, endpoint=False):
            across, up = np.cos(angle), np.sin(angle)
            x = dot[0] + across * reach + (across - 1) / 2 * width
            y = dot[1] + up * reach + (up - 1) / 2 * height
            box = Bbox.from_bounds(x, y, width, height)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            apart = (
                (taken[:, 0] >= box.x1) | (taken[:, 2] <= box.x0) | (taken[:, 1] >= box.y1) | (taken[:, 3] <= box.y0)
            )
            if inside and apart.all():
                return box
    return None


def _list_neighbours(
    axes: Axes, canvas: FigureCanvasAgg, vectors: CategoryVectors, frequency: NDArray[np.float64]
) -> None:
    """Write the nearest categories of the most frequent ones."""
    axes.axis("off")
    axes.set_title("Nearest of the most frequent", loc="left")
    nearest, similarity = vectors.neighbours(_NEAREST)
    names = _names(vectors.taxonomy)
    for line, row in enumerate(np.argsort(-frequency, kind="stable")[:_FREQUENT]):
        top = 0.985 - line / _FREQUENT
        _write_name(axes, canvas, 0, top, names[row], width=1.0, weight="bold", fontsize=10)
        for place, (other, value) in enumerate(zip(nearest[row], similarity[row], strict=True)):
            x, y = 0.02 + 0.5 * (place % 2), top - 0.03 - 0.025 * (place // 2)
            end = _write_name(axes, canvas, x, y, names[other], width=0.37, fontsize=8.5, color="0.3")
            # a text of its own: beside letters that are read from the right, a number would come before them
            axes.text(end + 0.02, y, f"{value:.2f}", fontsize=8.5, va="top", color="0.3", transform=axes.transAxes)


def _write_name(
    axes: Axes, canvas: FigureCanvasAgg, x: float, y: float, name: str, *, width: float, **style: Any
) -> float:
    """Write a name below and right of a place, without its middle where it is too wide; return where it ends.

    ``x``, ``y``, ``width`` and the end are parts of the axes.
    """
    text = axes.text(x, y, _literal(name), va="top", transform=axes.transAxes, **style)
    renderer, frame = canvas.get_renderer(), axes.get_window_extent()
    room, needed = width * frame.width, text.get_window_extent(renderer).width
    kept = min(len(name), int(1.5 * len(name) * room / max(needed, 1)))  # letters differ in width
    while text.get_window_extent(renderer).width > room and kept > 1:
        kept -= 1
        head = (kept + 1) // 2
        text.set_text(_literal(f"{name[:head].rstrip()}\N{HORIZONTAL ELLIPSIS}{name[head - kept :].lstrip()}"))
    return float((text.get_window_extent(renderer).x1 - frame.x0) / frame.width)
