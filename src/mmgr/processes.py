"""How many processes train together, and which machine of theirs this is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from mmgr.errors import ConfigError

DEFAULT_PORT = 29500
"""Where processes of several machines meet, unless MASTER_PORT says otherwise; PyTorch's own default."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of one training; they decide how long it takes, and of its result only the last digits."""

    devices: int = 1
    """Processes on each machine, each with a GPU of its own, or with its part of the cores."""
    nodes: int = 1
    """Machines."""
    node: int = 0
    """This machine among them."""
    address: str = ""
    """Where processes of several machines meet: `host:port` of the first machine."""

    def __post_init__(self) -> None:
        if self.devices < 1 or self.nodes < 1:
            raise ConfigError(f"a training has at least 1 device and 1 node, got {self.devices} and {self.nodes}")
        if not 0 <= self.node < self.nodes:
            raise ConfigError(
                f"NODE_RANK is the number of this machine, 0 to {self.nodes - 1} of {self.nodes}; got {self.node}"
            )
        if self.nodes > 1 and not self.address:
            raise ConfigError("processes of several machines need an address to meet at")

    @classmethod
    def here(cls, devices: int, nodes: int, environment: Mapping[str, str] = os.environ) -> Processes:
        """Return the processes of a training, of which the environment says which machine this is.

        Parameters
        ----------
        devices, nodes
            Processes on each machine, and machines.
        environment
            Where there are several machines: MASTER_ADDR, the first one's address; NODE_RANK, this one's number
            from 0; MASTER_PORT, 29500 by default. With one machine nothing is read.

        Raises
        ------
        ConfigError
            If a number is missing or wrong.
        """
        if nodes == 1:
            return cls(devices)
        missing = [name for name in ("MASTER_ADDR", "NODE_RANK") if not environment.get(name)]
        if missing:
            raise ConfigError(
                f"--nodes {nodes} needs {' and '.join(missing)} in the environment: give the same command on each "
                "machine, with MASTER_ADDR the address of the first one and NODE_RANK this one's number from 0."
            )
        numbers = {"NODE_RANK": environment["NODE_RANK"], "MASTER_PORT": environment.get("MASTER_PORT", DEFAULT_PORT)}
        for name, value in numbers.items():
            if not str(value).isdecimal():
                raise ConfigError(f"{name} in the environment is a whole number; got {value!r}")
        address = f"{environment['MASTER_ADDR']}:{numbers['MASTER_PORT']}"
        return cls(devices, nodes, int(numbers["NODE_RANK"]), address)

    @property
    def total(self) -> int:
        """Processes on all machines."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this machine is the first: the one that writes."""
        return self.node == 0


ALONE = Processes()
"""One process, which trains by itself."""


def cores() -> int:
    """Return the number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
