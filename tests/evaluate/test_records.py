from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mmgr.evaluate import Difference, Measured, Score, Scores

NAN = float("nan")
GOOD = Score(
    task="population", split="blocks", features="image only", probe="ridge", n_units=120,
    metrics={
        "r2": Measured(0.61, 0.02, 0.5, 0.1), "rmse": Measured(0.5, 0.01, 0.5, 0.1),
        "mae": Measured(0.4, 0.01, 0.4, 0.1),
    },
    seeds=3, folds=5, block=2400.0, buffer=150.0, optimistic=False, scale="log1p",
)  # fmt: skip
POOR = replace(
    GOOD,
    moran=0.12,
    moran_p=0.004,
    features="POI only",
    metrics={
        "r2": Measured(0.2, NAN, NAN, NAN),
        "rmse": Measured(0.8, 0.01, 0.8, 0.1),
        "mae": Measured(0.3, 0.01, 0.3, 0.1),
    },
)
SHARES = replace(
    GOOD,
    task="function",
    probe="softmax",
    metrics={"l1": Measured(0.7, 0.02, 0.7, 0.1), "cosine": Measured(0.8, 0.01, 0.8, 0.1)},
    scale="shares",
    unseen={"port": 8},
)
AHEAD = Difference(
    "population", "blocks", "r2", "image only", "ridge", "POI only", "ridge", 0.413, 0.0912, 0.72, 0.01, 15
)


def test_scores_survive_json() -> None:
    scores = Scores((GOOD, POOR, SHARES), differences=(AHEAD, replace(AHEAD, low=NAN, p=NAN)))
    text = json.dumps(scores.to_json(), allow_nan=False)
    back = Scores.from_json(json.loads(text))
    assert back.records[0] == GOOD
    pd.testing.assert_frame_equal(back.to_frame(), scores.to_frame())
    assert back.records[2].metrics == SHARES.metrics
    assert [record.unseen for record in back.records] == [{}, {}, {"port": 8}]
    assert back.records[2].metric == "l1"
    assert back.differences[0] == AHEAD
    assert np.isnan(back.differences[1].low)
    assert json.loads(text)["scores"][1]["r2_folds"] is None


def test_a_block_that_is_none_stays_none() -> None:
    group = replace(GOOD, split="groups", block=None)
    assert Scores.from_json(Scores((group,)).to_json()).records == (group,)


def test_the_table_marks_the_best_of_each_column() -> None:
    table = Scores((GOOD, POOR)).to_markdown()
    lines = table.splitlines()
    assert lines[0] == "### population: spatial blocks of 2.4 km"
    assert "buffer 150 m, 5 folds, 3 seeds, 120 units; log(1 + y) scale" in table
    assert "120 units, offsets of 3 groups; log" in Scores((replace(GOOD, offsets=3),)).to_markdown()
    good, poor = (next(line for line in lines if name in line) for name in ("image only", "POI only"))
    assert (
        good == "| image only | ridge | **0.610 ± 0.020** | **0.500 ± 0.010** | 0.400 ± 0.010 | **0.500 ± 0.100** | - |"
    )
    assert poor == "| POI only | ridge | 0.200 | 0.800 ± 0.010 | **0.300 ± 0.010** | - | 0.12 (0.004) |"


def test_each_task_and_split_has_its_table_and_random_folds_their_warning() -> None:
    random = replace(GOOD, split="random", optimistic=True, block=None, buffer=0.0)
    table = Scores((GOOD, random, replace(GOOD, task="jobs"))).to_markdown()
    assert table.count("###") == 3
    assert "### population: random folds (optimistic: neighbours of test units are trained on)" in table


def test_the_terminal_shows_r2_by_split_and_probe() -> None:
    text = Scores((GOOD, replace(GOOD, probe="mlp", metrics={"r2": Measured(0.7, 0.02, 0.6, 0.1)}), POOR)).to_text()
    assert "population: R2" in text
    assert "blocks, mlp" in text
    assert "0.700 ± 0.020" in text


def test_shares_have_a_table_of_their_metrics_in_which_less_may_be_better() -> None:
    worse = replace(
        SHARES, probe="knn", metrics={"l1": Measured(0.9, 0.02, 0.9, 0.1), "cosine": SHARES.metrics["cosine"]}
    )
    table = Scores((worse, SHARES)).to_markdown()
    assert "| Features | Probe | L1 | cosine | L1 of folds |" in table
    assert "| image only | softmax | **0.700 ± 0.020** | 0.800 ± 0.010 |" in table
    assert "L1 on held-out places (± over seeds, less is better)" in Scores((SHARES,)).to_text()


def test_a_difference_is_written_with_its_interval() -> None:
    sentence = "image only \N{MINUS SIGN} POI only: +0.41 [0.09, 0.72]"
    scores = Scores((GOOD, POOR), differences=(AHEAD,))
    assert sentence in scores.to_markdown()
    assert sentence in scores.to_text()
    assert AHEAD.clear
    assert not replace(AHEAD, low=-0.01).clear


def test_scores_of_several_tasks_join() -> None:
    rows = pd.DataFrame([{"task": "jobs", "split": "blocks", "id": "a", "observed": 1.0, "predicted": 2.0}])
    joined = Scores.joined([Scores((GOOD,)), Scores((replace(GOOD, task="jobs"),), rows)])
    assert [record.task for record in joined.records] == ["population", "jobs"]
    pd.testing.assert_frame_equal(joined.held_out, rows)
    assert Scores.joined([]).to_frame().empty


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(TypeError):
        Scores.from_json({"scores": [{"task": "population", "r2": 1, "r2_std": 0, "r2_folds": 1, "r2_folds_std": 0}],
                          "differences": []})  # fmt: skip
