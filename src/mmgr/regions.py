"""Where: the units that get a vector, as squares of a grid, footprints of images, or polygons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from mmgr.config import FOLDER, Regions
from mmgr.console import log, quiet
from mmgr.errors import RegionError
from mmgr.grid import make_grid, make_grid_over
from mmgr.imagery import Imagery, choose_crs, store_crs
from mmgr.lonlat import DEGREES, lonlat_bounds, places_of
from mmgr.tables import crs_name, polygons_only, read_vector

_WHAT = "regions"
LEAST_AREA = 1.0
"""Square metres; a polygon of less is no place, but a splinter that cutting or simplifying left of one."""
_SHOWN = 5


def make_regions(settings: Regions, imagery: Imagery, crs: CRS | None = None) -> gpd.GeoDataFrame:
    """Make the regions of a run.

    Parameters
    ----------
    settings
        Their kind, size and file.
    imagery
        The images that they are cut from; regions without any are left out.
    crs
        The store's CRS; by default what :func:`crs_on_images` chooses.

    Returns
    -------
    A regions frame: indexed by ``region_id`` (text, unique), with ``group`` (text, empty if none) and
    geometry in ``crs``.

    Raises
    ------
    RegionError
        If ids are missing or double, or no region meets an image.
    """
    crs = crs_on_images(settings, imagery) if crs is None else crs
    if settings.path is not None and settings.kind != "grid":
        regions = _from_polygons(settings, imagery, crs)
    elif settings.kind == "grid":
        regions = make_grid(settings, imagery, crs)
    else:
        regions = _from_footprints(imagery, crs)
    if settings.group == FOLDER:
        regions["group"] = _folders(regions, imagery)
    return regions


def make_regions_over(shapes: NDArray[np.object_], settings: Regions, crs: CRS, *, hint: str = "") -> gpd.GeoDataFrame:
    """Make the regions of a run without images: the user's polygons, or a grid.

    Parameters
    ----------
    shapes
        What a grid covers: where POIs are known, in ``crs``.
    settings
        Their kind, size and file.
    crs
        The store's CRS, projected, in metres.
    hint
        Which POIs may be the cause where a grid has too many cells.

    Returns
    -------
    A regions frame as of :func:`make_regions`.

    Raises
    ------
    RegionError
        If ids are missing or double, or a grid has no sensible number of cells.
    """
    if settings.kind == "grid":
        return make_grid_over(shapes, settings, crs, hint=hint)
    _, names, polygons, groups = _read_polygons(settings, crs)
    return _frame(names, polygons, crs, groups)


def crs_on_images(settings: Regions, imagery: Imagery) -> CRS:
    """Choose the store's CRS as :func:`mmgr.imagery.store_crs` does; polygons that meet no image have no say.

    Raises
    ------
    RegionError
        If the CRS that the user names is unknown, not in metres or far from keeping areas and lengths, or the images
        are too far apart for one zone.
    """
    if settings.path is None or settings.kind == "grid":
        return store_crs(imagery, settings.crs)
    with quiet():  # the polygons are read again, in the CRS that is chosen here
        frame, _, shapes, _ = _read_polygons(settings, DEGREES)
    met = _meets_images(shapes, imagery, DEGREES)
    places = places_of(frame.geometry.to_numpy()[met], CRS.from_user_input(frame.crs))
    return store_crs(imagery, settings.crs, places=places if len(places) else None)


def crs_of_polygons(settings: Regions) -> CRS:
    """Choose the store's CRS by the polygons that the user gave as regions, for a run without images.

    Raises
    ------
    RegionError
        If the CRS that the user names is unknown, not in metres or far from keeping areas and lengths, or the polygons
        have no place on Earth or are too far apart for one UTM zone.
    """
    with quiet():  # as above
        frame, *_ = _read_polygons(settings, DEGREES)
    places = _places_in(frame, settings.path)
    return choose_crs(lonlat_bounds(places), settings.crs, places=places, what="the regions")


def polygon_bounds(settings: Regions) -> tuple[float, float, float, float]:
    """Return west, south, east and north in degrees of the polygons that the user gave as regions.

    East is above 180 across the date line.
    """
    frame, *_ = _read_polygons(settings, DEGREES)
    return lonlat_bounds(_places_in(frame, settings.path))


def centres_of(regions: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Return the centres of regions in metres, shape ``(n, 2)``."""
    return np.asarray(regions.geometry.centroid.get_coordinates().to_numpy(), np.float64)


def region_edge(regions: gpd.GeoDataFrame) -> float:
    """Return the edge in metres of a square as large as the median region."""
    return float(np.sqrt(np.median(regions.area.to_numpy())))


def _from_footprints(imagery: Imagery, crs: CRS) -> gpd.GeoDataFrame:
    """Make one region of all files whose outlines coincide: they are dates of one place."""
    places = _same_places(imagery)
    _, first = np.unique(places, return_index=True)
    first = np.sort(first)
    names = _unique_names(imagery, first.tolist())
    shapes = imagery.footprints(crs).geometry.to_numpy()[first]
    return _frame(names, shapes, crs)


def _same_places(imagery: Imagery) -> NDArray[np.int64]:
    """Give files one number where their outlines, in one CRS, agree within half a pixel."""
    files = imagery.files
    bounds = np.array([file.footprint.bounds for file in files])
    half_pixel = np.array([min(file.pixel_size) / 2 for file in files])
    links: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    systems = np.array([id(file.crs) for file in files])
    for system in np.unique(systems):
        rows = np.flatnonzero(systems == system)
        near = cKDTree(bounds[rows]).query_pairs(half_pixel[rows].max() * 1.01, p=np.inf, output_type="ndarray")
        pairs = rows[near]
        gap = np.abs(bounds[pairs[:, 0]] - bounds[pairs[:, 1]]).max(axis=1)
        links.append(pairs[gap <= half_pixel[pairs].max(axis=1) * 1.01])
    pairs = np.concatenate(links)
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(files), len(files)))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _unique_names(imagery: Imagery, rows: Sequence[int]) -> list[str]:
    """Name places by their files without the date; by folder too, and by number, where that is not enough."""
    files = [imagery.files[row] for row in rows]
    short = Counter(file.place for file in files)
    names = [f"{file.folder}_{file.place}" if short[file.place] > 1 and file.folder else file.place for file in files]
    repeated = Counter(names)
    taken = {name for name, count in repeated.items() if count == 1}
    result = []
    for name in names:
        number, unique = 1, name
        while repeated[name] > 1 and unique in taken | {name}:
            unique = f"{name}_{number}"
            number += 1
        taken.add(unique)
        result.append(unique)
    return result


def _from_polygons(settings: Regions, imagery: Imagery, crs: CRS) -> gpd.GeoDataFrame:
    frame, names, shapes, groups = _read_polygons(settings, crs)
    met = _meets_images(shapes, imagery, crs)
    if not met.any():
        raise RegionError(_no_overlap(frame, imagery, settings))
    if not met.all():
        log.info(
            "regions: %d of %d polygons of %s meet no image and are left out", (~met).sum(), len(met), settings.path
        )
    kept = np.flatnonzero(met)
    return _frame([names[row] for row in kept], shapes[kept], crs, [groups[row] for row in kept])


def _places_in(frame: gpd.GeoDataFrame, path: Path | None) -> NDArray[np.float64]:
    """Return the corners of the user's polygons, and a point inside each, in degrees, shape ``(n, 2)``."""
    crs = CRS.from_user_input(frame.crs)
    places = places_of(frame.geometry.to_numpy(), crs)
    if not len(places):
        raise RegionError(
            f"regions: the polygons of {path} have no place on Earth in {crs_name(crs)}. Is it their CRS?"
        )
    return places


def _read_polygons(settings: Regions, crs: CRS) -> tuple[gpd.GeoDataFrame, list[str], NDArray[np.object_], list[str]]:
    """Return the features as they are in the file, with their ids, shapes in ``crs`` and groups."""
    path = settings.path
    if path is None:
        raise RegionError("regions of polygons need `regions.path`")
    group = settings.group if settings.group != FOLDER else None
    columns = [name for name in (settings.id, group) if name]
    frame = read_vector(
        path,
        layer=settings.layer,
        columns=columns,
        crs=settings.source_crs,
        crs_key="regions.source_crs",
        what=_WHAT,
    )
    frame = polygons_only(frame, path=path, what=_WHAT)
    names = _ids(frame, settings)
    groups = [""] * len(frame) if group is None else _texts(frame[group])
    shapes = frame.to_crs(crs).geometry.to_numpy()
    # areas need metres, which the bounds in degrees do not ask for
    large = _without_splinters(frame, shapes, path, crs) if crs.is_projected else np.arange(len(frame))
    return frame.iloc[large], [names[row] for row in large], shapes[large], [groups[row] for row in large]


def _without_splinters(frame: gpd.GeoDataFrame, shapes: NDArray[np.object_], path: Path, crs: CRS) -> NDArray[np.int64]:
    """Return the rows of polygons that are no splinters, which a warning names."""
    area = shapely.area(shapes)
    small = area < LEAST_AREA
    if small.all():
        raise RegionError(
            f"regions: none of {len(frame)} polygons of {path} is as large as {LEAST_AREA:g} m2: the largest has "
            f"{area.max():.3g} m2 in {crs_name(crs)}. Is its CRS right?"
        )
    warn_of_splinters(_WHAT, path, [f"number {row + 1}" for row in frame.index[small]])
    return np.flatnonzero(~small)


def warn_of_splinters(what: str, path: Path, names: Sequence[str]) -> None:
    """Say which polygons are smaller than :data:`LEAST_AREA` and left out; nothing of none."""
    if names:
        log.warning(
            "%s: %d polygons of %s smaller than %g m2, as cutting and simplifying leave splinters, are left out: %s",
            what,
            len(names),
            path,
            LEAST_AREA,
            _few(names),
        )


def _ids(frame: gpd.GeoDataFrame, settings: Regions) -> list[str]:
    """Return the ids as text: those of the column, or the polygons' numbers."""
    if settings.id is None:
        digits = len(str(len(frame)))
        return [f"region_{number:0{digits}}" for number in range(1, len(frame) + 1)]
    names = _texts(frame[settings.id])
    empty = [row + 1 for row, name in enumerate(names) if not name.strip()]
    double = [f"{name!r} ({count} times)" for name, count in Counter(names).items() if count > 1 and name.strip()]
    faults = []
    if empty:
        faults.append(f"no id in {_few([f'feature {row}' for row in empty])}")
    if double:
        faults.append(f"double ids {_few(double)}")
    if faults:
        raise RegionError(
            f"regions: {settings.path}, column `{settings.id}`: {'; '.join(faults)}. Each region needs an id of its "
            "own: mend the column, name another as `regions.id`, or leave it out to number the polygons."
        )
    return names


def _texts(column: pd.Series[Any]) -> list[str]:
    """Write values as text: whole numbers without a decimal point, missing ones as nothing."""
    if pd.api.types.is_float_dtype(column) and (column.dropna() % 1 == 0).all():
        column = column.astype("Int64")
    return ["" if pd.isna(value) else str(value) for value in column]


def _few(items: Sequence[str]) -> str:
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return ", ".join(items[:_SHOWN]) + more


def _frame(
    names: Sequence[str], shapes: NDArray[Any], crs: CRS, groups: Sequence[str] | None = None
) -> gpd.GeoDataFrame:
    index = pd.Index(list(names), dtype=object, name="region_id")
    group = [""] * len(index) if groups is None else list(groups)
    return gpd.GeoDataFrame({"group": np.array(group, object)}, index=index, geometry=shapes, crs=crs)


def _meets_images(shapes: NDArray[Any], imagery: Imagery, crs: CRS) -> NDArray[np.bool_]:
    """Say which shapes share an area, not only an edge, with an image."""
    tree = shapely.STRtree(imagery.footprints(crs).geometry.to_numpy())
    row, file = tree.query(shapes, predicate="intersects")
    row = row[~shapely.touches(shapes[row], tree.geometries[file])]
    met = np.zeros(len(shapes), bool)
    met[row] = True
    return met


def _no_overlap(frame: gpd.GeoDataFrame, imagery: Imagery, settings: Regions) -> str:
    west, south, east, north = imagery.lonlat_bounds
    x_low, y_low, x_high, y_high = lonlat_bounds(_places_in(frame, settings.path))
    swapped = y_low <= east and y_high >= west and x_low <= north and x_high >= south
    hint = (
        "They would meet with longitude and latitude swapped: write longitude first."
        if swapped
        else "Look whether both belong to the same city, and whether each file names its true CRS."
    )
    return (
        f"regions: none of the {len(frame)} polygons of {settings.path} meets an image. The polygons reach from "
        f"longitude {x_low:.4f} to {x_high:.4f} and latitude {y_low:.4f} to {y_high:.4f}; the images from longitude "
        f"{west:.4f} to {east:.4f} and latitude {south:.4f} to {north:.4f}. {hint}"
    )


def _folders(regions: gpd.GeoDataFrame, imagery: Imagery) -> NDArray[np.object_]:
    """Name the folder of the image that each region's centre lies in, or else of one that it meets."""
    groups = np.full(len(regions), "", object)
    if len({file.folder for file in imagery.files}) < 2:
        return groups
    folders = np.array([file.folder for file in imagery.files], object)
    tree = shapely.STRtree(imagery.footprints(regions.crs).geometry.to_numpy())
    shapes = regions.geometry.to_numpy()
    for parts in (shapes, shapely.centroid(shapes)):  # what the centre says stands
        row, file = tree.query(parts, predicate="intersects")
        order = np.argsort(file, kind="stable")[::-1]  # the first file is written last
        groups[row[order]] = folders[file[order]]
    return groups
