"""Scores as records, as a table, as JSON, and the held-out predictions behind them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import pandas as pd

from mmgr.evaluate.differences import Difference
from mmgr.evaluate.metrics import METRICS

HELD_OUT_COLUMNS = ("task", "split", "id", "observed", "predicted", "class")

_SPLIT_NAMES = {
    "blocks": "spatial blocks",
    "groups": "leave one group out",
    "random": "random folds",
    "column": "own folds",
}
_SCALES = {"log1p": "log(1 + y) scale", "as given": "label's own scale"}


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of held-out predictions."""

    value: float
    """Mean over seeds of the metric of all held-out predictions of a seed."""
    std: float
    """Its standard deviation over seeds, NaN with one seed."""
    folds: float
    """Mean over all folds and seeds of the metric of a single fold; folds where it is not defined are left out."""
    folds_std: float
    """Its standard deviation over folds and seeds."""


@dataclass(frozen=True, slots=True)
class Score:
    """How well one feature set with one probe predicts one task under one split."""

    task: str
    split: str
    """`blocks`, `groups`, `random`, `column`, or the name of a published protocol."""
    features: str
    probe: str
    n_units: int
    """Units that were tested."""
    metrics: Mapping[str, Measured]
    """Metrics on ``scale`` by name; the one that methods are compared by first."""
    seeds: int
    folds: int
    block: float | None
    """Edge of a block in metres."""
    buffer: float
    """Metres between test and training units."""
    optimistic: bool
    """Whether training units may be neighbours of test units."""
    scale: str
    """`log1p` or `as given` for numbers, `classes` or `shares`."""
    fraction: float = 1.0
    """Share of the training units that was used."""
    moran: float = math.nan
    """Moran's I of the residuals of the first seed, see :func:`mmgr.evaluate.morans_i`."""
    moran_p: float = math.nan
    """Its p value: small where near places are wrong in the same way."""
    label_range: float | None = None
    """Range of the label's variogram in metres: up to there labels are alike; 0 where near ones are not."""
    block_chosen_by: str = ""
    """`given`, `variogram` or `extent`; empty without blocks."""
    unseen: Mapping[str, int] = field(default_factory=dict)
    """Classes that were tested in folds where no training unit has them, and how many units that were, over all folds
    and seeds; once where all seeds have the same folds. Not counted where parts of the labels are used."""
    trained: float = math.nan
    """Mean number of units that a fold trained on, of a score with a part of them; NaN where they are not counted."""
    offsets: int = 0
    """Groups of regions that have an offset in the probe, see :attr:`mmgr.evaluate.Units.offsets`."""

    @property
    def metric(self) -> str:
        """Name of the metric that methods are compared by."""
        return next(iter(self.metrics))

    @property
    def value(self) -> float:
        """Value of the metric that methods are compared by."""
        return self.metrics[self.metric].value

    @property
    def r2(self) -> float:
        """R2 of a number; NaN for classes and shares."""
        return self.metrics["r2"].value if "r2" in self.metrics else math.nan

    def flat(self) -> dict[str, Any]:
        """Return the record as one row: each metric under its name, with ``_std``, ``_folds`` and ``_folds_std``."""
        row = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "metrics"}
        row["metric"] = self.metric
        for name, measured in self.metrics.items():
            row |= {name if key == "value" else f"{name}_{key}": part for key, part in asdict(measured).items()}
        return row

    @classmethod
    def of_flat(cls, row: Mapping[str, Any]) -> Score:
        """Read what :meth:`flat` gave, with None for NaN."""
        first = str(row.get("metric", "r2"))
        names = [first, *(name for name in METRICS if name in row and name != first)]
        metrics = {
            name: Measured(*(_number(row[key]) for key in (name, f"{name}_std", f"{name}_folds", f"{name}_folds_std")))
            for name in names
        }
        known = {f.name for f in fields(cls)}
        others = {key: value for key, value in row.items() if key in known}
        others |= {key: _number(others[key]) for key in ("moran", "moran_p", "trained") if key in others}
        return cls(metrics=metrics, **others)


@dataclass(frozen=True)
class Scores:
    """Scores of feature sets, in the order in which they were given."""

    records: tuple[Score, ...] = ()
    held_out: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(HELD_OUT_COLUMNS)))
    """Held-out predictions of the main feature set with the first probe and seed: ``task``, ``split``, ``id``,
    ``observed``, ``predicted``, on the label's own scale. Of classes and shares there is a row for each ``class``,
    with its share; ``class`` is empty for numbers."""
    differences: tuple[Difference, ...] = ()
    """The main feature set less each other, paired by fold and seed."""
    curves: tuple[Score, ...] = ()
    """Scores with parts of the training units, where `evaluate.fractions` asks for them."""

    @classmethod
    def joined(cls, parts: Iterable[Scores]) -> Scores:
        """Join the scores of several tasks."""
        parts = list(parts)
        tables = [part.held_out for part in parts if len(part.held_out)]
        records = tuple(record for part in parts for record in part.records)
        differences = tuple(difference for part in parts for difference in part.differences)
        curves = tuple(score for part in parts for score in part.curves)
        held_out = {"held_out": pd.concat(tables, ignore_index=True)} if tables else {}
        return cls(records, differences=differences, curves=curves, **held_out)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a score."""
        if not self.records:
            return pd.DataFrame(columns=[f.name for f in fields(Score) if f.name != "metrics"])
        return pd.DataFrame([record.flat() for record in self.records])

    def to_json(self) -> dict[str, Any]:
        """Return scores and differences as plain values, with ``None`` for NaN; no held-out predictions."""
        return {
            "scores": [_plain(record.flat()) for record in self.records],
            "differences": [_plain(asdict(difference)) for difference in self.differences],
            "curves": [_plain(record.flat()) for record in self.curves],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any], held_out: pd.DataFrame | None = None) -> Scores:
        """Read what :meth:`to_json` wrote, with the held-out predictions where the caller kept them."""
        records = tuple(Score.of_flat(item) for item in value["scores"])
        differences = tuple(Difference.of_plain(item) for item in value["differences"])
        curves = tuple(Score.of_flat(item) for item in value["curves"])
        return cls(
            records, differences=differences, curves=curves, **({} if held_out is None else {"held_out": held_out})
        )

    def to_text(self) -> str:
        """Return the first metric of each feature set, a column a split and probe, as a plain table for a terminal."""
        blocks = []
        for task in dict.fromkeys(record.task for record in self.records):
            rows: dict[str, dict[str, str]] = {}
            of_task = [record for record in self.records if record.task == task]
            for record in of_task:
                column = f"{record.split}{' (optimistic)' if record.optimistic else ''}, {record.probe}"
                rows.setdefault(record.features, {})[column] = _cell(record, record.metric, bold=False)
            table = pd.DataFrame.from_dict(rows, orient="index").fillna("-")
            metric = METRICS[of_task[0].metric]
            way = "" if metric.highest else ", less is better"
            blocks.append(f"{task}: {metric.title} on held-out places (± over seeds{way})\n{table.to_string()}")
            blocks += [str(difference) for difference in self.differences if difference.leads(task, metric.name)]
        return "\n\n".join(blocks)

    def to_markdown(self) -> str:
        """Return one table for each task and split; the best of each column is bold."""
        parts: dict[tuple[str, str], list[Score]] = {}
        for record in self.records:
            parts.setdefault((record.task, record.split), []).append(record)
        return "\n\n".join(self._section(part) for part in parts.values()) + "\n"

    def _section(self, scores: list[Score]) -> str:
        first = scores[0]
        found = [d for d in self.differences if (d.task, d.split, d.metric) == (first.task, first.split, first.metric)]
        lines = [f"### {_title(first)}", "", _table(scores)]
        curves = [c for c in self.curves if (c.task, c.split) == (first.task, first.split)]
        if curves:
            lines += ["", f"With a part of the labels ({METRICS[first.metric].title}, {curves[0].probe}):", ""]
            lines.append(_curve_table(curves))
        if found:
            lines += ["", "Paired by fold and seed, with 95 % intervals:", "", *(f"- {d}" for d in found)]
        return "\n".join(lines)


def _curve_table(curves: list[Score]) -> str:
    parts = list(dict.fromkeys(score.fraction for score in curves))
    trained = {score.fraction: score.trained for score in curves}
    heads = [
        f"{100 * part:g}%" + ("" if math.isnan(trained[part]) else f" ({trained[part]:.0f} units)") for part in parts
    ]
    rows = [["Features", *heads], ["---", *["---:"] * len(parts)]]
    for name in dict.fromkeys(score.features for score in curves):
        own = {score.fraction: _cell(score, score.metric, bold=False) for score in curves if score.features == name}
        rows.append([name, *(own[part] for part in parts)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _title(score: Score) -> str:
    split = _SPLIT_NAMES.get(score.split, score.split)
    if score.block is not None:
        split += f" of {_metres(score.block)}"
        if score.block_chosen_by == "variogram":
            split += " (range of the variogram)"
        elif score.label_range:
            split += f" (labels are alike up to {_metres(score.label_range)})"
    details = [_several(score.folds, "fold"), _several(score.seeds, "seed"), f"{score.n_units} units"]
    if score.buffer:
        details.insert(0, f"buffer {_metres(score.buffer)}")
    if score.offsets:
        details.append(f"offsets of {_several(score.offsets, 'group')}")
    warning = " (optimistic: neighbours of test units are trained on)" if score.optimistic else ""
    scale = _SCALES.get(score.scale, score.scale)
    return f"{score.task}: {split}{warning}\n\n{', '.join(details)}; {scale}; mean ± spread over seeds (folds)"


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _metres(length: float) -> str:
    return f"{length / 1000:.3g} km" if length >= 1000 else f"{length:.3g} m"


def _table(scores: list[Score]) -> str:
    names = list(scores[0].metrics)
    titles = [*(METRICS[name].title for name in names), f"{METRICS[names[0]].title} of folds", "Moran's I (p)"]
    rows = [["Features", "Probe", *titles], ["---", "---", *["---:"] * len(titles)]]
    columns = [(name, False) for name in names] + [(names[0], True)]
    best = [_best(scores, name, of_folds=of_folds) for name, of_folds in columns]
    for score in scores:
        cells = [
            _cell(score, name, bold=score is top, of_folds=of_folds)
            for (name, of_folds), top in zip(columns, best, strict=True)
        ]
        rows.append([score.features, score.probe, *cells, _moran(score)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _moran(score: Score) -> str:
    return "-" if math.isnan(score.moran) else f"{score.moran:.2f} ({score.moran_p:.3f})"


def _pair(score: Score, name: str, *, of_folds: bool) -> tuple[float, float]:
    found = score.metrics[name]
    return (found.folds, found.folds_std) if of_folds else (found.value, found.std)


def _best(scores: list[Score], name: str, *, of_folds: bool) -> Score | None:
    known = [score for score in scores if not math.isnan(_pair(score, name, of_folds=of_folds)[0])]
    if not known:
        return None
    return (max if METRICS[name].highest else min)(known, key=lambda score: _pair(score, name, of_folds=of_folds)[0])


def _cell(score: Score, name: str, *, bold: bool, of_folds: bool = False) -> str:
    value, spread = _pair(score, name, of_folds=of_folds)
    if math.isnan(value):
        return "-"
    decimals = 3 if abs(value) < 100 else 0
    text = f"{value:,.{decimals}f}" if math.isnan(spread) else f"{value:,.{decimals}f} ± {spread:,.{decimals}f}"
    return f"**{text}**" if bold else text
