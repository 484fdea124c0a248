"""The first command of the README, on the real sample that ships with the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from mmgr.config import load_config
from mmgr.learn.devices import uses_bfloat16
from mmgr.learn.recipes import resolve
from mmgr.run import STAGES


def test_the_sample_is_small_and_says_whom_to_credit() -> None:
    sample = Path(str(files("mmgr") / "sample"))
    assert sum(path.stat().st_size for path in sample.rglob("*") if path.is_file()) < 15e6
    credit = (sample / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("CC BY 4.0", "ODbL", "OpenStreetMap contributors", "public domain"):
        assert words in credit
    for path in sample.iterdir():
        assert path.name in credit or path.name in {"ATTRIBUTION.md", "city.yaml"}, path.name


@pytest.mark.slow
@pytest.mark.alone
def test_the_demo_does_the_whole_job_in_time_and_memory(tmp_path: Path) -> None:
    code = "from mmgr.cli import main; main()"
    environment = {
        name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"
    }  # all cores are its own
    start = time.perf_counter()
    result = subprocess.run(
        [sys.executable, "-c", code, "demo", "--output", str(tmp_path / "demo")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    seconds = time.perf_counter() - start
    assert result.returncode == 0, result.stderr
    # a processor without bfloat16 trains four to five times as slowly, and needs most of the five minutes
    recipe = resolve(load_config(str(files("mmgr") / "sample" / "city.yaml")).pretrain)
    assert seconds < (300 if uses_bfloat16(recipe, torch.device("cpu")) else 420)
    records = [json.loads((tmp_path / "demo" / "stages" / f"{name}.json").read_text()) for name in STAGES]
    assert max(record["peak_rss_mb"] for record in records) < 4000
    for words in ("population", "jobs", "[image, POI]", "random encoder", "report.html", "embeddings.parquet"):
        assert words in result.stdout
    # what the sample cannot show is said
    assert "There is no GDP in the sample" in result.stdout
    page = (tmp_path / "demo" / "report.html").read_text(encoding="utf-8")
    assert "There is no GDP in the sample" in page
    assert "not a mosaic" in page
