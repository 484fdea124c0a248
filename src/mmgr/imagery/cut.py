"""Cut the patch of each region from the images."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from itertools import groupby
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio.crs
import shapely
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.imagery.collection import Imagery, transformer
from mmgr.imagery.files import ImageFile
from mmgr.imagery.gdal import READ_ERRORS, OpenRasters, gdal, reason_of
from mmgr.imagery.interleave import Room
from mmgr.imagery.plan import ReadingPlan, plan_reading
from mmgr.imagery.read import Piece, Source, read_box, warped
from mmgr.imagery.stretch import apply_stretch
from mmgr.imagery.windows import PixelBox, box_of_ring, is_square
from mmgr.store import Patches

COVERED = 0.5
"""A patch's pixel has image if files cover at least this share of it."""
_CHUNK_BYTES = 2**25
_CHUNK_REGIONS = 64


def cut_patches(
    imagery: Imagery, regions: gpd.GeoDataFrame, *, pixels: int, min_valid: float, skip: Collection[str] = ()
) -> Iterator[Patches]:
    """Yield the patches of each region that is not in ``skip``, in an order that suits the files.

    The patch is the square around the region's bounding box. Files of one date are laid together,
    the one that covers most of the patch first, the others filling its holes; each date is a view,
    and dates are sorted. Pixels
    without image are 0. Where the square lies on an image's own pixels, and there are as many,
    values are those of the file; else they are averaged by area where the image shrinks and
    bilinear where it grows, in the image's own CRS if the region is an upright square there, or
    warped into the regions' CRS. A file that fails is set aside in ``imagery`` with its reason,
    and no later region gets a view of it.

    Parameters
    ----------
    imagery
        The images.
    regions
        Indexed by ``region_id``, in a projected CRS in metres.
    pixels
        Edge of a patch.
    min_valid
        Views of which a smaller share has image are left out; a region may keep none.
    skip
        Ids of regions that are not needed.
    """
    plan = plan_reading(imagery, regions, skip=skip)
    size = pixels * pixels * len(imagery.bands)
    chunk = max(1, min(_CHUNK_REGIONS, _CHUNK_BYTES // size))
    warp_crs = rasterio.crs.CRS.from_wkt(CRS.from_user_input(regions.crs).to_wkt())
    warp = partial(warped, crs=warp_crs, band=imagery.bands[0], nodata=imagery.nodata)
    with OpenRasters(warp) as rasters:
        cutter = _Cutter(imagery, regions, plan, rasters, pixels=pixels, min_valid=min_valid)
        for start in range(0, len(plan.order), chunk):
            # GDAL's settings belong to the thread: they are put back before the caller goes on
            with gdal():
                ready = [cutter.patches(int(row)) for row in plan.order[start : start + chunk]]
            yield from ready


class _Cutter:
    """Cuts one region after another from files that stay open."""

    def __init__(
        self,
        imagery: Imagery,
        regions: gpd.GeoDataFrame,
        plan: ReadingPlan,
        rasters: OpenRasters,
        *,
        pixels: int,
        min_valid: float,
    ) -> None:
        self._imagery = imagery
        self._shapes = regions.geometry.to_numpy()
        crs = CRS.from_user_input(regions.crs)
        self._plan = plan
        self._rasters = rasters
        self._pixels = pixels
        self._min_valid = min_valid
        systems = {id(file.crs): file.crs for file in imagery.files}
        self._to_file = {key: None if own == crs else transformer(crs, own) for key, own in systems.items()}
        self._inverse = [(~file.transform)[:6] for file in imagery.files]
        self._failed: set[Path] = set()
        self._room = Room(pixels, len(imagery.bands))
        self._empty_pixels: dict[tuple[Path, bool], tuple[bool, int | None]] = {}

    def patches(self, row: int) -> Patches:
        """Cut all views of a region."""
        files = sorted(self._plan.files_of(row), key=lambda number: self._imagery.files[number].date)
        dates, views = [], []
        for date, numbers in groupby(files, key=lambda number: self._imagery.files[number].date):
            view = self._view(row, list(numbers))
            if view is not None:
                dates.append(date)
                views.append(view)
        if not views:
            return Patches(row, (), np.zeros((0, self._pixels, self._pixels, len(self._imagery.bands)), np.uint8))
        return Patches(row, tuple(dates), np.stack(views) if len(views) > 1 else views[0][None])

    def _view(self, row: int, numbers: list[int]) -> NDArray[np.uint8] | None:
        """Lay the files of one date together; None if too little of the patch has image."""
        layers: _Layers | None = None
        for number in self._by_share(row, numbers):
            file = self._imagery.files[number]
            piece = self._piece(row, number)
            if piece is None:
                continue
            limits = self._imagery.stretch.get(file.dtype)
            if piece.weight is None and limits is None and piece.values.dtype == np.uint8 and layers is None:
                return piece.values
            layers = layers or _Layers(self._pixels, len(self._imagery.bands))
            layers.add(apply_stretch(piece.values, limits), piece.weight)
            if layers.is_full:
                break
        return None if layers is None else layers.view(self._min_valid)

    def _by_share(self, row: int, numbers: list[int]) -> list[int]:
        """Sort files so that those which cover most of the patch come first: fewer seams, fewer reads."""
        if len(numbers) == 1:
            return numbers
        shares = {}
        for number in numbers:
            file = self._imagery.files[number]
            box = self._box(row, number, file)
            if box is None:
                box = PixelBox(*_span(self._in_pixels(_ring(self._plan.squares[row]), number, file)))
            shares[number] = round(box.share_within(file.width, file.height), 2)
        return sorted(numbers, key=lambda number: -shares[number])

    def _piece(self, row: int, number: int) -> Piece | None:
        file = self._imagery.files[number]
        if file.path in self._failed:
            return None
        try:
            return self._read(row, number, file)
        except READ_ERRORS as error:
            self._failed.add(file.path)
            self._imagery.put_aside(file.path, f"cannot be read at {self._place(row)}: {reason_of(error)}")
            return None

    def _place(self, row: int) -> str:
        west, south, east, north = self._plan.squares[row]
        return f"x {west:.1f} to {east:.1f}, y {south:.1f} to {north:.1f}"

    def _read(self, row: int, number: int, file: ImageFile) -> Piece | None:
        box = self._box(row, number, file)
        upright = box is not None
        if box is None:
            box = PixelBox(*_span(self._in_pixels(_ring(self._plan.squares[row]), number, file)))
        overview = self._overview(file, min(box.width, box.height) / self._pixels)
        source = self._source(file, overview, warped=not upright)
        if not upright:
            a, _, c, _, e, f = (~source.raster.transform)[:6]
            west, south, east, north = self._plan.squares[row].tolist()
            box = PixelBox(a * west + c, e * north + f, a * east + c, e * south + f)
        elif overview is not None:
            box = box.scaled(source.raster.width / file.width, source.raster.height / file.height)
        return read_box(source, box.snapped(), self._pixels, self._room)

    def _overview(self, file: ImageFile, shrink: float) -> int | None:
        """Return the smallest overview that still has two pixels for each of the patch's, if there is one."""
        if self._imagery.nodata is not None and file.nodata is None:
            return None  # the overviews were made of pixels that the file does not know to be empty
        if not file.overviews:
            return None
        enough = [level for level, factor in enumerate(file.overviews) if factor <= shrink / 2]
        return enough[-1] if enough else None

    def _source(self, file: ImageFile, overview: int | None, *, warped: bool) -> Source:
        raster = self._rasters.get(file.path, overview, warped=warped)
        bands, nodata = self._imagery.bands, self._imagery.nodata
        key = file.path, warped
        if key not in self._empty_pixels:
            source = Source.of(raster, bands, nodata)
            self._empty_pixels[key] = source.always_valid, source.alpha
        always, alpha = self._empty_pixels[key]
        return Source(raster, bands, nodata, always, alpha)

    def _box(self, row: int, number: int, file: ImageFile) -> PixelBox | None:
        """Return the patch's rectangle among the file's pixels; None if it is no upright one."""
        square = self._plan.squares[row]
        if file.is_upright and self._to_file[id(file.crs)] is None:
            a, _, c, _, e, f = self._inverse[number]
            west, south, east, north = square.tolist()
            return PixelBox(a * west + c, e * north + f, a * east + c, e * south + f)
        if file.crs.is_projected:
            # a footprint of this image is upright here, though it may be turned in the regions' CRS
            outline = self._outline(row)
            box = None if outline is None else box_of_ring(self._in_pixels(outline, number, file), self._pixels)
            if box is not None and is_square(box, file.pixel_size):
                return box
        return box_of_ring(self._in_pixels(_ring(square), number, file), self._pixels)

    def _outline(self, row: int) -> NDArray[np.float64] | None:
        shape = self._shapes[row]
        if shape.geom_type == "MultiPolygon" and len(shape.geoms) == 1:
            shape = shape.geoms[0]
        return np.asarray(shapely.get_coordinates(shape.exterior)) if shape.geom_type == "Polygon" else None

    def _in_pixels(self, ring: NDArray[np.float64], number: int, file: ImageFile) -> NDArray[np.float64]:
        x, y = ring.T
        to_file = self._to_file[id(file.crs)]
        if to_file is not None:
            x, y = to_file.transform(x, y)
        a, b, c, d, e, f = self._inverse[number]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=1)


class _Layers:
    """Files of one date laid together: each gives what earlier ones leave open."""

    def __init__(self, pixels: int, bands: int) -> None:
        self._total = np.zeros((pixels, pixels, bands), np.float32)
        self._cover = np.zeros((pixels, pixels), np.float32)

    def add(self, values: NDArray[np.float32], weight: NDArray[np.float32] | None) -> None:
        """Add a file's values, shape ``(p, p, bands)``, where there is room; weight None is all."""
        room = 1 - self._cover
        share = room if weight is None else np.minimum(weight, room)
        self._total += values * share[:, :, None]
        self._cover += share

    @property
    def is_full(self) -> bool:
        """Whether no pixel has room left."""
        return bool(self._cover.min() >= 1 - 1e-4)

    def view(self, min_valid: float) -> NDArray[np.uint8] | None:
        """Return the patch, 0 where there is no image; None if less than ``min_valid`` has one."""
        valid = self._cover >= COVERED
        if not valid.any() or valid.mean() < min_valid:
            return None
        mean = self._total / np.where(valid, self._cover, 1)[:, :, None]
        return np.asarray(np.where(valid[:, :, None], np.clip(np.rint(mean), 0, 255), 0), np.uint8)


def _ring(square: NDArray[np.float64]) -> NDArray[np.float64]:
    west, south, east, north = square
    return np.array([[west, north], [east, north], [east, south], [west, south], [west, north]])


def _span(ring: NDArray[np.float64]) -> tuple[float, float, float, float]:
    (left, top), (right, bottom) = ring.min(axis=0).tolist(), ring.max(axis=0).tolist()
    return left, top, right, bottom
