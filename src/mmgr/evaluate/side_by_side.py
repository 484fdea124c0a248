"""Many small fits, each on one thread, and side by side in several processes where that is worth their start.

A probe is fitted on hundreds of units: threads of one matrix product wait for each other longer than they work, and
how many there are decides the last digits of a result. So every fit has one thread, wherever it runs.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TypeVar

from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from mmgr.console import track

T = TypeVar("T")

_ENTERED = threading.local()
"""Whether this thread is inside the block, for to look for all libraries again costs milliseconds."""

MOST_PROCESSES = 8
"""Each takes some hundred MB."""
_AT_ONCE = 4
"""Jobs that are handed to each process before the bar is told."""
_LOOK = 3.0
"""Seconds of jobs after which it is judged how long the others will take."""
_WORTH = 60.0
"""Seconds of work that pay for the start of processes, each of which imports all libraries anew."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Give matrix products and networks one thread while the block runs."""
    torch = sys.modules.get("torch")  # if it is imported later, whoever does so enters this block again
    if getattr(_ENTERED, "with_torch", None) == (torch is not None):
        yield
        return
    outer, _ENTERED.with_torch = getattr(_ENTERED, "with_torch", None), torch is not None
    before = None if torch is None else torch.get_num_threads()
    try:
        with threadpool_limits(1):
            if torch is not None:
                torch.set_num_threads(1)
            yield
    finally:
        _ENTERED.with_torch = outer
        if torch is not None:
            torch.set_num_threads(before)


def side_by_side(function: Callable[..., T], jobs: Sequence[tuple[Any, ...]], *, shown: str = "") -> list[T]:
    """Call a function with the arguments of each job; with long jobs, in as many processes as there are cores.

    Jobs begin here, one after the other. If those that are left will take long, judged by those that ended, they are
    handed to processes. Which process a job ends in makes no difference to its result. ``LOKY_MAX_CPU_COUNT=1`` in the
    environment keeps all of them here.

    Parameters
    ----------
    function
        Of a module, so that other processes find it. What it says to the log is lost there.
    jobs
        Arguments of each call; arrays among them are shared, not copied.
    shown
        Title of a progress bar.

    Returns
    -------
    What each call returned, in the order of the jobs.
    """
    bar = iter(track(jobs, shown, total=len(jobs)) if shown else jobs)
    found: list[T] = []
    start = time.perf_counter()
    with one_thread():
        for job in bar:
            found.append(function(*job))
            left, seconds = len(jobs) - len(found), time.perf_counter() - start
            if seconds > _LOOK and seconds / len(found) * left > _WORTH and min(cpu_count(), left) > 1:
                break
    if len(found) == len(jobs):
        return found
    workers, with_torch = min(cpu_count(), left, MOST_PROCESSES), "torch" in sys.modules
    with warnings.catch_warnings():
        # a process that has grown is replaced, which is nobody's concern
        warnings.filterwarnings("ignore", "A worker stopped while some jobs were given", UserWarning)
        for first in range(len(found), len(jobs), _AT_ONCE * workers):  # by parts, for the sake of the bar
            part = jobs[first : first + _AT_ONCE * workers]
            found += Parallel(workers)(delayed(_alone)(function, job, with_torch) for job in part)
            for _ in part:
                next(bar, None)
    return found


def _alone(function: Callable[..., T], job: tuple[Any, ...], with_torch: bool) -> T:  # noqa: FBT001 - called here alone
    """Call the function in a process of its own, which imports PyTorch first if networks are among the jobs."""
    if with_torch:
        import_module("torch")
    with one_thread():
        return function(*job)
