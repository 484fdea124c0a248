"""Maps of classes as PNG: the class with the largest share, the share of each class, and how many are possible."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

import geopandas as gpd
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from mmgr.maps.colours import COLOUR_MAP, MISSING, Scale, class_colours
from mmgr.maps.figures import Legend, MapLayout, draw_map, draw_regions, panels_with_values
from mmgr.maps.panels import enlargement, fit_bounds
from mmgr.maps.style import DPI, LINE, PAPER, WIDTH, draw_png

_COLUMNS = 3
_MARGIN, _TITLE, _NAME, _BAR = 0.12, 0.42, 0.27, 0.6  # inches
_SHARES = Scale(low=0.0, high=1.0, log=False, below=False, above=False)


def dominant(shares: ArrayLike) -> NDArray[np.int64]:
    """Return the class with the largest share in each region, shape ``(n,)``; -1 where shares are unknown."""
    table = np.asarray(shares, np.float64)
    known = np.asarray(np.isfinite(table).all(axis=1))
    return np.where(known, np.where(known[:, None], table, 0.0).argmax(axis=1), -1)


def coloured(classes: NDArray[np.int64], number: int) -> NDArray[np.uint8]:
    """Return the colour of each region's class, of ``number`` classes, shape ``(n, 3)``; grey where it is -1."""
    palette = np.vstack([class_colours(number), np.array(MISSING, np.uint8)[None]])
    return np.asarray(palette[classes])


def class_map(
    regions: gpd.GeoDataFrame,
    shares: ArrayLike,
    names: Sequence[str],
    *,
    title: str,
    note: str = "",
    hatched: NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw the class with the largest share in each region, with a legend of the classes that occur.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    shares
        Share of each class, shape ``(n, k)``; grey where not finite.
    names
        Of the classes.
    title, note
        Text above and below the map.
    hatched
        Regions to draw with lines across, shape ``(n,)``: those to which the model does not apply.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    classes = dominant(shares)
    hatched = np.zeros(len(classes), bool) if hatched is None else hatched & (classes >= 0)
    shown, without = panels_with_values(regions, np.where(classes >= 0, 0.0, np.nan))
    notes = ["Each region in the colour of its largest share.", *([note] if note else [])]
    if without:
        notes.append(f"No values, not shown: {textwrap.shorten(', '.join(without), 90)}.")
    regions, classes, hatched = regions[shown], classes[shown], hatched[shown]
    if (classes < 0).any():
        notes.append("Grey: no value.")
    palette = class_colours(len(names)) / 255
    met = {names[number]: palette[number] for number in range(len(names)) if (classes == number).any()}
    legend = _patches(met)
    return draw_map(regions, coloured(classes, len(names)), title=title, notes=notes, legend=legend, hatched=hatched)


def set_size_map(
    regions: gpd.GeoDataFrame,
    sizes: ArrayLike,
    number: int,
    *,
    title: str,
    note: str = "",
    hatched: NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw how many classes are possible in each region, with a legend of the numbers that occur.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    sizes
        Number of classes in each region's set, shape ``(n,)``; grey where not finite.
    number
        How many classes there are.
    title, note
        Text above and below the map.
    hatched
        Regions to draw with lines across, shape ``(n,)``: those to which the model does not apply.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    count = np.asarray(sizes, np.float64)
    hatched = np.zeros(len(count), bool) if hatched is None else hatched & np.isfinite(count)
    scale = Scale(low=1.0, high=float(max(number, 2)), log=False, below=False, above=False)
    shown, without = panels_with_values(regions, count)
    notes = ["One class: the others were left out. All classes: none could be.", *([note] if note else [])]
    if without:
        notes.append(f"No values, not shown: {textwrap.shorten(', '.join(without), 90)}.")
    regions, count, hatched = regions[shown], count[shown], hatched[shown]
    if not np.isfinite(count).all():
        notes.append("Grey: no value.")
    met = np.unique(count[np.isfinite(count)])
    colours = {_of_classes(int(size), number): scale.colours([size])[0] / 255 for size in met}
    legend = _patches(colours)
    return draw_map(regions, scale.colours(count), title=title, notes=notes, legend=legend, hatched=hatched)


def _of_classes(size: int, number: int) -> str:
    """Write how many classes are possible."""
    return f"all {size}" if size == number else "1 class" if size == 1 else f"{size} classes"


def _patches(colours: Mapping[str, NDArray[np.float64]]) -> Legend:
    """Return what draws a legend of named colours beside the map."""

    def draw(figure: Figure, layout: MapLayout) -> None:
        left, bottom, width, height = layout.box(layout.columns - 1)
        handles = [
            Patch(color=colour, label="\n".join(textwrap.wrap(name, 15)[:2])) for name, colour in colours.items()
        ]
        place = (left + width + 0.08 / WIDTH, bottom + height)
        size = 8 if len(colours) <= 16 else 6
        look = {"handlelength": 0.9, "borderaxespad": 0.0, "handletextpad": 0.5, "fontsize": size}
        figure.legend(handles=handles, loc="upper left", bbox_to_anchor=place, **look)

    return draw


def share_maps(regions: gpd.GeoDataFrame, shares: ArrayLike, names: Sequence[str], *, title: str) -> bytes:
    """Draw the share of each class in each region, a small map a class, all in one scale from 0 to 1.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    shares
        Shape ``(n, k)``; grey where not finite.
    names
        Of the ``k`` classes.
    title
        Text above the maps.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    table = np.asarray(shares, np.float64)
    west, south, east, north = regions.total_bounds
    aspect = float(np.clip((north - south) / max(east - west, 1e-9), 0.3, 1.2))
    view = fit_bounds((west, south, east, north), aspect, 0.02)
    columns = min(_COLUMNS, len(names))
    wide = (WIDTH - _MARGIN * (columns + 1)) / columns
    tall = wide * aspect
    rows = math.ceil(len(names) / columns)
    height = _TITLE + rows * (tall + _NAME) + _BAR
    factor = enlargement(regions.geometry.to_numpy(), (view[2] - view[0]) / (wide * DPI))

    def draw(figure: Figure) -> None:
        figure.text(
            _MARGIN / WIDTH, 1 - 0.1 / height, textwrap.shorten(title, 95), va="top", fontsize=12, weight="bold"
        )
        for number, name in enumerate(names):
            row, column = divmod(number, columns)
            left, top = _MARGIN + column * (wide + _MARGIN), _TITLE + row * (tall + _NAME) + _NAME
            axes = figure.add_axes((left / WIDTH, 1 - (top + tall) / height, wide / WIDTH, tall / height))
            axes.set(xlim=view[::2], ylim=view[1::2], xticks=[], yticks=[], facecolor=PAPER)
            for spine in axes.spines.values():
                spine.set(visible=True, color=LINE, linewidth=0.8)
            axes.text(0, 1.02, textwrap.shorten(name, 40), transform=axes.transAxes, weight="bold", fontsize=9.5)
            draw_regions(axes, regions, _SHARES.colours(table[:, number]), factor)
        bar = figure.add_axes((0.2 / WIDTH, 0.42 / height, 2.6 / WIDTH, 0.1 / height))
        figure.colorbar(ScalarMappable(Normalize(0, 1), COLOUR_MAP), cax=bar, orientation="horizontal", label="share")
        bar.tick_params(length=2, labelsize=8)

    return draw_png(WIDTH, height, draw, constrained=False)
