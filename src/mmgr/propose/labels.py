"""Look at a label file and propose its entries of `tasks`: amounts, rates, classes, or shares of classes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import rasterio
from rasterio.windows import Window

from mmgr.errors import LabelError
from mmgr.files import existing_file
from mmgr.numerals import are_plain, plain_numbers
from mmgr.pois.points import is_vector
from mmgr.propose.columns import coordinate_columns, identity_column, looks_like_category, most_common, quoted
from mmgr.propose.names import own_names, task_name
from mmgr.tables import read_table, read_vector

RASTERS = {".tif", ".tiff", ".vrt"}
TOTAL_WORDS = (
    "pop",
    "people",
    "person",
    "resident",
    "inhabitant",
    "job",
    "employ",
    "count",
    "total",
    "gdp",
    "household",
)
"""A column named so holds amounts that add up over area."""
RATE_WORDS = ("density", "rate", "share", "ratio", "mean", "median", "per_", "_per", "percent", "index", "price", "age")
"""A column named so holds values that do not add up."""
CLASS_WORDS = ("class", "landuse", "land_use", "lulc", "landcover", "land_cover", "function", "zoning", "category")
"""A column or raster named so holds classes; spaces and hyphens count as underscores."""
IGNORED = ("area", "id", "fid", "objectid", "code", "geoid", "length", "perimeter", "poi_")
MOST_CLASSES = 40
"""More different values are names or numbers, not classes."""
_MOST_CELLS = 200_000_000
"""Of a raster with more cells, every so many tell which classes there are: a few seconds' reading."""
_AT_ONCE = 16_000_000
"""Cells that are in memory at a time."""
_LOOK = 4096
"""Edge in cells of what is read of a larger raster."""
_NAME = "  - name: "
"""How the first line of a task begins."""


def task_entries(labels: Sequence[tuple[Path, str]]) -> list[str]:
    """Write the lines of the tasks of all files, each under a name of its own.

    Parameters
    ----------
    labels
        Each file, and its path as the configuration shows it.

    Raises
    ------
    InputError
        If a file cannot be read, or no column can be a label.
    """
    lines = [(line, path) for path, shown in labels for line in label_entries(path, shown)]
    named = [(line.removeprefix(_NAME), path) for line, path in lines if line.startswith(_NAME)]
    own = iter(own_names(named))
    return [f"{_NAME}{quoted(next(own))}" if line.startswith(_NAME) else line for line, _ in lines]


def label_entries(path: Path, shown_path: str) -> list[str]:
    """Read the file, guess what its values mean, and write the lines of its tasks.

    Raises
    ------
    InputError
        If the file cannot be read, or no column can be a label.
    """
    existing_file(path, what="labels")
    if path.suffix.lower() in RASTERS:
        return _raster(path, shown_path)
    if not is_vector(path):
        table = read_table(path, what="labels")
        return _points(path, shown_path, table, coordinate_columns(path, table))
    frame = read_vector(path, what="labels")
    table = _with_numbers(pd.DataFrame(frame.drop(columns=frame.geometry.name)))
    if frame.geom_type.isin(["Point", "MultiPoint"]).mean() > 0.5:
        return _points(path, shown_path, table, [])
    return _polygons(path, shown_path, table)


def _with_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table in which text that holds numbers, of columns named like amounts or rates, is read as these."""
    texts = [name for name in table.select_dtypes(exclude="number") if _has_word(str(name), TOTAL_WORDS + RATE_WORDS)]
    plain = [name for name in texts if table[name].notna().any() and are_plain(table[name].dropna()).all()]
    return table.assign(**{str(name): plain_numbers(table[name]) for name in plain})


def _raster(path: Path, shown_path: str) -> list[str]:
    try:
        with rasterio.open(path) as source:
            pixel = f"cells of {abs(source.transform.a):g} x {abs(source.transform.e):g} in {source.crs}"
            classes = _classes_of(source, path.stem)
            whole = _is_read_whole(source)
    except rasterio.errors.RasterioError as error:
        raise LabelError(f"labels: {path} cannot be read as a raster: {error}") from error
    lines = [f"  # {path.name}: {pixel}", f"{_NAME}{task_name(path.stem)}"]
    if classes:
        named = ", ".join(f"{value}: NAME" for value in classes)
        return [
            *lines,
            "    kind: raster_shares       # share of each class in a region; raster_class: the class of most of it",
            f"    path: {shown_path}",
            f"    # classes: {{{named}}}   # names; values left out are no label",
            *([] if whole else [f"    # seen in {_LOOK:,} x {_LOOK:,} of its cells: rare classes may be missing"]),
        ]
    amount = any(word in path.stem.lower() for word in TOTAL_WORDS)
    return [
        *lines,
        (
            f"    kind: {'raster_sum' if amount else 'raster_mean'}        "
            "# raster_sum: amounts such as people a cell; raster_mean: rates"
        ),
        f"    path: {shown_path}",
        *(["    unit: people/km²"] if "pop" in path.stem.lower() else []),
    ]


def _classes_of(source: rasterio.DatasetReader, name: str) -> list[int]:
    """Return the values of a raster of classes; none of one that holds amounts or rates.

    Classes are whole numbers, few of them, with a table of colours or a telling name.
    """
    if np.dtype(source.dtypes[0]).kind not in "iu":
        return []
    coloured = source.colorinterp[0] == rasterio.enums.ColorInterp.palette
    if not coloured and not _has_word(name, CLASS_WORDS):
        return []
    seen: set[int] = set()
    for cells in _cells_of(source):
        seen.update(np.unique(cells.compressed()).tolist())
        if len(seen) > MOST_CLASSES:
            return []
    return sorted(seen) if len(seen) > 1 else []


def _cells_of(source: rasterio.DatasetReader) -> Iterator[np.ma.MaskedArray[Any, Any]]:
    """Yield the cells of a raster in parts, or of a large one some that are spread evenly."""
    if not _is_read_whole(source):
        shape = (min(source.height, _LOOK), min(source.width, _LOOK))
        yield source.read(1, out_shape=shape, masked=True)
        return
    rows = max(_AT_ONCE // source.width, 1)
    for top in range(0, source.height, rows):
        yield source.read(1, window=Window(0, top, source.width, min(rows, source.height - top)), masked=True)


def _is_read_whole(source: rasterio.DatasetReader) -> bool:
    return bool(source.height * source.width <= _MOST_CELLS)


def _points(path: Path, shown_path: str, table: pd.DataFrame, place: Sequence[str]) -> list[str]:
    column = _class_column(table, needed=True)
    if column is None:
        raise LabelError(
            f"labels: {path} holds points without a column of classes (2 to {MOST_CLASSES} different texts that "
            f"repeat); it has {', '.join(map(str, table.columns))}. Numbers are read from polygons and rasters."
        )
    return [
        f"  # {path.name}: {len(table):,} points; classes of `{column}`: {most_common(table[column])}",
        f"{_NAME}{_class_name(column, path)}",
        "    kind: point_class         # the class of most of a region's points; point_shares: the share of each",
        f"    path: {shown_path}",
        f"    column: {quoted(column)}",
        *(f"    {line}" for line in place),
    ]


def _polygons(path: Path, shown_path: str, table: pd.DataFrame) -> list[str]:
    shares = _share_columns(table)
    numeric = table.select_dtypes("number")
    columns = [str(name) for name in numeric if str(name) not in shares and _may_be_label(str(name), table[name])]
    likely = [name for name in columns if any(word in name.lower() for word in TOTAL_WORDS + RATE_WORDS)]
    grouped = _class_column(table, needed=not columns and not shares)
    if not likely and not shares and grouped is None:
        likely = columns[:1]
    if not likely and not shares and grouped is None:
        raise LabelError(
            f"labels: {path} has no column that can be a label, neither numbers nor classes (2 to {MOST_CLASSES} "
            f"different texts that repeat); it has {', '.join(map(str, table.columns))}."
        )
    identity = identity_column(table)
    named = [f"    id: {quoted(identity)}"] if identity else []
    lines = [f"  # {path.name}: {len(table):,} polygons"]
    if columns:
        lines[0] += f"; numeric columns: {', '.join(columns)}"
    for column in likely:
        rate = any(word in column.lower() for word in RATE_WORDS)
        lines += [
            f"{_NAME}{task_name(column)}",
            (
                f"    kind: {'polygon_rate' if rate else 'polygon_total'}    "
                "# polygon_total: amounts that add up (people); polygon_rate: rates and means"
            ),
            f"    path: {shown_path}",
            f"    column: {quoted(column)}",
            *named,
            *(["    unit: people/km²"] if "pop" in column.lower() and not rate else []),
        ]
    if shares:
        prefix = _common_start(shares)
        whole = len(prefix) > 2 and [str(name) for name in table.columns if str(name).startswith(prefix)] == shares
        lines += [
            f"  # shares of {len(shares)} classes, which add up in each polygon",
            f"{_NAME}{task_name(prefix if len(prefix) > 2 else path.stem)}",
            "    kind: polygon_shares",
            f"    path: {shown_path}",
            f"    columns: {quoted(prefix + '*') if whole else '[' + ', '.join(map(quoted, shares)) + ']'}",
            *named,
        ]
    if grouped is not None:
        lines += [
            f"  # classes of `{grouped}`: {most_common(table[grouped])}",
            f"{_NAME}{_class_name(grouped, path)}",
            "    kind: polygon_shares      # share of each class in a region; polygon_class: the class of most of it",
            f"    path: {shown_path}",
            f"    column: {quoted(grouped)}",
        ]
    return lines


def _class_column(table: pd.DataFrame, *, needed: bool) -> str | None:
    """Return the column of classes: of a telling name or, where nothing else is a label, the first of repeating texts.

    Whole numbers are classes where the name says so.
    """
    telling: list[str] = []
    likely: list[str] = []
    for name in table.columns:
        column = table[name]
        if pd.api.types.is_integer_dtype(column):
            if _has_word(str(name), CLASS_WORDS) and looks_like_category(column.astype(str), most=MOST_CLASSES):
                telling.append(str(name))
        elif looks_like_category(column, most=MOST_CLASSES):
            (telling if _has_word(str(name), CLASS_WORDS) else likely).append(str(name))
    return next(iter(telling or (likely if needed else [])), None)


def _share_columns(table: pd.DataFrame) -> list[str]:
    """Return columns of shares that add up to 1 or to 100 in nearly all rows where they are not all 0 or missing."""
    numbers = table.select_dtypes("number")
    for whole in (1.0, 100.0):
        held = numbers.fillna(0.0)
        within = [name for name in held if (held[name] >= 0).all() and (held[name] <= whole * 1.01).all()]
        prefixes = [_common_start([str(one), str(other)]) for one, other in pairwise(within)]
        families = [[name for name in within if str(name).startswith(prefix)] for prefix in prefixes if len(prefix) > 2]
        for family in [within, *sorted(families, key=len, reverse=True)]:
            total = held[family].sum(axis=1)
            filled = total[total > 0]
            fractions = bool((held[family] % 1 != 0).any(axis=None)) or whole > 1
            if len(family) >= 2 and len(filled) >= 2 and fractions and (abs(filled / whole - 1) < 0.02).mean() > 0.9:
                return [str(name) for name in family]
    return []


def _common_start(names: Sequence[str]) -> str:
    """Return what all names begin with."""
    low, high = min(names), max(names)
    return low[: next((place for place, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))]


def _class_name(column: str, path: Path) -> str:
    """Return the name of a task of classes: the file's where the column's says nothing of what they are."""
    return task_name(path.stem if column.lower() in {"label", "class", "category", "value", "type"} else column)


def _has_word(name: str, words: Sequence[str]) -> bool:
    plain = re.sub(r"[ -]+", "_", name.lower())
    return any(word in plain for word in words)


def _may_be_label(name: str, column: pd.Series) -> bool:
    words = re.split(r"[^a-z]+", name.lower())
    if any(word in IGNORED for word in words) or name.lower().startswith("poi_"):
        return False
    values = column.dropna().to_numpy(float)
    return len(values) >= 2 and bool(np.isfinite(values).all()) and len(np.unique(values)) > 1
