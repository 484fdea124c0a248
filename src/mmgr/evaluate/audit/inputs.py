"""A finding about labels: whether they are made of what is to predict them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config, CountSource, Task
from mmgr.evaluate.audit.likeness import Inputs, Told, likeness, told_by_line, told_by_most
from mmgr.evaluate.audit.places import percent
from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.units import Units
from mmgr.store import RegionStore
from mmgr.taxonomy import Taxonomy

_PATH = "targets made of inputs"
_MOST_UNITS = 3_000
"""A sample of so many units tells a near-perfect function from a good one."""
_DIGITS = 6
"""Of shares: rounding beyond would part ranks that are one."""
_TOO_FEW = "Too few units with POIs, or with labels that differ, to tell whether the label is made of them"

Columns = str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PoiInputs:
    """What POIs say of ``n`` regions."""

    taxonomy: Taxonomy
    densities: NDArray[np.float64]
    """POIs per km2 by category, shape ``(n, categories)``; NaN where unknown."""

    @classmethod
    def of(cls, store: RegionStore) -> PoiInputs:
        """Read them from the region store."""
        taxonomy = store.info.taxonomy
        return cls(taxonomy, store.bags.densities(len(taxonomy)).astype(np.float64))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a comparison showed."""

    text: str
    numbers: dict[str, Any]
    is_made: bool = False
    is_told: bool = True
    """Whether there was enough to compare."""


def made_of_inputs(config: Config, units: Units, pois: PoiInputs) -> Finding:
    """Say whether a label is one of the inputs, or a near-perfect function of them.

    Parameters
    ----------
    config
        Where inputs come from.
    units
        The labelled units.
    pois
        What the label may be made of: densities of POIs, and the shares of categories and of first levels among them.
    """
    task = units.task
    same_file, same_column = _same_file(config, task)
    if same_column:
        text = f"Column `{same_column}` of {task.path.name} is an input (POIs) and the label."
        return Finding(_PATH, "named", text, task.name, {"column": same_column})
    seen = _compared(units, pois)
    numbers = {"same_file": same_file, **seen.numbers}
    if seen.is_made:
        return Finding(_PATH, "named", f"{seen.text}: the label seems to be made of the inputs.", task.name, numbers)
    if same_file:
        text = f"The label is read from {task.path.name}, as POIs are: see that it was not made of them. {seen.text}."
        return Finding(_PATH, "named", text, task.name, numbers)
    return Finding(_PATH, "pass" if seen.is_told else "note", f"{seen.text}.", task.name, numbers)


def _same_file(config: Config, task: Task) -> tuple[bool, str]:
    """Say whether a POI source is the labels' file, and which label column is among what is read from it."""
    sources = [source for source in (config.pois.sources if config.pois else ()) if _is_one(source.path, task.path)]
    label = task.columns or (() if task.column is None else (task.column,))
    for source in sources:
        levels = () if isinstance(source, CountSource) else (source.first_level, source.second_level, *source.keys)
        read = source.columns if isinstance(source, CountSource) else tuple(name for name in levels if name)
        shared = _in_both(label, read)
        if shared:
            return True, shared
    return bool(sources), ""


def _is_one(one: Any, other: Any) -> bool:
    return bool(one.resolve() == other.resolve())


def _in_both(one: Columns, other: Columns) -> str:
    """Return a column that two lists or prefixes of columns have in common, or the prefix of such; empty if none."""
    if isinstance(one, str) and isinstance(other, str):
        short, long = sorted((one.removesuffix("*"), other.removesuffix("*")), key=len)
        return f"{long}*" if long.startswith(short) else ""  # either prefix has columns, or reading them had failed
    if isinstance(one, str):
        one, other = other, one
    if isinstance(other, str):
        return next((name for name in one if name.startswith(other.removesuffix("*"))), "")
    return next((name for name in one if name in other), "")


def _compared(units: Units, pois: PoiInputs) -> _Seen:
    """Compare a label with what POIs say of its units."""
    if not len(pois.taxonomy):
        return _Seen("There are no POI counts to compare the label with", {})
    density = units.features(pois.densities).astype(np.float64)
    rows = np.flatnonzero(np.isfinite(density).all(axis=1))
    if len(rows) > _MOST_UNITS:
        rows = np.sort(np.random.default_rng(0).choice(rows, _MOST_UNITS, replace=False))
    levels = _levels(pois.taxonomy, density[rows])
    total = density[rows].sum(axis=1)
    some = total > 0
    densities: dict[str, NDArray[np.float64]] = {}
    shares: dict[str, NDArray[np.float64]] = {}
    for what, (names, table) in levels.items():
        densities |= {f"the density of {what}{name}": column for name, column in zip(names, table.T, strict=True)}
        parts = np.round(table[some] / total[some, None], _DIGITS)
        shares |= {f"the share of {what}{name} among POIs": one for name, one in zip(names, parts.T, strict=True)}
    densities["the density of all POIs"] = total
    inputs = [_inputs("POI densities", rows, densities), _inputs("POI shares", rows[some], shares)]
    if units.task.label != "class":
        return _of_numbers(units, inputs)
    classes = units.values.argmax(axis=1)
    told = [
        *(
            told_by_most(classes, rows[some], table[some], f"the most common POI {what or 'category '}".rstrip())
            for what, (_, table) in levels.items()
        ),
        *(told_by_line(classes, one) for one in inputs),
    ]
    return _of_classes([one for one in told if one is not None])


def _levels(taxonomy: Taxonomy, table: NDArray[np.float64]) -> dict[str, tuple[tuple[str, ...], NDArray[np.float64]]]:
    """Return the amounts of each category, and of each first level where these are fewer, by what they are called."""
    levels = {"": (taxonomy.names, table)}
    first = tuple(sorted(set(taxonomy.first)))
    if len(first) < len(taxonomy):
        levels["first level "] = (first, table @ np.eye(len(first))[taxonomy.first_ids])
    return levels


def _inputs(what: str, rows: NDArray[np.int64], columns: dict[str, NDArray[np.float64]]) -> Inputs:
    varied = {name: column for name, column in columns.items() if len(column) and np.ptp(column) > 0}
    table = np.stack(list(varied.values()), axis=1) if varied else np.zeros((len(rows), 0))
    return Inputs(what, list(varied), rows, table)


def _of_numbers(units: Units, inputs: list[Inputs]) -> _Seen:
    """Say how like an input a number is, or the share of a class."""
    found = likeness(units.values.reshape(len(units), -1), inputs)
    if found is None:
        return _Seen(_TOO_FEW, {}, is_told=False)
    numbers = {"feature": found.feature, "rank_correlation": found.correlation, "linear_r2": found.explained}
    of, explained = "the label", "it"
    if units.classes:
        of, explained = f"the share of `{units.classes[found.of]}`", f"that of `{units.classes[found.explained_of]}`"
        numbers |= {"class": units.classes[found.of], "linear_class": units.classes[found.explained_of]}
    text = f"The single input most like {of} is {found.feature} (rank correlation {found.correlation:.2f})"
    if found.explained is not None:
        most = f"a linear function of {found.by} explains {max(found.explained, 0.0):.0%} of {explained}"
        text += f"; {most} under random folds"
    return _Seen(text, numbers, found.is_near_perfect)


def _of_classes(told: list[Told]) -> _Seen:
    """Say how well the inputs tell a class."""
    if not told:
        return _Seen(_TOO_FEW, {}, is_told=False)
    best = max(told, key=lambda one: one.skill)
    largest = best.largest / best.units
    text = (
        f"Of the functions of POIs that were looked at, {best.by} tells the class best: of "
        f"{percent(best.right, best.units)} under random folds, where the largest class is {largest:.0%}"
    )
    numbers = {"by": best.by, "accuracy": best.right / best.units, "largest_class": largest, "skill": best.skill}
    return _Seen(text, numbers, best.is_near_perfect)
