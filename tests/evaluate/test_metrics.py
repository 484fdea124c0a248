from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as trusted

from mmgr.evaluate import mae, r2, rmse


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(2, 40))
def test_metrics_agree_with_scikit_learn(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.normal(size=(2, size))
    assert r2(y, p) == pytest.approx(trusted.r2_score(y, p))
    assert rmse(y, p) == pytest.approx(trusted.root_mean_squared_error(y, p))
    assert mae(y, p) == pytest.approx(trusted.mean_absolute_error(y, p))


def test_r2_is_undefined_where_the_observed_do_not_vary() -> None:
    assert math.isnan(r2([1.0], [2.0]))
    assert math.isnan(r2([3.0, 3.0], [2.0, 4.0]))


@pytest.mark.parametrize(("observed", "predicted"), [([], []), ([1.0, 2.0], [1.0]), ([[1.0]], [[1.0]])])
def test_vectors_of_other_shapes_are_refused(observed: list[float], predicted: list[float]) -> None:
    with pytest.raises(ValueError, match="not two filled vectors"):
        rmse(observed, predicted)


def test_nan_is_refused_and_counted() -> None:
    with pytest.raises(ValueError, match="2 of 3 pairs are NaN"):
        mae([1.0, math.nan, 2.0], [1.0, 1.0, math.inf])
