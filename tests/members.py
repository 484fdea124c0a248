"""What processes that train together do in tests; they import it by its name."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import kills
import torch
from torch import distributed

from mmgr.errors import ArtefactError
from mmgr.learn.pretrain import _take_part
from mmgr.learn.together import Member
from mmgr.learn.training import Training


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


def the_first_dies_in_an_epoch(member: Member, *arguments: Any) -> None:
    """Train together, until the process that writes is killed after a step's gradient."""
    if member.rank == 0:
        kills.after_the_gradient()
    _take_part(member, *arguments)


def the_second_dies_at_once(member: Member, *arguments: Any) -> None:
    """Train together, until the process that does not write is killed before its second step."""
    if member.rank == 1:
        Training.training_step = kills.at_the_nth(2, Training.training_step, kills.nothing)
    _take_part(member, *arguments)


def the_first_dies_while_it_writes(member: Member, *arguments: Any) -> None:
    """Train together, until the process that writes is killed with half of a checkpoint written."""
    if member.rank == 0:
        kills.while_a_checkpoint_is_written()
    _take_part(member, *arguments)
