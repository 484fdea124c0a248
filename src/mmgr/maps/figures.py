"""Maps as PNG: a value, or the colours of embeddings, of each region.

Every function returns the bytes of a PNG, which :func:`mmgr.maps.style.write_png` saves.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import matplotlib as mpl
import numpy as np
import shapely
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PatchCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from numpy.typing import ArrayLike, NDArray

from mmgr.maps.colours import COLOUR_MAP, Scale, readable
from mmgr.maps.grids import is_grid
from mmgr.maps.panels import Bounds, Panel, enlarge, enlargement, fit_bounds, make_panels, scale_bar
from mmgr.maps.style import DPI, INK, LINE, PAPER, QUIET, WIDTH, draw_png

_MARGIN = 0.12  # inches, as all below
_TITLE = 0.42
_NAME = 0.27
_BAR = 0.36
_LEGEND = 1.15
_FOOT_LINE = 0.19
_FOOT_WIDTH = 155  # characters


def prediction_map(
    regions: gpd.GeoDataFrame,
    values: ArrayLike,
    *,
    title: str,
    unit: str = "",
    note: str = "",
    hatched: NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw a value of each region as a map, with a colour bar.

    Groups far apart get a panel each; regions too small to be seen are enlarged, and the map says
    so. Colours run from the 2nd to the 98th percentile, by ratio where the values are skewed.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    values
        Shape ``(n,)``; grey where not finite.
    title, unit, note
        Text above the map, above the colour bar, and below the map.
    hatched
        Regions to draw with lines across, shape ``(n,)``: those to which the model does not apply. What that
        means is for the ``note`` to say.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    values = np.asarray(values, np.float64)
    hatched = np.zeros(len(values), bool) if hatched is None else hatched & np.isfinite(values)
    notes = [note] if note else []
    valued, without = panels_with_values(regions, values)
    if without:
        notes.append(f"No values, not shown: {textwrap.shorten(', '.join(without), 90)}.")
    regions, values, hatched = regions[valued], values[valued], hatched[valued]
    scale = Scale.of(values)
    if not np.isfinite(values).all():
        notes.append("Grey: no value.")
    if scale.log:
        notes.append("Colours by ratio (logarithmic).")
    return draw_map(
        regions,
        scale.colours(values),
        title=title,
        notes=notes,
        legend=lambda f, layout: _draw_bar(f, layout, scale, unit),
        hatched=hatched,
    )


def embedding_map(
    regions: gpd.GeoDataFrame,
    colours: NDArray[np.uint8],
    *,
    title: str = "Embeddings",
    note: str = "Similar colours: similar vectors. Red, green and blue are their first three principal components.",
) -> bytes:
    """Draw each region in the colour of its vector, from :func:`mmgr.maps.colours.embedding_colours`.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    colours
        Shape ``(n, 3)``.
    title, note
        Text above and below the map.

    Returns
    -------
    A PNG of 1,500 pixels' width.
    """
    return draw_map(regions, np.asarray(colours, np.uint8), title=title, notes=[note] if note else [])


def panels_with_values(regions: gpd.GeoDataFrame, values: NDArray[np.float64]) -> tuple[NDArray[np.bool_], list[str]]:
    """Return which regions lie in a panel that has a value, and the names of the panels that have none."""
    known = np.isfinite(values)
    panels, _ = make_panels(regions, most=len(regions))
    empty = [panel for panel in panels if not known[panel.rows].any()]
    shown = np.ones(len(regions), bool)
    if len(empty) < len(panels):
        for panel in empty:
            shown[panel.rows] = False
    return shown, [panel.name for panel in empty] if len(empty) < len(panels) else []


@dataclass(frozen=True, slots=True)
class MapLayout:
    """Sizes of a figure of panels, in inches."""

    columns: int
    rows: int
    cell: tuple[float, float]
    name: float
    foot: float

    @classmethod
    def of(cls, panels: list[Panel], *, legend: bool, foot_lines: int) -> MapLayout:
        """Lay out panels, with room for a legend and for lines of text below."""
        columns = 1 if len(panels) == 1 else 2 if len(panels) in {2, 4} else 3
        width = (WIDTH - (_LEGEND if legend else 0) - _MARGIN * (columns + 1)) / columns
        aspect = 0.9
        if len(panels) == 1:
            west, south, east, north = panels[0].bounds
            aspect = float(np.clip((north - south) / max(east - west, 1e-9), 0.3, 0.7))
        rows = math.ceil(len(panels) / columns)
        name = _NAME if any(panel.name for panel in panels) else 0.0
        return cls(columns, rows, (width, width * aspect), name, 0.1 + _FOOT_LINE * foot_lines)

    @property
    def height(self) -> float:
        """Of the whole figure."""
        return _TITLE + self.rows * (self.name + self.cell[1] + _BAR) + self.foot

    def box(self, place: int) -> tuple[float, float, float, float]:
        """Left, bottom, width and height of a panel as parts of the figure."""
        row, column = divmod(place, self.columns)
        width, height = self.cell
        left = _MARGIN + column * (width + _MARGIN)
        bottom = self.height - _TITLE - (row + 1) * (self.name + height) - row * _BAR
        return left / WIDTH, bottom / self.height, width / WIDTH, height / self.height


Legend = Callable[[Figure, MapLayout], None]


def draw_map(
    regions: gpd.GeoDataFrame,
    rgb: NDArray[np.uint8],
    *,
    title: str,
    notes: list[str],
    legend: Legend | None = None,
    hatched: NDArray[np.bool_] | None = None,
) -> bytes:
    """Draw regions in their colours, in one panel or several.

    Parameters
    ----------
    regions
        In a projected CRS, with ``group``.
    rgb
        Shape ``(n, 3)``.
    title, notes
        Text above and below the map.
    legend
        Draws into the room beside the panels.
    hatched
        Regions to draw with lines across, shape ``(n,)``.
    """
    panels, left_out = make_panels(regions)
    geometry = regions.geometry.to_numpy()
    draft = MapLayout.of(panels, legend=legend is not None, foot_lines=1)
    pad = 0.02 if len(panels) == 1 else 0.05
    views = [fit_bounds(p.bounds, draft.cell[1] / draft.cell[0], pad) for p in panels]
    pixels = [(v[2] - v[0]) / (draft.cell[0] * DPI) for v in views]
    factors = [enlargement(geometry[p.rows], pixel) for p, pixel in zip(panels, pixels, strict=True)]
    notes = [*notes, *_drawing_notes(factors, left_out)]
    foot = textwrap.wrap(" ".join(notes), _FOOT_WIDTH)
    layout = MapLayout.of(panels, legend=legend is not None, foot_lines=len(foot))

    def draw(figure: Figure) -> None:
        _write_text(figure, layout, title, foot)
        for place, (panel, view, factor) in enumerate(zip(panels, views, factors, strict=True)):
            axes = figure.add_axes(layout.box(place))
            _draw_panel(axes, view, panel.name, factor)
            draw_regions(axes, regions.iloc[panel.rows], rgb[panel.rows], factor)
            if hatched is not None and hatched[panel.rows].any():
                _draw_hatching(axes, geometry[panel.rows[hatched[panel.rows]]], factor)
        if legend is not None:
            legend(figure, layout)

    return draw_png(WIDTH, layout.height, draw, constrained=False)


def _drawing_notes(factors: list[float], left_out: list[str]) -> list[str]:
    notes = []
    if max(factors) > 1:
        notes.append(
            f"Regions are drawn {max(factors):g} times as wide as they are, about their true centres."
            if len(factors) == 1
            else "Regions are drawn larger than they are, about their true centres, by the factor above each panel."
        )
    if left_out:
        notes.append(f"Not shown: {len(left_out)} smaller groups ({textwrap.shorten(', '.join(left_out), 90)}).")
    return notes


def _write_text(figure: Figure, layout: MapLayout, title: str, foot: list[str]) -> None:
    left = _MARGIN / WIDTH
    top = 1 - 0.1 / layout.height
    figure.text(left, top, textwrap.shorten(title, 95), va="top", fontsize=12, weight="bold")
    figure.text(left, 0.07 / layout.height, "\n".join(foot), va="bottom", fontsize=8.5, color=QUIET, linespacing=1.3)


def _draw_panel(axes: Any, view: Bounds, name: str, factor: float) -> None:
    west, south, east, north = view
    axes.set(xlim=(west, east), ylim=(south, north), xticks=[], yticks=[], facecolor=PAPER)
    for spine in axes.spines.values():
        spine.set(visible=True, color=LINE, linewidth=0.8)
    _, _, _, height = axes.get_position().bounds
    inch = 1 / (height * axes.figure.get_figheight())
    if name:
        label = textwrap.shorten(name, 32)
        axes.text(0, 1 + 0.06 * inch, label, transform=axes.transAxes, va="bottom", weight="bold", fontsize=9.5)
    if factor > 1 and name:
        times = f"regions \N{MULTIPLICATION SIGN} {factor:g}"
        look = {"va": "bottom", "ha": "right", "fontsize": 8.5, "color": QUIET}
        axes.text(1, 1 + 0.06 * inch, times, transform=axes.transAxes, **look)
    length, text = scale_bar(east - west)
    part = length / (east - west)
    y = -0.1 * inch
    axes.plot([0, part], [y, y], transform=axes.transAxes, color=INK, lw=2, clip_on=False, solid_capstyle="butt")
    axes.text(part + 0.015, y, text, transform=axes.transAxes, va="center", fontsize=8.5)


def draw_regions(axes: Any, regions: gpd.GeoDataFrame, rgb: NDArray[np.uint8], factor: float) -> None:
    """Draw regions ``factor`` times as wide as they are, in colours of shape ``(n, 3)``."""
    spec = is_grid(regions) if factor == 1 else None
    if spec is not None and len(regions) > 1:
        west, south, east, north = spec.bounds
        alpha = np.full((len(rgb), 1), 255, np.uint8)
        image = np.moveaxis(spec.raster(np.hstack([rgb, alpha]), 0), 0, 2)
        axes.imshow(image, extent=(west, east, south, north), interpolation="nearest", aspect="auto", zorder=2)
        return
    shapes = enlarge(regions.geometry.to_numpy(), factor)
    parts, owner = shapely.get_parts(shapes, return_index=True)
    colours = rgb[owner] / 255
    # a hair of paper between enlarged squares that overlap; none between neighbours that touch
    edge: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.4}
    if factor == 1:
        edge = {"edgecolors": "face", "linewidths": 0.15}
    if (shapely.get_num_interior_rings(parts) > 0).any():
        patches = [PathPatch(_outline(part)) for part in parts]
        axes.add_collection(PatchCollection(patches, facecolors=colours, zorder=2, **edge), autolim=False)
    else:
        rings = [shapely.get_coordinates(part) for part in parts]
        axes.add_collection(PolyCollection(rings, facecolors=colours, zorder=2, **edge), autolim=False)


def _draw_hatching(axes: Any, geometry: NDArray[np.object_], factor: float) -> None:
    """Draw lines across regions, light on a dark ground and dark on a light one."""
    parts = shapely.get_parts(enlarge(geometry, factor))
    patches = [PathPatch(_outline(part)) for part in parts]
    # two passes make each line readable on any colour
    for colour, width in (("white", 1.8), (INK, 0.6)):
        with mpl.rc_context({"hatch.linewidth": width}):
            lines = PatchCollection(
                patches,
                facecolors="none",
                edgecolors=colour,
                linewidths=0,
                hatch="/////",
                match_original=False,
                zorder=3,
            )
        axes.add_collection(lines, autolim=False)


def _outline(polygon: shapely.Polygon) -> Outline:
    rings = [polygon.exterior, *polygon.interiors]
    return Outline.make_compound_path(*(Outline(shapely.get_coordinates(ring), closed=True) for ring in rings))


def _draw_bar(figure: Figure, layout: MapLayout, scale: Scale, unit: str) -> None:
    left, bottom, width, height = layout.box(layout.columns - 1)
    tall = min(3.2, layout.cell[1] - 0.35) / layout.height
    place = (left + width + 0.16 / WIDTH, bottom + height - 0.35 / layout.height - tall, 0.16 / WIDTH, tall)
    axes = figure.add_axes(place)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    bar = figure.colorbar(
        ScalarMappable(scale.norm(), COLOUR_MAP),
        cax=axes,
        extend=extend[scale.below, scale.above],
        extendfrac=0.04,
    )
    bar.outline.set_visible(False)
    bar.minorticks_off()
    bar.set_ticks(scale.ticks(), labels=[readable(tick) for tick in scale.ticks()])
    axes.tick_params(length=2, labelsize=8.5)
    text = "\n".join(textwrap.wrap(unit, 15)[:2])
    figure.text(place[0], place[1] + tall + 0.14 / layout.height, text, va="bottom", fontsize=8.5)
