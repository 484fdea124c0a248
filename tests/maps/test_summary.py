from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmgr.maps.summary import headlines, monitor_sentences, plus_minus, tally

BASELINES = ("POI densities",)


def with_main(scores: pd.DataFrame, r2: float) -> pd.DataFrame:
    return scores.assign(r2=np.where(scores["features"] == "image + POI", r2, scores["r2"]))


@pytest.mark.parametrize(("r2", "verdict"), [(0.6, "ahead"), (0.435, "level"), (0.3, "behind")])
def test_the_main_feature_set_is_compared_with_the_best_baseline(scores: pd.DataFrame, r2: float, verdict: str) -> None:
    (headline,) = headlines(with_main(scores, r2), main="image + POI", baselines=BASELINES)
    assert headline.verdict == verdict
    assert headline.split == "blocks", "the optimistic split is no evidence"
    assert headline.rival is not None
    assert headline.rival.value == pytest.approx(0.43)


def test_a_sentence_names_the_difference_and_the_spread(scores: pd.DataFrame) -> None:
    (headline,) = headlines(scores, main="image + POI", baselines=BASELINES)
    assert "0.60 ± 0.01" in headline.sentence
    assert "ahead of the best baseline (POI densities, 0.43 ± 0.01) by 0.17" in headline.sentence


def test_an_advantage_smaller_than_the_spread_between_folds_is_said_to_be(scores: pd.DataFrame) -> None:
    (headline,) = headlines(with_main(scores, 0.5), main="image + POI", baselines=BASELINES)
    assert "less than the spread between folds (0.10)" in headline.sentence


def test_a_better_set_that_is_no_baseline_is_named(scores: pd.DataFrame) -> None:
    (headline,) = headlines(with_main(scores, 0.5), main="image + POI", baselines=BASELINES)
    assert headline.top is not None
    assert headline.top.features == "image"
    assert "best of all was image, 0.55" in headline.sentence


def test_differences_within_the_seeds_spread_are_no_difference(scores: pd.DataFrame) -> None:
    wide = with_main(scores, 0.5).assign(r2_std=0.06)
    (headline,) = headlines(wide, main="image + POI", baselines=BASELINES)
    assert headline.verdict == "level"


def test_a_task_with_random_splits_alone_is_flagged(scores: pd.DataFrame) -> None:
    (headline,) = headlines(scores[scores["optimistic"]], main="image + POI", baselines=BASELINES)
    assert headline.optimistic


def test_without_a_baseline_nothing_is_claimed(scores: pd.DataFrame) -> None:
    alone = scores[scores["features"] == "image + POI"]
    found = headlines(alone, main="image + POI", baselines=BASELINES)
    assert found[0].verdict == "alone"
    assert "no baseline" in found[0].sentence
    assert tally(found) == ""


def test_a_main_feature_set_that_was_not_scored_gives_way_to_the_best_other(scores: pd.DataFrame) -> None:
    (headline,) = headlines(scores, main="absent", baselines=BASELINES)
    assert headline.main.features == "image + POI"


def test_scores_that_are_not_finite_make_no_headline(scores: pd.DataFrame) -> None:
    assert headlines(scores.assign(r2=np.nan), main="image + POI", baselines=BASELINES) == []


def test_verdicts_are_summed_up(scores: pd.DataFrame) -> None:
    (ahead,) = headlines(scores, main="image + POI", baselines=BASELINES)
    (level,) = headlines(with_main(scores, 0.43), main="image + POI", baselines=BASELINES)
    (behind,) = headlines(with_main(scores, 0.2), main="image + POI", baselines=BASELINES)
    assert tally([ahead]) == "The learned vectors are ahead of the best baseline in the one comparison made."
    assert tally([ahead, behind, behind]) == (
        "The learned vectors are ahead of the best baseline in 1 and behind it in 2 of 3 comparisons."
    )
    assert tally([behind, level]) == (
        "The learned vectors are not clearly different from the best baseline in 1 and behind it in 1 of 2 comparisons."
    )
    assert tally([]) == ""


def test_a_loss_that_stayed_at_chance_is_called_so(monitor: pd.DataFrame) -> None:
    intra, inter = monitor_sentences(monitor.assign(inter=monitor["inter_chance"]))
    assert "next to nothing" not in intra
    assert "next to nothing" in inter
    assert monitor_sentences(monitor[["epoch", "loss"]]) == []


def test_it_is_said_what_regions_that_were_not_trained_on_find(monitor: pd.DataFrame) -> None:
    measured = monitor.assign(held_out_view_retrieval=0.614, held_out_view_retrieval_chance=1 / 39)
    last = monitor_sentences(measured)[-1]
    assert "not trained on finds its other view among those of all such regions in 61%; guessing gives 2.6%" in last
    nothing = {"held_out_poi_retrieval": np.nan, "held_out_poi_retrieval_chance": np.nan}
    assert monitor_sentences(measured.assign(**nothing)) == monitor_sentences(measured)


@pytest.mark.parametrize(("spread", "text"), [(0.02, "± 0.02"), (0.004, "± 0.004"), (1e-5, "± <0.001"), (0.0, "")])
def test_a_small_spread_is_not_written_as_nought(spread: float, text: str) -> None:
    assert plus_minus(spread) == text
