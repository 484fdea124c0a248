"""All images of a run, as one collection."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError

from mmgr.config import Images
from mmgr.console import log
from mmgr.errors import ImageryError, RegionError
from mmgr.imagery.files import ImageFile, SetAside, open_files
from mmgr.imagery.gaps import Gap
from mmgr.imagery.stretch import Stretch, find_stretch
from mmgr.tables import TRUE_SCALE, areal_scale, counts_metres, crs_name, metric_crs

WIDEST = 12.0
"""Degrees of longitude that one UTM zone may be stretched to: two zones."""
MOST_SCALE = 0.2
"""Share by which areas may be wrong in a CRS that the user names: a country's own may be off at its edges."""
_STEPS = 8
"""Parts of a footprint's edge: a straight edge is bent in another CRS."""


class Imagery:
    """The images of a run, and those that were set aside.

    Attributes
    ----------
    files
        The images in use, sorted by path.
    bands
        Bands to read, counted from 1.
    stretch
        Per data type, the values of each band that become 0 and 255.
    nodata
        Value for no image in files that do not name one.
    gaps
        Values that look like no image though nothing says so.
    """

    def __init__(
        self,
        files: tuple[ImageFile, ...],
        *,
        bands: tuple[int, ...],
        stretch: Stretch,
        nodata: float | None = None,
        set_aside: tuple[SetAside, ...] = (),
        gaps: tuple[Gap, ...] = (),
    ) -> None:
        self.files = files
        self.bands = bands
        self.stretch = stretch
        self.nodata = nodata
        self.gaps = gaps
        self._set_aside = list(set_aside)

    @classmethod
    def open(cls, settings: Images) -> Imagery:
        """Open one image or all images below a folder.

        Raises
        ------
        ImageryError
            If there is no image, none that can be used, or one with too few bands.
        """
        files, aside = open_files(settings.path, bands=settings.bands, date=settings.date)
        stretch, failed, gaps = find_stretch(
            files, bands=settings.bands, fixed=settings.stretch, nodata=settings.nodata
        )
        aside += failed
        unusable = {entry.path for entry in failed}
        used = tuple(file for file in files if file.path not in unusable)
        if not used:
            shown = "\n".join(f"  {entry.path}: {entry.reason}" for entry in aside[:5])
            raise ImageryError(f"images: none of the files of {settings.path} can be read:\n{shown}")
        if aside:
            log.warning("images: %d of %d files are set aside", len(aside), len(aside) + len(used))
        return cls(
            used,
            bands=settings.bands,
            stretch=stretch,
            nodata=settings.nodata,
            set_aside=tuple(aside),
            gaps=tuple(gaps),
        )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def set_aside(self) -> tuple[SetAside, ...]:
        """Files that are not used, with those that failed while patches were cut."""
        return tuple(self._set_aside)

    def put_aside(self, path: Path, reason: str) -> None:
        """Set a file aside that fails while it is read; the run goes on without it."""
        if path not in {entry.path for entry in self._set_aside}:
            self._set_aside.append(SetAside(path, reason))
            log.warning("set aside: %s: %s", path, reason)

    @property
    def crs(self) -> CRS | None:
        """The one CRS of all images; None if there are several."""
        systems = {id(file.crs): file.crs for file in self.files}
        return next(iter(systems.values())) if len(systems) == 1 else None

    def footprints(self, crs: CRS) -> gpd.GeoDataFrame:
        """Return the outlines of all files in ``crs``, in the order of ``files``, with their bent edges."""
        shapes = np.empty(len(self.files), object)
        for rows, system in self._by_crs():
            outlines = np.array([self.files[row].footprint for row in rows], object)
            lengths = shapely.length(outlines) / (4 * _STEPS)
            bent = outlines if system is crs else shapely.segmentize(outlines, lengths)
            shapes[rows] = transform_shapes(bent, system, crs)
        return gpd.GeoDataFrame(geometry=shapes, crs=crs)

    @property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all images in degrees; east is above 180 across the date line."""
        bounds = self.footprints(CRS.from_epsg(4326)).bounds.to_numpy()
        west, south, east, north = bounds.T
        if east.max() - west.min() > 180:
            west, east = west % 360, east % 360
        return float(west.min()), float(south.min()), float(east.max()), float(north.max())

    def _by_crs(self) -> list[tuple[NDArray[np.int64], CRS]]:
        systems = np.array([id(file.crs) for file in self.files])
        groups = [np.flatnonzero(systems == system) for system in np.unique(systems)]
        return [(rows, self.files[rows[0]].crs) for rows in groups]


def store_crs(imagery: Imagery, wanted: str | None) -> CRS:
    """Choose the projected CRS in metres that all distances are measured in.

    The user's; else that of the images, if they share one that keeps areas to within 5 % (Web
    Mercator does not, away from the equator); else the UTM zone of the images' centre.

    Raises
    ------
    RegionError
        If ``wanted`` is unknown, not in metres or far from keeping areas, or the images are too far apart for one zone.
    """
    return choose_crs(imagery.lonlat_bounds, wanted, own=imagery.crs, what="the images")


def choose_crs(
    bounds: tuple[float, float, float, float], wanted: str | None, *, own: CRS | None = None, what: str, hint: str = ""
) -> CRS:
    """Choose a projected CRS in metres for things within bounds (west, south, east, north in degrees).

    As :func:`store_crs` does for images; ``own`` is the CRS that the things, named by ``what``, share;
    ``hint`` says which of them may be the cause where the bounds are too wide.

    Raises
    ------
    RegionError
        If ``wanted`` is unknown, not in metres or far from keeping areas, or the bounds are too wide for one zone.
    """
    west, south, east, north = bounds
    centre = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
    utm = _utm(*centre)
    if wanted is not None:
        try:
            crs = CRS.from_user_input(wanted)
        except CRSError:
            raise RegionError(f"regions.crs: {wanted!r} is no known CRS; write it like {_code(utm)}.") from None
        suggestion = f"{_code(utm)} ({utm.name}, where {what} are)"
        crs = metric_crs(crs, what="regions.crs", suggestion=suggestion)
        _check_areas(crs, *centre, what, "an equal-area one" if east - west > WIDEST else suggestion)
        return crs
    if own is not None and counts_metres(own) and _keeps_areas(own, *centre):
        return own
    if east - west > WIDEST:
        raise RegionError(
            f"{what} reach from longitude {west:.2f} to {east:.2f}, too far for one UTM zone; set `regions.crs` "
            "to a projected CRS in metres for all of them, such as a national or an equal-area one."
            + (f" But {hint}." if hint else "")
        )
    log.info("regions: distances are measured in %s (%s)", _code(utm), utm.name)
    return utm


@lru_cache(maxsize=64)
def transformer(start: CRS, goal: CRS) -> Transformer:
    """Return the transformation between two CRSs, with x before y."""
    return Transformer.from_crs(start, goal, always_xy=True)


def transform_points(xy: NDArray[np.float64], start: CRS, goal: CRS) -> NDArray[np.float64]:
    """Bring points, shape ``(n, 2)``, from one CRS into another."""
    if start is goal or start == goal:
        return xy
    x, y = transformer(start, goal).transform(xy[:, 0], xy[:, 1])
    return np.stack([x, y], axis=1)


def transform_shapes(shapes: NDArray[Any], start: CRS, goal: CRS) -> NDArray[Any]:
    """Bring geometries from one CRS into another."""
    return np.asarray(shapely.transform(shapes, lambda xy: transform_points(xy, start, goal)), object)


def _utm(longitude: float, latitude: float) -> CRS:
    zone = int((longitude + 180) // 6) % 60 + 1
    return CRS.from_epsg((32600 if latitude >= 0 else 32700) + zone)


def _code(crs: CRS) -> str:
    return ":".join(crs.to_authority() or (crs.name,))


def _keeps_areas(crs: CRS, longitude: float, latitude: float) -> bool:
    return abs(areal_scale(crs, longitude, latitude) - 1) <= TRUE_SCALE


def _check_areas(crs: CRS, longitude: float, latitude: float, what: str, suggestion: str) -> None:
    """Refuse a CRS that the user names and that is far from keeping areas; a national one may be a little off."""
    scale = areal_scale(crs, longitude, latitude)
    if abs(scale - 1) <= TRUE_SCALE:
        return
    wrong = (
        f"makes areas {scale:.3g} times what they are where {what} are"
        if np.isfinite(scale)
        else f"has no place for {what}"
    )
    if abs(scale - 1) > MOST_SCALE or not np.isfinite(scale):
        raise RegionError(
            f"regions.crs: {crs_name(crs)} {wrong}: distances and densities would be wrong; leave it out, or set it to "
            f"a CRS that keeps areas, e.g. {suggestion}."
        )
    log.warning(
        "regions.crs: %s %s: densities are off by as much; a CRS that keeps areas is %s",
        crs_name(crs), wrong, suggestion,
    )  # fmt: skip
