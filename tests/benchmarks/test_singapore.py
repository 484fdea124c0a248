from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def command(data: Path, *more: str | Path) -> str:
    call = [sys.executable, ROOT / "benchmarks" / "singapore.py", "--data", data, *more]
    return subprocess.run(call, check=True, capture_output=True, text=True).stdout


@pytest.mark.slow
def test_rows_are_scored_once_compared_and_written_into_a_page(shared_data: Path, tmp_path: Path) -> None:
    data, kept, page = shared_data / "singapore", tmp_path / "run.json", tmp_path / "page.md"
    page.write_text("# Words\n\n<!-- tables -->\nold\n<!-- end of tables -->\n\nMore words.\n")
    asked = ["--json", kept, "--tasks", "population", "--cells", "400"]
    first = command(data, *asked, "--rows", "plain table")
    assert "population: plain table: cityrep: r2" in first
    second = command(data, *asked, "--rows", "plain table", "one-hot, inside", "text mean, 1 km", "--write", page)
    assert "population: plain table: cityrep" not in second
    assert "text mean, 1 km: skipped: needs --text-model" in second

    run = json.loads(kept.read_text())
    assert [(result["row"], result["protocol"]) for result in run["results"]] == [
        ("one-hot, inside", "cityrep"),
        ("one-hot, inside", "cityrep-kernel"),
        ("plain table", "cityrep"),
        ("plain table", "cityrep-kernel"),
        ("plain table", "cityrep-trees"),
    ]
    inside, inside_kernel, plain, plain_kernel, _ = run["results"]
    assert (plain["units"], plain["dimensions"], len(plain["scores"])) == (400, 515, 5)
    assert plain["of_units"] > 10_000
    assert inside["difference"]["mean"]["r2"] == pytest.approx(inside["mean"]["r2"] - plain["mean"]["r2"])
    apart = inside_kernel["mean"]["r2"] - plain_kernel["mean"]["r2"]
    assert inside_kernel["difference"]["mean"]["r2"] == pytest.approx(apart), "with the same probe"
    assert run["machine"]["cores"] > 0

    text = page.read_text()
    assert text.startswith("# Words")
    assert text.endswith("More words.\n")
    assert "old" not in text
    assert text.index("the published network") < text.index("kernel ridge regression") < text.index("boosted trees")
    assert text.index("| one-hot, inside |") < text.index("| plain table |")
