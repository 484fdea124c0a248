"""Read tables and vector files, with one clear error for each thing that may be wrong with them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj import CRS
from pyproj.exceptions import CRSError

from mmgr.console import log
from mmgr.delimited import read_csv
from mmgr.errors import InputError, RegionError
from mmgr.files import existing_file

_PARQUET = {".parquet", ".pq", ".geoparquet"}
_BEYOND_DEGREES = 1000.0
"""No longitude or latitude is this large, even a wrong one."""
_SHOWN = 5
"""Faulty rows that a message names."""


def read_table(
    path: Path, *, columns: Sequence[str] = (), names: Sequence[str] = (), texts: Sequence[str] = (), what: str
) -> pd.DataFrame:
    """Read a CSV (any usual separator, UTF-8, Windows-1252 or Latin-1) or Parquet table.

    Words such as NA, None and null stand for a missing value, except in columns of names. Beside semicolons, numbers
    may have a decimal comma.

    Parameters
    ----------
    path
        The file.
    columns
        Columns that it must have; all columns are read.
    names
        Columns of names, in which only an empty cell is missing: a name may be None. Columns of numbers
        among them are read as all others. A warning counts the cells that say such a word.
    texts
        Columns of a CSV whose cells stay the text that they are, such as codes with leading zeros.
    what
        What the table is, for messages.

    Raises
    ------
    InputError
        If the file is missing, empty, unreadable, or lacks a column.
    """
    path = existing_file(Path(path), what=what)
    is_parquet = path.suffix.lower() in _PARQUET
    frame = _read_parquet(path, what) if is_parquet else read_csv(path, names=names, texts=texts, what=what)
    if frame.empty:
        raise InputError(f"{what}: {path} has column names but no rows.")
    require_columns(frame.columns, columns, path=path, what=what)
    return frame


def read_vector(
    path: Path,
    *,
    layer: str | None = None,
    columns: Sequence[str] = (),
    crs: str | None = None,
    crs_key: str = "crs",
    what: str,
) -> gpd.GeoDataFrame:
    """Read features: GeoJSON, GeoPackage, GeoParquet, shapefile, whatever GDAL knows.

    Parameters
    ----------
    path
        The file.
    layer
        Layer to read, where there are several.
    columns
        Columns that it must have; all columns are read.
    crs
        CRS of a file that does not name its own.
    crs_key
        The setting that says so, for messages; empty where there is none.
    what
        What the features are, for messages.

    Raises
    ------
    InputError
        If the file is missing, empty or unreadable, has no geometry, no CRS or several layers to choose
        from, or lacks a column.
    """
    path = existing_file(Path(path), what=what)
    frame = _read_geoparquet(path, what) if path.suffix.lower() in _PARQUET else _read_features(path, layer, what)
    if not isinstance(frame, gpd.GeoDataFrame) or frame.geometry.isna().all():
        raise InputError(f"{what}: {path} has {_no_features(len(frame))}")
    require_columns(frame.columns.drop(frame.geometry.name), columns, path=path, what=what)
    return _with_crs(frame.reset_index(drop=True), crs, crs_key, path, what)


def is_osm(path: Path) -> bool:
    """Say whether a file is an extract of OpenStreetMap."""
    return path.name.lower().endswith((".osm", ".osm.pbf", ".pbf"))


def spatial_layers(path: Path) -> list[str]:
    """Return the names of a file's layers that have geometry; none of one that is not there or cannot be read."""
    try:
        return [str(name) for name, kind in pyogrio.list_layers(path) if kind]
    except (DataSourceError, DataLayerError):
        return []


def require_columns(frame_columns: Iterable[Any], wanted: Sequence[str], *, path: Path, what: str) -> None:
    """Check that all wanted columns are there.

    Raises
    ------
    InputError
        Names every missing column, the nearest there are, and all there are.
    """
    there = [str(name) for name in frame_columns]
    missing = [name for name in wanted if name not in there]
    if not missing:
        return
    faults = "; ".join(f"no column `{name}`{_did_you_mean(name, there)}" for name in missing)
    raise InputError(f"{what}: {path} has {faults}. Its columns are {', '.join(there) or 'none'}.")


def with_geometry(frame: gpd.GeoDataFrame, *, path: Path, what: str) -> gpd.GeoDataFrame:
    """Return the features that have a geometry, under the index they had; a warning counts the others.

    The index is the features' number in the file, from 0, as :func:`read_vector` gives it.

    Raises
    ------
    InputError
        If none has one.
    """
    shapes = frame.geometry.to_numpy()
    absent = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    if absent.all():
        raise InputError(f"{what}: {path} has {len(frame)} features, and none with a geometry.")
    if absent.any():
        log.warning("%s: %s has %s; they are left out", what, path, _fault(absent, "without geometry", frame.index)[0])
    return frame[~absent]


def polygons_only(frame: gpd.GeoDataFrame, *, path: Path, what: str) -> gpd.GeoDataFrame:
    """Return the features with valid, two-dimensional polygons; repairs are counted in the log.

    The index is the features' number in the file, from 0, as :func:`read_vector` gives it.

    Raises
    ------
    InputError
        Names the features that are empty or no polygons.
    """
    shapes = shapely.force_2d(frame.geometry.to_numpy())
    absent = shapely.is_missing(shapes) | shapely.is_empty(shapes)
    areal = np.isin(shapely.get_type_id(shapes), (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON))
    invalid = ~absent & areal & ~shapely.is_valid(shapes)
    if invalid.any():
        shapes[invalid] = [_polygonal(shape) for shape in shapely.make_valid(shapes[invalid])]
    collapsed = invalid & shapely.is_empty(shapes)
    faults = [
        *_fault(absent, "without geometry", frame.index),
        *_fault(~absent & ~areal, "that are no polygons", frame.index),
        *_fault(collapsed, "that have no area", frame.index),
    ]
    if faults:
        raise InputError(f"{what}: {path} has {'; '.join(faults)}. Remove or mend them: polygons are needed.")
    if invalid.any():
        log.warning("%s: %d invalid polygons of %s were repaired", what, invalid.sum(), path)
    return frame.set_geometry(gpd.GeoSeries(shapes, index=frame.index, crs=frame.crs))


def metric_crs(crs: CRS, *, what: str, suggestion: str = "EPSG:326xx (your UTM zone)") -> CRS:
    """Return ``crs`` if it is projected and counts metres.

    Raises
    ------
    RegionError
        If it is geographic, or counts feet.
    """
    crs = CRS.from_user_input(crs)
    remedy = f"set `regions.crs` to a projected CRS in metres, e.g. {suggestion}."
    if not crs.is_projected:
        kind = "geographic (degrees)" if crs.is_geographic else "not projected"
        raise RegionError(f"{what}: {crs_name(crs)} is {kind}, but distances need metres; {remedy}")
    units = {axis.unit_name for axis in crs.axis_info[:2]}
    if not counts_metres(crs):
        raise RegionError(f"{what}: {crs_name(crs)} counts {' and '.join(sorted(units))}, not metres; {remedy}")
    return crs


def counts_metres(crs: CRS) -> bool:
    """Say whether a CRS is projected and its axes count metres, which on the ground may be longer or shorter."""
    return bool(crs.is_projected) and all(axis.unit_conversion_factor == 1 for axis in crs.axis_info[:2])


def crs_name(crs: CRS) -> str:
    """Return the code of a CRS and its name."""
    authority = crs.to_authority()
    return f"{':'.join(authority)} ({crs.name})" if authority else str(crs.name)


def _did_you_mean(name: str, there: Sequence[str]) -> str:
    by_lower = {known.strip().lower(): known for known in there}
    near = get_close_matches(name.strip().lower(), by_lower, n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(f'`{by_lower[key]}`' for key in near)}?)" if near else ""


def _read_parquet(path: Path, what: str) -> pd.DataFrame:
    try:
        frame: pd.DataFrame = pd.read_parquet(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{what}: {path} is not readable Parquet ({error}).") from error
    return frame


def _no_features(rows: int) -> str:
    if not rows:
        return "no features: 0 rows. Write it again with them, or name another file."
    return f"{rows} rows, but no geometry. Write it again with geometry, such as GeoPackage, GeoJSON or GeoParquet."


def _read_geoparquet(path: Path, what: str) -> gpd.GeoDataFrame:
    try:
        return gpd.read_parquet(path)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{what}: {path} is not readable GeoParquet ({error}).") from error


def _read_features(path: Path, layer: str | None, what: str) -> pd.DataFrame:
    try:
        chosen = _chosen_layer(path, layer, what)
        # of an extract of OpenStreetMap GDAL builds all layers at once, and of a large one it gives up, unless asked so
        select = f'SELECT * FROM "{chosen}"'  # noqa: S608 - the name of a layer of the file
        return _read_quietly(path, **({"sql": select} if is_osm(path) else {"layer": chosen}))
    except (DataSourceError, DataLayerError, ValueError) as error:
        raise InputError(f"{what}: {path} cannot be read ({error}).") from error


def _read_quietly(path: Path, **chosen: str) -> pd.DataFrame:
    """Read a layer; a shape that cannot be built is missing, and what GDAL says of shapes goes into the log."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", RuntimeWarning)
        frame: pd.DataFrame = pyogrio.read_dataframe(path, on_invalid="ignore", **chosen)
    for text in dict.fromkeys(str(warning.message) for warning in said):
        # at the edge of an extract of OpenStreetMap areas are cut open, which is no fault of the file
        log.log(logging.DEBUG if is_osm(path) else logging.WARNING, "%s: GDAL says: %s", path, text)
    return frame


def _chosen_layer(path: Path, layer: str | None, what: str) -> str:
    """Return the layer that the user named, or the only one with geometry."""
    names = [str(name) for name, _ in pyogrio.list_layers(path)]
    if layer is not None:
        if layer not in names:
            raise InputError(
                f"{what}: {path} has no layer `{layer}`{_did_you_mean(layer, names)}; it has {', '.join(names)}."
            )
        return layer
    spatial = spatial_layers(path) or names
    if len(spatial) > 1:
        raise InputError(f"{what}: {path} has several layers ({', '.join(spatial)}); set `layer` to one of them.")
    if not spatial:
        raise InputError(f"{what}: {path} holds no layer.")
    return spatial[0]


def _with_crs(frame: gpd.GeoDataFrame, crs: str | None, key: str, path: Path, what: str) -> gpd.GeoDataFrame:
    """Return features with the CRS that the file names, or with ``crs`` where that says nothing or cannot be."""
    bounds = frame.bounds.to_numpy()
    finite = np.isfinite(bounds).all(axis=1)  # an infinite coordinate says nothing of the others' unit
    bounds = bounds[finite].ravel() if finite.any() else np.zeros(4)
    not_degrees = bool(np.abs(bounds).max() > _BEYOND_DEGREES)
    local = frame.crs is not None and frame.crs.is_engineering  # says nothing of where things lie
    silent = frame.crs is None or local
    if crs is not None and (silent or (frame.crs.is_geographic and not_degrees)):
        try:
            # GeoJSON is taken for degrees where it names no CRS
            frame = frame.set_crs(crs, allow_override=True)
        except CRSError:
            name = key.rpartition(".")[2]
            raise InputError(f"{what}: {name} {crs!r} is no known CRS; write it like EPSG:4326.") from None
        not_degrees = bool(np.median(np.abs(bounds)) > _BEYOND_DEGREES)  # a few may be wrong
    elif silent:
        lacks = "has a local CRS, which says nothing of where things lie" if local else "names no CRS"
        remedy = f"set `{key}`, such as EPSG:4326, or write the file with one" if key else "write the file with one"
        raise InputError(f"{what}: {path} {lacks}; {remedy}.")
    if frame.crs.is_geographic and not_degrees:
        remedy = f"set `{key}` to the CRS that they are in" if key else "write the file with the CRS that they are in"
        raise InputError(
            f"{what}: {path} is said to be in degrees, but has coordinates such as {bounds[0]:.1f}, {bounds[1]:.1f}; "
            f"{remedy}."
        )
    return frame


def _polygonal(shape: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of a repaired shape, without the lines and points that fell off."""
    parts = [part for part in shapely.get_parts(shape) if part.area > 0]
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _fault(bad: NDArray[np.bool_], what: str, index: pd.Index) -> list[str]:
    """Count and name bad features by their number in the file, which others that were left out do not change."""
    rows = index[bad]
    if not len(rows):
        return []
    shown = ", ".join(str(row + 1) for row in rows[:_SHOWN])
    more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return [f"{len(rows)} features {what} (number {shown}{more})"]
