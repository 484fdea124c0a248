"""Category names: cleaned, so that one category has one spelling, and paired by level."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmgr.console import log

_ENDS = re.compile(r"\A[\s\u200b\u2060\ufeff]+|[\s\u200b\u2060\ufeff]+\Z")
"""White space, also of no width, before and after a name. Inside one it may join signs of a script or an emoji."""


def clean_names(column: pd.Series[Any]) -> NDArray[np.object_]:
    """Return names as text in Unicode's form NFC, stripped, empty where missing, shape ``(n,)``.

    Whole numbers that a missing value turned into decimals lose their ``.0``.
    """
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    names = np.array([clean_name(value) for value in distinct] + [""], object)  # -1 finds the last
    return np.asarray(names[codes])


def clean_name(value: Any) -> str:
    """Return one name as :func:`clean_names` does."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return unicodedata.normalize("NFC", _ENDS.sub("", str(value)))


def respelt(column: pd.Series[Any]) -> NDArray[np.bool_]:
    """Say which names :func:`clean_names` brings into the form NFC, shape ``(n,)``.

    An accent may be part of its letter or follow it as a sign of its own: a reader sees one name, a
    computer two.
    """
    codes, distinct = pd.factorize(column, use_na_sentinel=True)
    changed = [not unicodedata.is_normalized("NFC", str(value)) for value in distinct]
    return np.asarray(np.array([*changed, False], bool)[codes])


def pair_levels(
    first: NDArray[np.object_], second: NDArray[np.object_]
) -> tuple[tuple[tuple[str, str], ...], NDArray[np.int64]]:
    """Return the distinct pairs of levels in order, and which one each point has, shape ``(n,)``."""
    first_codes, firsts = pd.factorize(first, sort=True)
    second_codes, seconds = pd.factorize(second, sort=True)
    keys, category = np.unique(first_codes * len(seconds) + second_codes, return_inverse=True)
    pairs = tuple((str(firsts[key // len(seconds)]), str(seconds[key % len(seconds)])) for key in keys)
    return pairs, category.astype(np.int64)


def warn_of_shared_names(path: Path, pairs: Iterable[tuple[str, str]], category: NDArray[np.int64]) -> None:
    """Name each second level that stands under several first levels; they are kept as several categories."""
    totals = np.bincount(category)
    parents: dict[str, list[str]] = defaultdict(list)
    for (first, second), total in zip(pairs, totals, strict=True):
        parents[second].append(f"{first} ({total})")
    for name, named in parents.items():
        if len(named) > 1:
            log.warning(
                "%s: second level %r stands under %d first levels: %s; kept as %d categories",
                path, name, len(named), ", ".join(named), len(named),
            )  # fmt: skip
