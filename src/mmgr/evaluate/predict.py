"""Predict a label for every region, for its map."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mmgr.errors import MmgrError
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import inner_blocks, tuning_groups
from mmgr.evaluate.probes import ProbeName, make_probe
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.units import Units


def predict_everywhere(
    units: Units, features: NDArray[np.floating], *, probe: ProbeName = "ridge", seed: int = 0, parts: Widths = ()
) -> NDArray[np.float64]:
    """Fit a probe on all labelled units, tuned on blocks of them, and predict every region.

    Parameters
    ----------
    units
        The labelled units of a task.
    features
        Vectors of all regions, shape ``(n, d)``; NaN where unknown.
    probe
        Name of the probe; a linear one is that of the kind of label.
    seed
        Of the probe's start.
    parts
        Numbers of columns of the parts of the vectors, which the probe weighs against each other.

    Returns
    -------
    Predictions on the label's own scale, shape ``(n,)``, or shares of classes, shape ``(n, k)``; NaN for a region of
    which nothing is known. Amounts are never below 0. Without a density, a polygon's amount is predicted, not a
    region's.

    Raises
    ------
    MmgrError
        If nothing is known of any labelled unit.
    """
    X = units.features(features)
    if np.isnan(X).all():
        raise MmgrError(
            f"task {units.task.name}: the vectors of all {len(units)} labelled units are unknown or not finite: "
            "nothing can be predicted from them. Look whether the regions under the labels have images or POIs, and "
            "whether the model's weights are finite: `mmgr pretrain --force` trains them anew, and a `pretrain.bundle` "
            "or `pretrain.weights` of others may have to be another one."
        )
    X = units.inputs(features)
    edge = math.sqrt(float(np.median(units.geometry.area)))
    groups = tuning_groups(units, edge=edge)
    inner = inner_blocks(units, np.arange(len(units)), groups, seed)
    model = make_probe(
        probe, seed=seed, kind=units.task.label, loss=units.task.loss, parts=units.input_parts(parts, X.shape[1])
    )
    known = ~np.isnan(features).all(axis=1)
    predicted = np.full((len(features), *units.target.shape[1:]), np.nan)
    with one_thread():
        model.fit(X, units.target, inner=inner)
        predicted[known] = units.untransform(model.predict(units.region_inputs(features)[known]))
    return predicted
