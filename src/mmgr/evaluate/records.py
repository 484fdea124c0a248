"""Scores as records, as a table, as JSON, and the held-out predictions behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pandas as pd

HELD_OUT_COLUMNS = ("task", "split", "id", "observed", "predicted")

_SPLIT_NAMES = {"blocks": "spatial blocks", "groups": "leave one group out", "random": "random folds"}
_COLUMNS = {"R2": ("r2", True), "RMSE": ("rmse", False), "MAE": ("mae", False), "R2 of folds": ("r2_folds", True)}


@dataclass(frozen=True, slots=True)
class Score:
    """How well one feature set with one probe predicts one task under one split.

    Metrics are on ``scale``. Each is the mean over seeds of the metric of all held-out predictions of a seed;
    ``*_std`` is its standard deviation over seeds, NaN with one seed.
    """

    task: str
    split: str
    """`blocks`, `groups` or `random`."""
    features: str
    probe: str
    n_units: int
    """Units that were tested."""
    r2: float
    r2_std: float
    rmse: float
    rmse_std: float
    mae: float
    mae_std: float
    r2_folds: float
    """Mean R2 of single folds over all folds and seeds; folds without variance are left out."""
    r2_folds_std: float
    """Its standard deviation over folds and seeds."""
    seeds: int
    folds: int
    block: float | None
    """Edge of a block in metres."""
    buffer: float
    """Metres between test and training units."""
    optimistic: bool
    """Whether training units may be neighbours of test units."""
    scale: str
    """`log1p` or `as given`."""


@dataclass(frozen=True)
class Scores:
    """Scores of feature sets, in the order in which they were given."""

    records: tuple[Score, ...] = ()
    held_out: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(HELD_OUT_COLUMNS)))
    """Held-out predictions of the main feature set with the first probe and seed: ``task``, ``split``, ``id``,
    ``observed``, ``predicted``, on the label's own scale."""

    @classmethod
    def joined(cls, parts: Iterable[Scores]) -> Scores:
        """Join the scores of several tasks."""
        parts = list(parts)
        tables = [part.held_out for part in parts if len(part.held_out)]
        records = tuple(record for part in parts for record in part.records)
        return cls(records, pd.concat(tables, ignore_index=True)) if tables else cls(records)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a score."""
        return pd.DataFrame([asdict(record) for record in self.records], columns=[f.name for f in fields(Score)])

    def to_json(self) -> list[dict[str, Any]]:
        """Return the records as plain values, with ``None`` for NaN; the held-out predictions are not among them."""
        return [{key: _none_for_nan(value) for key, value in asdict(record).items()} for record in self.records]

    @classmethod
    def from_json(cls, value: Iterable[Mapping[str, Any]], held_out: pd.DataFrame | None = None) -> Scores:
        """Read what :meth:`to_json` wrote, with the held-out predictions where the caller kept them."""
        numbers = {f.name for f in fields(Score) if f.type == "float"}
        filled: list[dict[str, Any]] = [
            {key: float("nan") if part is None and key in numbers else part for key, part in item.items()}
            for item in value
        ]
        records = tuple(Score(**item) for item in filled)
        return cls(records) if held_out is None else cls(records, held_out)

    def to_text(self) -> str:
        """Return R2 of each feature set, a column a split and probe, as a plain table for a terminal."""
        blocks = []
        for task in dict.fromkeys(record.task for record in self.records):
            rows: dict[str, dict[str, str]] = {}
            for record in self.records:
                if record.task == task:
                    column = f"{record.split}{' (optimistic)' if record.optimistic else ''}, {record.probe}"
                    rows.setdefault(record.features, {})[column] = _cell(record, "r2", bold=False)
            table = pd.DataFrame.from_dict(rows, orient="index").fillna("-")
            blocks.append(f"{task}: R2 on held-out places (± over seeds)\n{table.to_string()}")
        return "\n\n".join(blocks)

    def to_markdown(self) -> str:
        """Return one table for each task and split; the best of each column is bold."""
        parts: dict[tuple[str, str], list[Score]] = {}
        for record in self.records:
            parts.setdefault((record.task, record.split), []).append(record)
        return "\n\n".join(f"### {_title(part[0])}\n\n{_table(part)}" for part in parts.values()) + "\n"


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _title(score: Score) -> str:
    split = _SPLIT_NAMES.get(score.split, score.split)
    if score.block is not None:
        split += f" of {_metres(score.block)}"
    details = [f"{score.folds} folds", f"{score.seeds} seed{'s' if score.seeds > 1 else ''}", f"{score.n_units} units"]
    if score.buffer:
        details.insert(0, f"buffer {_metres(score.buffer)}")
    warning = " (optimistic: neighbours of test units are trained on)" if score.optimistic else ""
    scale = "log(1 + y)" if score.scale == "log1p" else "label's own"
    return f"{score.task}: {split}{warning}\n\n{', '.join(details)}; {scale} scale; mean ± spread over seeds (folds)"


def _metres(length: float) -> str:
    return f"{length / 1000:.3g} km" if length >= 1000 else f"{length:.3g} m"


def _table(scores: list[Score]) -> str:
    head = ["Features", "Probe", *_COLUMNS]
    best = {title: _best(scores, name, highest=highest) for title, (name, highest) in _COLUMNS.items()}
    rows = [head, ["---", "---", *["---:"] * len(_COLUMNS)]]
    for score in scores:
        cells = [_cell(score, name, bold=score is best[title]) for title, (name, _) in _COLUMNS.items()]
        rows.append([score.features, score.probe, *cells])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _best(scores: list[Score], name: str, *, highest: bool) -> Score | None:
    known = [score for score in scores if not math.isnan(getattr(score, name))]
    if not known:
        return None
    return (max if highest else min)(known, key=lambda score: getattr(score, name))


def _cell(score: Score, name: str, *, bold: bool) -> str:
    value, spread = getattr(score, name), getattr(score, f"{name}_std")
    if math.isnan(value):
        return "-"
    decimals = 3 if abs(value) < 100 else 0
    text = f"{value:,.{decimals}f}" if math.isnan(spread) else f"{value:,.{decimals}f} ± {spread:,.{decimals}f}"
    return f"**{text}**" if bold else text
