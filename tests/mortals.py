"""What processes that train together do in tests where one of them dies; they import it by its name."""

from __future__ import annotations

from typing import Any

import kills

from mmgr.learn.pretrain import _take_part
from mmgr.learn.together import Member
from mmgr.learn.training import Training


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
