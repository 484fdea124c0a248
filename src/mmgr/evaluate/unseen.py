"""Classes that a fold tests without a training unit of them: no probe can predict them there."""

from __future__ import annotations

from collections.abc import Iterable

from mmgr.console import log
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units

_NAMED = 5


def unseen_classes(units: Units, folds: Iterable[tuple[Rows, Rows]]) -> dict[str, int]:
    """Count the tested units of each class that no training unit of their fold has, or has a share of.

    Parameters
    ----------
    units
        The labelled units.
    folds
        Rows to train on and to test on.

    Returns
    -------
    Units by the name of the class, over all folds; nothing for numbers and where all classes are seen.
    """
    has = units.values.reshape(len(units), -1) > 0
    count = dict.fromkeys(units.classes, 0)
    for train, test in folds if units.classes else ():
        unseen = ~has[train].any(axis=0)
        for name, tested in zip(units.classes, (has[test] & unseen).sum(axis=0), strict=True):
            count[name] += int(tested)
    return {name: tested for name, tested in count.items() if tested}


def warn_of_unseen(units: Units, kind: str, folds: list[tuple[Rows, Rows]]) -> None:
    """Warn once of the classes of a split that are tested without having been seen, with their counts."""
    unseen = unseen_classes(units, folds)
    if not unseen:
        return
    has = units.values > 0
    tested = dict(zip(units.classes, sum(has[test].sum(axis=0) for _, test in folds), strict=True))
    listed = [f"{name} ({count} of {tested[name]} tested units)" for name, count in unseen.items()]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    log.warning(
        "%s, split %s: classes are tested in folds where no training unit has them, and cannot be right there: %s%s. "
        "Join rare ones by `classes`, or read the scores so",
        units.task.name,
        kind,
        ", ".join(listed[:_NAMED]),
        more,
    )
