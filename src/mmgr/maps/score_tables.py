"""Scores and differences as the report's tables have them: text, in order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mmgr.evaluate.differences import interval, written
from mmgr.evaluate.metrics import METRICS
from mmgr.maps.colours import MINUS, NO_NUMBER
from mmgr.maps.summary import Headline, plus_minus, signed, title_of


def score_tables(scores: pd.DataFrame, main: str, baselines: Sequence[str]) -> list[dict[str, Any]]:
    """Return a table for each task and split, with a column for each probe and metric.

    Parameters
    ----------
    scores
        As of :class:`mmgr.maps.report.ReportContent`.
    main
        The feature set that the run is about.
    baselines
        Feature sets that it is compared with.
    """
    tables = []
    for (task, split), rows in scores.groupby(["task", "split"], sort=False):
        probes = list(dict.fromkeys(rows["probe"]))
        first = str(rows["metric"].iloc[0]) if "metric" in rows else "r2"
        there = [name for name in METRICS if name in rows and rows[name].notna().any() and name != first]
        metrics = [METRICS[name] for name in (first, *there)]
        best = {
            (str(probe), m.name): (of_probe[m.name].max() if m.highest else of_probe[m.name].min())
            for probe, of_probe in rows.groupby("probe")
            for m in metrics
        }
        errors = [m.name for m in metrics if m.name in {"rmse", "mae"}]
        decimals = dict.fromkeys((m.name for m in metrics), 2) | dict.fromkeys(errors, _decimals(rows[errors]))
        tables.append(
            {
                "task": task,
                "split": split,
                "units": int(rows["n_units"].iloc[0]),
                "scale": str(rows["scale"].iloc[0]),
                "optimistic": bool(rows["optimistic"].iloc[0]),
                "offsets": int(rows["offsets"].iloc[0]) if "offsets" in rows else 0,
                "probes": probes,
                "heads": [title_of(m) for m in metrics] + ["Moran's I"] * ("moran" in rows),
                "rows": [
                    {
                        "features": features,
                        "main": features == main,
                        "baseline": features in baselines,
                        "cells": [_cells(own, probe, best, decimals) for probe in probes],
                    }
                    for features, own in rows.groupby("features", sort=False)
                ],
            }
        )
    return tables


def difference_rows(frame: pd.DataFrame | None, found: Sequence[Headline]) -> list[dict[str, str]]:
    """Write the paired differences in the metrics that tasks are compared by.

    Parameters
    ----------
    frame
        As of :class:`mmgr.maps.report.ReportContent`.
    found
        The comparisons that the page is about.
    """
    if frame is None or frame.empty:
        return []
    wanted = {(h.task, h.split): h.metric for h in found}
    rows = []
    for row in frame.to_dict("records"):
        metric = wanted.get((row["task"], row["split"]))
        if metric is None or metric.name != row["metric"]:
            continue
        way = "" if metric.highest else " (less is better)"
        rows.append(
            {
                "task": row["task"],
                "split": row["split"],
                "compared": f"{row['features']} {MINUS} {row['other']}",
                "metric": f"{title_of(metric)}{way}",
                "difference": written(row["difference"]),
                "interval": interval(row["low"], row["high"]) or NO_NUMBER,
                "p": NO_NUMBER if math.isnan(row["p"]) else "<0.001" if row["p"] < 0.001 else f"{row['p']:.3f}",
                "pairs": str(row["pairs"]),
            }
        )
    return rows


def _decimals(errors: pd.DataFrame) -> int:
    """Return as many as tell errors apart: three digits of small ones, two decimals of those about 1, none of large."""
    largest = float(errors.max().max())
    decimals = 2 - math.floor(math.log10(largest)) if 0 < largest < math.inf else 2
    return max(0, decimals if largest < 0.1 else min(decimals, 2))


def _cells(
    rows: pd.DataFrame, probe: str, best: Mapping[tuple[str, str], float], decimals: Mapping[str, int]
) -> list[dict[str, Any]]:
    own = rows[rows["probe"] == probe]
    absent = {"value": NO_NUMBER, "spread": "", "folds": "", "best": False}
    if own.empty:
        return [absent] * (len(decimals) + ("moran" in rows))
    row = own.iloc[0]
    cells = [_cell(row, name, best[probe, name], of_name) for name, of_name in decimals.items()]
    if "moran" in rows:
        known = math.isfinite(row["moran"])
        p = f"p {row['moran_p']:.3f}".replace("0.000", "<0.001") if known else ""
        cells.append({**absent, "value": signed(row["moran"]) if known else NO_NUMBER, "spread": p})
    return cells


def _cell(row: Any, name: str, best: float, decimals: int) -> dict[str, Any]:
    value = float(row[name])
    folds, fold_spread = (float(row.get(f"{name}_{part}", math.nan)) for part in ("folds", "folds_std"))
    written_value = f"{value:,.{decimals}f}" if name in {"rmse", "mae"} else signed(value)
    return {
        "value": written_value if math.isfinite(value) else NO_NUMBER,
        "spread": plus_minus(float(row.get(f"{name}_std", math.nan)), decimals),
        "folds": f"{signed(folds)} {plus_minus(fold_spread)}".strip() if name == "r2" and math.isfinite(folds) else "",
        "best": value == best,
    }
