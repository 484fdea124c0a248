"""What a made city is made by: the choices of a user, checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from mmgr.errors import InputError

MOST_REGIONS = 100_000_000
_PIXELS = (32, 1024)
_METRES_A_PIXEL = (0.3, 2.0)
_RANGE_IN_EDGES = 8.0


@dataclass(frozen=True, slots=True)
class Dirt:
    """What is wrong with POIs, each as a part of their number."""

    duplicates: float = 0.0
    """Points that occur a second time at the same coordinates, their categories too."""
    outside: float = 0.0
    """Points moved 30 to 60 km away from their city, as by a wrong coordinate."""
    unnamed: float = 0.0
    """Points without a second level."""

    def __post_init__(self) -> None:
        for name in ("duplicates", "outside", "unnamed"):
            _within(f"the part of {name}", getattr(self, name), 0.0, 0.5)

    @property
    def any(self) -> bool:
        """Whether anything is wrong."""
        return self.duplicates > 0 or self.outside > 0 or self.unnamed > 0


@dataclass(frozen=True, slots=True)
class Settings:
    """A made city, or several."""

    regions: int
    """Regions of all cities together."""
    cities: int = 1
    """Cities, which share the regions as evenly as can be."""
    layout: str = "contiguous"
    """`contiguous`: cells of a grid over mosaics; `scattered`: one image for each place, with gaps between places."""
    pixels: int = 128
    """Edge of a region in pixels."""
    metres_per_pixel: float = 1.0
    """Edge of a pixel."""
    dates: int = 1
    """Images of each place; each date has its own season, sun and sensor."""
    noise: float = 0.3
    """Standard deviation of a label's noise, divided by that of its signal: R2 is at most ``1 / (1 + noise^2)``."""
    range_metres: float | None = None
    """Metres at which a factor's correlation has fallen to 0.05; 8 times a region's edge by default."""
    tract: int = 3
    """Edge of a label polygon that is larger than regions: in cells, or in gaps between scattered places."""
    dirt: Dirt = field(default_factory=Dirt)
    """What is wrong with the POIs."""
    seed: int = 0
    """Of everything; one seed gives one city, to the bit."""

    def __post_init__(self) -> None:
        _within("cities", self.cities, 1, 10_000)
        _within("regions", self.regions, 4 * self.cities, MOST_REGIONS)
        _within("pixels", self.pixels, *_PIXELS)
        _within("metres per pixel", self.metres_per_pixel, *_METRES_A_PIXEL)
        _within("dates", self.dates, 1, 20)
        _within("noise", self.noise, 0.0, 10.0)
        _within("tract", self.tract, 1, 100)
        _within("seed", self.seed, 0, 2**63 - 1)
        if self.layout not in {"contiguous", "scattered"}:
            raise InputError(f"a made city is `contiguous` or `scattered`, not {self.layout!r}; set --layout.")
        if self.pixels % 16:
            raise InputError(f"pixels must be a multiple of 16, which tiles of a GeoTIFF are, got {self.pixels}.")
        if self.range_metres is not None:
            _within("range", self.range_metres, 2 * self.edge, 1e6)

    @property
    def edge(self) -> float:
        """Edge of a region in metres."""
        return self.pixels * self.metres_per_pixel

    @property
    def reach(self) -> float:
        """Practical range of the factors in metres."""
        return _RANGE_IN_EDGES * self.edge if self.range_metres is None else self.range_metres

    @property
    def ceiling(self) -> float:
        """Expected R2 of the noise-free labels of regions against the noisy ones."""
        return 1 / (1 + self.noise**2)


def _within(what: str, value: float, low: float, high: float) -> None:
    # also catches NaN, which compares with nothing
    if not low <= value <= high:
        raise InputError(f"a made city: {what} must be {low:,g} to {high:,g}, got {value:,g}.")
