"""A made city: its factors, its place on the map, and its images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.synth.fields import Fields, make_fields
from mmgr.synth.hashing import fold
from mmgr.synth.light import Look, expose, margins, plant
from mmgr.synth.painting import paint
from mmgr.synth.settings import Settings
from mmgr.synth.streets import plan_around

FACTORS = ("built", "human", "shared")
"""Fields that labels depend on: seen in images only, in POIs only, in both."""
NUISANCES = ("ground", "water")
"""Fields of the images that no label depends on, beside the light of each date."""
FIRST_YEAR = 2016
"""Of the first date's images; further dates are two years apart."""
_MEAN_SPREAD = 0.4
"""Standard deviation of a factor's mean between cities."""
_RANGES = (1.0, 1.0, 1.0, 1.0, 5.0)
"""Of the factors and of ground and water, in practical ranges of the factors."""
_RANGE_OF_LIGHT = 1.5


@dataclass(frozen=True, slots=True)
class City:
    """One made city."""

    number: int
    """Counted from 1."""
    key: np.uint64
    """Start of all its chances."""
    fields: Fields
    """The factors, the nuisances, and the light of each date, in this order."""
    looks: tuple[Look, ...]
    """Of each date."""
    size: tuple[float, float]
    """Width and height in metres."""
    metres: float
    """Edge of a pixel."""

    @property
    def name(self) -> str:
        """Name of its group, folder and files."""
        return f"city_{self.number}"

    def image(self, column: int, row: int, columns: int, rows: int, *, date: int = 0) -> NDArray[np.uint8]:
        """Return a window of the image of a date, shape ``(rows, columns, 3)``.

        Pixels are counted from the city's north-west corner. A pixel is the same to the bit in
        whatever window it is asked for.
        """
        look, metres = self.looks[date], self.metres
        left, above, right, below = margins(look, metres)
        first = (column - left, row - above)
        shape = (rows + above + below, columns + left + right)
        bounds = (first[0] * metres, first[1] * metres, (first[0] + shape[1]) * metres, (first[1] + shape[0]) * metres)
        plan = plan_around(self.fields, self.key, self.size, bounds)
        colour, height, kind = np.empty((*shape, 3), np.float32), np.empty(shape, np.float32), np.empty(shape, np.uint8)
        paint(plan, look.green, look.sun, first, metres, colour, height, kind)
        plant(plan, look, first, metres, colour, height, kind)
        image = np.empty((rows, columns, 3), np.uint8)
        expose(plan, look, (column, row), metres, (left, above), colour, height, image)
        return image


def make_one_city(settings: Settings, number: int, size: tuple[float, float]) -> City:
    """Draw the city of a number, counted from 1, with a width and a height in metres."""
    # compiled functions give plain integers back, which they would not take for 64 unsigned bits
    key = np.uint64(fold(np.uint64(settings.seed), number, 0))
    rng = np.random.default_rng([settings.seed, number])
    means = np.concatenate([rng.normal(0, _MEAN_SPREAD, len(FACTORS)), np.zeros(len(NUISANCES))])
    fields = make_fields(settings.reach * np.array(_RANGES), means, rng)
    looks = []
    for date in range(settings.dates):
        # a date has chances of its own: more dates are further images of the same city
        own = np.random.default_rng([settings.seed, number, 1 + date])
        fields = fields.joined(make_fields(np.array([settings.reach * _RANGE_OF_LIGHT]), np.zeros(1), own))
        looks.append(_draw_look(date, own))
    return City(number, key, fields, tuple(looks), size, settings.metres_per_pixel)


def year_of(date: int) -> int:
    """Return the year in the names of a date's images."""
    return FIRST_YEAR + 2 * date


def _draw_look(date: int, rng: np.random.Generator) -> Look:
    azimuth, elevation = np.radians(rng.uniform(125, 235)), np.radians(rng.uniform(40, 62))
    red, green, blue = rng.lognormal(0, 0.04, 3) * rng.lognormal(0.1, 0.1)
    return Look(
        date=date,
        green=float(rng.uniform(0.2, 1.0)),
        sun=(float(np.sin(azimuth)), float(-np.cos(azimuth))),
        shadow=float(1 / np.tan(elevation)),
        gain=(float(red), float(green), float(blue)),
        haze=float(rng.uniform(0, 18)),
        lift=float(rng.uniform(0.0, 0.35)),
        blur=float(rng.uniform(0.5, 1.0)),
        grain=float(rng.uniform(1.5, 4.0)),
    )
