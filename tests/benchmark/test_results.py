from __future__ import annotations

import math
from pathlib import Path

import pytest

from mmgr.benchmark.cache import Outcome
from mmgr.benchmark.figure import benchmark_figure
from mmgr.benchmark.results import Benchmark, mean_ranks
from mmgr.benchmark.table import difference_table, score_table, to_markdown
from mmgr.errors import ArtefactError
from mmgr.evaluate import Difference, Measured, Score, Scores


def score(task: str, features: str, value: float, metric: str = "r2") -> Score:
    return Score(
        task=task, split="blocks", features=features, probe="ridge", n_units=40,
        metrics={metric: Measured(value, 0.01, value, 0.1)}, seeds=3, folds=5, block=800.0, buffer=100.0,
        optimistic=False, scale="as given",
    )  # fmt: skip


SCORES = (
    *(score("people", name, value) for name, value in (("a", 0.5), ("b", 0.7), ("mmgr", 0.9), ("d", 0.5))),
    *(score("use", name, value, "l1") for name, value in (("a", 0.2), ("b", 0.4), ("mmgr", 0.3), ("d", math.nan))),
)


def outcome(name: str, state: str = "made", **more: object) -> Outcome:
    return Outcome(name, "image", f"what {name} is", state, **more)


def found() -> Benchmark:
    differences = (
        Difference("people", "blocks", "r2", "mmgr", "ridge", "a", "ridge", 0.4, 0.2, 0.6, 0.01, 15),
        Difference("use", "blocks", "l1", "mmgr", "ridge", "a", "ridge", 0.1, -0.2, 0.4, 0.5, 15),
    )
    rows = (
        outcome("a", dimensions=12, parameters=3400, seconds=1.25),
        *map(outcome, ("b", "d", "mmgr")),
        outcome("e", "failed", reason="ValueError: no\nsuch thing"),
        outcome("f", "left out", reason="there are no weights"),
    )
    return Benchmark("city", "mmgr", {"encoder": "resnet18"}, rows, Scores(SCORES, differences=differences),
                     {"people": {"blocks": [{"a": 2, "b": 3}, {"d": 5}]}})  # fmt: skip


def test_ranks_follow_each_metric_share_ties_and_put_the_undefined_last() -> None:
    # people: mmgr 1, b 2, a and d 3.5; use, where less is better: a 1, mmgr 2, b 3, d 4
    assert mean_ranks(SCORES) == {"mmgr": 1.5, "a": 2.25, "b": 2.5, "d": 3.75}
    assert list(mean_ranks(SCORES)) == ["mmgr", "a", "b", "d"]
    assert mean_ranks(()) == {}


def test_a_row_that_was_not_scored_under_a_split_has_no_rank_there() -> None:
    assert mean_ranks((*SCORES[:4], SCORES[5]))["b"] == pytest.approx(1.5)


def test_the_table_has_ranks_costs_and_bold_bests() -> None:
    table = score_table(found()).splitlines()
    assert table[0] == (
        "| Row | Sees | people, blocks: R2 | use, blocks: L1 ↓ | Mean rank | Dim. | Parameters | Seconds |"
    )
    assert table[2].startswith("| `mmgr` | images | **0.900 ± 0.010** | 0.300 ± 0.010 | 1.5 |")
    assert table[3] == "| `a` | images | 0.500 ± 0.010 | **0.200 ± 0.010** | 2.2 | 12 | 3,400 | 1.2 |"
    assert "| - | 3.8 |" in table[5]


def test_differences_are_bold_where_they_are_clear() -> None:
    assert (
        difference_table(found()).splitlines()[2]
        == "| `a` | **+0.40 [0.20, 0.60]** | +0.10 [\N{MINUS SIGN}0.20, 0.40] |"
    )


def test_the_page_names_what_was_left_out_and_what_failed() -> None:
    page = to_markdown(found())
    assert "### Failed\n\n- `e`: ValueError: no such thing" in page
    assert "### Left out\n\n- `f`: there are no weights" in page
    assert "`a`: what a is" in page
    assert "resnet18" in page


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    path = tmp_path / "benchmark.json"
    found().write(path)
    again = Benchmark.read(path)
    assert to_markdown(again) == to_markdown(found())
    path.write_text('{"schema_version": 0}')
    with pytest.raises(ArtefactError, match="schema version 0"):
        Benchmark.read(path)


def test_the_figure_is_a_png_and_there_is_none_without_scores() -> None:
    picture = benchmark_figure(found())
    assert picture is not None
    assert picture.startswith(b"\x89PNG")
    assert benchmark_figure(Benchmark("city", "mmgr", {}, (), Scores())) is None
