from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import distance
from scipy.stats import entropy
from sklearn import metrics as trusted

from mmgr.evaluate import mae, r2, rmse
from mmgr.evaluate.metrics import accuracy, canberra, chebyshev, cosine, kl_divergence, l1, macro_f1, measure


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


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 6))
def test_macro_f1_agrees_with_scikit_learn(seed: int, size: int, classes: int) -> None:
    y, p = np.random.default_rng(seed).integers(0, classes, (2, size))
    assert macro_f1(y, p) == pytest.approx(trusted.f1_score(y, p, average="macro", zero_division=0))
    assert accuracy(y, p) == pytest.approx(trusted.accuracy_score(y, p))
    # shares of classes become the class with the largest one
    assert measure("class", "accuracy", np.eye(classes)[y], np.eye(classes)[p] * 0.9) == accuracy(y, p)


def test_a_class_that_is_neither_observed_nor_predicted_adds_nothing_to_canberra() -> None:
    assert canberra([[1.0, 0.0, 0.0]], [[0.5, 0.5, 0.0]]) == pytest.approx(0.5 / 1.5 + 1.0)


def test_nothing_observed_has_no_metric() -> None:
    assert math.isnan(measure("shares", "l1", np.empty((0, 3)), np.empty((0, 3))))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.integers(1, 10), st.integers(2, 6))
def test_metrics_of_shares_agree_with_scipy(seed: int, size: int, classes: int) -> None:
    rng = np.random.default_rng(seed)
    y, p = rng.dirichlet(np.ones(classes), (2, size))
    y[0] = np.eye(classes)[0]  # classes that are not there
    assert l1(y, p) == pytest.approx(np.mean([distance.cityblock(a, b) for a, b in zip(y, p, strict=True)]))
    assert kl_divergence(y, p) == pytest.approx(np.mean([entropy(a, b) for a, b in zip(y, p, strict=True)]))
    assert cosine(y, p) == pytest.approx(1 - np.mean([distance.cosine(a, b) for a, b in zip(y, p, strict=True)]))
    assert chebyshev(y, p) == pytest.approx(np.mean([distance.chebyshev(a, b) for a, b in zip(y, p, strict=True)]))
    assert canberra(y, p) == pytest.approx(np.mean([distance.canberra(a, b) for a, b in zip(y, p, strict=True)]))


def test_a_certain_error_has_a_finite_divergence() -> None:
    assert kl_divergence([[1.0, 0.0]], [[0.0, 1.0]]) == pytest.approx(12 * math.log(10))


@pytest.mark.parametrize("metric", [l1, kl_divergence, cosine])
def test_rows_that_are_no_shares_are_refused(metric: Callable[..., float]) -> None:
    good = [[0.5, 0.5]]
    with pytest.raises(ValueError, match="not two filled tables"):
        metric(good, [0.5, 0.5])
    with pytest.raises(ValueError, match=r"1 observed rows are no shares .* such as row 0"):
        metric([[0.0, 0.0]], good)
    with pytest.raises(ValueError, match="predicted rows"):
        metric(good, [[1.5, -0.5]])
    with pytest.raises(ValueError, match="predicted rows"):
        metric(good, [[math.nan, 1.0]])


def test_classes_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="not two filled vectors"):
        macro_f1([], [])
