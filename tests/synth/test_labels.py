"""Labels: the formulas as documented, and their ceilings."""

from __future__ import annotations

import math

import numpy as np
from numpy.testing import assert_allclose

from mmgr.synth.labels import LABELS, ceilings, draw_noise, function_at_best, labels_of

FACTORS = np.random.default_rng(0).normal(size=(5, 3))


def test_labels_are_the_functions_of_the_documentation() -> None:
    found = labels_of(FACTORS)
    for (b, h, s), row in zip(FACTORS, found, strict=True):
        assert math.isclose(row[0], 5000 * math.exp(0.7 * b + 0.5 * s))
        assert math.isclose(row[1], 40 * math.exp(0.7 * h + 0.5 * s))
        logits = [
            0.9 + 0.5 * b - 0.4 * h - 0.1 * s,
            0.3 + 0.3 * b + 0.8 * h + 0.7 * s,
            0.6 * b + 0.1 * h - 0.8 * s,
            -0.1 * b + 0.5 * h + 0.3 * s,
            0.2 - 0.9 * b - 0.5 * h - 0.4 * s,
        ]
        total = sum(math.exp(logit) for logit in logits)
        assert_allclose(row[2:], [math.exp(logit) / total for logit in logits])


def test_noise_is_measured_in_standard_deviations_of_the_signal() -> None:
    one = np.ones((5, len(LABELS)))
    ratio = np.log(labels_of(FACTORS, one) / labels_of(FACTORS))
    assert_allclose(ratio[:, :2], math.hypot(0.7, 0.5))


def test_the_ceiling_of_many_places_is_the_one_expected() -> None:
    factors = np.random.default_rng(1).normal(size=(20_000, 3))
    cells = np.stack([np.arange(20_000), np.zeros(20_000, int)], axis=1)
    noise = draw_noise(np.uint64(7), cells, 0.5)
    assert_allclose(noise.std(axis=0), 0.5, atol=0.01)
    assert np.abs(np.corrcoef(noise.T) - np.eye(len(LABELS))).max() < 0.03
    found = ceilings(labels_of(factors), labels_of(factors, noise))
    assert abs(found["population"] - 1 / 1.25) < 0.01
    assert abs(found["economy"] - 1 / 1.25) < 0.01
    assert 0.5 < min(found.values()) < max(found.values()) < 0.9


def test_without_noise_everything_can_be_known() -> None:
    clean = labels_of(FACTORS)
    assert set(ceilings(clean, labels_of(FACTORS, np.zeros((5, len(LABELS))))).values()) == {1.0}
    assert function_at_best(clean, clean) == {"l1": 0.0, "kl": 0.0, "cosine": 1.0}


def test_noise_keeps_even_the_true_shares_from_being_met() -> None:
    clean, noisy = labels_of(FACTORS), labels_of(FACTORS, np.random.default_rng(2).normal(0, 0.3, (5, len(LABELS))))
    found = function_at_best(clean, noisy)
    assert math.isclose(found["l1"], np.abs(clean - noisy)[:, 2:].sum(axis=1).mean(), abs_tol=1e-4)
    assert found["kl"] > 0
    assert found["cosine"] < 1
