from __future__ import annotations

import math

import esda
import numpy as np
import pytest
from libpysal.weights import KNN
from scipy.ndimage import gaussian_filter

from mmgr.evaluate import morans_i


def places(side: int = 14) -> np.ndarray:
    jitter = np.random.default_rng(3).uniform(-0.2, 0.2, (side**2, 2))
    return 100 * (np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2) + jitter)


@pytest.mark.parametrize("smooth", [0.0, 0.6, 1.5])
def test_the_index_and_its_p_value_are_those_of_esda(smooth: float) -> None:
    centres = places()
    noise = np.random.default_rng(1).normal(size=(14, 14))
    values = (gaussian_filter(noise, smooth) if smooth else noise).ravel()
    weights = KNN.from_array(centres, k=8)
    trusted = esda.Moran(values, weights, transformation="r", permutations=999)
    found, p = morans_i(values, centres)
    assert found == pytest.approx(trusted.I, abs=1e-10)
    # esda's p is of the nearer tail, ours of the upper one
    upper = trusted.p_sim if trusted.EI < trusted.I else 1 - trusted.p_sim
    assert p == pytest.approx(upper, abs=0.06)
    assert (p < 0.01) == (smooth > 0)


def test_residuals_of_several_classes_are_multiplied_row_by_row() -> None:
    centres = places(6)
    values = np.random.default_rng(0).normal(size=(36, 3))
    z = values - values.mean(axis=0)
    distance = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    near = np.argsort(distance, axis=1)[:, 1:9]
    by_hand = sum(z[i] @ z[j] / 8 for i in range(36) for j in near[i]) / (z**2).sum()
    assert morans_i(values, centres)[0] == pytest.approx(by_hand)


def test_random_residuals_are_called_so_about_as_often_as_the_p_value_says() -> None:
    centres = places(8)
    found = [morans_i(np.random.default_rng(i).normal(size=64), centres, seed=i)[1] for i in range(60)]
    assert np.mean(np.array(found) <= 0.1) == pytest.approx(0.1, abs=0.1)


def test_residuals_that_are_all_alike_or_very_few_have_no_index() -> None:
    assert math.isnan(morans_i(np.ones(20), places(8)[:20])[0])
    assert math.isnan(morans_i(np.arange(3.0), places(8)[:3])[1])


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_residuals_that_are_no_numbers_have_no_p_value(odd: float) -> None:
    values = np.random.default_rng(0).normal(size=(64, 2))
    values[[3, 7], 1] = odd
    with pytest.raises(ValueError, match="2 of 64 residuals are NaN or infinite"):
        morans_i(values, places(8))


def test_units_on_one_spot_are_neighbours() -> None:
    centres = np.repeat(places(3), 4, axis=0)
    values = np.repeat(np.arange(9.0), 4)
    assert morans_i(values, centres, neighbours=3) == (pytest.approx(1.0), pytest.approx(0.001))
