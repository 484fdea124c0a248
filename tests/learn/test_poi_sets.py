from __future__ import annotations

from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from shapely.geometry import box
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score

from mmgr.errors import ConfigError, PoiError, RegionError
from mmgr.learn.poi_set_data import PoiParts, PoiSets, nearest_pois, thinned
from mmgr.learn.poi_set_encoders import AttentionPool, SetReader
from mmgr.learn.poi_set_training import one_thread
from mmgr.learn.poi_sets import PoiSetVectors

ENCODERS = ("kernels", "attention", "set2set")
READERS = ("attention", "set2set")
QUICK: dict[str, Any] = {"vectors": "one-hot", "neighbours": 24, "dimensions": 8, "steps": 4, "batch_size": 16}
BLOCK = 400.0
BLOCKS = 12
SHARES = np.array([[0.35, 0.3, 0.15, 0.1, 0.05, 0.05], [0.3, 0.35, 0.05, 0.05, 0.15, 0.1]])
"""Categories of the two kinds of quarter: the frequent ones say little, the rare ones tell them apart."""


def city(seed: int = 0) -> tuple[pd.DataFrame, NDArray[np.float64], NDArray[np.int64]]:
    """Return the POIs of a chequered city, the centres of its quarters and their kinds."""
    random = np.random.default_rng(seed)
    corner = np.stack(np.meshgrid(np.arange(BLOCKS), np.arange(BLOCKS)), -1).reshape(-1, 2)
    kind = random.integers(2, size=len(corner))
    amount = random.integers(8, 40, len(corner))  # how much there is does not tell the kinds apart
    block = np.repeat(np.arange(len(corner)), amount)
    xy = (corner[block] + random.random((len(block), 2))) * BLOCK
    category = [f"c{random.choice(6, p=SHARES[kind[place]])}" for place in block]
    table = pd.DataFrame({"x": xy[:, 0], "y": xy[:, 1], "first_level": "all", "second_level": category})
    return table, (corner + 0.5) * BLOCK, kind


def fitted(**parameters: Any) -> tuple[PoiSetVectors, NDArray[np.float32]]:
    pois, centres, _ = city()
    estimator = PoiSetVectors(pois, random_state=0, **(QUICK | parameters))
    return estimator, estimator.fit_transform(centres)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_vectors_are_centred_and_scaled_over_the_fitted_regions(encoder: str) -> None:
    estimator, made = fitted(encoder=encoder)
    assert made.shape == (BLOCKS**2, 8)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(made.std(), 1, atol=1e-3)
    assert list(estimator.get_feature_names_out()) == [f"poisetvectors{axis}" for axis in range(8)]
    assert estimator.losses_.shape == (4, 3)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(encoder: str) -> None:
    estimator, made = fitted(encoder=encoder)
    _, centres, _ = city()
    np.testing.assert_array_equal(clone(estimator).fit_transform(centres), made)
    other = clone(estimator).set_params(random_state=1).fit_transform(centres)
    assert np.abs(other - made).max() > 1e-3


def test_no_global_generator_and_no_number_of_threads_is_changed() -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()  # noqa: NPY002
    fitted()
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002
    assert torch.get_num_threads() == before[2]


def test_the_number_of_threads_comes_back_after_an_error() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(ZeroDivisionError), one_thread():
            raise ZeroDivisionError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_order_of_the_pois_does_not_matter(encoder: str) -> None:
    pois, centres, _ = city()
    pois = pd.concat([pois, pois.head(200).assign(second_level="c1")])  # POIs that share a place
    estimator = PoiSetVectors(pois, random_state=0, encoder=encoder, **QUICK)
    shuffled = clone(estimator).set_params(pois=pois.sample(frac=1, random_state=1))
    np.testing.assert_array_equal(estimator.fit_transform(centres), shuffled.fit_transform(centres))


@pytest.mark.parametrize("encoder", READERS)
def test_a_set_reads_the_same_in_any_order(encoder: str) -> None:
    torch.manual_seed(0)
    table, order = torch.eye(5), torch.randperm(9)
    reader = SetReader(5, 6, 2) if encoder == "set2set" else AttentionPool(5, 6, (200.0, 800.0))
    sets = PoiSets(torch.randint(5, (3, 9)), torch.rand(3, 9) * 1000)
    weight = torch.randint(3, (3, 2, 9)).float()
    moved = PoiSets(sets.category[:, order], sets.distance[:, order])
    torch.testing.assert_close(reader(table, sets, weight), reader(table, moved, weight[..., order]))


@pytest.mark.parametrize("encoder", READERS)
def test_a_weight_of_two_is_the_same_poi_twice(encoder: str) -> None:
    torch.manual_seed(0)
    reader = SetReader(5, 6, 2) if encoder == "set2set" else AttentionPool(5, 6, (200.0, 800.0))
    sets = PoiSets(torch.randint(5, (3, 4)), torch.rand(3, 4) * 1000)
    twice = PoiSets(sets.category.repeat(1, 2), sets.distance.repeat(1, 2))
    torch.testing.assert_close(
        reader(torch.eye(5), sets, 2 * sets.everything()), reader(torch.eye(5), twice, twice.everything())
    )


def test_attention_is_the_sum_written_out() -> None:
    torch.manual_seed(0)
    pool = AttentionPool(4, 2, (300.0,))
    table, sets = torch.eye(4), PoiSets(torch.tensor([[2, 0]]), torch.tensor([[100.0, 500.0]]))
    found = pool(table, sets, torch.tensor([[[1.0, 3.0]]]))[0, 0]
    for head in range(2):
        total = weighted = 0.0
        for weight, category, distance in ((1.0, 2, 100.0), (3.0, 0, 500.0)):
            seen = weight * np.exp(pool.query.weight[head, category].item() - distance**2 / (2 * 300.0**2))
            total += seen
            weighted += seen * (pool.value.weight[head, category] + pool.value.bias[head]).item()
        total += np.exp(-2.0)
        np.testing.assert_allclose(found[[head, 2 + head]].detach(), [np.log(total), weighted / total], rtol=1e-5)


def test_halves_share_no_poi_and_weigh_as_much_as_the_whole() -> None:
    sets = PoiSets(torch.zeros(50, 200, dtype=torch.int64), torch.ones(50, 200))
    views = thinned(sets, 0.5, torch.Generator().manual_seed(0))
    assert set(views.unique().tolist()) == {0.0, 2.0}
    assert torch.equal(views.sum(1), torch.full((50, 200), 2.0))
    assert abs(float(views.mean()) - 1) < 0.02


def test_halves_of_parts_share_none_and_weigh_as_much_as_the_whole() -> None:
    views = thinned(PoiParts(torch.ones(50, 8, 3)), 0.5, torch.Generator().manual_seed(0))
    assert views.shape == (50, 2, 8)
    assert torch.equal(views.sum(1), torch.full((50, 8), 2.0))
    assert torch.equal(views.sum(2), torch.full((50, 2), 8.0))
    assert len({tuple(view) for view in views[:, 0].tolist()}) > 10


def test_untrained_kernels_are_the_principal_components_of_squashed_log_densities() -> None:
    pois, centres, _ = city()
    made = PoiSetVectors(pois, steps=0, dimensions=5, scales=(200.0, 400.0), random_state=0).fit_transform(centres)
    categories = sorted(set(pois.second_level))
    one = (pois.second_level.to_numpy()[:, None] == np.array(categories)).astype(float)
    one = np.hstack([one, np.ones((len(pois), 1)), np.ones((len(pois), 1))])  # all are of one first level
    distance = ((centres[:, None] - pois[["x", "y"]].to_numpy()[None]) ** 2).sum(-1)
    dense = [np.exp(-distance / (2 * h * h)) @ one / (2 * np.pi * h * h / 1e6) for h in (200.0, 400.0)]
    level = np.log(0.1 + np.hstack(dense))
    squashed = np.tanh((level - level.mean(0)) / level.std(0))
    u, s, _ = np.linalg.svd(squashed - squashed.mean(0), full_matrices=False)
    expected = u[:, :5] * s[:5]
    similarity = np.abs((made * expected).sum(0)) / np.linalg.norm(made, axis=0) / np.linalg.norm(expected, axis=0)
    np.testing.assert_allclose(similarity, 1, atol=1e-3)


def test_the_nearest_pois_come_nearest_first() -> None:
    xy = np.array([[0.0, 0.0], [30.0, 0.0], [0.0, 10.0], [500.0, 0.0]])
    sets = nearest_pois(np.array([[0.0, 0.0]]), xy, np.array([0, 1, 2, 3], np.int32), 3)
    assert sets.category.tolist() == [[0, 2, 1]]
    assert sets.distance.tolist() == [[0.0, 10.0, 30.0]]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_regions_without_pois_and_regions_far_away_have_vectors(encoder: str) -> None:
    estimator, _ = fitted(encoder=encoder)
    made = estimator.transform(np.array([[-2000.0, -2000.0], [1e6, 1e6]]))
    assert np.isfinite(made).all()
    # squashed densities have an end, which both places are beyond
    assert encoder == "kernels" or np.abs(made[0] - made[1]).max() > 0


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("count", [1, 3])
def test_fewer_pois_than_a_set_holds_are_all_taken(encoder: str, count: int) -> None:
    pois, centres, _ = city()
    made = PoiSetVectors(pois.head(count), random_state=0, encoder=encoder, **QUICK).fit_transform(centres)
    assert made.shape == (len(centres), 8)
    assert np.isfinite(made).all()


def test_polygons_are_read_by_their_centroids() -> None:
    pois, centres, _ = city()
    shift = np.array([300_000.0, 150_000.0])
    xy = pois[["x", "y"]].to_numpy() + shift
    points = gpd.GeoDataFrame(pois.drop(columns=["x", "y"]), geometry=gpd.points_from_xy(*xy.T), crs=32648)
    squares = gpd.GeoDataFrame(geometry=[box(x - 9, y - 9, x + 9, y + 9) for x, y in centres + shift], crs=32648)
    made = PoiSetVectors(points, random_state=0, **QUICK).fit_transform(squares)
    expected = PoiSetVectors(points, random_state=0, **QUICK).fit_transform(centres + shift)
    np.testing.assert_allclose(made, expected, atol=1e-2)
    with pytest.raises(RegionError, match=r"use regions\.to_crs"):
        PoiSetVectors(points, **QUICK).fit(squares.to_crs(32647))


def test_losses_fall_below_chance() -> None:
    estimator, _ = fitted(steps=80, neighbours=64, encoder="attention", learning_rate=3e-3)
    contrast, chance, error = estimator.losses_[-10:].mean(0)
    assert contrast < chance - 0.3
    assert error < estimator.losses_[:5, 2].mean()


def test_regions_nearer_than_stated_are_no_negatives() -> None:
    everyone, _ = fitted(batch_size=BLOCKS**2)
    masked, _ = fitted(batch_size=BLOCKS**2, apart=1.5 * BLOCK)
    np.testing.assert_allclose(everyone.losses_[:, 1], np.log(2 * BLOCKS**2 - 1), rtol=1e-5)
    assert (masked.losses_[:, 1] < everyone.losses_[:, 1] - 0.01).all()


def test_training_separates_two_kinds_of_quarter_better_than_no_training() -> None:
    pois, centres, kind = city()
    scores = []
    for steps in (0, 150):
        estimator = PoiSetVectors(
            pois,
            "one-hot",
            encoder="attention",
            neighbours=48,
            dimensions=3,
            steps=steps,
            batch_size=128,
            learning_rate=3e-3,
            scales=(120.0, 300.0),
            random_state=0,
        )
        vectors = estimator.fit_transform(centres)
        scores.append(cross_val_score(LogisticRegression(C=0.1, max_iter=1000), vectors, kind, cv=6).mean())
    assert scores[1] > scores[0] + 0.05, scores
    assert scores[1] > 0.7, scores


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"neighbours": 0}, "`neighbours` is a whole number of at least 1"),
        ({"batch_size": 1}, "`batch_size` is a whole number of at least 2"),
        ({"dimensions": 2.5}, "`dimensions` is a whole number"),
        ({"temperature": 0.0}, "`temperature` is positive"),
        ({"keep": 1.5}, "`keep` is a share"),
        ({"apart": -1.0}, "`apart` is at least 0"),
        ({"encoder": "mean"}, "`encoder` is one of kernels, attention, set2set"),
        ({"contrast": 0.0, "side": 0.0}, "nothing is learned"),
        ({"encoder": "attention", "vectors": 3}, "`vectors` of PoiSetVectors"),
        ({"encoder": "attention", "vectors": "skipgram"}, "did you mean 'skip-gram'"),
        ({"encoder": "kernels", "vectors": "skipgram"}, "did you mean 'skip-gram'"),
        ({"encoder": "kernels", "vectors": None}, "`vectors` of PoiSetVectors .* got NoneType"),
    ],
)
def test_a_parameter_out_of_range_is_named(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fitted(**parameters)


def test_all_faults_of_parameters_come_at_once() -> None:
    with pytest.raises(ConfigError, match=r"steps.*keep"):
        fitted(steps=-1, keep=0.0)


def test_what_cannot_be_learned_from_is_refused() -> None:
    pois, centres, _ = city()
    with pytest.raises(RegionError, match="at least 2; got 1"):
        PoiSetVectors(pois, **QUICK).fit(centres[:1])
    with pytest.raises(PoiError, match="no POIs"):
        PoiSetVectors(pois.head(0), **QUICK).fit(centres)
