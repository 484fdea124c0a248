"""What goes in: images, regions, POIs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from mmgr.config.base import Count, Crs, Fraction, Positive, Section

FOLDER = "folder"
"""The value of `regions.group` that takes the name of the images' folder."""


class Images(Section):
    """Where the imagery is and how its values become 8-bit patches."""

    path: Path
    """A GeoTIFF, COG or VRT, or a folder of them (searched with its sub-folders)."""
    bands: tuple[Count, ...] = (1, 2, 3)
    """Bands to read, counted from 1."""
    stretch: tuple[float, float] | None = None
    """Values that become 0 and 255; by default 8-bit images stay as they are and others are
    stretched between the 2nd and 98th percentile of a sample."""
    nodata: float | None = None
    """A value that means "no image here", where the files do not say so themselves. A warning tells of values that look
    like it: those that are usual, such as -9999, and 0 and the highest value of the type where more than 10 % of the
    sampled pixels of a file are exactly that in all bands, or 1 % where they lie far outside all others, beyond 8
    bits."""
    date: str | None = None
    """A regular expression whose first group is the date in a file's name; by default the first
    year or date found there. Images of different dates are views of the same region."""

    @field_validator("date")
    @classmethod
    def _date_has_a_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError("needs one group in parentheses that catches the date, such as '_(\\d{4})_'")
        return value


class Regions(Section):
    """The units that get a vector."""

    kind: Literal["grid", "footprints", "polygons", "samples"] = "grid"
    """`grid`: squares over the images, or over the POIs where there are no images; `footprints`: one region per
    image place, or per polygon of `path`, with the patch cut on the image's own pixels; `polygons`: any polygons of
    `path`; `samples`: one region per PNG of `images.path`, as the published research code keeps them, with the place of
    the polygon of `path` whose `id` is the PNG's name."""
    size: Positive | None = None
    """Edge of a grid cell, or of samples without a place; not used by the other kinds."""
    unit: Literal["metres", "pixels"] = "metres"
    """What `size` counts."""
    path: Path | None = None
    """Polygons, for `footprints` (optional) and `polygons`."""
    layer: str | None = None
    """Layer of `path`, where that has several."""
    id: str | None = None
    """Column of `path` that names each region."""
    source_crs: Crs | None = None
    """CRS of `path`, where the file does not name its own; `crs` is that of the regions, whatever the file's."""
    group: str | None = None
    """Column of `path` that names each region's group, such as its city; `folder` takes the name
    of the folder that the image lies in."""
    crs: Crs | None = None
    """A projected CRS in metres for all distances, such as `EPSG:32648` or its number alone; by default the images'
    own, or the UTM zone of the images, or without them of the polygons or POIs. One that makes areas, or lengths in any
    direction, wrong by more than 5 % where regions are is warned of, by more than 20 % refused."""
    pixels: Annotated[int, Field(ge=16, le=2048)] = 128
    """Edge of a stored patch in pixels; the image is resampled where it differs."""
    min_valid: Fraction = 0.5
    """A patch of which a smaller part has image is left out."""

    @model_validator(mode="after")
    def _complete(self) -> Regions:
        if self.kind == "grid" and self.size is None:
            raise ValueError("a grid needs `size`, the edge of a cell")
        if self.kind == "polygons" and self.path is None:
            raise ValueError("regions of kind polygons need `path`")
        return self


class PointSource(Section):
    """POIs as points: CSV, GeoJSON, GeoPackage, GeoParquet."""

    kind: Literal["points"] = "points"
    path: Path
    """The file. Points without a category, without usable coordinates, or so far away that the regions' CRS has no
    place for them are left out, counted and named, also where `outside` is `keep`."""
    layer: str | None = None
    """Layer of a file that has several."""
    first_level: str | None = None
    """Column of the (first-level) category; this or `keys` is required. `categories.primary` is a part of the records
    in a column `categories`, as places of Overture Maps have them."""
    second_level: str | None = None
    """Column of the finer category, if there is one."""
    keys: tuple[str, ...] = ()
    """Instead of `first_level`: keys of OpenStreetMap, such as amenity, shop and leisure, each a column or a part of
    GDAL's `other_tags`. The first that has a value is a POI's first level, and the value its second; `no` is none."""
    x: str | None = None
    """Column of the longitude or easting, for a CSV."""
    y: str | None = None
    """Column of the latitude or northing, for a CSV."""
    crs: Crs | None = None
    """CRS of `x` and `y`, or of a file that does not name its own; EPSG:4326 for a CSV if not given."""
    area: Path | None = None
    """Polygons inside which the POIs are complete; by default the box around the points. A region
    inside it that holds no POI has none; a region outside it has unknown POIs."""

    @model_validator(mode="after")
    def _has_categories(self) -> PointSource:
        if bool(self.keys) == (self.first_level is not None):
            raise ValueError(
                "name `first_level`, the column of the category; or `keys`, columns of OpenStreetMap's keys such as "
                "amenity and shop"
            )
        if self.keys and self.second_level is not None:
            raise ValueError("with `keys` the values are the second level: leave out `second_level`")
        if len(set(self.keys)) < len(self.keys):
            raise ValueError("`keys` names a key twice")
        return self


class CountSource(Section):
    """POIs as counts: polygons with one column a category."""

    kind: Literal["counts"]
    path: Path
    """The file."""
    layer: str | None = None
    """Layer of a file that has several."""
    id: str | None = None
    """Column that names each polygon."""
    columns: str | tuple[str, ...]
    """The count columns: a list, or a prefix ending in `*` such as `poi_*`."""
    first_levels: dict[str, str] = {}  # noqa: RUF012 - pydantic copies defaults
    """First-level category of a column; a column not named here is its own."""
    crs: Crs | None = None
    """CRS of a file that does not name its own."""


def _source_kind(value: Any) -> str:
    """Return the kind of a POI source; points where it is not said."""
    kind = (value.get("kind") or "points") if isinstance(value, dict) else getattr(value, "kind", None)
    return str(kind)


PoiSource = Annotated[
    Annotated[PointSource, Tag("points")] | Annotated[CountSource, Tag("counts")],
    Discriminator(_source_kind, custom_error_type="source_kind", custom_error_message="`kind` is `points` or `counts`"),
]


class Pois(Section):
    """Where the POIs are."""

    sources: tuple[PoiSource, ...] = ()
    """One or several files, of points or of counts; required, unless there are `vectors`."""
    vectors: Path | None = None
    """For regions of kind `samples`: a folder of one `.tensor` file a PNG, with a vector a POI. Equal vectors are one
    category."""
    edges: Path | None = None
    """A folder of the edges between these POIs, which are checked and left behind."""
    radius: Positive | None = None
    """Points within this distance (m) of a region's centre belong to it too; by default only those inside."""
    context: Literal["auto"] | tuple[Positive, ...] = "auto"
    """A region's vector also tells of the POIs around its centre, weighted by a Gaussian of each of these standard
    deviations (m); an empty list leaves that out. `auto`: up to four, doubling from the distance between POIs or a
    quarter of the width of polygons with counts (or half a region) up to a sixteenth of the extent of a group."""
    duplicates: Literal["keep", "drop"] = "keep"
    """What becomes of points that have the category of an earlier one and its place, to a decimetre, in the same file
    or another: counted and named, and left out by `drop` alone. Shops of a mall often lie on one point; two files of
    one city often have the same POIs."""
    outside: Literal["keep", "drop"] = "keep"
    """What becomes of points far outside the regions: beyond the box around all regions by more than 10 km, the box's
    own diagonal or `radius`, whichever is largest. `mmgr build` counts and names them; only `drop` leaves them out.
    One that is kept stretches the box in which its source's POIs count as known, and tells the category vectors. A grid
    over the POIs of a source without `area` leaves these apart, kept or not, and so does the choice of the CRS: the
    outermost 1 % at each end of an axis that are this far from all others, 4 % of the distinct places where these are
    also more than 1,000 km away, and any at longitude and latitude 0."""

    @model_validator(mode="after")
    def _has_pois(self) -> Pois:
        if bool(self.sources) == (self.vectors is not None):
            raise ValueError("name `sources`, files of points or counts; or `vectors`, for regions of kind samples")
        return self
