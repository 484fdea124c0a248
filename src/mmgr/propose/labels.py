"""Look at a label file and propose an entry of `tasks`."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import rasterio

from mmgr.config.names import COLUMNS, ENDINGS
from mmgr.errors import LabelError
from mmgr.files import existing_file
from mmgr.tables import read_vector

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
IGNORED = ("area", "id", "fid", "objectid", "code", "geoid", "length", "perimeter", "poi_")


def label_entries(path: Path, shown_path: str) -> list[str]:
    """Read the file, guess what its values mean, and write the lines of its tasks.

    Raises
    ------
    LabelError
        If no column can be a label.
    """
    existing_file(path, what="labels")
    return _raster(path, shown_path) if path.suffix.lower() in RASTERS else _polygons(path, shown_path)


def _raster(path: Path, shown_path: str) -> list[str]:
    try:
        with rasterio.open(path) as source:
            pixel = f"cells of {abs(source.transform.a):g} x {abs(source.transform.e):g} in {source.crs}"
    except rasterio.errors.RasterioError as error:
        raise LabelError(f"labels: {path} cannot be read as a raster: {error}") from error
    amount = any(word in path.stem.lower() for word in TOTAL_WORDS)
    return [
        f"  # {path.name}: {pixel}",
        f"  - name: {_task_name(path.stem)}",
        (
            f"    kind: {'raster_sum' if amount else 'raster_mean'}        "
            "# raster_sum: amounts such as people a cell; raster_mean: rates"
        ),
        f"    path: {shown_path}",
        *(["    unit: people/km²"] if "pop" in path.stem.lower() else []),
    ]


def _polygons(path: Path, shown_path: str) -> list[str]:
    frame = read_vector(path, what="labels")
    table = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    columns = [str(name) for name in table.select_dtypes("number").columns if _may_be_label(str(name), table[name])]
    if not columns:
        raise LabelError(
            f"labels: {path} has no numeric column that can be a label; it has {', '.join(map(str, table.columns))}."
        )
    likely = [name for name in columns if any(word in name.lower() for word in TOTAL_WORDS + RATE_WORDS)] or columns[:1]
    identity = next((str(c) for c in table.columns if table[c].is_unique and not _is_float(table[c])), None)
    lines = [f"  # {path.name}: {len(frame):,} polygons; numeric columns: {', '.join(columns)}"]
    for column in likely:
        rate = any(word in column.lower() for word in RATE_WORDS)
        lines += [
            f"  - name: {_task_name(column)}",
            (
                f"    kind: {'polygon_rate' if rate else 'polygon_total'}    "
                "# polygon_total: amounts that add up (people); polygon_rate: rates and means"
            ),
            f"    path: {shown_path}",
            f"    column: {column}",
            *([f"    id: {identity}"] if identity else []),
            *(["    unit: people/km²"] if "pop" in column.lower() and not rate else []),
        ]
    return lines


def _may_be_label(name: str, column: pd.Series) -> bool:
    words = re.split(r"[^a-z]+", name.lower())
    if any(word in IGNORED for word in words) or name.lower().startswith("poi_"):
        return False
    values = column.dropna().to_numpy(float)
    return len(values) >= 2 and bool(np.isfinite(values).all()) and len(np.unique(values)) > 1


def _is_float(column: pd.Series) -> bool:
    return bool(pd.api.types.is_float_dtype(column))


def _task_name(text: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_").lower() or "label"
    taken = name in COLUMNS or name.endswith(tuple(f"_{ending}" for ending in ENDINGS))
    return f"{name}_label" if taken else name
