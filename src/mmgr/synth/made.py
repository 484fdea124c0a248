"""Made cities with their truth: what images and POIs show, and what labels are made of."""

from __future__ import annotations

from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.synth.city import FACTORS, NUISANCES, City, make_one_city, year_of
from mmgr.synth.hashing import fold
from mmgr.synth.labels import AMOUNTS, LABELS, ceilings, draw_noise, function_at_best, labels_of
from mmgr.synth.places import CRS, Site, corners_of_regions, lay_out, region_ids, tracts_of
from mmgr.synth.poi_process import FIRST_LEVELS, SECOND_LEVELS, expected_rate, make_points
from mmgr.synth.settings import Settings

_FAR = 30_000.0
_KEY_OF_PLACES, _KEY_OF_CELLS = 51, 52


@dataclass(frozen=True, slots=True)
class MadeCities:
    """One made city or several, as a user would have them, with the truth beside."""

    settings: Settings
    cities: tuple[City, ...]
    sites: tuple[Site, ...]
    """Where each city lies."""
    truth: gpd.GeoDataFrame
    """A row a region, indexed by ``region_id``: city; the factors built, human and shared, and the nuisances, as means
    over the region; the POIs that it expects a km2; each label without noise, and with it as ``<label>_noisy``."""
    corners: NDArray[np.int64]
    """Column and row of the first pixel of each region in its city, shape ``(regions, 2)``."""

    def patch(self, row: int, *, date: int = 0) -> NDArray[np.uint8]:
        """Return a region's image of a date, shape ``(pixels, pixels, 3)``."""
        city = self.cities[int(self.truth["city"].iloc[row].removeprefix("city_")) - 1]
        column, line = (int(value) for value in self.corners[row])
        return city.image(column, line, self.settings.pixels, self.settings.pixels, date=date)

    def pois(self) -> gpd.GeoDataFrame:
        """Return the POIs of all cities, with ``category`` and ``subcategory``, and the dirt that was asked for."""
        frames = []
        for city, site in zip(self.cities, self.sites, strict=True):
            for points in make_points(city):
                xy = site.to_map(points.xy)
                first = np.array(FIRST_LEVELS, object)[points.first]
                columns = {"category": first, "subcategory": SECOND_LEVELS[points.first, points.second]}
                frames.append(gpd.GeoDataFrame(columns, geometry=gpd.points_from_xy(*xy.T), crs=CRS))
        frame = gpd.GeoDataFrame(pd.concat(frames, ignore_index=True), crs=CRS)
        return self._with_dirt(frame) if self.settings.dirt.any else frame

    def _with_dirt(self, frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
        dirt, rng = self.settings.dirt, np.random.default_rng([self.settings.seed, 0])
        chance = rng.uniform(size=(len(frame), 3))
        twice = frame[chance[:, 0] < dirt.duplicates]
        frame.loc[chance[:, 1] < dirt.unnamed, "subcategory"] = None
        far = np.flatnonzero(chance[:, 2] < dirt.outside)
        bounds = frame.total_bounds
        away = 2 * float(np.hypot(bounds[2] - bounds[0], bounds[3] - bounds[1])) + _FAR * rng.uniform(1, 2, len(far))
        turn = rng.uniform(0, 2 * np.pi, len(far))
        points = frame.geometry.to_numpy().copy()
        moved = np.stack([frame.geometry.x.to_numpy()[far], frame.geometry.y.to_numpy()[far]], axis=1)
        moved += away[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        points[far] = gpd.points_from_xy(*moved.T)
        frame = frame.set_geometry(gpd.GeoSeries(points, index=frame.index, crs=CRS))
        return gpd.GeoDataFrame(pd.concat([frame, twice], ignore_index=True), crs=CRS)

    def tracts(self) -> tuple[gpd.GeoDataFrame, dict[str, float]]:
        """Return polygons with totals of amounts and mean shares, and the ceiling of R2 for each label.

        In a contiguous city a tract's total is that of its regions. In a scattered one it is that of the cells
        that each hold one region, seen or not: a tract is known only by the places in it.
        """
        noisy, clean = [], []
        for city, site in zip(self.cities, self.sites, strict=True):
            free, labels = self._labels_of_cells(city, site)
            clean.append(tracts_of(site, self.settings, free, amounts=len(AMOUNTS)))
            noisy.append(tracts_of(site, self.settings, labels, amounts=len(AMOUNTS)))
        names = dict(enumerate(LABELS))
        frame = gpd.GeoDataFrame(pd.concat(noisy, ignore_index=True), crs=CRS).rename(columns=names)
        free = gpd.GeoDataFrame(pd.concat(clean, ignore_index=True), crs=CRS).rename(columns=names)
        return frame, ceilings(_as_densities(free), _as_densities(frame))

    def _labels_of_cells(self, city: City, site: Site) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the labels of a city's cells without noise and with it."""
        rows = (self.truth["city"] == city.name).to_numpy()
        if self.settings.layout == "contiguous":
            return _labels(self.truth[rows], ""), _labels(self.truth[rows], "_noisy")
        edge = site.pitch * site.metres
        factors = city.fields.mean_over((site.cells + np.float64(0.5)) * edge, edge)[:, : len(FACTORS)]
        noise = draw_noise(_key(city, _KEY_OF_CELLS), site.cells, self.settings.noise)
        return labels_of(factors), labels_of(factors, noise)

    def ceilings(self) -> dict[str, float]:
        """Return the R2 that the noise-free labels of regions have against the noisy ones, by label."""
        return ceilings(_labels(self.truth, ""), _labels(self.truth, "_noisy"))

    def function_at_best(self) -> dict[str, float]:
        """Return how near the noise-free shares of land uses of regions are to the noisy ones, by metric."""
        return function_at_best(_labels(self.truth, ""), _labels(self.truth, "_noisy"))


def make_city(settings: Settings) -> MadeCities:
    """Make one city or several; images are drawn when they are asked for.

    Parameters
    ----------
    settings
        How many regions, cities and dates, how they lie, and the seed. The same settings give the same cities, to
        the bit.
    """
    sites = lay_out(settings)
    cities = [make_one_city(settings, site.number, site.size) for site in sites]
    corners = [corners_of_regions(site, settings) for site in sites]
    parts = [_truth_of(*parts, settings) for parts in zip(cities, sites, corners, strict=True)]
    truth = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=CRS)
    truth.index = pd.Index(region_ids(sites, settings), name="region_id")
    return MadeCities(settings, tuple(cities), tuple(sites), truth, np.concatenate(corners))


def _truth_of(city: City, site: Site, corners: NDArray[np.int64], settings: Settings) -> gpd.GeoDataFrame:
    left_top = corners * np.float64(settings.metres_per_pixel)
    values = city.fields.mean_over(left_top + settings.edge / 2, settings.edge)
    factors = values[:, : len(FACTORS)]
    noise = draw_noise(_key(city, _KEY_OF_PLACES), site.cells, settings.noise)
    names = [*FACTORS, *NUISANCES, *(f"light_{year_of(date)}" for date in range(settings.dates))]
    columns = dict(zip(names, values.T, strict=True)) | {"pois_per_km2": expected_rate(factors)}
    for end, labels in (("", labels_of(factors)), ("_noisy", labels_of(factors, noise))):
        columns |= {f"{name}{end}": column for name, column in zip(LABELS, labels.T, strict=True)}
    shapes = site.polygons(left_top, settings.edge)
    return gpd.GeoDataFrame({"city": city.name, **columns}, geometry=shapes, crs=CRS)


def _key(city: City, part: int) -> np.uint64:
    return np.uint64(fold(city.key, part, 0))


def _as_densities(frame: gpd.GeoDataFrame) -> NDArray[np.float64]:
    values = _labels(frame, "").copy()
    values[:, : len(AMOUNTS)] /= frame.area.to_numpy()[:, None] / 1e6
    return values


def _labels(frame: gpd.GeoDataFrame, end: str) -> NDArray[np.float64]:
    return np.asarray(frame[[f"{name}{end}" for name in LABELS]].to_numpy(np.float64))
