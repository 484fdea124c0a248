"""Where regions are drawn: one map, or one panel for each of several places far apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

MOST_PANELS = 9

_APART = 0.3  # groups whose boxes fill less of the whole box than this each get a panel
_VISIBLE = 13.0  # pixels of a region's edge that an eye finds at once

Bounds = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """Some regions drawn on one map."""

    name: str
    rows: NDArray[np.int64]
    """Which regions, in the order of the frame."""
    bounds: Bounds
    """West, south, east, north in metres."""


def make_panels(regions: gpd.GeoDataFrame, most: int = MOST_PANELS) -> tuple[list[Panel], list[str]]:
    """Divide regions into panels: their groups if these lie far apart, else one.

    Returns
    -------
    The panels, largest first if there are too many, else by name; and the names left out.
    """
    boxes = regions.bounds.to_numpy()
    groups = regions["group"].astype(str).to_numpy() if "group" in regions else np.full(len(regions), "")
    if len(np.unique(groups)) == 1:
        return [_panel(str(groups[0]), np.arange(len(regions)), boxes)], []
    parts = [_panel(str(name), np.flatnonzero(groups == name), boxes) for name in np.unique(groups)]
    whole = _panel("", np.arange(len(regions)), boxes)
    if sum(_area(p.bounds) for p in parts) > _APART * _area(whole.bounds):
        return [whole], []
    largest = sorted(parts, key=lambda p: (-len(p.rows), p.name))
    kept = sorted(largest[:most], key=lambda p: p.name)
    return kept, sorted(p.name for p in largest[most:])


def enlargement(geometry: NDArray[np.object_], pixel: float) -> float:
    """Return how many times larger regions must be drawn so as to be seen.

    Never so much that neighbours at the usual distance cover each other; 1 where regions touch.

    Parameters
    ----------
    geometry
        Regions of one panel.
    pixel
        Metres of a pixel of the panel.
    """
    edge = math.sqrt(float(np.median(shapely.area(geometry))))
    room = 1.2 * nearest_distance(geometry) / edge if edge > 0 else 1.0
    factor = min(_VISIBLE * pixel / edge, room) if edge > 0 else 1.0
    if factor < 1.25:
        return 1.0
    return round(factor) if factor >= 3 else round(2 * factor) / 2


def nearest_distance(geometry: NDArray[np.object_]) -> float:
    """Return the median distance from a region's centre to the next one's, in metres; infinite for one region."""
    if len(geometry) < 2:
        return math.inf
    centres = centres_of(geometry)
    distance, _ = cKDTree(centres).query(centres, k=2)
    return float(np.median(np.asarray(distance)[:, 1]))


def centres_of(geometry: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return centroids, shape ``(n, 2)``."""
    return np.asarray(shapely.get_coordinates(shapely.centroid(geometry)), np.float64)


def enlarge(geometry: NDArray[np.object_], factor: float) -> NDArray[np.object_]:
    """Return the shapes, scaled about their own centres."""
    if factor == 1:
        return geometry
    coordinates, owner = shapely.get_coordinates(geometry, return_index=True)
    centres = centres_of(geometry)[owner]
    return np.asarray(shapely.set_coordinates(geometry.copy(), centres + factor * (coordinates - centres)))


def fit_bounds(bounds: Bounds, aspect: float, pad: float) -> Bounds:
    """Widen bounds about their middle to a height of ``aspect`` widths, with a margin of ``pad`` widths."""
    west, south, east, north = bounds
    width = max(east - west, (north - south) / aspect, 1.0) * (1 + 2 * pad)
    x, y = (west + east) / 2, (south + north) / 2
    return x - width / 2, y - width * aspect / 2, x + width / 2, y + width * aspect / 2


def scale_bar(width: float) -> tuple[float, str]:
    """Return a round length of about a fifth of a map's width in metres, and its name."""
    wanted = width / 4
    power = 10.0 ** math.floor(math.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    return length, f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"


def _panel(name: str, rows: NDArray[np.int64], boxes: NDArray[np.float64]) -> Panel:
    some = boxes[rows]
    low, high = some[:, :2].min(axis=0), some[:, 2:].max(axis=0)
    return Panel(name, rows, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def _area(bounds: Bounds) -> float:
    return (bounds[2] - bounds[0]) * (bounds[3] - bounds[1])
