"""Many fits, in one process or in several."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_info

from mmgr.evaluate import side_by_side as module
from mmgr.evaluate.probes import make_probe
from mmgr.evaluate.side_by_side import one_thread, side_by_side
from mmgr.evaluate.trials import _fit_and_predict


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every job but the first be handed to two processes."""
    monkeypatch.setattr(module, "_LOOK", -1.0)
    monkeypatch.setattr(module, "_WORTH", -1.0)
    monkeypatch.setattr(module, "cpu_count", lambda: 2)


def test_short_jobs_stay_here_in_their_order() -> None:
    assert side_by_side(divmod, [(number, 3) for number in range(7)]) == [divmod(number, 3) for number in range(7)]
    assert set(side_by_side(os.getpid, [()] * 5)) == {os.getpid()}
    assert side_by_side(os.getpid, []) == []


@pytest.mark.usefixtures("processes")
def test_long_jobs_go_to_processes_and_come_back_in_their_order() -> None:
    assert side_by_side(divmod, [(number, 3) for number in range(7)]) == [divmod(number, 3) for number in range(7)]
    first, *others = side_by_side(os.getpid, [()] * 5)
    assert first == os.getpid()
    assert os.getpid() not in others


@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize("name", ["ridge", "mlp"])
def test_a_fit_has_the_same_bits_wherever_it_runs(name: str) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 40)).astype(np.float32), rng.normal(size=120)
    rows = np.arange(120)
    jobs = [(make_probe(name, seed=0), X, y, rows[20:], rows[:20], None) for _ in range(3)]
    here, *there = side_by_side(_fit_and_predict, jobs)
    for found in there:
        np.testing.assert_array_equal(found, here)


@pytest.mark.usefixtures("processes")
def test_an_error_of_a_process_is_the_error_here() -> None:
    with pytest.raises(ZeroDivisionError):
        side_by_side(divmod, [(1, 1), (1, 0), (1, 1)])


def test_threads_are_one_inside_and_as_before_outside() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            assert torch.get_num_threads() == 1
            with one_thread():
                assert {library["num_threads"] for library in threadpool_info()} == {1}
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
