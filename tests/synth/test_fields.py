"""Random fields: the covariance that they are said to have, and the same bits everywhere."""

from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from mmgr.synth.fields import RANGE_IN_SCALES, Fields, make_fields


def some_fields(count: int = 3, reach: float = 600.0) -> Fields:
    return make_fields(np.full(count, reach), np.arange(count, dtype=float), np.random.default_rng(0))


def test_the_covariance_over_many_draws_is_that_of_matern() -> None:
    fields = make_fields(np.full(4000, 500.0), np.zeros(4000), np.random.default_rng(1))
    distance = np.array([0.0, 50.0, 120.0, 250.0, 500.0, 1500.0])
    values = fields.at(np.stack([distance, np.zeros(6)], axis=1))
    covariance = (values[0] * values).mean(axis=1)
    scaled = np.sqrt(3) * distance / (500.0 / RANGE_IN_SCALES)
    assert_allclose(covariance, (1 + scaled) * np.exp(-scaled), atol=0.06)
    assert abs(covariance[4] - 0.05) < 0.06, "the practical range"
    assert abs((values[0] ** 4).mean() / (values[0] ** 2).mean() ** 2 - 3) < 0.4, "close to Gaussian"


def test_it_is_the_same_in_all_directions() -> None:
    fields = make_fields(np.full(4000, 500.0), np.zeros(4000), np.random.default_rng(2))
    turn = np.linspace(0, np.pi, 7)
    start = fields.at(np.zeros((1, 2)))
    around = fields.at(120 * np.stack([np.cos(turn), np.sin(turn)], axis=1))
    assert np.ptp((start * around).mean(axis=1)) < 0.08


def test_the_lattice_has_the_values_of_its_nodes() -> None:
    fields = some_fields()
    lattice = fields.lattice(-3, 5, 4, 2)
    nodes = np.array([[(x, y) for x in range(-3, 1)] for y in range(5, 7)]) * fields.step
    assert_allclose(lattice, np.moveaxis(fields.at(nodes.reshape(-1, 2)).reshape(2, 4, 3), 2, 0), atol=1e-9)


def test_a_part_of_the_lattice_has_the_bits_of_the_whole() -> None:
    fields = some_fields()
    whole = fields.lattice(-10, -10, 37, 41)
    assert np.array_equal(fields.lattice(3, -4, 5, 7), whole[:, 6:13, 13:18])


def test_the_mean_over_a_square_is_that_of_many_places_in_it() -> None:
    fields = some_fields(reach=1000.0)
    offsets = (np.arange(40) + 0.5) / 40 * 128 - 64
    places = np.array([500.0, 300.0]) + np.array([(x, y) for x in offsets for y in offsets])
    assert_allclose(fields.mean_over(np.array([[500.0, 300.0]]), 128.0)[0], fields.at(places).mean(axis=0), atol=5e-3)
