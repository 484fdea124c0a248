"""Look at imagery and propose the sections `images` and `regions`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pyproj import CRS

from mmgr.config import Images
from mmgr.errors import RegionError
from mmgr.imagery import Imagery, store_crs
from mmgr.imagery.files import usable_bands
from mmgr.imagery.gaps import percent, written

PATCH_PIXELS = 256
"""A cell of about this many pixels shows enough of a place, and few of its neighbours."""
SMALL_FILE = 1024
"""Files up to this edge in pixels that lie apart are taken for scattered samples."""
NICE_EDGES = (50, 60, 75, 80, 100, 120, 125, 150, 200, 250, 256, 300, 400, 500, 600, 750, 800, 1000)
"""Cell edges in metres that people like to read."""


@dataclass(frozen=True, slots=True)
class ImageryFacts:
    """What was found in the images."""

    imagery: Imagery
    crs: CRS
    pixel: float
    """Median edge of a pixel in metres."""
    scattered: bool
    """Whether the files are small and lie apart."""
    dates: tuple[str, ...]
    folders: tuple[str, ...]
    """Sub-folders that hold images, if there are several."""
    area_km2: float
    """Area that the images cover."""

    @property
    def patch_pixels(self) -> int:
        """Edge of a stored patch: that of a scattered file, at most 256."""
        files = self.imagery.files
        return min(PATCH_PIXELS, files[0].width, files[0].height) if self.scattered else PATCH_PIXELS

    @property
    def cell(self) -> float:
        """Proposed cell edge in metres: about 256 pixels, smaller where that gives few cells."""
        edge = min(PATCH_PIXELS * self.pixel, np.sqrt(self.area_km2 * 1e6 / 200))
        return nice_edge(edge)


def nice_edge(edge: float) -> float:
    """Return the edge in metres that people like to read and that is nearest to ``edge``, as a ratio."""
    return float(min(NICE_EDGES, key=lambda nice: abs(np.log(nice / max(edge, 1.0)))))


def look_at_images(path: Path) -> ImageryFacts:
    """Open all images below ``path`` and gather what a configuration needs."""
    imagery = Imagery.open(Images(path=path, bands=usable_bands(path)))
    crs = store_crs(imagery, None)
    outlines = imagery.footprints(crs)
    pixels = np.sqrt(outlines.area.to_numpy() / np.array([file.width * file.height for file in imagery.files]))
    union = outlines.geometry.union_all()
    small = all(max(file.width, file.height) <= SMALL_FILE for file in imagery.files)
    parts = len(union.geoms) if union.geom_type == "MultiPolygon" else 1
    dates = tuple(sorted({file.date for file in imagery.files if file.date}))
    places = len(imagery.files) / max(len(dates), 1)
    folders = tuple(sorted({file.folder for file in imagery.files}))
    return ImageryFacts(
        imagery=imagery,
        crs=crs,
        pixel=float(np.median(pixels)),
        scattered=small and parts > 1 and parts > 0.3 * places,
        dates=dates,
        folders=folders if len(folders) > 1 else (),
        area_km2=float(union.area / 1e6),
    )


def images_section(facts: ImageryFacts, shown_path: str) -> list[str]:
    """Write the lines of `images` and `regions`."""
    files = facts.imagery.files
    first = files[0]
    systems = Counter(file.crs.to_string() for file in files)
    lines = [
        (
            f"# {_counted(len(files), 'image')}, {_counted(first.count, 'band')} of {first.dtype}, "
            f"pixels of {facts.pixel:.2f} m, {facts.area_km2:,.1f} km2 in all."
        ),
        f"# CRS: {', '.join(f'{name} ({count} files)' for name, count in systems.most_common(4))}.",
    ]
    if facts.dates:
        shown = ", ".join(facts.dates[:6]) + (", ..." if len(facts.dates) > 6 else "")
        lines.append(f"# Dates found in the file names: {shown}. Dates of one place are views of one region.")
    if facts.imagery.set_aside:
        lines.append(f"# {len(facts.imagery.set_aside)} files cannot be read and will be set aside.")
    bands = list(facts.imagery.bands)
    colours = "red, green, blue, counted from 1" if len(bands) == 3 else "counted from 1"
    lines += ["images:", f"  path: {shown_path}", f"  bands: {bands}              # {colours}"]
    if first.dtype != "uint8":
        lines.append("  # stretch: [0, 3000]        # values that become 0 and 255; percentiles 2 and 98 by default")
    if all(file.nodata is None for file in files):
        gap = max(facts.imagery.gaps, key=lambda gap: gap.share, default=None)
        value, why = (
            ("0", "set it if a value means that there is no image")
            if gap is None
            else (written(gap.value), f"{percent(gap)} % of {gap.file.path.name} is that: set it if there is no image")
        )
        lines.append(f"  # nodata: {value:<17} # {why}")
    return [*lines, "", *_regions_section(facts)]


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _regions_section(facts: ImageryFacts) -> list[str]:
    group = ["  group: folder             # the sub-folder names the city; leave-one-group-out uses it"]
    grouped = group if facts.folders else []
    if facts.scattered:
        return [
            "# The images are small and lie apart: one region for each place.",
            "regions:",
            "  kind: footprints",
            *grouped,
            f"  pixels: {facts.patch_pixels}               # edge of a stored patch",
            f"  crs: {short_crs(facts.crs)}",
        ]
    cells = facts.area_km2 * 1e6 / facts.cell**2
    return [
        f"# Square cells of {facts.cell:g} m ({facts.cell / facts.pixel:.0f} pixels): some {cells:,.0f} regions.",
        "regions:",
        "  kind: grid",
        f"  size: {facts.cell:g}",
        "  unit: metres              # or pixels",
        *grouped,
        f"  pixels: {facts.patch_pixels}               # edge of a stored patch; images are resampled to it",
        f"  crs: {short_crs(facts.crs)}           # all distances are measured here",
    ]


def short_crs(crs: CRS) -> str:
    """Write a CRS as a configuration shows it: by its code where its definition is long."""
    text = crs.to_string()
    if "\n" in text or len(text) > 60:
        authority = crs.to_authority()
        if authority is None:
            raise RegionError("the CRS has no code; set `regions.crs` to a projected CRS with one")
        text = ":".join(authority)
    return text
