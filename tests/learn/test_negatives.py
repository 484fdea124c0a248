from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learn_samples import CATEGORIES, make_bags, make_store, small_recipe

from mmgr.learn.data import Batches
from mmgr.learn.negatives import Negatives, poi_vectors, same_pois
from mmgr.store import PoiBags, RegionStore


def bags_of(*regions: dict[int, float]) -> PoiBags:
    """Bags of regions given by the count of each category."""
    return PoiBags(
        starts=np.cumsum([0, *map(len, regions)]),
        category=np.array([category for region in regions for category in region], np.int32),
        count=np.array([count for region in regions for count in region.values()], np.float32),
        offset=np.zeros((sum(map(len, regions)), 2), np.float32),
        area_km2=np.ones(len(regions), np.float32),
        unit=np.full(len(regions), "", object),
    )


def test_what_lies_around_tells_regions_apart(tmp_path: Path) -> None:
    store = make_store(tmp_path / "regions.lance", 12)
    around = np.zeros((12, 3), np.float32)
    around[6:] = np.nan
    (batch,) = Batches(store, small_recipe(batch_size=16), 0, around=around).epoch(0)
    assert batch.not_negative is not None
    order = np.argsort(batch.rows)
    masked = batch.not_negative.numpy()[order][:, order]
    assert not masked[:6].any()
    assert masked[6:, 6:].diagonal().any(), "a region is no negative of itself where its POIs are compared"
    assert batch.pois.surrounded.numpy()[order].tolist() == [True] * 6 + [False] * 6


def test_regions_of_one_polygon_are_negatives_where_pois_around_tell_them_apart(tmp_path: Path) -> None:
    store = make_store(tmp_path / "regions.lance", 12)
    around = np.zeros((12, 3), np.float32)
    around[6:] = np.nan
    rows = np.arange(12)

    def masked(*, pois_around: bool) -> set[tuple[int, int]]:
        recipe = small_recipe(batch_size=16, pois_around=pois_around)
        found = Batches(store, recipe, 0, around=around).negatives.inter(rows, rows, None)
        assert found is not None
        return {(i, j) for i in range(12) for j in range(i) if found[i, j]}

    alike = masked(pois_around=True), masked(pois_around=False)  # by their POIs
    store.bags.unit[[1, 2, 7, 9]] = "tract"
    assert masked(pois_around=True) - alike[0] == {(9, 7)}
    assert masked(pois_around=False) - alike[1] == {(2, 1), (7, 1), (7, 2), (9, 1), (9, 2), (9, 7)} - alike[1]


def test_regions_of_one_polygon_and_regions_with_equal_pois_are_the_same() -> None:
    bags = PoiBags(
        starts=np.array([0, 2, 4, 5, 5, 5, 6, 8]),
        category=np.array([0, 1, 1, 0, 2, 2, 2, 2], np.int32),
        count=np.array([3, 1, 1, 3, 2, 9, 1, 1], np.float32),
        offset=np.zeros((8, 2), np.float32),
        area_km2=np.ones(7, np.float32),
        unit=np.array(["", "", "t1", "", "", "t1", ""], object),
    )
    numbers = same_pois(bags)
    same = ((numbers[:, None] == numbers[None]) & (numbers >= 0)).any(2)
    pairs = {(i, j) for i in range(7) for j in range(i) if same[i, j]}
    # 0 and 1: equal bags in another order; 2 and 5: one polygon; 2 and 6: 2 of one category, or twice 1
    assert pairs == {(1, 0), (5, 2), (6, 2)}


@pytest.mark.parametrize("flag", [True, False])
def test_pairs_that_pois_cannot_tell_apart_are_no_negatives_where_the_recipe_says_so(
    tmp_path: Path,
    *,
    flag: bool,
) -> None:
    store = make_store(tmp_path / "regions.lance", 6)
    store.bags.unit[[1, 2, 5]] = "tract"
    (batch,) = Batches(store, small_recipe(mask_same_unit=flag), 0).epoch(0)
    assert batch.near is None
    if not flag:
        assert batch.not_negative is None
        return
    of_tract = np.isin(batch.rows, [1, 2, 5])
    others = ~np.eye(6, dtype=bool)
    assert np.array_equal(batch.not_negative.numpy() & others, np.outer(of_tract, of_tract) & others)


@pytest.mark.parametrize("metres", [499.0, 500.0, 501.0, 1800.0])
def test_regions_whose_centres_are_nearer_than_the_recipe_says_are_no_negatives(
    store: RegionStore, metres: float
) -> None:
    # region i is a square of 500 m at 500 i
    negatives = Negatives(store, small_recipe(mask_near=metres, mask_same_unit=False))
    own, rows = np.array([7, 0, 3]), np.array([3, 1, 7, 6, 0])
    near = negatives.near(own, rows)
    assert np.array_equal(near.numpy(), [[500 * abs(i - j) < metres for j in rows] for i in own])
    assert negatives.inter(own, rows, near) is near or np.array_equal(negatives.inter(own, rows, near), near)


def test_likeness_of_pois_is_the_cosine_of_rare_and_logged_counts() -> None:
    regions = [{0: 10, 1: 1}, {0: 1}, {1: 4, 3: 2.5}, {}, {0: 10, 1: 1}, {0: 0.0, 2: 1}]
    found = poi_vectors(bags_of(*regions), CATEGORIES).toarray()
    rarity = [
        math.log((1 + len(regions)) / (1 + sum(region.get(category, 0) > 0 for region in regions))) + 1
        for category in range(CATEGORIES)
    ]
    for i, one in enumerate(regions):
        for j, two in enumerate(regions):
            a, b = ([math.log1p(r.get(c, 0)) * rarity[c] for c in range(CATEGORIES)] for r in (one, two))
            length = math.sqrt(sum(x * x for x in a) * sum(y * y for y in b))
            wanted = sum(x * y for x, y in zip(a, b, strict=True)) / length if length else 0
            assert float(found[i] @ found[j]) == pytest.approx(wanted, abs=1e-6)


def test_repeated_entries_count_together_and_the_order_does_not_matter() -> None:
    bags = make_bags(9)
    order = np.concatenate([np.arange(a, b)[::-1] for a, b in zip(bags.starts[:-1], bags.starts[1:], strict=True)])
    other = replace(bags, category=bags.category[order], count=bags.count[order])
    assert np.allclose(poi_vectors(bags, CATEGORIES).toarray(), poi_vectors(other, CATEGORIES).toarray(), atol=1e-6)


@pytest.mark.parametrize("least", [0.3, 0.8, 1.0])
def test_regions_with_alike_pois_are_no_negatives_of_images_with_pois(store: RegionStore, least: float) -> None:
    recipe = small_recipe(mask_alike=least, mask_same_unit=False, batch_size=64)
    (batch,) = Batches(store, recipe, 0).epoch(0)
    vectors = poi_vectors(store.bags, CATEGORIES).toarray().astype(np.float64)
    wanted = (vectors @ vectors.T >= least - 1e-6)[np.ix_(batch.rows, batch.rows)]
    assert batch.near is None, "images of alike POIs are still told apart"
    assert np.array_equal(batch.not_negative.numpy(), wanted)
    assert not wanted[~store.bags.present[batch.rows]].any()
    if least < 0.5:
        assert 0.1 < wanted.mean() < 0.9


def test_all_masks_together_are_their_union(store: RegionStore) -> None:
    choices = {"mask_near": 900.0, "mask_alike": 0.7, "mask_same_unit": True}
    nothing = dict.fromkeys(choices) | {"mask_same_unit": False}
    rows = np.arange(22)

    def inter(**changes: object) -> np.ndarray:
        negatives = Negatives(store, small_recipe(**nothing | changes))
        return negatives.inter(rows, rows, negatives.near(rows, rows)).numpy()

    alone = [inter(**{name: value}) for name, value in choices.items()]
    assert np.array_equal(inter(**choices), np.logical_or.reduce(alone))
