"""Look at a POI file and propose the section `pois`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd

from mmgr.errors import InputError, PoiError
from mmgr.pois.levels import KEYS, as_record, key_column, part_of_records
from mmgr.pois.points import is_vector
from mmgr.propose.columns import (
    UNKNOWN_CRS,
    coordinate_columns,
    identity_column,
    looks_like_category,
    most_common,
    named_column,
    one_line,
    quoted,
)
from mmgr.tables import is_osm, read_table, read_vector, spatial_layers

CATEGORY_NAMES = (
    "first_level", "category", "basic_category", "categories.primary", "class", "type", "fclass", "kind", "amenity",
    "group", "main", "label",
)  # fmt: skip
"""Column names that are likely to hold categories, best first."""
SECOND_NAMES = (
    "second_level", "subcategory", "sub_category", "categories.primary", "subclass", "subtype", "fclass", "type",
)  # fmt: skip
OSM_LAYERS = ("points", "multipolygons")
"""Layers, as GDAL makes them of an extract of OpenStreetMap, that hold POIs."""

_OPTIONS = [
    "  # radius: 300               # also take POIs within this distance (m) of a region's centre",
    "  # outside: drop             # leave out POIs far from all regions, which `mmgr build` names",
    "  # duplicates: drop          # leave out POIs that are there twice, which `mmgr build` counts",
]


def pois_section(path: Path, shown_path: str) -> list[str]:
    """Read the file, guess its columns, and write the lines of `pois`.

    Raises
    ------
    InputError
        If no columns look like a category, or like coordinates.
    """
    if not is_vector(path):
        table = read_table(path, what="POIs")
        return _points(path, shown_path, table, coordinate_columns(path, table))
    if is_osm(path):
        return _extract(path, shown_path)
    layers = spatial_layers(path)
    return _layer_of(path, shown_path, layers) if len(layers) > 1 else _features(path, shown_path)


def placed_pois_section(path: Path, shown_path: str) -> list[str]:
    """Write the lines of `pois` as :func:`pois_section` does, of POIs whose CRS is known.

    Raises
    ------
    InputError
        If coordinates in columns are no degrees, or as :func:`pois_section` says.
    """
    lines = pois_section(path, shown_path)
    if any(UNKNOWN_CRS in line for line in lines):
        raise PoiError(
            f"{path} has coordinates that are no degrees, and a table does not say their CRS: give it columns lon and "
            "lat in degrees, write it as a GeoPackage that names its CRS, or write city.yaml by hand with `crs`."
        )
    return lines


def _layer_of(path: Path, shown_path: str, layers: Sequence[str]) -> list[str]:
    """Write the lines of `pois` for the one layer of several that holds POIs."""
    found = {}
    for layer in layers:
        with suppress(InputError):
            found[layer] = _features(path, shown_path, layer)
    if len(found) != 1:
        raise InputError(
            f"POIs: {path} has several layers ({', '.join(layers)}), and {len(found) or 'none'} of them look like "
            "POIs; write the one that you mean to a file of its own, or write city.yaml by hand with `layer`."
        )
    ((_, lines),) = found.items()
    return lines


def _extract(path: Path, shown_path: str) -> list[str]:
    """Write the lines of `pois` for an extract of OpenStreetMap."""
    if not spatial_layers(path):
        read_vector(path, what="POIs")  # says what is wrong with it
    found = {}
    for layer in OSM_LAYERS:
        try:
            found[layer] = pd.DataFrame(read_vector(path, layer=layer, what="POIs"))
        except InputError as error:
            if error.__cause__ is not None:  # damaged; one without features may be there
                raise
    keys = [key for key in KEYS if any(key_column(table, key).notna().any() for table in found.values())]
    found = {layer: table for layer, table in found.items() if _first_of_keys(table, keys).notna().any()}
    if not keys:
        raise PoiError(f"{path} holds nothing with one of the keys {', '.join(KEYS)}.")
    firsts = pd.concat([_first_of_keys(table, keys) for table in found.values()]).dropna()
    lines = [f"# {len(firsts):,} POIs by keys of OpenStreetMap: {most_common(firsts)}", "pois:", "  sources:"]
    for layer in found:
        lines += ["    - kind: points", f"      path: {shown_path}", f"      layer: {layer}", *_keys_lines(keys)]
    return lines + _OPTIONS


def _features(path: Path, shown_path: str, layer: str | None = None) -> list[str]:
    frame = read_vector(path, layer=layer, what="POIs")
    shown_path = shown_path if layer is None else f"{shown_path}\n      layer: {quoted(layer)}"
    attributes = pd.DataFrame(frame.drop(columns=frame.geometry.name))
    polygons = frame.geom_type.isin(["Polygon", "MultiPolygon"]).mean() > 0.5
    prefix = _count_prefix(attributes) if polygons else None
    if prefix:
        return _counts(path, shown_path, attributes, prefix)
    return _points(path, shown_path, attributes, [])


def _points(path: Path, shown_path: str, table: pd.DataFrame, coordinates: Sequence[str]) -> list[str]:
    table = _with_parts(table, path)
    first, second = _category_columns(table)
    keys = [key for key in KEYS if key in table and key_column(table, key).notna().any()]
    if len(keys) > 1 and (first is None or first not in CATEGORY_NAMES or first in KEYS):
        return _by_keys(shown_path, table, keys, coordinates)
    if first is None:
        raise PoiError(
            f"{path} has no column that looks like a category (2 to 1,000 different texts that repeat); it has "
            f"{', '.join(map(str, table.columns))}. Polygons with counts need columns with one prefix, such as poi_."
        )
    return [
        f"# {len(table):,} POIs; categories of `{one_line(first)}`: {most_common(table[first])}",
        *([f"# finer categories of `{one_line(second)}`: {most_common(table[second])}"] if second else []),
        "pois:",
        "  sources:",
        "    - kind: points",
        f"      path: {shown_path}",
        f"      first_level: {quoted(first)}",
        f"      second_level: {quoted(second)}"
        if second
        else "      # second_level: COLUMN   # a finer category, if there is one",
        *(f"      {line}" for line in coordinates),
        *_OPTIONS,
    ]


def _with_parts(table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return a table with the texts in columns of records, such as `categories.primary`, in place of these."""
    parts: dict[str, pd.Series] = {}
    for name in table.columns:
        column = table[name]
        values = column.dropna()
        example = as_record(values.iloc[0]) if len(values) else None
        if isinstance(example, dict):
            names = [f"{name}.{part}" for part, value in example.items() if isinstance(value, str)]
            parts |= {whole: part_of_records(table, whole, path=path) for whole in names}
        elif not isinstance(example, list | np.ndarray):
            parts[str(name)] = column
    return pd.DataFrame(parts, index=table.index)


def _by_keys(shown_path: str, table: pd.DataFrame, keys: Sequence[str], coordinates: Sequence[str]) -> list[str]:
    """Write the lines of `pois` for a table with a column for each key of OpenStreetMap."""
    firsts = _first_of_keys(table, keys).dropna()
    return [
        f"# {len(firsts):,} POIs by keys of OpenStreetMap, of {len(table):,} rows: {most_common(firsts)}",
        "pois:",
        "  sources:",
        "    - kind: points",
        f"      path: {shown_path}",
        *_keys_lines(keys),
        *(f"      {line}" for line in coordinates),
        *_OPTIONS,
    ]


def _keys_lines(keys: Sequence[str]) -> list[str]:
    return [f"      keys: [{', '.join(keys)}]   # of several that a POI has, the first counts"]


def _first_of_keys(table: pd.DataFrame, keys: Sequence[str]) -> pd.Series:
    """Return the first key that has a value, of each row."""
    first = pd.Series(pd.NA, table.index, dtype="object")
    for key in reversed(keys):
        first[key_column(table, key).notna()] = key
    return first


def _counts(path: Path, shown_path: str, table: pd.DataFrame, prefix: str) -> list[str]:
    columns = [name for name in table.columns if str(name).startswith(prefix)]
    identity = identity_column(table)
    totals = table[columns].sum().sort_values(ascending=False)
    shown = ", ".join(f"{name} ({value:,.0f})" for name, value in totals.head(6).items())
    return [
        f"# {len(table):,} polygons with POI counts in {len(columns)} columns of {path.name}: {shown}, ...",
        "pois:",
        "  sources:",
        "    - kind: counts",
        f"      path: {shown_path}",
        *([f"      id: {quoted(identity)}"] if identity else []),
        f"      columns: {prefix}*",
        "      # first_levels: {" + f"{columns[0]}: food" + "}   # first level of a column, where categories have two",
    ]


def _category_columns(table: pd.DataFrame) -> tuple[str | None, str | None]:
    """Guess the first-level and the second-level column.

    Where one column refines another, they are the two levels; likely names decide between pairs.
    """
    likely = [str(name) for name in table.columns if looks_like_category(table[name])]
    filled = table[likely].where(table[likely].astype(str).apply(lambda column: column.str.strip() != ""))
    pairs = [(coarse, fine) for coarse, fine in permutations(likely, 2) if _refines(filled, coarse, fine)]
    if pairs:
        return min(pairs, key=lambda pair: (_rank(pair[0], CATEGORY_NAMES), _rank(pair[1], SECOND_NAMES)))
    named = named_column(likely, CATEGORY_NAMES)
    return named or min(likely, key=lambda name: table[name].nunique(), default=None), None


def _refines(table: pd.DataFrame, coarse: str, fine: str) -> bool:
    """Say whether each value of ``fine`` has (nearly always) one value of ``coarse``, and there are more of them."""
    if table[fine].nunique() <= table[coarse].nunique():
        return False
    return bool(table.groupby(fine)[coarse].nunique().mean() < 1.1)


def _rank(name: str, wanted: Sequence[str]) -> int:
    return wanted.index(name.lower()) if name.lower() in wanted else len(wanted)


def _count_prefix(table: pd.DataFrame) -> str | None:
    """Return the prefix that most numeric columns share, such as `poi_`."""
    numeric = [str(name) for name in table.select_dtypes("number").columns]
    prefixes = Counter(match[0] for name in numeric if (match := re.match(r"[A-Za-z]+[_.]", name)))
    best = prefixes.most_common(1)
    return best[0][0] if best and best[0][1] >= 3 else None
