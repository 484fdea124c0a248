"""Look at a POI file and propose the section `pois`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import pandas as pd

from mmgr.errors import InputError, PoiError
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
from mmgr.tables import read_table, read_vector, spatial_layers

CATEGORY_NAMES = ("first_level", "category", "class", "type", "fclass", "kind", "amenity", "group", "main", "label")
"""Column names that are likely to hold categories, best first."""
SECOND_NAMES = ("second_level", "subcategory", "sub_category", "subclass", "subtype", "fclass", "type")


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
    first, second = _category_columns(table)
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
        "  # radius: 300               # also take POIs within this distance (m) of a region's centre",
        "  # outside: drop             # leave out POIs far from all regions, which `mmgr build` names",
    ]


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
