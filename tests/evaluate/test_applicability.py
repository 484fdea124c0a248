from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse

from mmgr.config import Evaluate
from mmgr.evaluate import Units, area_of_applicability, judge_predictions
from mmgr.evaluate.applicability import upper_whisker
from mmgr.evaluate.splits import SpatialBlocks

Make = Callable[..., Units]
SIDE, LABELLED = 12, 144


def with_unlabelled(some: Units, count: int) -> Units:
    """The same units among further regions that have no label."""
    from dataclasses import replace

    weights = sparse.hstack([some.weights, sparse.csr_array((len(some), count))]).tocsr()
    return replace(some, weights=sparse.csr_array(weights))


def folds_of(some: Units) -> list[tuple[np.ndarray, np.ndarray]]:
    return list(SpatialBlocks(some.centres, block=300.0, buffer=200.0).split())


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(LABELLED, 3)).astype(np.float32)


def test_regions_unlike_all_labelled_ones_are_outside(units: Make, features: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    inside = rng.normal(size=(60, 3)) * 0.8
    far = np.stack([rng.normal(8, 0.5, 40), rng.normal(size=40), rng.normal(size=40)], axis=1)
    values = np.exp(6 + features[:, 0] + 0.5 * features[:, 1])
    some = with_unlabelled(units(SIDE, values=values), 100)
    everywhere = np.concatenate([features, inside, far]).astype(np.float32)
    area = area_of_applicability(some, everywhere, folds_of(some))
    assert not area.applicable[-40:].any()
    assert area.applicable[LABELLED:-40].mean() > 0.9
    assert (area.dissimilarity[:LABELLED] < 1e-6).all(), "a labelled unit is as like itself as can be"
    facts = area.facts("population")
    assert facts["outside"] == (~area.applicable).sum()
    assert facts["share_outside"] == pytest.approx(facts["outside"] / 244)


def test_the_index_is_that_of_the_paper(units: Make, features: np.ndarray) -> None:
    """Recomputed with loops from Meyer and Pebesma (2021), equations 1 to 3."""
    some = with_unlabelled(units(SIDE, values=np.exp(6 + features @ [1.0, -0.5, 0.1])), 10)
    new = np.random.default_rng(2).normal(size=(10, 3)).astype(np.float32)
    area = area_of_applicability(some, np.concatenate([features, new]), folds_of(some))
    mean, spread = features.astype(float).mean(axis=0), features.astype(float).std(axis=0)
    z = (features - mean) / spread
    target = some.target - some.target.mean()
    # with an exact linear label the probe's penalty is the smallest offered, 0.01
    weight = np.abs(np.linalg.solve(z.T @ z + 0.01 * np.eye(3), z.T @ target))
    weighted, asked = z * weight, (new - mean) / spread * weight
    pairs = [math.dist(a, b) for i, a in enumerate(weighted) for b in weighted[:i]]
    scale = sum(pairs) / len(pairs)
    expected = [min(math.dist(row, other) for other in weighted) / scale for row in asked]
    np.testing.assert_allclose(area.dissimilarity[LABELLED:], expected, rtol=1e-3)
    own = [
        min(math.dist(weighted[row], weighted[other]) for other in train) / scale
        for train, test in folds_of(some)
        for row in test
    ]
    assert area.threshold == pytest.approx(upper_whisker(np.array(own)), rel=1e-3)


def test_a_feature_that_does_not_matter_does_not_make_a_region_unlike(units: Make, features: np.ndarray) -> None:
    some = with_unlabelled(units(SIDE, values=np.exp(6 + features[:, 0])), 1)
    odd = np.array([[0.0, 0.0, 6.0]], np.float32)
    everywhere = np.concatenate([features, odd])
    assert area_of_applicability(some, everywhere, folds_of(some)).applicable[-1]


def test_of_an_unknown_region_nothing_is_claimed(units: Make, features: np.ndarray) -> None:
    some = with_unlabelled(units(SIDE), 2)
    unknown = np.full((2, 3), np.nan, np.float32)
    unknown[1, 0] = 0.1
    area = area_of_applicability(some, np.concatenate([features, unknown]), folds_of(some))
    assert np.isnan(area.dissimilarity[-2])
    assert not area.applicable[-2]
    assert np.isfinite(area.dissimilarity[-1]), "what is missing takes the training mean, as in the probe"


def test_where_all_labelled_vectors_are_one_anything_else_is_infinitely_far(units: Make) -> None:
    some = with_unlabelled(units(SIDE), 2)
    everywhere = np.ones((LABELLED + 2, 2), np.float32)
    everywhere[-1] = 5
    area = area_of_applicability(some, everywhere, folds_of(some))
    assert area.applicable[-2]
    assert area.dissimilarity[-1] == np.inf
    assert not area.applicable[-1]


def test_the_whisker_leaves_outliers_aside() -> None:
    assert upper_whisker(np.array([1.0, 2.0, 3.0, 4.0, 100.0])) == 4.0
    assert upper_whisker(np.array([1.0, 2.0, 3.0, 4.0])) == 4.0


def test_only_regions_with_a_prediction_are_judged(units: Make, features: np.ndarray) -> None:
    some = units(SIDE, values=np.exp(6 + features[:, 0]))
    predicted = np.ones(LABELLED)
    predicted[:44] = np.nan
    settings = Evaluate(seeds=1, folds=3, intervals=())
    area = judge_predictions(some, features, predicted, settings, edge=100, seed=0).applicability
    assert area is not None
    assert area.facts("population")["regions"] == 100
    assert not area.applicable[:44].any()
