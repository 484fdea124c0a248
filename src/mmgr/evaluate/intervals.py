"""Prediction intervals of numbers, from residuals of held-out places.

The method is CV+ (Barber, Candès, Ramdas, Tibshirani 2021, Predictive inference with the jackknife+,
Annals of Statistics 49(1), 486-507, section 3), as MAPIE implements it, with one change that is the
point here: the folds that give the residuals are spatial blocks with a buffer, not random units. Intervals made from
neighbours are too narrow for a district that was not seen.

Its guarantee needs exchangeable units, which blocks of a city are not. So the coverage is measured, see
:func:`mmgr.evaluate.score_intervals`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from mapie.conformity_scores import BaseRegressionScore
from mapie.regression import CrossConformalRegressor
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import check_cv

from mmgr.evaluate.calibration import Calibration, everywhere
from mmgr.evaluate.plans import Folds
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units

_CHUNK = 4_000_000
"""Numbers held at once: CV+ compares each prediction with each training unit."""

Predict = Callable[[NDArray[np.floating]], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Intervals:
    """An interval for each of ``n`` regions, on the label's own scale; NaN where nothing is predicted."""

    level: float
    """Share of places that the interval should hold for."""
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    @property
    def width(self) -> NDArray[np.float64]:
        """``upper - lower``, shape ``(n,)``."""
        return self.upper - self.lower

    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Return the columns that stand beside predictions: ``lower, upper``."""
        return {"lower": self.lower, "upper": self.upper}


def number_intervals(
    units: Units,
    calibration: Calibration,
    asked: NDArray[np.floating],
    predicted: NDArray[np.float64],
    known: NDArray[np.bool_],
    level: float,
) -> Intervals:
    """Give predicted numbers an interval each, which always holds them; see :func:`mmgr.evaluate.predict_intervals`."""
    bounds = units.untransform(number_bounds(calibration, asked, [level])[:, :, 0])
    lower, upper = np.minimum(bounds[:, 0], predicted), np.maximum(bounds[:, 1], predicted)
    return Intervals(level, everywhere(lower, known), everywhere(upper, known))


def number_bounds(
    calibration: Calibration, asked: NDArray[np.floating], levels: Sequence[float]
) -> NDArray[np.float64]:
    """Return lower and upper bounds on the probe's scale for vectors of shape ``(n, d)``; shape ``(n, 2, levels)``."""

    def fit(rows: Rows) -> Predict:
        return calibration.fit(rows).predict

    return cv_plus(fit, calibration.X, calibration.y, calibration.folds, asked, levels)


def cv_plus(
    fit: Callable[[Rows], Predict],
    X: NDArray[np.floating],
    y: NDArray[np.float64],
    folds: Folds,
    asked: NDArray[np.floating],
    levels: Sequence[float],
    *,
    score: str | BaseRegressionScore = "absolute",
) -> NDArray[np.float64]:
    """Return the bounds of CV+ for vectors of shape ``(n, d)``.

    Parameters
    ----------
    fit
        Returns, of some rows to fit on, what predicts.
    X, y
        Vectors and labels of the units that calibrate, shapes ``(u, d)`` and ``(u,)``.
    folds
        Rows to fit on and rows to hold out.
    asked
        Vectors to make intervals for.
    levels
        Shares of places that the intervals should hold for.
    score
        What an error is: by default the absolute residual.

    Returns
    -------
    Lower and upper bounds, shape ``(n, 2, levels)``.
    """
    conformal = CrossConformalRegressor(
        FitOnRows(fit), confidence_level=list(levels), conformity_score=score, method="plus", cv=check_cv(folds)
    )
    conformal.fit_conformalize(_beside_rows(X), y)
    table = _beside_rows(asked)
    step = max(1, _CHUNK // len(X))
    parts = [conformal.predict_interval(table[start : start + step])[1] for start in range(0, len(table), step)]
    bounds = np.concatenate(parts) if parts else np.zeros((0, 2, len(levels)))
    return np.asarray(np.sort(bounds, axis=1), np.float64)


class FitOnRows(RegressorMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """A model that is fitted by the numbers of its training rows.

    MAPIE gives each fit some rows of a table and nothing else. What a probe tunes on, groups of units and units that
    must not be parted, hangs on which rows these are; so their numbers stand in the table's first column.
    """

    def __init__(self, fit_on: Callable[[Rows], Predict]) -> None:
        self.fit_on = fit_on

    def fit(self, X: NDArray[np.floating], y: NDArray[np.float64]) -> FitOnRows:  # noqa: ARG002 - scikit-learn passes it
        """Fit on the rows that the first column names."""
        self.predict_ = self.fit_on(X[:, 0].astype(np.int64))
        return self

    def predict(self, X: NDArray[np.floating]) -> NDArray[np.float64]:
        """Predict from all columns but the first."""
        return np.asarray(self.predict_(X[:, 1:]), np.float64)


def _beside_rows(X: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return vectors with the number of each row before them, shape ``(n, 1 + d)``."""
    return np.column_stack([np.arange(len(X)), X]).astype(np.float64)
