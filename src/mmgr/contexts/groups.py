"""POIs counted at several levels of detail at once: each category, each first level, all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.errors import ConfigError
from mmgr.taxonomy import Taxonomy

LEVELS = ("category", "first", "all")
"""The levels there are."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Sets of categories whose POIs are counted together."""

    names: tuple[str, ...]
    """One name a group, such as ``category_food/bar``, ``first_level_food`` and ``all``."""
    members: NDArray[np.bool_]
    """Whether a category belongs to a group, shape ``(categories, groups)``."""

    def __len__(self) -> int:
        return len(self.names)

    def total(self, counts: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add up the categories of each group along the last axis: from ``(..., categories)`` to ``(..., groups)``."""
        # one group after the other instead of a matrix product, whose sums depend on the number of rows and threads
        totals = np.empty((*counts.shape[:-1], len(self)), np.float32)
        for group in range(len(self)):
            totals[..., group] = counts[..., self.members[:, group]].sum(axis=-1, dtype=np.float64)
        return totals


def groups_of_levels(taxonomy: Taxonomy, levels: Sequence[str] = LEVELS) -> Groups:
    """Return the groups of some levels, in the order of ``levels``.

    Parameters
    ----------
    taxonomy
        The categories.
    levels
        Any of ``"category"``, ``"first"`` and ``"all"``. Where categories have one level only,
        ``"first"`` beside ``"category"`` adds nothing and is left out.

    Raises
    ------
    ConfigError
        If a level is unknown or named twice, or none is.
    """
    levels = (levels,) if isinstance(levels, str) else tuple(levels)
    if not levels or not set(levels) <= set(LEVELS) or len(set(levels)) < len(levels):
        raise ConfigError(f"`levels` are some of {', '.join(LEVELS)}, each once; got {list(levels)}.")
    if taxonomy.first == taxonomy.second and "category" in levels:
        levels = tuple(level for level in levels if level != "first")
    parts = [_of_level(taxonomy, level) for level in levels]
    return Groups(tuple(name for names, _ in parts for name in names), np.hstack([members for _, members in parts]))


def _of_level(taxonomy: Taxonomy, level: str) -> tuple[list[str], NDArray[np.bool_]]:
    count = len(taxonomy)
    if level == "category":
        return [f"category_{name}" for name in taxonomy.names], np.eye(count, dtype=bool)
    if level == "all":
        return ["all"], np.ones((count, 1), bool)
    firsts = sorted(set(taxonomy.first))
    return [f"first_level_{name}" for name in firsts], taxonomy.first_ids[:, None] == np.arange(len(firsts))
