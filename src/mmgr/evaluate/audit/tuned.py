"""A finding about encoders that labels have trained: which labels had a part in each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmgr.evaluate.audit.places import percent
from mmgr.evaluate.audit.records import Finding
from mmgr.evaluate.audit.sides import Rows, shared_by_sides
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.units import Units


@dataclass(frozen=True, slots=True)
class Tuned:
    """A fold as an encoder was fine-tuned in it, as rows of the units."""

    learned: Rows
    """Units whose labels trained it."""
    chose: Rows
    """Units whose labels chose its epoch."""
    tested: Rows
    """Units that it predicted."""
    epoch: int
    """The epoch that was taken; 0 is the probe that it began as."""


def fine_tuning(units: Units, plan: SplitPlan, done: Sequence[Tuned]) -> Finding:
    """Say whether any label beyond a fold's training units had a part in the encoder that the fold is tested with.

    Parameters
    ----------
    units, plan
        The labelled units, and the split that fine-tuning was done under.
    done
        What was done in each fold, repetition after repetition.
    """
    scope = f"{units.task.name}, {plan.kind}"
    used = [np.concatenate([fold.learned, fold.chose]) for fold in done]
    shared = shared_by_sides(units.weights > 0, [(rows, fold.tested) for rows, fold in zip(used, done, strict=True)])
    allowed = [train for folds in plan.folds for train, _ in folds]
    strays = sum(len(np.setdiff1d(rows, train)) for rows, train in zip(used, allowed, strict=True))
    epochs = [fold.epoch for fold in done]
    numbers = {
        "shared": shared.count,
        "tested": shared.tested,
        "strays": strays,
        "learned": sum(len(fold.learned) for fold in done),
        "chose": sum(len(fold.chose) for fold in done),
        "epochs": epochs,
    }
    if shared.count or strays:
        text = (
            f"{percent(shared.count, shared.tested)} of test units have a region whose label trained the encoder that "
            f"predicts them, or chose its epoch; {strays:,} of the labels used are not of the fold's training units."
        )
        return Finding("fine-tuning", "named", text, scope, numbers)
    text = (
        f"Encoders learned from labels of each fold's training units alone: none of {shared.tested:,} test units has a "
        f"region among them, so what is said of this split's folds holds here. {_choice(plan, done)} Epochs taken: "
        f"{min(epochs)} to {max(epochs)}, where 0 is the probe. What the encoders had seen before, `pre-training` says."
    )
    return Finding("fine-tuning", "pass", text, scope, numbers)


def _choice(plan: SplitPlan, done: Sequence[Tuned]) -> str:
    """Say which units chose the epochs."""
    total = sum(len(fold.learned) + len(fold.chose) for fold in done)
    chose = sum(len(fold.chose) for fold in done)
    if not chose:
        return "No unit chose the epoch, the last was taken."
    groups = plan.groups
    whole = groups is not None and not any(np.intersect1d(groups[f.learned], groups[f.chose]).size for f in done)
    kind = "whole blocks or groups" if whole else "not in whole blocks"
    return f"Of the training units {percent(chose, total)}, {kind}, were kept apart and chose the epoch."
