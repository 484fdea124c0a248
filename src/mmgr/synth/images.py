"""Write the images of made cities, window by window: memory does not grow with the city."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rasterio
from affine import Affine
from rasterio.windows import Window

from mmgr.console import track
from mmgr.synth.city import City, year_of
from mmgr.synth.made import MadeCities
from mmgr.synth.places import CRS, Site

SHEET = 4096
"""Pixels: a mosaic is cut into sheets of whole cells that are not much larger."""
_WINDOW = 512
_QUALITY = 90


@dataclass(frozen=True, slots=True)
class _Sheet:
    """One file: where it lies in its city, in pixels."""

    path: Path
    city: City
    site: Site
    date: int
    column: int
    row: int
    width: int
    height: int


def write_images(folder: Path, made: MadeCities) -> int:
    """Write one GeoTIFF for each sheet of a mosaic or each scattered place, and date; return how many."""
    sheets = list(_sheets(folder, made) if made.settings.layout == "contiguous" else _scattered(folder, made))
    for sheet in track(sheets, "drawing images", total=len(sheets)):
        sheet.path.parent.mkdir(parents=True, exist_ok=True)
        _write(sheet)
    return len(sheets)


def _sheets(folder: Path, made: MadeCities) -> Iterator[_Sheet]:
    pixels = made.settings.pixels
    a_sheet = max(1, SHEET // pixels)
    for city, site in zip(made.cities, made.sites, strict=True):
        full, rest = divmod(site.regions, site.columns)
        # rows of cells that are whole, and below them one that may be short
        bands = [(top, min(a_sheet, full - top), site.columns) for top in range(0, full, a_sheet)]
        bands += [(full, 1, rest)] if rest else []
        for date in range(made.settings.dates):
            for top, rows, columns in bands:
                for left in range(0, columns, a_sheet):
                    name = f"{city.name}_{year_of(date)}_r{top:05d}_c{left:05d}.tif"
                    yield _Sheet(
                        folder / city.name / name, city, site, date,
                        left * pixels, top * pixels, min(a_sheet, columns - left) * pixels, rows * pixels,
                    )  # fmt: skip


def _scattered(folder: Path, made: MadeCities) -> Iterator[_Sheet]:
    pixels, start = made.settings.pixels, 0
    for city, site in zip(made.cities, made.sites, strict=True):
        for number, (column, row) in enumerate(made.corners[start : start + site.regions].tolist(), 1):
            for date in range(made.settings.dates):
                name = f"{city.name}_{year_of(date)}_{number:06d}.tif"
                yield _Sheet(folder / city.name / name, city, site, date, column, row, pixels, pixels)
        start += site.regions


def _write(sheet: _Sheet) -> None:
    metres, site = sheet.site.metres, sheet.site
    corner = (site.west + sheet.column * metres, site.north - sheet.row * metres)
    tile = 256 if min(sheet.width, sheet.height) >= 256 else 16 * (min(sheet.width, sheet.height) // 16)
    profile: dict[str, Any] = {
        "driver": "GTiff", "dtype": "uint8", "count": 3, "width": sheet.width, "height": sheet.height, "crs": CRS,
        "transform": Affine(metres, 0, corner[0], 0, -metres, corner[1]), "compress": "JPEG", "photometric": "YCBCR",
        "jpeg_quality": _QUALITY, "tiled": True, "blockxsize": tile, "blockysize": tile,
    }  # fmt: skip
    with rasterio.open(sheet.path, "w", **profile) as raster:
        for row in range(0, sheet.height, _WINDOW):
            for column in range(0, sheet.width, _WINDOW):
                window = Window(column, row, min(_WINDOW, sheet.width - column), min(_WINDOW, sheet.height - row))
                pixels = sheet.city.image(
                    sheet.column + column, sheet.row + row, window.width, window.height, date=sheet.date
                )
                raster.write(pixels.transpose(2, 0, 1), window=window)
