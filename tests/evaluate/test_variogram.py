from __future__ import annotations

import numpy as np
import pytest

from mmgr.evaluate.audit import empirical_variogram


def field(centres: np.ndarray, reach: float, seed: int) -> np.ndarray:
    """Draw a Gaussian field with a spherical covariance, which is 0 beyond ``reach``."""
    h = np.minimum(np.linalg.norm(centres[:, None] - centres[None], axis=2) / reach, 1.0)
    covariance = 1 - 1.5 * h + 0.5 * h**3
    return np.linalg.cholesky(covariance + 1e-8 * np.eye(len(h))) @ np.random.default_rng(seed).normal(size=len(h))


def lattice(side: int, step: float = 100.0) -> np.ndarray:
    return step * np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2).astype(float)


@pytest.mark.parametrize("reach", [600.0, 1200.0])
def test_the_range_of_a_made_field_is_found(reach: float) -> None:
    centres = lattice(26)
    found = [empirical_variogram(centres, np.exp(3 * field(centres, reach, seed))) for seed in range(3)]
    ranges = [variogram.range for variogram in found if variogram is not None]
    assert np.mean(ranges) == pytest.approx(reach, rel=0.35)
    assert not any(variogram is not None and variogram.is_bound for variogram in found)


def test_noise_has_no_range() -> None:
    centres = lattice(20)
    found = empirical_variogram(centres, np.random.default_rng(0).normal(size=400))
    assert found is not None
    assert found.range == 0


def test_a_trend_over_the_whole_area_is_only_a_lower_bound() -> None:
    centres = lattice(16)
    found = empirical_variogram(centres, centres[:, 0])
    assert found is not None
    assert found.is_bound
    assert found.range == pytest.approx(np.hypot(1500, 1500) / 2, rel=0.01)


def test_cities_far_apart_are_not_compared_with_each_other() -> None:
    one = lattice(16)
    both = np.concatenate([one, one + 1e6])
    labels = np.concatenate([field(one, 500.0, 0), 50 + field(one, 500.0, 1)])
    found = empirical_variogram(both, labels, groups=np.repeat(["a", "b"], 256))
    assert found is not None
    assert found.distance.max() < 2e3
    assert 200 < found.range < 1000


def test_names_are_alike_or_not() -> None:
    centres = lattice(20)
    names = np.where(field(centres, 700.0, 0) > 0, "park", "port").astype(object)
    names[3] = np.nan
    found = empirical_variogram(centres, names)
    assert found is not None
    assert 200 < found.range < 1400


def test_too_few_places_give_none() -> None:
    assert empirical_variogram(lattice(2), np.arange(4.0)) is None
    assert empirical_variogram(np.zeros((50, 2)), np.arange(50.0)) is None
