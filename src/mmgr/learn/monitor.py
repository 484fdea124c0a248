"""The monitor: whether each loss is better than chance, and whether features collapse."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmgr.files import write_aside
from mmgr.learn.model import LossParts

RANK_SAMPLE = 512
"""Features that the effective rank is taken of: the last of an epoch."""
NEAR_CHANCE = 0.02
"""A loss within this part of its chance has learned nothing."""
LEAST_RANK = 2.0
"""Features of a lower effective rank have collapsed."""

_SUMMED = tuple(f.name for f in fields(LossParts) if f.name not in {"features", "total", "temperature"})


@dataclass(frozen=True, slots=True)
class EpochRow:
    """One row of the monitor; NaN where the recipe has no such quantity."""

    epoch: int
    """Counted from 1."""
    seconds: float
    regions_per_second: float
    learning_rate: float
    loss: float
    intra: float
    intra_chance: float
    inter: float
    inter_chance: float
    counts: float
    counts_chance: float
    view_retrieval: float
    view_retrieval_chance: float
    poi_retrieval: float
    poi_retrieval_chance: float
    effective_rank: float
    temperature: float


@dataclass(slots=True)
class Monitor:
    """Gathers the batches of an epoch, and the epochs of a training."""

    rows: list[EpochRow] = field(default_factory=list)
    _batches: list[tuple[int, Tensor]] = field(default_factory=list)
    _features: list[Tensor] = field(default_factory=list)
    _temperature: Tensor | None = None

    def add(self, parts: LossParts, regions: int) -> None:
        """Take in a batch."""
        values = [parts.total.detach(), *(getattr(parts, name) for name in _SUMMED)]
        self._batches.append((regions, torch.stack([value.float() for value in values])))
        self._temperature = parts.temperature
        self._features.append(parts.features)
        while sum(len(f) for f in self._features[1:]) >= RANK_SAMPLE:
            self._features.pop(0)

    def end_epoch(self, *, learning_rate: float, seconds: float) -> EpochRow:
        """Make the epoch's row: means over regions."""
        regions = torch.tensor([float(size) for size, _ in self._batches])
        values = torch.stack([value.cpu() for _, value in self._batches])  # (batches, quantities)
        loss, *means = ((regions @ values) / regions.sum()).tolist()
        row = EpochRow(
            epoch=len(self.rows) + 1,
            seconds=seconds,
            regions_per_second=float(regions.sum()) / seconds,
            learning_rate=learning_rate,
            loss=loss,
            effective_rank=effective_rank(torch.cat([part.cpu() for part in self._features])[-RANK_SAMPLE:]),
            temperature=math.nan if self._temperature is None else float(self._temperature),
            **dict(zip(_SUMMED, means, strict=True)),
        )
        self.rows.append(row)
        self._batches, self._features = [], []
        return row

    def state(self) -> dict[str, Any]:
        """Return all that was gathered, as plain values and tensors: a checkpoint holds it."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "batches": [(regions, values.cpu()) for regions, values in self._batches],
            "features": [features.cpu().clone() for features in self._features],
            "temperature": None if self._temperature is None else self._temperature.cpu(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Monitor:
        """Go on from what :meth:`state` returned."""
        return cls(
            [EpochRow(**row) for row in state["rows"]], state["batches"], state["features"], state["temperature"]
        )

    def write(self, path: Path) -> None:
        """Write all rows as CSV, whole or not at all."""
        names = [f.name for f in fields(EpochRow)]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(names)
        table.writerows([_shown(getattr(row, name)) for name in names] for row in self.rows)
        with write_aside(path) as aside:
            aside.write_text(text.getvalue(), encoding="utf-8")

    def sentence(self) -> str:
        """Say of each loss of the last epoch whether it is better than chance, and name a collapse."""
        if not self.rows:
            return "no epoch was trained"
        row = self.rows[-1]
        told = []
        for name, loss, chance in (
            ("intra-modal", row.intra, row.intra_chance),
            ("inter-modal", row.inter, row.inter_chance),
            ("POI counts", row.counts, row.counts_chance),
        ):
            if not math.isnan(loss):
                near = loss > (1 - NEAR_CHANCE) * chance
                told.append(f"{name} {loss:.2f} against {chance:.2f} by chance{' (learned nothing)' if near else ''}")
        if row.effective_rank < LEAST_RANK:
            rank = f"effective rank {row.effective_rank:.1f}"
            told.append(f"the image features have COLLAPSED ({rank}): try a lower learning rate")
        return "; ".join(told)


@torch.no_grad()
def effective_rank(features: Tensor) -> float:
    """Return in how many directions features vary: the exponential of their spectrum's entropy.

    Roy and Vetterli (2007), on centred features of shape ``(n, F)``; between 1 and ``min(n - 1, F)``, and 0
    where all features are equal.
    """
    values = torch.linalg.svdvals((features - features.mean(0)).float().cpu())
    if float(values.sum()) <= 1e-6 * float(features.norm().cpu()):
        return 0.0
    parts = values / values.sum()
    return float(torch.exp(-(parts * parts.clamp(min=1e-12).log()).sum()))


def _shown(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6g}"
