"""One of the processes that train together; :mod:`mmgr.learn.together` starts it."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from datetime import timedelta

import torch
from torch import distributed

import mmgr.errors
from mmgr.console import log, show_log
from mmgr.errors import MmgrError
from mmgr.files import write_json
from mmgr.learn.together import Order

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others, of which one may be scoring the features meanwhile."""


def main() -> None:
    """Do what the one who started this process asks for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all: the one who waits ends the others
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the process that started this one
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if order.log_level is not None:
        show_log()
        log.setLevel(order.log_level)
    try:
        _take_part(order)
    except Exception as error:  # noqa: BLE001 - the one who waits tells of it
        name = type(error).__name__
        known = isinstance(error, MmgrError) and hasattr(mmgr.errors, name)
        report = {
            "kind": name if known else "",
            "message": str(error) if known else f"{name}: {error}",
            "time": time.time(),
            "traceback": traceback.format_exc(),
        }
        write_json(order.report, report)
        sys.exit(1)


def _take_part(order: Order) -> None:
    member = order.member
    # where Lightning looks for them
    os.environ |= {"LOCAL_RANK": str(member.place), "NODE_RANK": str(member.processes.node)}
    device = None
    if order.backend == "nccl":
        # what is exchanged before Lightning comes would else go through the first GPU, of all processes at once
        device = torch.device("cuda", member.place)
        torch.cuda.set_device(device)
    distributed.init_process_group(
        order.backend,
        init_method=order.meeting,
        rank=member.rank,
        world_size=member.processes.total,
        timeout=PATIENCE,
        device_id=device,
    )
    order.function(member, *order.arguments)
    distributed.barrier()  # nobody leaves while another still talks
    distributed.destroy_process_group()


def _end_with_parent() -> None:
    """End this process when the one that started it is gone: its end of the pipe closes."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
