from __future__ import annotations

import json
from dataclasses import replace

import pandas as pd
import pytest

from mmgr.evaluate import Score, Scores

GOOD = Score(
    task="population", split="blocks", features="image only", probe="ridge", n_units=120, r2=0.61, r2_std=0.02,
    rmse=0.5, rmse_std=0.01, mae=0.4, mae_std=0.01, r2_folds=0.5, r2_folds_std=0.1, seeds=3, folds=5, block=2400.0,
    buffer=150.0, optimistic=False, scale="log1p",
)  # fmt: skip
POOR = replace(GOOD, features="POI only", r2=0.2, rmse=0.8, mae=0.3, r2_folds=float("nan"), r2_std=float("nan"))


def test_scores_survive_json() -> None:
    scores = Scores((GOOD, POOR))
    text = json.dumps(scores.to_json(), allow_nan=False)
    back = Scores.from_json(json.loads(text))
    assert back.records[0] == GOOD
    pd.testing.assert_frame_equal(back.to_frame(), scores.to_frame())
    assert json.loads(text)[1]["r2_folds"] is None


def test_a_block_that_is_none_stays_none() -> None:
    group = replace(GOOD, split="groups", block=None)
    assert Scores.from_json(Scores((group,)).to_json()).records == (group,)


def test_the_table_marks_the_best_of_each_column() -> None:
    table = Scores((GOOD, POOR)).to_markdown()
    lines = table.splitlines()
    assert lines[0] == "### population: spatial blocks of 2.4 km"
    assert "buffer 150 m, 5 folds, 3 seeds, 120 units; log(1 + y) scale" in table
    good, poor = (next(line for line in lines if name in line) for name in ("image only", "POI only"))
    assert good == "| image only | ridge | **0.610 ± 0.020** | **0.500 ± 0.010** | 0.400 ± 0.010 | **0.500 ± 0.100** |"
    assert poor == "| POI only | ridge | 0.200 | 0.800 ± 0.010 | **0.300 ± 0.010** | - |"


def test_each_task_and_split_has_its_table_and_random_folds_their_warning() -> None:
    random = replace(GOOD, split="random", optimistic=True, block=None, buffer=0.0)
    table = Scores((GOOD, random, replace(GOOD, task="jobs"))).to_markdown()
    assert table.count("###") == 3
    assert "### population: random folds (optimistic: neighbours of test units are trained on)" in table


def test_the_terminal_shows_r2_by_split_and_probe() -> None:
    text = Scores((GOOD, replace(GOOD, probe="mlp", r2=0.7), POOR)).to_text()
    assert "population: R2" in text
    assert "blocks, mlp" in text
    assert "0.700 ± 0.020" in text


def test_scores_of_several_tasks_join() -> None:
    rows = pd.DataFrame([{"task": "jobs", "split": "blocks", "id": "a", "observed": 1.0, "predicted": 2.0}])
    joined = Scores.joined([Scores((GOOD,)), Scores((replace(GOOD, task="jobs"),), rows)])
    assert [record.task for record in joined.records] == ["population", "jobs"]
    pd.testing.assert_frame_equal(joined.held_out, rows)
    assert Scores.joined([]).to_frame().empty


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(TypeError):
        Scores.from_json([{"task": "population"}])
