"""The date in an image's file name, and the name of the place without it."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

_DAY = re.compile(
    r"(?<!\d)((?:19|20)\d\d)(?P<mark>[-_.]?)(0[1-9]|1[0-2])(?P=mark)(0[1-9]|[12]\d|3[01])(?!\d)",
)
_DIGITS = re.compile(r"\d+")
_YEAR = re.compile(r"(?:19|20)\d\d")
_MARKS = "_-. "


@dataclass(frozen=True, slots=True)
class NamedDate:
    """What a file's name says."""

    date: str
    """``yyyy-mm-dd``, ``yyyy``, or what the user's pattern caught; empty if the name has none."""
    place: str
    """The name without its date."""


def dates_in_names(names: Sequence[str], pattern: str | None = None) -> list[NamedDate]:
    """Find the date in each file name.

    First what ``pattern`` catches; else the first day (20180512, 2018-05-12); else the first
    year that stands alone. A number is taken for a year only if all names of the same form have
    a year there: ``tile_2016_4500`` beside ``tile_2101_4500`` is no date.
    """
    stems = [PurePath(name).stem for name in names]
    years = _year_places(stems)
    return [_one(name, stem, pattern, years.get(_form(stem))) for name, stem in zip(names, stems, strict=True)]


def _one(name: str, stem: str, pattern: str | None, year_place: int | None) -> NamedDate:
    found = re.search(pattern, name) if pattern else None
    if found and found.group(1):
        return NamedDate(found.group(1), _without(stem, *found.span(1)))
    day = _DAY.search(stem)
    if day:
        return NamedDate(f"{day[1]}-{day[3]}-{day[4]}", _without(stem, *day.span()))
    if year_place is not None:
        year = list(_DIGITS.finditer(stem))[year_place]
        return NamedDate(year[0], _without(stem, *year.span()))
    return NamedDate("", stem)


def _form(stem: str) -> str:
    return _DIGITS.sub("#", stem)


def _year_places(stems: Sequence[str]) -> dict[str, int]:
    """Return, for each form of name, which of its numbers is a year in all names of that form."""
    forms: dict[str, list[str]] = defaultdict(list)
    for stem in stems:
        forms[_form(stem)].append(stem)
    places = {}
    for form, members in forms.items():
        common = set.intersection(*(_years(member) for member in members))
        if common:
            places[form] = min(common)
    return places


def _years(stem: str) -> set[int]:
    numbers = enumerate(_DIGITS.finditer(stem))
    return {place for place, number in numbers if _YEAR.fullmatch(number[0]) and _stands_alone(stem, *number.span())}


def _stands_alone(stem: str, start: int, stop: int) -> bool:
    """Say whether a number is a word of its own, or ends one (ortho2018): x2016y4500 is a coordinate."""
    before = re.search(r"[A-Za-z]*$", stem[:start])
    letters = len(before[0]) if before else 0
    decimal = stem[stop : stop + 1] == "." and stem[stop + 1 : stop + 2].isdigit()
    return letters not in {1, 2} and not stem[stop : stop + 1].isalpha() and not decimal


def _without(stem: str, start: int, stop: int) -> str:
    """Return the name without a part and without one of the marks around it."""
    before, after = stem[:start], stem[stop:]
    if before[-1:] in _MARKS and (after[:1] in _MARKS or not after):
        before = before[:-1]
    elif not before:
        after = after.lstrip(_MARKS)
    return (before + after).strip(_MARKS) or stem
