"""Processes that train together: how they are started, where they meet, and what becomes of their errors.

The process that a person started trains nothing itself: it starts one worker a device, each a fresh interpreter,
waits, and says what went wrong if one fails. Why not fork, or run the command again in each, as launchers do: a fork
takes locks and GPUs along in a broken state; and the command may be a notebook, a test, or a run with other
stages before this one.

A worker reads what to do from its standard input and then watches it: when the one that started it is gone, however
it went, the input ends and so does the worker. So a killed training leaves nobody behind who still writes.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mmgr.errors
from mmgr.console import log
from mmgr.errors import MmgrError
from mmgr.files import explained_writes, read_json
from mmgr.processes import ALONE, Processes, cores

GRACE = 5.0
"""Seconds that the others get to say what went wrong, once a worker has failed."""
POLL = 0.05
"""Seconds between looks at the workers."""
_LOST = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "timed out", "Timed out", "timeout")
"""What gloo and NCCL say of a machine that is gone."""


@dataclass(frozen=True, slots=True)
class Member:
    """One of the processes that train together."""

    rank: int = 0
    """Its number among all; 0 writes what is written."""
    place: int = 0
    """Its number on its machine."""
    processes: Processes = ALONE

    @property
    def writes(self) -> bool:
        """Whether it is the one that writes files and messages."""
        return self.rank == 0


NOBODY_ELSE = Member()
"""The one process of a training that has no other."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is told."""

    member: Member
    function: Callable[..., None]
    """Called with the member and ``arguments``; by its name, so that it has to be one of a module."""
    arguments: tuple[Any, ...]
    meeting: str
    """Where the processes meet, as PyTorch's ``init_method``."""
    backend: str
    """`gloo` or `nccl`."""
    report: Path
    """Where it says what went wrong."""
    log_level: int | None
    """Of messages to standard error; None for none."""


def run_together(
    function: Callable[..., None], arguments: tuple[Any, ...], processes: Processes, *, backend: str
) -> None:
    """Call ``function(member, *arguments)`` in each process of this machine, and wait for all.

    Raises
    ------
    MmgrError
        If one of them raised it, or was killed.
    RuntimeError
        If one of them failed otherwise; its traceback is a note of the error.
    """
    with tempfile.TemporaryDirectory(prefix="mmgr-") as scratch:
        folder = Path(scratch)
        meeting = f"tcp://{processes.address}" if processes.address else (folder / "meeting").as_uri()
        orders = [
            Order(
                member=Member(processes.node * processes.devices + place, place, processes),
                function=function,
                arguments=arguments,
                meeting=meeting,
                backend=backend,
                report=folder / f"report-{place}.json",
                log_level=log.getEffectiveLevel() if log.handlers and processes.leads and place == 0 else None,
            )
            for place in range(processes.devices)
        ]
        workers: list[subprocess.Popen[bytes]] = []
        try:
            workers.extend(_start(order, folder) for order in orders)
            failed = _wait(workers)
        finally:
            # a kill is safe at any moment, and the only thing that ends a process that waits for a lost one
            for worker in workers:
                worker.kill()
                worker.wait()
                assert worker.stdin is not None  # noqa: S101 - it was asked for
                worker.stdin.close()
        if failed:
            raise _explained(orders, failed, folder)


@contextmanager
def lent(values: NDArray[np.float32] | None) -> Iterator[Path | None]:
    """Write an array to a file for the block, from which workers map it: they share its pages, and have no copies."""
    if values is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="mmgr-") as scratch:
        path = Path(scratch) / "lent.npy"
        with explained_writes(path):
            np.save(path, values)
        yield path


def borrowed(path: Path | None) -> NDArray[np.float32] | None:
    """Map an array that :func:`lent` wrote; it can be read, and not be changed."""
    return None if path is None else np.load(path, mmap_mode="r")


def _start(order: Order, folder: Path) -> subprocess.Popen[bytes]:
    """Start a worker and tell it what to do."""
    devices = order.member.processes.devices
    environment = {
        # threads that share cores stand still by waiting for each other
        "OMP_NUM_THREADS": str(max(cores() // devices, 1)),
        # it would tell of the search for weights that a step leaves out, which is wanted
        "TORCH_CPP_LOG_LEVEL": "ERROR",
    } | os.environ
    if order.member.processes.nodes == 1 and "lo" in {name for _, name in socket.if_nameindex()}:
        # on one machine, whatever its host name means in its network
        environment = {"GLOO_SOCKET_IFNAME": "lo"} | environment
    errors = None if order.log_level is not None else (folder / f"errors-{order.member.place}.txt").open("wb")
    worker = subprocess.Popen(
        [sys.executable, "-m", "mmgr.learn.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=errors,
        env=environment,
    )
    if errors is not None:
        errors.close()
    assert worker.stdin is not None  # noqa: S101 - it was asked for
    try:
        worker.stdin.write(pickle.dumps(order))
        worker.stdin.flush()
    except BrokenPipeError:
        pass  # it has failed already, which its exit status tells
    return worker


def _wait(workers: Sequence[subprocess.Popen[bytes]]) -> dict[int, int]:
    """Wait for all workers; if some fail, return their exit statuses by place, as they are a little later."""
    while True:
        statuses = {place: worker.poll() for place, worker in enumerate(workers)}
        if any(statuses.values()):
            break
        if all(status == 0 for status in statuses.values()):
            return {}
        time.sleep(POLL)
    deadline = time.monotonic() + GRACE
    while any(worker.poll() is None for worker in workers) and time.monotonic() < deadline:
        time.sleep(POLL)
    return {place: status for place, worker in enumerate(workers) if (status := worker.poll())}


def _explained(orders: Sequence[Order], failed: dict[int, int], folder: Path) -> Exception:
    """Choose the failure that explains the others: those of a training that lost a member follow from it."""
    reports = {place: dict(read_json(orders[place].report)) for place in failed if orders[place].report.exists()}
    known = [report for report in reports.values() if report["kind"]]
    if known:
        found: MmgrError = getattr(mmgr.errors, known[0]["kind"])(known[0]["message"])
        return found
    total = len(orders)
    for place, status in failed.items():
        if status < 0:
            name = signal.Signals(-status).name
            memory = ", as happens where memory runs out: use fewer devices or a smaller batch" * (name == "SIGKILL")
            return MmgrError(
                f"process {place + 1} of {total} on this machine was killed ({name}){memory}. The same command goes on "
                "from the last checkpoint."
            )
    # the first to fail: the others' connections broke when it went
    place = min(failed, key=lambda place: reports.get(place, {}).get("time", 0.0))
    report = reports.get(place, {})
    if orders[place].member.processes.nodes > 1 and any(sign in report.get("message", "") for sign in _LOST):
        return MmgrError(
            f"another machine of this training was lost ({report['message']}). The same command, on all machines, goes "
            "on from the last checkpoint."
        )
    error = RuntimeError(
        f"process {place + 1} of {total} failed: {report.get('message', f'exit status {failed[place]}')}"
    )
    printed = folder / f"errors-{place}.txt"
    error.add_note(report.get("traceback", "") + (printed.read_text(errors="replace") if printed.exists() else ""))
    return error
