"""What may be true instead of each prediction: an interval of a number, a set of classes, an interval of each share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.evaluate.calibration import calibrate_on_all
from mmgr.evaluate.class_sets import ClassSets, sets_of_classes
from mmgr.evaluate.intervals import Intervals, number_intervals
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.probes import ProbeName
from mmgr.evaluate.share_intervals import ShareIntervals, intervals_of_shares
from mmgr.evaluate.units import Units

Uncertainty = Intervals | ShareIntervals | ClassSets


def predict_intervals(
    units: Units,
    features: NDArray[np.floating],
    predicted: NDArray[np.floating],
    settings: Evaluate,
    *,
    edge: float,
    seed: int,
    probe: ProbeName = "ridge",
    parts: Widths = (),
) -> Uncertainty | None:
    """Say of every region what may be true instead, at the highest level that the settings ask for.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    predicted
        Predictions on the label's own scale, shape ``(n,)``, or shares of classes, shape ``(n, k)``, as of
        :func:`mmgr.evaluate.predict_everywhere`. Intervals always hold them, a set the class with the largest share.
    settings
        Folds, block, buffer and levels.
    edge
        Edge of a region in metres.
    seed
        Of the blocks' order and the probe.
    probe
        Name of the probe; a linear one is that of the kind of label.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.

    Returns
    -------
    Intervals of numbers or of shares, or sets of classes; None where no level is asked for or the units are too few for
    blocks.
    """
    if not settings.intervals:
        return None
    calibration = calibrate_on_all(units, features, settings, edge=edge, seed=seed, probe=probe, parts=parts)
    if calibration is None:
        return None
    known = np.isfinite(predicted.reshape(len(predicted), -1)).all(axis=1)
    asked, told = units.region_inputs(features)[known], np.asarray(predicted, np.float64)[known]
    level = max(settings.intervals)
    if units.task.label == "number":
        return number_intervals(units, calibration, asked, told, known, level)
    if units.task.label == "class":
        return sets_of_classes(units, calibration, asked, told, known, level)
    return intervals_of_shares(units, calibration, asked, told, known, level)
