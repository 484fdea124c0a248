"""The small parts of a step, beside NumPy and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from mmgr.categories.steps import _rank, _stream, _uniform, running_sums
from mmgr.categories.walks import walking_rule
from mmgr.config import Categories


@pytest.mark.parametrize("count", [0, 1, 5, 16, 17, 33, 200])
def test_the_rank_is_the_first_place_that_holds_more(count: int) -> None:
    rng = np.random.default_rng(count)
    rising = np.sort(np.round(rng.uniform(0, 20, count)))  # with ties
    for value in np.arange(-1, 22, 0.5):
        rank = _rank(np.concatenate([[9.0], rising, [0.0]]), value, 1, count + 1)
        assert rank == 1 + np.searchsorted(rising, value, side="right")


def test_sums_start_anew_at_each_vertex() -> None:
    weights = np.array([1.0, 2.0, 0.5, 0.0, 4.0])
    assert running_sums(np.array([0, 2, 2, 5]), weights).tolist() == [1.0, 3.0, 0.5, 0.5, 4.5]


def test_numbers_of_a_stream_are_even_and_below_one() -> None:
    rule = walking_rule(Categories(), seed=3)
    streams = np.array([_stream(rule, poi, 1) for poi in range(20_000)], np.uint64)  # Numba gives them out as int
    within = np.array([_uniform(streams[0], counter) for counter in range(20_000)])
    across = np.array([_uniform(stream, 1) for stream in streams])
    for draws in (within, across):
        assert 0 <= draws.min() <= draws.max() < 1
        assert kstest(draws, "uniform").pvalue > 0.01
        assert abs(np.corrcoef(draws[1:], draws[:-1])[0, 1]) < 0.02


def test_walkers_have_streams_of_their_own() -> None:
    rules = [walking_rule(Categories(walks=5), seed=seed) for seed in (0, 1, -1)]
    streams = {_stream(rule, poi, number) for rule in rules for poi in range(100) for number in range(5)}
    assert len(streams) == 3 * 100 * 5


def test_the_largest_bias_is_one_and_their_ratios_are_those_of_p_and_q() -> None:
    rule = walking_rule(Categories(p=4.0, q=0.25), seed=0)
    assert (rule.back, rule.near, rule.beyond, rule.least) == (1 / 16, 1 / 4, 1.0, 1 / 16)
