"""What gradients of depthwise convolutions of our own are worth in a training step, in turns with PyTorch's.

    python benchmarks/depthwise.py --json benchmarks/results/2026-11-29-depthwise.json

Steps are of the encoder alone on random views; `--precision bf16` is for processors that compute in bfloat16.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import timm
import torch

from mmgr.bench.machine import machine, software
from mmgr.learn.depthwise import quick_depthwise
from mmgr.learn.shipped import SHIPPED_ENCODER


def main() -> None:
    """Time steps at several sizes of views, and print and write the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default=SHIPPED_ENCODER)
    parser.add_argument("--views", type=int, default=128, help="in a step: two of each region")
    parser.add_argument("--crops", type=int, nargs="+", default=[48, 64, 96, 112, 128])
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for all numbers")
    arguments = parser.parse_args()
    measured_on, found = machine(), []
    for crop in arguments.crops:
        steps = {name: step(arguments, crop, quick=name == "quick") for name in ("plain", "quick")}
        rates: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(arguments.rounds):
            for name, take in steps.items():
                start = time.perf_counter()
                take()
                rates[name].append(round(arguments.views / (time.perf_counter() - start), 1))
        gain = statistics.median(quick / plain for plain, quick in zip(rates["plain"], rates["quick"], strict=True))
        middle = {name: statistics.median(values) for name, values in rates.items()}
        print(f"{crop} px: {middle['plain']:.1f} views/s, ours {middle['quick']:.1f}; gain {gain:.2f}")
        found.append({"crop": crop, "gain": round(gain, 3), "views_per_second": middle, "rates": rates})
    if arguments.json is not None:
        facts: dict[str, Any] = {
            "benchmark": "depthwise",
            "date": datetime.now(UTC).date().isoformat(),
            "machine": measured_on,
        }
        facts |= {"software": software("torch", "timm"), "encoder": arguments.encoder, "views": arguments.views}
        facts |= {"precision": arguments.precision}
        facts |= {"threads": torch.get_num_threads(), "sizes": found}
        arguments.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def step(arguments: argparse.Namespace, crop: int, *, quick: bool) -> Callable[[], None]:
    """Return a training step of an encoder that has taken one."""
    torch.manual_seed(0)
    encoder = timm.create_model(arguments.encoder, num_classes=0).to(memory_format=torch.channels_last).train()
    if quick:
        quick_depthwise(encoder)
    views = torch.randn(arguments.views, 3, crop, crop).contiguous(memory_format=torch.channels_last)

    def take() -> None:
        encoder.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            features = encoder(views)
        features.float().square().mean().backward()

    take()
    return take


if __name__ == "__main__":
    main()
