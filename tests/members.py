"""What processes that work together do in tests; they import it by its name, and nothing that loads slowly with it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import torch
from torch import distributed

from mmgr.errors import ArtefactError
from mmgr.learn.together import Member


def one_is_refused(member: Member) -> None:
    if member.rank == 1:
        raise ArtefactError("the store is torn")
    distributed.barrier()


def one_fails(member: Member) -> None:
    if member.rank == 1:
        raise ZeroDivisionError("surprise")
    distributed.barrier()


def one_is_killed(member: Member) -> None:
    if member.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    distributed.barrier()


def wait(member: Member, folder: Path) -> None:
    """Say that it is there, and wait for longer than any test."""
    (folder / f"{member.rank}.txt").write_text(str(os.getpid()))
    time.sleep(600)


def the_second_machine_goes(member: Member) -> None:
    if member.rank == 1:
        os._exit(0)  # as a machine that lost its power: it says nothing
    for _ in range(1000):
        distributed.all_reduce(torch.ones(1))
