"""The monitor: whether each loss is better than chance, whether it holds elsewhere, and whether features collapse."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmgr.files import write_aside
from mmgr.learn.held_out import HeldOutMeasures, uniformity
from mmgr.learn.model import LossParts

RANK_SAMPLE = 512
"""Features, and what the losses see of them, that are looked at: the last of an epoch."""
NEAR_CHANCE = 0.02
"""A loss within this part of its chance has learned nothing."""
LEAST_RANK = 2.0
"""Vectors of a lower effective rank have collapsed."""
ONE_POINT = -0.01
"""Vectors of a higher uniformity lie on one point: within less than a tenth of the sphere's radius."""

_SUMMED = tuple(f.name for f in fields(LossParts) if f.name not in {"features", "projections", "total", "temperature"})


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
    """Of the image features that an embedding is made of."""
    projection_rank: float
    """Effective rank of the projections, which the losses see, as they lie on the unit sphere."""
    projection_uniformity: float
    """How evenly they lie there: 0 where all are equal, towards -4 as they spread."""
    temperature: float
    held_out: HeldOutMeasures = field(default_factory=HeldOutMeasures)
    probes: Mapping[str, float] = field(default_factory=dict)
    """What labels say of the frozen features, by name; empty unless it was asked for in this epoch."""

    def quantities(self) -> dict[str, float]:
        """Return all that was measured, by name."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"epoch", "held_out", "probes"}}
        measured = {**plain, **asdict(self.held_out), **self.probes}
        return {name: value for name, value in measured.items() if not math.isnan(value)}

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> EpochRow:
        """Read what `dataclasses.asdict` made of a row."""
        return cls(**{**values, "held_out": HeldOutMeasures(**values["held_out"])})


@dataclass(slots=True)
class Monitor:
    """Gathers the batches of an epoch, and the epochs of a training."""

    rows: list[EpochRow] = field(default_factory=list)
    _batches: list[tuple[int, Tensor]] = field(default_factory=list)
    _features: list[Tensor] = field(default_factory=list)
    _projections: list[Tensor] = field(default_factory=list)
    _temperature: Tensor | None = None

    def add(self, parts: LossParts, regions: int) -> None:
        """Take in a batch."""
        values = [parts.total.detach(), *(getattr(parts, name) for name in _SUMMED)]
        self._batches.append((regions, torch.stack([value.float() for value in values])))
        self._temperature = parts.temperature
        for gathered, found in ((self._features, parts.features), (self._projections, parts.projections)):
            gathered.append(found)
            while sum(len(part) for part in gathered[1:]) >= RANK_SAMPLE:
                gathered.pop(0)

    def end_epoch(
        self,
        *,
        learning_rate: float,
        seconds: float,
        held_out: HeldOutMeasures | None = None,
        probes: Mapping[str, float] | None = None,
    ) -> EpochRow:
        """Make the epoch's row: means over regions, beside what was measured after its last step."""
        regions = torch.tensor([float(size) for size, _ in self._batches])
        values = torch.stack([value.cpu() for _, value in self._batches])  # (batches, quantities)
        loss, *means = ((regions @ values) / regions.sum()).tolist()
        projections = [normalize(part.float().cpu(), dim=1) for part in self._projections]
        row = EpochRow(
            epoch=len(self.rows) + 1,
            seconds=seconds,
            regions_per_second=float(regions.sum()) / seconds,
            learning_rate=learning_rate,
            loss=loss,
            effective_rank=effective_rank(torch.cat([part.cpu() for part in self._features])[-RANK_SAMPLE:]),
            # each step has other weights: what differs between batches is no spread within them
            projection_rank=effective_rank(torch.cat([z - z.mean(0) for z in projections])[-RANK_SAMPLE:]),
            projection_uniformity=_mean_uniformity(projections),
            temperature=math.nan if self._temperature is None else float(self._temperature),
            held_out=held_out or HeldOutMeasures(),
            probes=probes or {},
            **dict(zip(_SUMMED, means, strict=True)),
        )
        self.rows.append(row)
        self._batches, self._features, self._projections = [], [], []
        return row

    def state(self) -> dict[str, Any]:
        """Return all that was gathered, as plain values and tensors: a checkpoint holds it."""
        return {
            "rows": [asdict(row) for row in self.rows],
            "batches": [(regions, values.cpu()) for regions, values in self._batches],
            "features": [features.cpu().clone() for features in self._features],
            "projections": [projections.cpu().clone() for projections in self._projections],
            "temperature": None if self._temperature is None else self._temperature.cpu(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Monitor:
        """Go on from what :meth:`state` returned."""
        rows = [EpochRow.from_plain(row) for row in state["rows"]]
        return cls(rows, state["batches"], state["features"], state["projections"], state["temperature"])

    def write(self, path: Path) -> None:
        """Write all rows as CSV, whole or not at all."""
        plain = [f.name for f in fields(EpochRow) if f.name not in {"held_out", "probes"}]
        probes = list(dict.fromkeys(name for row in self.rows for name in row.probes))
        names = [*plain, *(f.name for f in fields(HeldOutMeasures)), *probes]
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(names)
        for row in self.rows:
            known = {"epoch": row.epoch, **row.quantities()}
            table.writerow([_shown(known.get(name, math.nan)) for name in names])
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
        held = row.held_out
        for name, found, chance in (
            ("its other view", held.held_out_view_retrieval, held.held_out_view_retrieval_chance),
            ("its POIs", held.held_out_poi_retrieval, held.held_out_poi_retrieval_chance),
        ):
            if not math.isnan(found):
                told.append(f"a held-out region finds {name} in {found:.1%} against {chance:.1%} by chance")
        return "; ".join([*told, *([self.collapse()] if self.collapse() else [])])

    def collapse(self) -> str:
        """Name a collapse in the last epoch; empty where there is none."""
        row = self.rows[-1]
        signs = []
        if row.effective_rank < LEAST_RANK:
            signs.append(f"effective rank {row.effective_rank:.1f}")
        if row.projection_rank < LEAST_RANK:
            signs.append(f"effective rank of projections {row.projection_rank:.1f}")
        if row.projection_uniformity > ONE_POINT:  # false for NaN
            signs.append(f"uniformity of projections {row.projection_uniformity:.2f}")
        if row.held_out.uniformity > ONE_POINT:  # false for NaN
            signs.append(f"uniformity of held-out vectors {row.held_out.uniformity:.2f}")
        return f"the image features have COLLAPSED ({', '.join(signs)}): try a lower learning rate" if signs else ""


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


def _mean_uniformity(batches: Sequence[Tensor]) -> float:
    """Return the mean of the batches' :func:`uniformity`; NaN where none has two vectors."""
    found = [float(uniformity(batch[:RANK_SAMPLE])) for batch in batches if len(batch) > 1]
    return sum(found) / len(found) if found else math.nan


def _shown(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.6g}"
