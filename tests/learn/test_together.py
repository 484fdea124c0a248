from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import members
import pytest
import torch
from torch import distributed

from mmgr.errors import ArtefactError, ConfigError, MmgrError
from mmgr.learn import worker
from mmgr.learn.together import Member, Order, run_together
from mmgr.processes import ALONE, Processes

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _workers_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")]))


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (members.one_is_refused, ArtefactError, r"^the store is torn$"),
        (members.one_is_killed, MmgrError, r"^process 2 of 2 on this machine was killed \(SIGKILL\), as happens where"),
        (members.one_fails, RuntimeError, r"^process 2 of 2 failed: ZeroDivisionError: surprise"),
    ],
)
def test_the_failure_of_one_ends_all_and_is_told(
    function: Callable[[Member], None], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message) as error:
        run_together(function, (), Processes(2), backend="gloo")
    assert type(error.value) is kind
    if kind is RuntimeError:
        assert "in one_fails" in "".join(traceback.format_exception(error.value))


@pytest.mark.parametrize(("backend", "device"), [("nccl", torch.device("cuda", 1)), ("gloo", None)])
def test_each_process_talks_through_a_gpu_of_its_own(
    monkeypatch: pytest.MonkeyPatch, backend: str, device: torch.device | None
) -> None:
    done: list[tuple[str, object]] = []
    monkeypatch.setattr(torch.cuda, "set_device", lambda chosen: done.append(("set", chosen)))
    monkeypatch.setattr(distributed, "init_process_group", lambda *_, device_id, **__: done.append(("meet", device_id)))
    monkeypatch.setattr(distributed, "barrier", lambda: done.append(("barrier", None)))
    monkeypatch.setattr(distributed, "destroy_process_group", lambda: None)
    for name in ("LOCAL_RANK", "NODE_RANK"):
        monkeypatch.setenv(name, "")
    member = Member(5, 1, Processes(4, 2, 1, "localhost:1"))
    order = Order(member, lambda *_: done.append(("work", None)), (), "tcp://localhost:1", backend, Path(), None)
    worker._take_part(order)
    chosen = [("set", device)] if device else []
    assert done == [*chosen, ("meet", device), ("work", None), ("barrier", None)]


def test_a_machine_that_is_lost_is_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    machines = [Processes(1, nodes=2, node=node, address=address) for node in range(2)]
    lost = threading.Thread(
        target=run_together, args=(members.the_second_machine_goes, (), machines[1]), kwargs={"backend": "gloo"}
    )
    lost.start()
    with pytest.raises(
        MmgrError, match=r"^another machine of this training was lost \(.*\)\. The same command, on all"
    ):
        run_together(members.the_second_machine_goes, (), machines[0], backend="gloo")
    lost.join()


KILLED = """
import sys
from pathlib import Path
import members
from mmgr.learn.together import run_together
from mmgr.processes import Processes
run_together(members.wait, (Path(sys.argv[1]),), Processes(2), backend="gloo")
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_nobody_is_left_behind_by_a_kill(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    try:
        there = [tmp_path / f"{rank}.txt" for rank in range(2)]
        wait_until(lambda: all(path.exists() and path.read_text() for path in there))
    finally:
        process.kill()
        process.wait()
    workers = [Path("/proc", path.read_text()) for path in there]
    wait_until(lambda: not any(worker.exists() for worker in workers))


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_machine_knows_itself_by_the_environment() -> None:
    assert Processes.here(1, 1, {"NODE_RANK": "7"}) == ALONE
    assert Processes.here(4, 1, {}) == Processes(4)
    there = {"MASTER_ADDR": "10.0.0.5", "NODE_RANK": "2"}
    found = Processes.here(8, 3, there)
    assert (found.total, found.node, found.leads, found.address) == (24, 2, False, "10.0.0.5:29500")
    assert Processes.here(8, 3, there | {"MASTER_PORT": "77", "NODE_RANK": "0"}).address == "10.0.0.5:77"


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({}, "--nodes 3 needs MASTER_ADDR and NODE_RANK in the environment"),
        ({"MASTER_ADDR": "a"}, "--nodes 3 needs NODE_RANK in"),
        ({"MASTER_ADDR": "a", "NODE_RANK": "3"}, "0 to 2 of 3; got 3"),
        ({"MASTER_ADDR": "a", "NODE_RANK": "one"}, "NODE_RANK in the environment is a whole number; got 'one'"),
        ({"MASTER_ADDR": "a", "NODE_RANK": "1", "MASTER_PORT": "x"}, "MASTER_PORT in the environment"),
    ],
)
def test_a_machine_that_does_not_know_itself_is_one_clear_error(environment: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Processes.here(2, 3, environment)
    with pytest.raises(ConfigError, match="at least 1 device"):
        Processes(0)
