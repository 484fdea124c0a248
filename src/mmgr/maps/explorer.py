"""What the report's interactive map knows of each region, as plain JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from mmgr.maps.class_maps import coloured
from mmgr.maps.colours import MISSING, Scale, class_colours, hex_colour, readable
from mmgr.maps.images import patch_uri
from mmgr.maps.panels import centres_of, nearest_distance

MOST_REGIONS = 40_000
"""With more regions the page would be slow: the report then leaves the map out and says so."""
MOST_THUMBNAILS = 1_500

_THUMBNAIL = 64


@dataclass(frozen=True, slots=True)
class Layer:
    """Something that the map can show of each of ``n`` regions."""

    title: str
    values: NDArray[Any]
    """Numbers, shape ``(n,)``, or colours as uint8, shape ``(n, 3)``."""
    unit: str = ""
    names: Sequence[str] = ()
    """Where the numbers are classes, their names; -1 is none."""
    lower: NDArray[Any] | None = None
    """Lower end of each value's interval, shape ``(n,)``."""
    upper: NDArray[Any] | None = None
    level: float = 0.0
    """Share of places that the intervals or sets should hold for."""
    sets: Sequence[str | None] | None = None
    """Where the numbers are classes, those that are possible in each region, as text."""
    doubtful: NDArray[np.bool_] | None = None
    """Regions to which the model does not apply, shape ``(n,)``; drawn with a line across."""


@dataclass(frozen=True, slots=True)
class Explorer:
    """Regions, layers and, if there are few, thumbnails for the interactive map."""

    regions: gpd.GeoDataFrame
    """In a projected CRS, indexed by id, with ``group``."""
    layers: Sequence[Layer]
    thumbnails: Sequence[NDArray[np.uint8] | None] = ()
    """A patch of each region, shape ``(H, W, C)``, or None; shrunk to 64 pixels."""

    def __post_init__(self) -> None:
        n = len(self.regions)
        for layer in self.layers:
            if len(layer.values) != n:
                raise ValueError(f"{n} regions, but {len(layer.values)} values of {layer.title}")
        if self.thumbnails and len(self.thumbnails) != n:
            raise ValueError(f"{n} regions, but {len(self.thumbnails)} thumbnails")

    @property
    def fits(self) -> bool:
        """Whether a page can hold and draw this many regions."""
        return 0 < len(self.regions) <= MOST_REGIONS and len(self.layers) > 0

    def payload(self) -> dict[str, Any]:
        """Return everything that the page's script reads, as JSON-like values."""
        geometry = self.regions.geometry.to_numpy()
        boxes = shapely.bounds(geometry)
        origin = np.floor(boxes[:, :2].min(axis=0))
        edge = math.sqrt(float(np.median(shapely.area(geometry))))
        groups = self.regions["group"].astype(str) if "group" in self.regions else self.regions.index.map(lambda _: "")
        names, codes = np.unique(np.asarray(groups, str), return_inverse=True)
        spacing = nearest_distance(geometry)
        shown = self.thumbnails if len(self.thumbnails) <= MOST_THUMBNAILS else ()
        return {
            "ids": [str(name) for name in self.regions.index],
            "groups": [str(name) for name in names],
            "group": [int(code) for code in codes],
            "centres": _rounded(centres_of(geometry) - origin),
            "boxes": _rounded(boxes - np.tile(origin, 2)),
            "rings": _rings(geometry, origin, edge),
            "edge": round(edge, 1),
            "spacing": round(spacing, 1) if math.isfinite(spacing) else None,
            "layers": [_layer(layer) for layer in self.layers],
            "thumbnails": [None if p is None else patch_uri(p, edge=_THUMBNAIL, quality=75) for p in shown],
        }


def _rings(geometry: NDArray[np.object_], origin: NDArray[np.float64], edge: float) -> list[list[list[float]]] | None:
    """Return each region's rings as flat lists of x and y; None where boxes say it all."""
    boxes = shapely.bounds(geometry)
    boxy = shapely.area(geometry) >= 0.999 * (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    if boxy.all():
        return None
    simple = shapely.simplify(geometry, edge / 50, preserve_topology=True)
    return [
        [
            _rounded(shapely.get_coordinates(ring) - origin)
            for part in shapely.get_parts(shape)
            for ring in (part.exterior, *part.interiors)
        ]
        for shape in simple
    ]


def _layer(layer: Layer) -> dict[str, Any]:
    values = np.asarray(layer.values)
    if values.ndim == 2:
        plain = {"intervals": None, "level": None, "called": "interval", "doubtful": None}
        return {"title": layer.title, "unit": "", "colours": _bytes(values), "values": None, "legend": None, **plain}
    if len(layer.names):
        palette = class_colours(len(layer.names))
        return {
            "title": layer.title,
            "unit": layer.unit,
            "colours": _bytes(coloured(values, len(layer.names))),
            "values": [layer.names[value] if value >= 0 else None for value in values],
            "intervals": None if layer.sets is None else list(layer.sets),
            "level": None if layer.sets is None else f"{layer.level:.0%}",
            "called": "set",
            "doubtful": _rows(layer.doubtful, values >= 0),
            "legend": {"classes": [[hex_colour(palette[i]), layer.names[i]] for i in np.unique(values[values >= 0])]},
        }
    values = values.astype(np.float64)
    scale = Scale.of(values)
    stops = np.linspace(0, 1, 9)
    between = (
        scale.low * (scale.high / scale.low) ** stops if scale.log else scale.low + (scale.high - scale.low) * stops
    )
    return {
        "title": layer.title,
        "unit": layer.unit,
        "colours": _bytes(scale.colours(values)),
        "values": [readable(value) if math.isfinite(value) else None for value in values],
        "intervals": _intervals(layer),
        "level": f"{layer.level:.0%}" if layer.lower is not None else None,
        "called": "interval",
        "doubtful": _rows(layer.doubtful, np.isfinite(values)),
        "legend": {
            "stops": [hex_colour(rgb) for rgb in scale.colours(between)],
            "ticks": [[round(float(scale.fraction(t)), 4), readable(t)] for t in scale.ticks()],
            "missing": None if np.isfinite(values).all() else hex_colour(MISSING),
        },
    }


def _rows(doubtful: NDArray[np.bool_] | None, known: NDArray[np.bool_]) -> list[int] | None:
    """Return the numbers of the regions that have a value and to which the model does not apply."""
    return None if doubtful is None else [int(row) for row in np.flatnonzero(doubtful & known)]


def _intervals(layer: Layer) -> list[str | None] | None:
    """Return each value's interval in words."""
    if layer.lower is None or layer.upper is None:
        return None
    pairs = zip(layer.lower.tolist(), layer.upper.tolist(), strict=True)
    return [f"{readable(low)} to {readable(high)}" if math.isfinite(high - low) else None for low, high in pairs]


def _bytes(colours: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(colours, np.uint8).tobytes()).decode()


def _rounded(coordinates: NDArray[np.float64]) -> list[float]:
    """Return decimetres as a flat list: a page has no use for millimetres."""
    return [round(float(v), 1) for v in coordinates.ravel()]
