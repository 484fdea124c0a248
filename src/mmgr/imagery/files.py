"""Which images there are: one mosaic, or a folder of files, with what each file says of itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import shapely
from affine import Affine
from pyproj import CRS
from rasterio.enums import MaskFlags

from mmgr.console import log, track
from mmgr.errors import ImageryError
from mmgr.files import nearest_files
from mmgr.imagery.dates import dates_in_names
from mmgr.imagery.gdal import READ_ERRORS, gdal, open_raster, reason_of

SUFFIXES = (".tif", ".tiff", ".vrt")
"""Files that are images, whatever the case of their suffix."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A file that is not used."""

    path: Path
    reason: str


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A georeferenced image, as its header describes it."""

    path: Path
    crs: CRS
    transform: Affine
    """From column and row to coordinates."""
    width: int
    height: int
    count: int
    """Bands, alpha included."""
    dtype: str
    nodata: float | None
    """The file's own value for no image; its masks are known only when it is read."""
    date: str
    """``yyyy-mm-dd``, ``yyyy``, or what the user's pattern caught; empty if unknown."""
    place: str
    """The file's name without its date: files of one place differ in the date only."""
    folder: str
    """Name of the sub-folder that the file lies in; empty for the top folder."""
    block_height: int
    """Rows that the file stores together."""
    overviews: tuple[int, ...]
    """Factors by which the file's overviews are smaller."""

    @property
    def footprint(self) -> shapely.Polygon:
        """The outline in the file's own CRS."""
        a, b, c, d, e, f = self.transform[:6]
        corners = [(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]
        return shapely.Polygon([(a * x + b * y + c, d * x + e * y + f) for x, y in corners])

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in units of the CRS."""
        a, b, _, d, e, _ = self.transform[:6]
        return (a * a + d * d) ** 0.5, (b * b + e * e) ** 0.5

    @property
    def is_upright(self) -> bool:
        """Whether rows run west to east, and north is up."""
        return self.transform.b == 0 == self.transform.d and self.transform.a > 0 > self.transform.e


def find_files(path: Path) -> list[Path]:
    """Return the image file itself, or all image files below a folder, sorted.

    Raises
    ------
    ImageryError
        If there is nothing at ``path``, or no image below it.
    """
    if not path.exists():
        raise ImageryError(f"images: {path} does not exist. {nearest_files(path)}".strip())
    if path.is_file():
        return [path]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        kinds = Counter(file.suffix.lower() or "none" for file in path.rglob("*") if file.is_file())
        there = ", ".join(f"{count} of suffix {suffix}" for suffix, count in kinds.most_common(4)) or "nothing"
        raise ImageryError(
            f"images: the folder {path} holds no image ({', '.join(SUFFIXES)}); it holds {there}. "
            "Set `images.path` to a GeoTIFF, COG or VRT, or to a folder of them."
        )
    return files


def open_files(root: Path, *, bands: Sequence[int], date: str | None) -> tuple[list[ImageFile], list[SetAside]]:
    """Read the header of all images; those that cannot be used are set aside.

    Raises
    ------
    ImageryError
        If a file has fewer bands than asked, or if no file can be used.
    """
    paths = find_files(root)
    names = dates_in_names([path.name for path in paths], date)
    found: list[ImageFile] = []
    aside: list[SetAside] = []
    sources: dict[Path, set[Path]] = {}
    with gdal():
        for path, name in track(list(zip(paths, names, strict=True)), "opening images"):
            try:
                with open_raster(path) as raster:
                    file = _describe(raster, path, root, bands)
                    if path.suffix.lower() == ".vrt":
                        sources[path] = {Path(part).resolve() for part in raster.files} - {path.resolve()}
            except READ_ERRORS as error:
                aside.append(SetAside(path, f"cannot be opened: {reason_of(error)}"))
                continue
            if isinstance(file, SetAside):
                aside.append(file)
            else:
                found.append(replace(file, date=name.date or file.date, place=name.place))
    _refuse_none(found, aside, root)
    return _without_mosaics_of_others(found, sources), aside


def usable_bands(root: Path, most: int = 3) -> tuple[int, ...]:
    """Return the first bands that the image with most of them has, counted from 1; a band of opacity is none.

    An image with a palette has no band that can be read as it is, so where there is nothing else, all ``most`` are
    returned, which :func:`open_files` refuses with what to do.
    """
    best: tuple[int, ...] = ()
    with gdal():
        for path in find_files(root):
            with suppress(*READ_ERRORS), open_raster(path) as raster:
                kinds = [kind.name for kind in raster.colorinterp]
                bands = tuple(n for n, kind in enumerate(kinds[:most], 1) if kind not in {"alpha", "palette"})
                best = max(best, bands, key=len)
            if len(best) == most:
                break
    return best or tuple(range(1, most + 1))


def _describe(raster: Any, path: Path, root: Path, bands: Sequence[int]) -> ImageFile | SetAside:
    if max(bands) > raster.count:
        palette = raster.count == 1 and raster.colorinterp[0].name == "palette"
        remedy = "expand its palette with `gdal_translate -expand rgb`" if palette else "set `images.bands`"
        raise ImageryError(
            f"images: {path} has {raster.count} band{'s' * (raster.count != 1)}, but `images.bands` asks for "
            f"{', '.join(map(str, bands))}; {remedy}, or move the file elsewhere."
        )
    fault = _fault(raster, path)
    if fault:
        return SetAside(path, fault)
    masked = MaskFlags.per_dataset in raster.mask_flag_enums[0] and MaskFlags.alpha not in raster.mask_flag_enums[0]
    return ImageFile(
        path=path,
        crs=_crs(raster.crs.to_wkt()),
        transform=raster.transform,
        width=raster.width,
        height=raster.height,
        count=raster.count,
        dtype=raster.dtypes[bands[0] - 1],
        nodata=raster.nodatavals[bands[0] - 1],
        date=_tagged_day(raster.tags().get("TIFFTAG_DATETIME", "")),
        place="",
        folder=path.parent.name if root.is_dir() and path.parent != root else "",
        block_height=raster.block_shapes[0][0],
        # a mask beside the bands need not have overviews of its own
        overviews=() if masked else tuple(raster.overviews(bands[0])),
    )


def _fault(raster: Any, path: Path) -> str:
    """Say why an image that opens cannot be used; empty if it can."""
    if raster.crs is None or not (raster.crs.is_projected or raster.crs.is_geographic):
        return _NO_CRS
    if raster.transform.is_identity or raster.transform.is_degenerate:
        return "has a CRS, but no geotransform that says where it lies"
    if raster.dtypes[0].startswith("complex"):
        return f"holds complex numbers ({raster.dtypes[0]})"
    if raster.driver == "GTiff":
        return _truncation(raster, path.stat().st_size)
    return ""


_NO_CRS = "has no CRS"


def _truncation(raster: Any, size: int) -> str:
    """Look whether the last block lies within the file: a torn download opens like a whole one."""
    height, width = raster.block_shapes[-1]
    key = f"{(raster.width - 1) // width}_{(raster.height - 1) // height}"
    band = raster.count if raster.interleaving and raster.interleaving.name == "band" else 1
    parts = [raster.get_tag_item(f"BLOCK_{what}_{key}", "TIFF", bidx=band) for what in ("OFFSET", "SIZE")]
    if None in parts:
        return ""
    end = sum(int(part) for part in parts)
    return f"is truncated: its last block ends at byte {end:,}, the file at {size:,}" if end > size else ""


_known_crs: dict[str, CRS] = {}


def _crs(wkt: str) -> CRS:
    """Return one object for all spellings of one CRS."""
    if wkt not in _known_crs:
        crs = CRS.from_wkt(wkt)
        same = (known for known in _known_crs.values() if known.equals(crs, ignore_axis_order=True))
        _known_crs[wkt] = next(same, crs)
    return _known_crs[wkt]


def _tagged_day(text: str) -> str:
    """Return the day of a TIFF time stamp ``yyyy:mm:dd hh:mm:ss``; its time would part a mosaic's tiles."""
    day = text[:10].replace(":", "-")
    return day if len(day) == 10 and day[:4].isdigit() and day[:4] != "0000" else ""


def _refuse_none(found: Sequence[ImageFile], aside: Sequence[SetAside], root: Path) -> None:
    if found:
        return
    first = "\n".join(f"  {entry.path}: {entry.reason}" for entry in aside[:5])
    more = f"\n  and {len(aside) - 5} more" if len(aside) > 5 else ""
    if all(entry.reason == _NO_CRS for entry in aside):
        raise ImageryError(
            f"images: no file of {root} has a CRS, so nothing says where it lies. Write the right one into each with "
            "`gdal_edit.py -a_srs EPSG:xxxx FILE`, or a copy with `gdal_translate -a_srs EPSG:xxxx FILE COPY` "
            f"(and `-a_ullr` if it has no coordinates either):\n{first}{more}"
        )
    raise ImageryError(f"images: none of the {len(aside)} files of {root} can be used:\n{first}{more}")


def _without_mosaics_of_others(files: list[ImageFile], sources: dict[Path, set[Path]]) -> list[ImageFile]:
    """Leave out a VRT whose tiles are used themselves, or each place would be seen twice."""
    used = {file.path.resolve() for file in files if file.path not in sources}
    doubled = {path for path, parts in sources.items() if parts and parts <= used}
    for path in sorted(doubled):
        log.info("images: %s is a mosaic of files that are used themselves; left out", path)
    return [file for file in files if file.path not in doubled]
