"""Intervals of the share of each class, from residuals of held-out places.

Each share is a number with an interval of its own, by CV+ as :mod:`mmgr.evaluate.intervals` has it, clipped to 0 and 1.
So what an interval claims, it claims of one class: that all shares of a place lie in theirs at once is true of fewer
places, and is measured, not promised. The bounds of a place's classes need not add up to 1.

A residual is taken in standard deviations of a proportion, ``sqrt(p (1 - p))``: a share of nearly 0 or 1 errs by less
than one of a half. Such a weight is any function of the prediction (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman 2018,
Distribution-free predictive inference for regression, JASA 113(523), section 5.2).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from mapie.conformity_scores import BaseRegressionScore
from numpy.typing import NDArray

from mmgr.evaluate.calibration import Calibration, everywhere
from mmgr.evaluate.intervals import Predict, cv_plus
from mmgr.evaluate.probes import Probe
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units

_LEAST_VARIANCE = 0.01


@dataclass(frozen=True, slots=True)
class ShareIntervals:
    """An interval for the share of each of ``k`` classes in each of ``n`` regions; NaN where nothing is predicted."""

    level: float
    """Share of places that the interval of a class should hold for."""
    classes: tuple[str, ...]
    lower: NDArray[np.float64]
    """Shape ``(n, k)``."""
    upper: NDArray[np.float64]

    @property
    def width(self) -> NDArray[np.float64]:
        """``upper - lower``, shape ``(n, k)``."""
        return self.upper - self.lower

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns that stand beside predictions: ``lower.CLASS`` and ``upper.CLASS`` of each class."""
        return {
            f"{end}.{name}": column
            for end, table in (("lower", self.lower), ("upper", self.upper))
            for name, column in zip(self.classes, table.T, strict=True)
        }


def intervals_of_shares(
    units: Units,
    calibration: Calibration,
    asked: NDArray[np.floating],
    predicted: NDArray[np.float64],
    known: NDArray[np.bool_],
    level: float,
) -> ShareIntervals:
    """Give predicted shares an interval each, which always holds them; see :func:`mmgr.evaluate.predict_intervals`."""
    bounds = share_bounds(calibration, asked, [level])[..., 0]
    lower, upper = np.minimum(bounds[:, :, 0], predicted), np.maximum(bounds[:, :, 1], predicted)
    return ShareIntervals(level, units.classes, everywhere(lower, known), everywhere(upper, known))


def share_bounds(calibration: Calibration, asked: NDArray[np.floating], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return lower and upper bounds of each share for vectors of shape ``(n, d)``; shape ``(n, k, 2, levels)``."""
    fitted: dict[bytes, Probe] = {}

    def fit_class(rows: Rows, *, place: int) -> Predict:
        known = rows.tobytes()
        if known not in fitted:  # one probe predicts all classes
            fitted[known] = calibration.fit(rows)
        model = fitted[known]
        return lambda X: model.predict(X)[:, place]

    bounds = [
        cv_plus(
            partial(fit_class, place=place),
            calibration.X,
            share,
            calibration.folds,
            asked,
            levels,
            score=ProportionScore(),
        )
        for place, share in enumerate(calibration.y.T)
    ]
    return np.clip(np.stack(bounds, axis=1), 0.0, 1.0)


class ProportionScore(BaseRegressionScore):  # type: ignore[misc] # MAPIE has no types
    """The residual of a share over the standard deviation that a proportion ``p`` has, ``sqrt(p (1 - p) + 0.01)``.

    Without the constant, one class met where none was expected would make all intervals endless.
    """

    def __init__(self) -> None:
        super().__init__(sym=True, consistency_check=False)

    def get_signed_conformity_scores(
        self, y: NDArray[np.float64], y_pred: NDArray[np.float64], **_: Any
    ) -> NDArray[np.float64]:
        """Return the residuals in standard deviations."""
        return (y - y_pred) / _deviation(y_pred)

    def get_estimation_distribution(
        self, y_pred: NDArray[np.float64], conformity_scores: NDArray[np.float64], **_: Any
    ) -> NDArray[np.float64]:
        """Return the shares that lie so many standard deviations from predicted ones."""
        return y_pred + conformity_scores * _deviation(y_pred)


def _deviation(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.sqrt(share * (1 - share) + _LEAST_VARIANCE)
