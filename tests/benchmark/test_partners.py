"""Whom Tile2Vec and PG-SimCLR pair a region with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import make_store

from mmgr.benchmark.pg_simclr import ALIKE, alike_regions, no_negatives
from mmgr.benchmark.tile2vec import L2, MARGIN, Neighbours, triplet_loss
from mmgr.learn.negatives import poi_vectors


def test_the_triplet_loss_is_that_of_explicit_loops() -> None:
    anchor, near, far = torch.randn(3, 6, 5, generator=torch.Generator().manual_seed(0)).unbind(0)
    far = far * 3  # some triplets are apart by more than the margin
    total = 0.0
    for a, n, d in zip(anchor.tolist(), near.tolist(), far.tolist(), strict=True):
        to_near = sum((x - y) ** 2 for x, y in zip(a, n, strict=True))
        to_far = sum((x - y) ** 2 for x, y in zip(a, d, strict=True))
        lengths = sum(x * x for vector in (a, n, d) for x in vector) / 3
        total += max(0.0, to_near - to_far + MARGIN) + L2 * lengths
    assert float(triplet_loss(anchor, near, far)) == pytest.approx(total / 6, rel=1e-5)


def test_near_regions_touch_and_distant_ones_do_not() -> None:
    centres = np.array([[100.0 * x, 100.0 * y] for x in range(6) for y in range(6)] + [[5000.0, 5000.0]])
    rows = np.delete(np.arange(37), 1)  # region 1 is kept out of training
    pairs = Neighbours(centres, rows, 100.0)
    random = np.random.default_rng(0)
    for _ in range(20):
        near, far = pairs.near(rows, random), pairs.distant(rows, random)
        apart = np.abs(centres[near] - centres[rows]).max(1)
        alone = rows == 36
        assert (apart[~alone] == 100).all()
        assert near[alone] == 36  # it has no neighbour, and is its own
        assert (np.abs(centres[far] - centres[rows]).max(1) > 100).all()
        assert 1 not in {*near, *far}


def test_where_all_are_near_any_other_region_is_distant() -> None:
    pairs = Neighbours(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.arange(3), 10.0)
    far = pairs.distant(np.arange(3), np.random.default_rng(0))
    assert (far != np.arange(3)).all()


def test_alike_regions_have_the_highest_cosines(tmp_path: Path) -> None:
    store = make_store(tmp_path / "regions.lance", 24)
    rows = np.arange(0, 24)[np.arange(24) != 5]
    found = alike_regions(store, rows)
    vectors = poi_vectors(store.bags, 6).toarray()
    for row in rows:
        likeness = {int(other): float(vectors[row] @ vectors[other]) for other in rows if other != row}
        partners = found[row][found[row] >= 0]
        assert row not in partners
        assert 5 not in partners
        expected = sorted((value for value in likeness.values() if value > 0), reverse=True)[:ALIKE]
        np.testing.assert_allclose([likeness[int(p)] for p in partners], expected, atol=1e-6)
    without = np.flatnonzero(~store.bags.present)
    assert (found[without] == -1).all()


def test_pairs_that_share_a_region_are_no_negatives() -> None:
    rows, partner = np.array([0, 1, 2, 3]), np.array([9, 9, 0, 3])
    found = no_negatives(rows, partner)
    expected = np.array([[len({rows[i], partner[i]} & {rows[j], partner[j]}) > 0 for j in range(4)] for i in range(4)])
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, found.T)
