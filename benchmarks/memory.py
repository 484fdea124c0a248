"""What keeping freed memory between steps is worth on a CPU, in turns with memory that is given back.

    python benchmarks/memory.py --json benchmarks/results/2026-11-29-memory.json

Steps are of the encoder alone on random views, with `mmgr`'s memory format; each encoder has a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import timm
import torch

from mmgr.bench.machine import machine, software
from mmgr.learn.depthwise import quick_depthwise
from mmgr.memory import kept_memory
from mmgr.stages import peak_rss_mb

CASES = [
    ("resnet50", 224, 64, "bf16"),
    ("resnet50", 224, 64, "fp32"),
    ("resnet18", 128, 128, "bf16"),
    ("resnet18", 128, 128, "fp32"),
    ("tf_efficientnet_lite0", 112, 128, "bf16"),
    ("tf_efficientnet_lite0", 112, 128, "fp32"),
    ("tf_efficientnet_lite0", 64, 128, "fp32"),
]
"""Encoder, edge of a view, views in a step, precision."""
WAYS = {"given back": contextlib.nullcontext, "kept": kept_memory}


def main() -> None:
    """Time steps of several encoders, and print and write the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="in a turn, after one that is not timed")
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    measured_on, found = machine(), []
    for encoder, crop, views, precision in CASES:
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as process:
            case = process.submit(measured, encoder, crop, views, precision, arguments.rounds, arguments.steps).result()
        middle = case["views_per_second"]
        print(
            f"{encoder}, {crop} px, {precision}: given back {middle['given back']:.1f} views/s, kept "
            f"{middle['kept']:.1f}; gain {case['gain']:.2f}; peak {case['peak_rss_mb']['given back']:.0f} and "
            f"{case['peak_rss_mb']['kept']:.0f} MB",
            flush=True,
        )
        found.append(case)
    if arguments.json is not None:
        facts = {"benchmark": "memory", "date": datetime.now(UTC).date().isoformat(), "machine": measured_on}
        facts |= {"software": software("torch", "timm"), "threads": torch.get_num_threads(), "cases": found}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def measured(encoder: str, crop: int, views: int, precision: str, rounds: int, steps: int) -> dict[str, Any]:
    """Return rates of one encoder; peaks of memory are those after the first turn of each way."""
    torch.manual_seed(0)
    model = timm.create_model(encoder, num_classes=0).to(memory_format=torch.channels_last).train()
    quick_depthwise(model)
    images = torch.randn(views, 3, crop, crop).contiguous(memory_format=torch.channels_last)

    def step() -> None:
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            features = model(images)
        features.float().square().mean().backward()

    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    faults: dict[str, list[int]] = {name: [] for name in WAYS}
    peaks: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in WAYS.items():
            with way():
                step()
                start, before = time.perf_counter(), page_faults()
                for _ in range(steps):
                    step()
                rates[name].append(round(steps * views / (time.perf_counter() - start), 1))
                faults[name].append((page_faults() - before) // steps)
            peaks.setdefault(name, peak_rss_mb())
    return {
        "encoder": encoder,
        "crop": crop,
        "views": views,
        "precision": precision,
        "gain": round(statistics.median(b / a for a, b in zip(*rates.values(), strict=True)), 3),
        "views_per_second": {name: statistics.median(values) for name, values in rates.items()},
        "peak_rss_mb": peaks,
        "rates": rates,
        "page_faults_a_step": faults,
    }


def page_faults() -> int:
    """Pages that the kernel had to bring for this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


if __name__ == "__main__":
    main()
