"""Rates that are compared: measured in turns, so that what disturbs one disturbs the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

_PATIENCE = 300.0
"""Seconds without anything new after which nobody can be making it."""


@dataclass(frozen=True, slots=True)
class Span:
    """How long some regions took."""

    regions: int
    seconds: float
    """Of the clock."""
    cpu_seconds: float
    """Of all threads of this process."""

    @property
    def rate(self) -> float:
        """Regions a second."""
        return self.regions / self.seconds

    @property
    def cpu_rate(self) -> float:
        """Regions a second of one core's work: who else uses the machine changes it little."""
        return self.regions / self.cpu_seconds


class Stopwatch:
    """Measures from :meth:`start` to :meth:`stop`, the work that a GPU still has to do included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._begun = self._now()

    def start(self) -> None:
        """Begin anew."""
        self._begun = self._now()

    def stop(self, regions: int) -> Span:
        """Return how long it took."""
        seconds, cpu_seconds = (now - then for now, then in zip(self._now(), self._begun, strict=True))
        return Span(regions, seconds, max(cpu_seconds, 1e-9))

    def _now(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        return time.perf_counter(), time.process_time()


def wait_until_made(wanted: int, made: Callable[[], int]) -> None:
    """Wait until others, in whatever threads or processes, have made so many.

    Raises
    ------
    RuntimeError
        If nothing is made any more.
    """
    now, since = made(), time.monotonic()
    while now < wanted:
        time.sleep(0.002)
        before, now = now, made()
        if now > before:
            since = time.monotonic()
        if time.monotonic() - since > _PATIENCE:
            raise RuntimeError(f"nothing was made in {_PATIENCE:.0f} s; has what makes it been killed?")


def in_turns(rounds: int, ways: Mapping[str, Callable[[], Span]]) -> dict[str, list[Span]]:
    """Measure each way once a round.

    Parameters
    ----------
    rounds
        How often.
    ways
        What to measure, by name.
    """
    spans: dict[str, list[Span]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            spans[name].append(way())
    return spans


def median_rate(spans: list[Span]) -> float:
    """Return the median of the rounds' rates."""
    return float(f"{median(span.rate for span in spans):.5g}")


def median_ratio(spans: list[Span], beside: list[Span], *, cpu: bool = False) -> float:
    """Return the median of the rounds' ratios: rates of one round met the same machine."""
    pairs = zip(spans, beside, strict=True)
    ratios = [a.cpu_rate / b.cpu_rate if cpu else a.rate / b.rate for a, b in pairs]
    return round(median(ratios), 3)
