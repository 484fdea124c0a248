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
from mmgr.distortion import TRUE_SCALE, worst_distortion
from mmgr.errors import ImageryError, RegionError
from mmgr.imagery.files import ImageFile, SetAside, open_files
from mmgr.imagery.gaps import Gap
from mmgr.imagery.stretch import Stretch, find_stretch
from mmgr.lonlat import lonlat_bounds, places_of
from mmgr.tables import counts_metres, crs_name, metric_crs

WIDEST = 12.0
"""Degrees of longitude that one UTM zone may be stretched to: two zones."""
MOST_SCALE = 0.2
"""Share by which areas and lengths may be wrong in a CRS that is named: a country's own may be off at its edges."""
_TRUE_ONE = (
    "a projected CRS in metres that keeps areas and lengths wherever they are, as a country's or a continent's own may"
)
_RUN_A_CITY = "make a run for each city"
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
            outlines = self._outlines(rows)
            shapes[rows] = transform_shapes(outlines if system is crs else _with_steps(outlines), system, crs)
        return gpd.GeoDataFrame(geometry=shapes, crs=crs)

    @property
    def lonlat(self) -> NDArray[np.float64]:
        """Places on the outlines of all images, and inside each, in degrees, shape ``(n, 2)``."""
        return np.concatenate([places_of(_with_steps(self._outlines(rows)), system) for rows, system in self._by_crs()])

    @property
    def lonlat_bounds(self) -> tuple[float, float, float, float]:
        """West, south, east and north of all images in degrees; east is above 180 across the date line."""
        return lonlat_bounds(self.lonlat)

    def _outlines(self, rows: NDArray[np.int64]) -> NDArray[np.object_]:
        return np.array([self.files[row].footprint for row in rows], object)

    def _by_crs(self) -> list[tuple[NDArray[np.int64], CRS]]:
        systems = np.array([id(file.crs) for file in self.files])
        groups = [np.flatnonzero(systems == system) for system in np.unique(systems)]
        return [(rows, self.files[rows[0]].crs) for rows in groups]


def store_crs(imagery: Imagery, wanted: str | None, *, places: NDArray[np.float64] | None = None) -> CRS:
    """Choose the projected CRS in metres that all distances are measured in.

    The user's; else that of the images, if they share one that keeps areas and lengths to within 5 % (Web
    Mercator does not, away from the equator); else the UTM zone of the images' centre.

    Parameters
    ----------
    imagery
        The images.
    wanted
        The CRS that the user names, if any.
    places
        What is mapped of the images, in degrees, shape ``(n, 2)``; by default all.

    Raises
    ------
    RegionError
        If ``wanted`` is unknown, not in metres or far from keeping areas and lengths, or the images are too far apart
        for one zone.
    """
    lonlat = imagery.lonlat
    return choose_crs(
        lonlat_bounds(lonlat),
        wanted,
        places=lonlat if places is None else places,
        own=imagery.crs,
        what="the images",
        remedy=f"{_RUN_A_CITY}; `pretrain.bundle` lets them share a model",
    )


def choose_crs(
    bounds: tuple[float, float, float, float],
    wanted: str | None,
    *,
    places: NDArray[np.float64] | None = None,
    own: CRS | None = None,
    what: str,
    hint: str = "",
    remedy: str = _RUN_A_CITY,
) -> CRS:
    """Choose a projected CRS in metres for things within bounds (west, south, east, north in degrees).

    As :func:`store_crs` does for images. Areas and lengths are looked at wherever things are.

    Parameters
    ----------
    bounds
        The things' bounds; east is above 180 across the date line.
    wanted
        The CRS that the user names, if any.
    places
        Where the things are, in degrees, shape ``(n, 2)``; by default the corners and the centre of the bounds.
    own
        The CRS that the things share.
    what
        What the things are, for messages.
    hint
        Which of them may be the cause where the bounds are too wide.
    remedy
        What to do where no CRS is true to all of them.

    Raises
    ------
    RegionError
        If ``wanted`` is unknown, not in metres or far from keeping areas and lengths, or the bounds are too wide for
        one zone.
    """
    west, south, east, north = bounds
    centre = ((west + east) / 2 + 180) % 360 - 180, (south + north) / 2
    if places is None:
        places = np.array([centre, (west, south), (west, north), (east, south), (east, north)])
    utm = _utm(*centre)
    if wanted is not None:
        try:
            crs = CRS.from_user_input(wanted)
        except CRSError:
            raise RegionError(f"regions.crs: {wanted!r} is no known CRS; write it like {_code(utm)}.") from None
        suggestion = f"{_code(utm)} ({utm.name}, where {what} are)"
        crs = metric_crs(crs, what="regions.crs", suggestion=suggestion)
        leave = f"leave it out, or set it to one that keeps areas and lengths, e.g. {suggestion}"
        _check_scale(crs, places, what, f"set it to {_TRUE_ONE}, or {remedy}" if east - west > WIDEST else leave)
        return crs
    if own is not None and counts_metres(own) and worst_distortion(own, places).share <= TRUE_SCALE:
        return own
    if east - west > WIDEST:
        raise RegionError(
            f"{what} reach from longitude {west:.2f} to {east:.2f}, too far for one UTM zone; set `regions.crs` "
            f"to {_TRUE_ONE}, or {remedy}." + (f" But {hint}." if hint else "")
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


def _with_steps(outlines: NDArray[np.object_]) -> NDArray[np.object_]:
    """Give straight edges points on them, which are bent in another CRS."""
    return np.asarray(shapely.segmentize(outlines, shapely.length(outlines) / (4 * _STEPS)), object)


def _check_scale(crs: CRS, places: NDArray[np.float64], what: str, remedy: str) -> None:
    """Refuse a CRS that the user names and that is far from true; a national one may be a little off."""
    worst = worst_distortion(crs, places)
    if worst.share <= TRUE_SCALE:
        return
    wrong = f"regions.crs: {crs_name(crs)} {worst.told(what)}"
    if worst.share > MOST_SCALE:
        raise RegionError(f"{wrong}. Distances and densities would be wrong; {remedy}.")
    log.warning("%s. Distances and densities are off by as much; to have them nearer to the truth, %s", wrong, remedy)
