"""What a projection does to areas and lengths at the places that are mapped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Proj

TRUE_SCALE = 0.05
"""Share by which areas and lengths may be wrong in a CRS that is taken for metric."""
_CELLS = 10.0
"""Of places in one tenth of a degree one is looked at: distortion changes slowly."""


@dataclass(frozen=True, slots=True)
class Distortion:
    """How many times what it is on the ground an area, or a length, is in a projected CRS at one place.

    All are infinite where the CRS has no place for it.
    """

    longitude: float
    """Of the place, in degrees."""
    latitude: float
    """Of the place, in degrees."""
    area: float
    """Scale of areas."""
    north: float
    """Scale of lengths from north to south."""
    east: float
    """Scale of lengths from east to west."""
    least: float
    """Least scale of lengths over all directions."""
    most: float
    """Largest scale of lengths over all directions."""

    @property
    def has_place(self) -> bool:
        """Whether the CRS has a place for it."""
        return bool(np.isfinite([self.area, self.north, self.east, self.least, self.most]).all())

    @property
    def share(self) -> float:
        """Largest share by which an area, or a length in any direction, is wrong."""
        return max(abs(self.area - 1), abs(self.least - 1), abs(self.most - 1)) if self.has_place else np.inf

    def told(self, what: str) -> str:
        """Say what the CRS does to things named by ``what``, to follow the name of the CRS."""
        where = f"(longitude {self.longitude:.2f}, latitude {self.latitude:.2f})"
        if not self.has_place:
            return f"has no place for {what} {where}"
        if self.most <= self.least * (1 + TRUE_SCALE):
            return f"makes areas {self.area:.3g} times what they are where {what} are {where}"
        if max(self.north, self.east) <= min(self.north, self.east) * (1 + TRUE_SCALE):
            return (
                f"makes lengths {self.least:.3g} to {self.most:.3g} times what they are, by their direction, where "
                f"{what} are {where}"
            )
        return (
            f"makes lengths {self.north:.3g} times what they are from north to south and {self.east:.3g} times from "
            f"east to west where {what} are {where}: a square of 1000 m is {1000 / self.north:.0f} m high and "
            f"{1000 / self.east:.0f} m wide on the ground"
        )


def worst_distortion(crs: CRS, lonlat: NDArray[np.float64]) -> Distortion:
    """Return what a projected CRS does where areas or lengths are most wrong.

    Lengths count as well as areas: an equal-area CRS keeps areas, and far from where it is true it draws things long
    in one direction and short in the other.

    Parameters
    ----------
    crs
        A projected CRS.
    lonlat
        Places in degrees, finite, shape ``(n, 2)`` with ``n`` of at least 1.
    """
    cells = np.floor(lonlat * _CELLS).astype(np.int64)
    _, first = np.unique(cells[:, 0] * 10_000 + cells[:, 1], return_index=True)
    places = lonlat[np.sort(first)]
    found = Proj(crs).get_factors(places[:, 0], places[:, 1])
    scales = np.stack(
        [
            found.areal_scale,
            found.meridional_scale,
            found.parallel_scale,
            found.tissot_semiminor,
            found.tissot_semimajor,
        ],
        axis=1,
    )
    all_ = [Distortion(*place, *values) for place, values in zip(places.tolist(), scales.tolist(), strict=True)]
    return max(all_, key=lambda one: one.share)
