"""Densities around places, beside a sum over all pairs."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmgr.contexts import context_densities, density_field
from mmgr.errors import ConfigError, PoiError, RegionError

SCALES = (150.0, 700.0)
FLOOR = 0.001


def brute_force(
    centres: NDArray[np.float64],
    xy: NDArray[np.float64],
    group: NDArray[np.int64],
    groups: int,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Return the densities by the formula, over all pairs."""
    weight = np.ones(len(xy)) if weights is None else weights
    found = np.zeros((len(centres), len(SCALES), groups))
    for place, centre in enumerate(centres):
        for scale, h in enumerate(SCALES):
            for point, where in enumerate(xy):
                kernel = np.exp(-(np.linalg.norm(where - centre) ** 2) / (2 * h**2)) / (2 * np.pi * h**2) * 1e6
                found[place, scale, group[point]] += weight[point] * kernel
    return found


def city(seed: int, pois: int, spread: float, places: int = 7) -> tuple[NDArray[np.float64], ...]:
    random = np.random.default_rng(seed)
    xy = random.normal([380_000, 6_670_000], spread, (pois, 2))
    centres = random.normal([380_000, 6_670_000], 1.5 * spread, (places, 2))
    return centres, xy, random.integers(0, 4, pois), random.uniform(0, 3, pois)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 60), st.sampled_from([1.0, 80.0, 900.0, 20_000.0]))
def test_densities_are_those_of_the_formula(seed: int, pois: int, spread: float) -> None:
    centres, xy, group, weights = city(seed, pois, spread)
    found = context_densities(centres, xy, group, groups=4, scales=SCALES, weights=weights)
    expected = brute_force(centres, xy, group, 4, weights)
    assert found.dtype == np.float32
    # merging a crowd errs by a tenth of a percent near by, more where only the far tail of a crowd is seen
    np.testing.assert_allclose(np.log(FLOOR + found), np.log(FLOOR + expected), atol=0.03)
    np.testing.assert_allclose(found, expected, rtol=0.003, atol=0.002 * expected.max(initial=0) + 1e-6)


def test_one_poi_counts_where_it_is() -> None:
    xy = np.array([[380_007.3, 6_670_003.9]])
    centres = xy + np.array([[0.0, 0.0], [100.0, -30.0], [500.0, 500.0]])
    found = context_densities(centres, xy, [0], groups=1, scales=SCALES)
    expected = brute_force(centres, xy, np.zeros(1, int), 1)
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-7)


def test_merging_a_crowd_errs_little() -> None:
    centres, xy, group, _ = city(0, 3000, 900.0, places=5)
    found = context_densities(centres, xy, group, groups=4, scales=SCALES)
    expected = brute_force(centres, xy, group, 4)
    assert np.abs(np.log(FLOOR + found) - np.log(FLOOR + expected)).max() < 0.005
    assert len(density_field(xy, group, groups=4, scales=[7000]).rows[0].x) < 300


def test_pois_that_coincide_count_as_often_as_they_are() -> None:
    xy = np.repeat([[10.0, 20.0]], 50, axis=0)
    many = context_densities([[60.0, -40.0]], xy, np.zeros(50, int), groups=1, scales=SCALES)
    one = context_densities([[60.0, -40.0]], xy[:1], [0], groups=1, scales=SCALES)
    np.testing.assert_allclose(many, 50 * one, rtol=1e-6)


@pytest.mark.parametrize("kernel", ["gaussian", "disc"])
def test_nothing_far_or_absent_is_seen(kernel: str) -> None:
    far = np.array([[1e12, -1e12], [5e5, 5e5]])
    for xy in (far, far[:0]):
        group = np.zeros(len(xy), int)
        found = context_densities([[0.0, 0.0], [-1e9, 1e9]], xy, group, groups=2, scales=SCALES, kernel=kernel)
        assert found.shape == (2, 2, 2)
        assert (found == 0).all()
    assert context_densities(np.zeros((0, 2)), far, [0, 1], groups=2, scales=SCALES).shape == (0, 2, 2)


def test_discs_count_exactly_their_edge_included() -> None:
    xy = np.array([[0.0, 0.0], [0.0, 0.0], [30.0, 40.0], [0.0, 50.0], [-50.0, 0.0], [50.1, 0.0], [36.0, 36.0]])
    field = density_field(xy, [0, 0, 0, 0, 1, 1, 1], groups=2, scales=[50, 51], kernel="disc")
    assert field.sums([[0.0, 0.0]]).tolist() == [[[4, 1], [4, 3]]]
    assert field.densities([[0.0, 0.0]])[0, 0, 0] == pytest.approx(4 / (np.pi * 0.05**2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([50.0, 500.0]))
def test_discs_count_as_distances_say(seed: int, radius: float) -> None:
    centres, xy, group, _ = city(seed, 200, 400.0)
    found = density_field(xy, group, groups=4, scales=[radius], kernel="disc").sums(centres)[:, 0]
    near = np.linalg.norm(centres[:, None] - xy, axis=2) <= radius
    assert (found == near @ np.eye(4)[group]).all()


def test_threads_and_parts_give_the_same_bits() -> None:
    centres, xy, group, _ = city(3, 500, 900.0, places=300)
    field = density_field(xy, group, groups=4, scales=SCALES)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        one = field.densities(centres)
    finally:
        numba.set_num_threads(threads)
    assert (field.densities(centres) == one).all()
    assert (np.concatenate([field.densities(centres[:101]), field.densities(centres[101:])]) == one).all()


def test_the_order_of_pois_does_not_matter() -> None:
    centres, xy, group, weights = city(4, 300, 300.0)
    order = np.random.default_rng(0).permutation(300)
    one = context_densities(centres, xy, group, groups=4, scales=SCALES, weights=weights)
    two = context_densities(centres, xy[order], group[order], groups=4, scales=SCALES, weights=weights[order])
    np.testing.assert_allclose(one, two, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scales": [100, 0]}, ConfigError, r"positive metres.*\[100.0, 0.0\]"),
        ({"scales": []}, ConfigError, "at least one"),
        ({"kernel": "cone"}, ConfigError, "no kernel 'cone'; known are gaussian, disc"),
        ({"group": [0, 2]}, PoiError, r"0 \.\. 1; got 0 \.\. 2"),
        ({"group": [0]}, PoiError, "2 POIs, but 1 groups"),
        ({"weights": [1, -1]}, PoiError, "not negative"),
        ({"xy": [[0, 0], [0, np.inf]]}, PoiError, "missing or infinite"),
        ({"centres": [[0, 0], [np.nan, 0]]}, RegionError, r"1 of 2 centres.*row 1"),
        ({"centres": [1, 2, 3]}, RegionError, r"shape \(n, 2\).*\(3,\)"),
    ],
)
def test_faults_are_named(change: dict[str, object], error: type[Exception], message: str) -> None:
    given_: dict[str, object] = {"centres": [[0, 0]], "xy": [[0, 0], [1, 1]], "group": [0, 1], "scales": [100]}
    with pytest.raises(error, match=message):
        context_densities(**(given_ | {"groups": 2} | change))  # type: ignore[arg-type]
