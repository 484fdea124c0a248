"""How far each prediction can be trusted: its interval, and whether the model applies to its region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.evaluate.applicability import Applicability, area_of_applicability
from mmgr.evaluate.calibration import calibration_folds
from mmgr.evaluate.coverage import score_intervals
from mmgr.evaluate.interval_scores import IntervalScore
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.uncertainty import Uncertainty, predict_intervals
from mmgr.evaluate.units import Units


@dataclass(frozen=True, slots=True)
class Trust:
    """What is known of the predictions of one task in all ``n`` regions."""

    scores: tuple[IntervalScore, ...]
    intervals: Uncertainty | None
    """What may be true instead, by the kind of label; None where the units are too few."""
    applicability: Applicability | None
    """None where the units are too few for blocks."""

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns that stand beside predictions: those of the intervals, ``dissimilarity, applicable``."""
        found: dict[str, NDArray[Any]] = {}
        if self.intervals is not None:
            found |= self.intervals.columns()
        if self.applicability is not None:
            found |= {
                "dissimilarity": self.applicability.dissimilarity,
                "applicable": self.applicability.applicable,
            }
        return found


def judge_predictions(
    units: Units,
    features: NDArray[np.floating],
    predicted: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    features_name: str = "",
    parts: Widths = (),
) -> Trust:
    """Give predictions their intervals, measure how often such intervals hold, and find where the model applies.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    predicted
        Predictions of all regions on the label's own scale, shape ``(n,)``, or shares of classes, shape ``(n, k)``; NaN
        where there are none.
    settings
        Splits, folds, blocks, levels, and the probe: the first that is named.
    edge
        Edge of a region in metres.
    seed
        Of folds and probes.
    features_name
        What the features are called in the tables.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.
    """
    # as predictions and what is kept of held-out ones: by the first probe
    same: Any = {"edge": edge, "seed": seed, "probe": settings.probes[0], "parts": parts}
    scores = score_intervals(units, features, settings, features_name=features_name, **same)
    with one_thread():
        intervals = predict_intervals(units, features, predicted, settings, **same)
    rows = np.arange(len(units))
    folds = calibration_folds(units, rows, settings, edge=edge, block=settings.block, seed=seed)
    # of a region without a prediction, as in a city that the task is not about, there is nothing to say
    asked = np.where(np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)[:, None], features, np.nan)
    area = None if folds is None else area_of_applicability(units, features, folds, asked=asked, seed=seed, parts=parts)
    return Trust(tuple(scores), intervals, area)
