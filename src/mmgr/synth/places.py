"""Where the regions of made cities lie: cells of a grid, or places with gaps between them; and their tracts."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from mmgr.synth.settings import Settings

CRS = "EPSG:32632"
"""UTM zone 32 north, so that a made city lies somewhere on land in southern Germany."""
_WEST, _NORTH = 500_000.0, 5_400_000.0
_GAP = 5_000.0
"""Metres between cities, at least."""
_SPACING = 2.5
"""Edges between the places of a scattered city."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where one city lies, and how its regions are arranged."""

    number: int
    """The city's, counted from 1."""
    west: float
    north: float
    """Its north-west corner in metres of :data:`CRS`."""
    columns: int
    rows: int
    """Cells, of which the last row may be short; a scattered city has one place in each."""
    regions: int
    pitch: int
    """Edge of such a cell in pixels."""
    metres: float
    """Edge of a pixel."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in metres."""
        return self.columns * self.pitch * self.metres, self.rows * self.pitch * self.metres

    @property
    def cells(self) -> NDArray[np.int64]:
        """Column and row of each cell that holds a region, shape ``(regions, 2)``."""
        number = np.arange(self.regions)
        return np.stack([number % self.columns, number // self.columns], axis=1)

    def polygons(self, left_top: NDArray[np.float64], width: NDArray[np.float64] | float) -> NDArray[np.object_]:
        """Return squares on the map from the city's own coordinates, in metres."""
        left, top = self.west + left_top[:, 0], self.north - left_top[:, 1]
        return np.asarray(shapely.box(left, top - width, left + width, top))

    def to_map(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bring places from the city's own coordinates onto the map, shape ``(n, 2)``."""
        return np.asarray(np.array([self.west, self.north]) + xy * np.array([1.0, -1.0]))

    @property
    def outline(self) -> shapely.Polygon:
        """The city's rectangle on the map."""
        width, height = self.size
        return shapely.box(self.west, self.north - height, self.west + width, self.north)


def lay_out(settings: Settings) -> list[Site]:
    """Share the regions among cities, and put these on a square lattice, whole cells apart."""
    pitch = settings.pixels if settings.layout == "contiguous" else round(_SPACING * settings.pixels)
    share, rest = divmod(settings.regions, settings.cities)
    counts = [share + (number < rest) for number in range(settings.cities)]
    widest = int(np.ceil(np.sqrt(max(counts))))
    edge = pitch * settings.metres_per_pixel
    apart = (widest + int(np.ceil(_GAP / edge))) * edge
    a_row = int(np.ceil(np.sqrt(settings.cities)))
    sites = []
    for number, count in enumerate(counts):
        columns = int(np.ceil(np.sqrt(count)))
        sites.append(
            Site(
                number=number + 1,
                west=_WEST + (number % a_row) * apart,
                north=_NORTH - (number // a_row) * apart,
                columns=columns,
                rows=-(-count // columns),
                regions=count,
                pitch=pitch,
                metres=settings.metres_per_pixel,
            )
        )
    return sites


def corners_of_regions(site: Site, settings: Settings) -> NDArray[np.int64]:
    """Return column and row of the first pixel of each region, shape ``(regions, 2)``."""
    corners = site.cells * site.pitch
    if settings.layout == "scattered":
        rng = np.random.default_rng([settings.seed, site.number, 1_000_000])
        corners = corners + rng.integers(0, site.pitch - settings.pixels + 1, corners.shape)
    return np.asarray(corners, np.int64)


def region_ids(sites: list[Site], settings: Settings) -> NDArray[np.object_]:
    """Name the regions of all cities as :mod:`mmgr.grid` does, or by city and number where they are scattered."""
    if settings.layout == "scattered":
        names = [f"city_{site.number}_{number:06d}" for site in sites for number in range(1, site.regions + 1)]
        return np.array(names, object)
    edge = settings.edge
    north, west = max(site.north for site in sites), min(site.west for site in sites)
    offsets = [np.round([(site.west - west) / edge, (north - site.north) / edge]).astype(int) for site in sites]
    cells = np.concatenate([site.cells + offset for site, offset in zip(sites, offsets, strict=True)])
    digits = max(5, len(str(cells.max())))
    return np.array([f"x{x:0{digits}}_y{y:0{digits}}" for x, y in cells.tolist()], object)


def tracts_of(site: Site, settings: Settings, values: NDArray[np.float64], *, amounts: int) -> gpd.GeoDataFrame:
    """Sum up labels over polygons of several cells.

    Parameters
    ----------
    site
        The city.
    settings
        ``tract`` is the polygons' edge in cells.
    values
        Labels of each of the site's cells, shape ``(regions, labels)``: densities a km2, then shares.
    amounts
        How many of them are densities; the tract has their totals, and the means of the others.

    Returns
    -------
    A frame with columns ``tract``, ``city``, ``0``, ``1``, ... and geometry; whole tracts at a city's ragged
    south edge have only the cells that are there.
    """
    cells = site.cells
    across = -(-site.columns // settings.tract)
    tract = cells[:, 0] // settings.tract + across * (cells[:, 1] // settings.tract)
    edge = site.pitch * site.metres
    sums = pd.DataFrame(values).groupby(tract).sum()
    count = np.bincount(tract)
    sums.iloc[:, :amounts] *= edge * edge / 1e6
    sums.iloc[:, amounts:] = sums.iloc[:, amounts:].to_numpy() / count[:, None]
    squares = site.polygons(cells * np.float64(edge), edge)
    order = np.argsort(tract, kind="stable")
    shapes = [shapely.union_all(part) for part in np.split(squares[order], np.cumsum(np.bincount(tract))[:-1])]
    names = [f"city_{site.number}_t{number:05d}" for number in sums.index]
    frame = sums.reset_index(drop=True)
    frame.insert(0, "city", f"city_{site.number}")
    frame.insert(0, "tract", names)
    return gpd.GeoDataFrame(frame, geometry=shapes, crs=CRS)
