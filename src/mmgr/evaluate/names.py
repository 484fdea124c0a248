"""Names of groups and folds as people write them: what is no name, and which names are parts of one split."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mmgr.errors import SplitError

Role = Literal["train", "validation", "test"]

_ROLES: dict[str, Role] = {
    "train": "train", "training": "train", "trn": "train", "fit": "train",
    "val": "validation", "valid": "validation", "validation": "validation", "dev": "validation",
    "test": "test", "testing": "test", "tst": "test", "holdout": "test", "heldout": "test",
}  # fmt: skip
_BESIDE = {"is", "in", "id", "ids", "idx", "index", "indices", "mask", "part", "set", "split", "units"}
"""Words that stand beside the name of a part without changing it, as in `train_ids` and `is_test`."""

_WORDS = [name for name in _ROLES if len(name) > 3]
"""Names of parts that are no abbreviations."""
_NEAR = 0.7
"""How alike a name is to that of a part, at least, if it was mistyped (:func:`difflib.get_close_matches`)."""

NEVER = "-1"
"""A fold that is never tested and always trained on, as in scikit-learn's ``PredefinedSplit``."""


def names_of(values: ArrayLike) -> NDArray[np.str_]:
    """Return names as text, shape ``(n,)``; empty where there is none (None, NaN)."""
    own = np.asarray(values, object)
    return np.where(pd.isna(own), "", own).astype(str)


def fold_names(values: ArrayLike, *, column: str = "") -> NDArray[np.str_]:
    """Return names of folds as text, shape ``(n,)``: what a column says of each unit.

    A column of true and false marks one split: what is true is ``test``, all else ``train``; and the other way round
    if the column is called ``train`` or the like. In a column that is called after a part, such as ``is_test``, 1 and 0
    are such marks, too. -1, of whatever type, is :data:`NEVER`.

    Parameters
    ----------
    values
        Cells of the column, shape ``(n,)``; None, NaN and empty ones are no fold.
    column
        Its name.
    """
    own = names_of(values)
    own = np.where(own == "-1.0", NEVER, own)
    role = role_of(column)
    cells = np.char.lower(own)
    met = set(cells.tolist()) - {""}
    marks = [{"true", "false"}, *([{"1", "0"}, {"1.0", "0.0"}] if role is not None else [])]
    if not met or not any(met <= pair for pair in marks):
        return own
    marked = np.isin(cells, ["true", "1", "1.0"])
    tested = ~marked if role == "train" else marked
    return np.where(cells == "", "", np.where(tested, "test", "train"))


def role_of(name: str) -> Role | None:
    """Return which part of a split a name means, in whatever case, or None if it means none."""
    words = re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())
    return _ROLES.get("".join(word for word in words if word not in _BESIDE))


def roles_of(names: Iterable[str]) -> dict[str, Role] | None:
    """Return the role of each name where all are parts of one split, None where they are folds, each tested in turn.

    Raises
    ------
    SplitError
        If parts to train on and to test stand beside names that mean no part, or any part beside a name that is near to
        that of a part (``tset``), or beside one other name alone.
    """
    roles: dict[str, Role] = {}
    others = []
    for name in dict.fromkeys(names):
        role = role_of(name)
        if role is None:
            others.append(name)
        else:
            roles[name] = role
    if not others:
        return roles or None
    if {"train", "test"} <= set(roles.values()):
        raise SplitError(
            f"the column of folds has parts of one split ({', '.join(sorted(roles))}) beside others "
            f"({', '.join(sorted(others)[:5])}); leave out what is no part, or name all of them as folds."
        )
    unknown = sorted(set(others) - {NEVER})
    near = {name: get_close_matches(name.lower(), _WORDS, n=1, cutoff=_NEAR) for name in unknown}
    if roles and (len(unknown) == 1 or any(near.values())):
        hints = [f"{name!r}" + (f" (did you mean {near[name][0]!r}?)" if near[name] else "") for name in unknown[:5]]
        raise SplitError(
            f"the column of folds has {', '.join(map(repr, sorted(roles)))}, as parts of one split are called, beside "
            f"{', '.join(hints)}, which is no part: each would be a fold, and tested. Name parts as train, validation "
            "and test, or give all folds other names."
        )
    return None
