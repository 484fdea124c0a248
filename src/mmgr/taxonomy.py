"""The two-level categories of POIs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.errors import PoiError

_NUMBERED = re.compile(r"category_\d{4,}")


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Second-level categories in a fixed order, each with its first level.

    A category's id is its place in ``second``. Data with one level have ``first == second``.
    """

    first: tuple[str, ...]
    """First level of each category, shape ``(n,)``."""
    second: tuple[str, ...]
    """Second level of each category, shape ``(n,)``; the pair is unique."""

    def __post_init__(self) -> None:
        if len(self.first) != len(self.second):
            raise PoiError(f"{len(self.first)} first levels for {len(self.second)} categories")
        if len(set(zip(self.first, self.second, strict=True))) != len(self.second):
            raise PoiError("a taxonomy names one category twice")

    def __len__(self) -> int:
        return len(self.second)

    @classmethod
    def from_pairs(cls, pairs: Iterable[tuple[str, str]]) -> Taxonomy:
        """Make a taxonomy of the distinct ``(first, second)`` pairs, sorted."""
        distinct = sorted(set(pairs))
        return cls(tuple(first for first, _ in distinct), tuple(second for _, second in distinct))

    @property
    def names(self) -> tuple[str, ...]:
        r"""One name a category: ``first/second``, or the one level there is; all are different.

        Where slashes inside of levels give two categories one name, such slashes become ``\/`` and
        backslashes ``\\``, in all names.
        """
        names = tuple(a if a == b else f"{a}/{b}" for a, b in zip(self.first, self.second, strict=True))
        if len(set(names)) == len(names):
            return names
        escaped = [[_escaped(level) for level in pair] for pair in zip(self.first, self.second, strict=True)]
        return tuple(a if a == b else f"{a}/{b}" for a, b in escaped)

    @property
    def is_numbered(self) -> bool:
        """Whether names are numbers, ``category_0001`` and on, of categories known by vectors alone.

        They mean nothing elsewhere; :func:`mmgr.reference.table.recover_categories` gives them.
        """
        return bool(self.second) and all(_NUMBERED.fullmatch(name) for name in self.second)

    @property
    def first_ids(self) -> NDArray[np.int64]:
        """Number of each category's first level, shape ``(n,)``, in ``0 .. first levels - 1``."""
        order = {name: number for number, name in enumerate(sorted(set(self.first)))}
        return np.array([order[name] for name in self.first], dtype=np.int64)

    def ids(self, firsts: Sequence[str], seconds: Sequence[str]) -> NDArray[np.int32]:
        """Return the category ids of pairs; ``-1`` for a pair that is not in the taxonomy."""
        order = {pair: number for number, pair in enumerate(zip(self.first, self.second, strict=True))}
        return np.array([order.get(pair, -1) for pair in zip(firsts, seconds, strict=True)], dtype=np.int32)

    def to_json(self) -> dict[str, list[str]]:
        """Return the taxonomy as plain lists."""
        return {"first_level": list(self.first), "second_level": list(self.second)}

    @classmethod
    def from_json(cls, value: dict[str, list[str]]) -> Taxonomy:
        """Read what :meth:`to_json` wrote."""
        return cls(tuple(value["first_level"]), tuple(value["second_level"]))


def _escaped(level: str) -> str:
    return level.replace("\\", "\\\\").replace("/", "\\/")
