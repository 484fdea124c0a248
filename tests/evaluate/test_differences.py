from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from mmgr.evaluate.differences import interval, paired_difference, written


def test_without_overlap_the_interval_is_that_of_a_paired_t_test() -> None:
    one, other = np.random.default_rng(0).normal(size=(2, 12))
    trusted = stats.ttest_rel(one, other)
    low, high = trusted.confidence_interval(0.95)
    assert paired_difference(one, other, ratio=0.0) == pytest.approx(
        (np.mean(one - other), low, high, trusted.pvalue)
    )  # fmt: skip


def test_overlapping_training_sets_widen_the_interval_as_published() -> None:
    """Nadeau and Bengio (2003): the variance of the mean is that of the pairs times 1/J + n_test/n_train."""
    one, other = np.random.default_rng(1).normal(size=(2, 15))
    mean, low, high, p = paired_difference(one, other, ratio=0.25)
    error = np.std(one - other, ddof=1) * math.sqrt(1 / 15 + 0.25)
    assert (high - low) / 2 == pytest.approx(stats.t(14).ppf(0.975) * error)
    assert p == pytest.approx(2 * stats.t(14).sf(abs(mean) / error))


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    """Ridge against a worse ridge by repeated 5-fold cross-validation: plain intervals are far too short."""
    rng = np.random.default_rng(0)
    plain, corrected, truth = [], [], []
    for _ in range(150):
        X = rng.normal(size=(60, 2))
        y = X[:, 0] + rng.normal(size=60)
        pairs = []
        for _repeat in range(4):
            fold = rng.permutation(60) % 5
            for number in range(5):
                train, test = fold != number, fold == number
                errors = []
                for used in (X[:, :1], X):
                    coef = np.linalg.lstsq(used[train], y[train], rcond=None)[0]
                    errors.append(np.mean((used[test] @ coef - y[test]) ** 2))
                pairs.append(errors)
        one, two = np.array(pairs).T
        truth.append(np.mean(one - two))
        plain.append(paired_difference(one, two, ratio=0.0)[1:3])
        corrected.append(paired_difference(one, two, ratio=0.25)[1:3])
    centre = np.mean(truth)
    held = {name: np.mean([low <= centre <= high for low, high in found])
            for name, found in (("plain", plain), ("corrected", corrected))}  # fmt: skip
    assert held["corrected"] > 0.9
    assert held["plain"] < held["corrected"]


def test_one_pair_has_no_interval_and_equal_methods_no_difference() -> None:
    assert paired_difference([0.5], [0.2], ratio=0.2)[0] == pytest.approx(0.3)
    assert math.isnan(paired_difference([0.5], [0.2], ratio=0.2)[1])
    assert paired_difference([0.5, 0.5], [0.5, 0.5], ratio=0.2) == (0.0, 0.0, 0.0, 1.0)


def test_folds_without_a_metric_are_left_out() -> None:
    assert paired_difference([0.5, math.nan, 0.3], [0.2, 0.1, 0.2], ratio=0.2)[0] == pytest.approx(0.2)


def test_differences_are_written_with_their_sign() -> None:
    assert (written(0.051), written(-0.2), written(1e-5)) == ("+0.05", "\N{MINUS SIGN}0.20", "0.00")
    # the end of an interval that leaves out 0 must not look like 0
    assert written(-0.001) == "\N{MINUS SIGN}0.001"
    assert interval(0.01, 0.09) == "[0.01, 0.09]"
    assert interval(-0.01, math.nan) == ""
