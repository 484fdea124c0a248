"""The page of the benchmark of probes: who is ahead, whether more or less is better."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def test_more_r2_and_less_l1_are_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    probes = import_module("probes")
    scores = {("a", "people", "r2"): (0.2, 0.5), ("b", "people", "r2"): (0.4, 0.3), ("a", "use", "l1"): (0.9, 0.7)}
    found = [
        probes.Found(city, task, "blocks", probe, metric, value, 0.01, seconds)
        for (city, task, metric), values in scores.items()
        for probe, value, seconds in zip(("ridge", "knn"), values, (1.0, 4.0), strict=True)
    ]
    text = probes.page(found, "a machine", argparse.Namespace(probes=["knn", "ridge"], seeds=3))
    assert "| a | people | blocks | R2 | 0.200 ± 0.010 | **0.500 ± 0.010** |" in text
    assert "| b | people | blocks | R2 | **0.400 ± 0.010** | 0.300 ± 0.010 |" in text
    assert "| a | use | blocks | L1 | 0.900 ± 0.010 | **0.700 ± 0.010** |" in text
    assert "| mean rank | 1.7 | 1.3 |" in text
    assert "| gain over ridge, R2 |  | +0.100 ± 0.283 [1 of 2] |" in text
    assert "| gain over ridge, L1 |  | +0.200 ± nan [1 of 1] |" in text
    assert "| seconds, 3 tasks | 3 | 12 |" in text


def test_intervals_are_told_by_panel_and_in_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    probes = import_module("probes")
    held = [
        probes.Held(city, "people", "blocks", probe, coverage, 0.7, width)
        for city, probe, coverage, width in (
            ("a", "ridge", 0.9, 0.5),
            ("a", "knn", 0.88, 0.6),
            ("b", "ridge", 0.92, 0.3),
        )
    ]
    held.append(probes.Held("b", "people", "blocks", "knn", 0.94, 0.8, 0.4))
    text = probes.intervals_text(held, argparse.Namespace(covered=["ridge", "knn"]))
    assert "| a | people | blocks | 0.900 (0.70), 0.500 | 0.880 (0.70), 0.600 |" in text
    assert "| mean |  |  | 0.910, 0.400 | 0.910, 0.500 |" in text
