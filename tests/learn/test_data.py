from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import PIXELS, make_bags, make_store, small_recipe

from mmgr.errors import ArtefactError
from mmgr.learn.data import Batches, made_ahead, prefetched
from mmgr.learn.poi_batch import PoiBatch
from mmgr.store import RegionStore


def test_an_epoch_sees_each_region_with_an_image_once(store: RegionStore) -> None:
    batches = Batches(store, small_recipe(), seed=0)
    rows = np.concatenate(batches.order(3))
    assert sorted(rows) == [row for row in range(22) if row not in {5, 16}]
    assert [len(rows) for rows in batches.order(0)] == [8, 8, 4]
    assert batches.steps == 3


def test_the_order_is_a_function_of_seed_and_epoch(store: RegionStore) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return np.concatenate(Batches(store, small_recipe(), seed).order(epoch)).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(*key)) for key in ((0, 0), (0, 1), (1, 0), (1, 1), (-1, 0))}) == 5


def test_a_batch_is_a_function_of_seed_epoch_and_step(store: RegionStore) -> None:
    one, two = (list(Batches(store, small_recipe(), 5).epoch(2)) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.rows, b.rows)
        assert torch.equal(a.first, b.first)
        assert torch.equal(a.second, b.second)


@pytest.mark.parametrize(("size", "lengths"), [(64, [20]), (19, [19]), (10, [10, 10]), (6, [6, 6, 6, 2])])
def test_small_sets_are_one_batch_and_short_last_batches_are_kept(
    store: RegionStore, size: int, lengths: list[int]
) -> None:
    batches = Batches(store, small_recipe(batch_size=size), 0)
    assert [len(rows) for rows in batches.order(0)] == lengths
    assert [len(batch.rows) for batch in batches.epoch(0)] == lengths


@pytest.mark.parametrize(("size", "lengths"), [(64, []), (21, []), (20, [20]), (10, [10, 10]), (6, [6, 6, 6])])
def test_as_published_short_batches_are_dropped(store: RegionStore, size: int, lengths: list[int]) -> None:
    batches = Batches(store, small_recipe("mmgr-2023-as-published", batch_size=size), 0)
    assert [len(rows) for rows in batches.order(0)] == lengths
    assert [len(batch.rows) for batch in batches.epoch(0)] == lengths
    assert batches.steps == len(lengths)


def test_views_come_from_two_dates_where_there_are_two(store: RegionStore) -> None:
    for batch in Batches(store, small_recipe(), 0).epoch(0):
        assert batch.first.shape == (len(batch.rows), PIXELS, PIXELS, 3)
        for row, first, second in zip(batch.rows, batch.first, batch.second, strict=True):
            patches = store.patches([row])[0]
            found = {int(np.flatnonzero([np.array_equal(p, v) for p in patches])[0]) for v in (first, second)}
            assert found == ({0, 1} if row % 2 else {0})
    both = [Batches(store, small_recipe(dates_as_views=False), 0).epoch(e) for e in range(2)]
    assert all(torch.equal(batch.first, batch.second) for epoch in both for batch in epoch)


def test_fewer_than_two_regions_with_an_image_are_refused(tmp_path: Path) -> None:
    store = make_store(tmp_path / "regions.lance", 3, without_image=(0, 2))
    with pytest.raises(ArtefactError, match=r"regions\.lance has 1 region\(s\) with an image"):
        Batches(store, small_recipe(), 0)


def test_pois_of_a_batch_are_those_of_its_regions(store: RegionStore) -> None:
    (batch,) = Batches(store, small_recipe(batch_size=64), 0).epoch(0)
    bags, pois = store.bags, batch.pois
    assert torch.equal(pois.present, torch.from_numpy(bags.present[batch.rows]))
    assert torch.equal(pois.known, torch.from_numpy(bags.known[batch.rows]))
    table = torch.zeros(len(batch.rows), 6)
    table.index_put_((pois.owner, pois.category), pois.count, accumulate=True)
    assert np.allclose(table, bags.counts(6)[batch.rows])
    area = np.where(bags.area_km2 > 0, bags.area_km2, np.inf)[batch.rows, None]
    assert np.allclose(pois.log_density, np.log(1 + bags.counts(6)[batch.rows] / area), atol=1e-6)


def test_entries_of_no_poi_are_left_out() -> None:
    bags = make_bags(5)
    bags.count[bags.owner == 1] = 0
    pois = PoiBatch.from_bags(bags, 6)
    assert 1 not in pois.owner.tolist()
    assert not pois.present[1]


def test_prefetching_keeps_order_raises_errors_and_stops_its_thread() -> None:
    assert list(prefetched(range(50))) == list(range(50))

    def failing() -> Iterator[int]:
        yield 1
        raise ArtefactError("torn")

    items = prefetched(failing())
    assert next(items) == 1
    with pytest.raises(ArtefactError, match="torn"):
        next(items)
    endless = prefetched(iter(int, 1))
    next(endless)
    endless.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmgr-prefetch")]


def test_several_readers_work_at_once_and_keep_the_order() -> None:
    together = threading.Barrier(3)

    def make(number: int) -> int:
        together.wait(60)  # nobody goes on before three are at it
        if number == 7:
            raise ArtefactError("torn")
        return number

    items = made_ahead((partial(make, number) for number in range(9)), readers=3)
    assert [next(items) for _ in range(7)] == list(range(7))
    with pytest.raises(ArtefactError, match="torn"):
        next(items)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmgr-prefetch")]


def test_batches_for_a_gpu_are_the_same_batches(store: RegionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = Batches(store, small_recipe(), 5)
    wanted = list(batches.epoch(1))
    empty = torch.empty
    # pinning needs a GPU
    monkeypatch.setattr(torch, "empty", lambda *of, **given: empty(*of, **given | {"pin_memory": False}))
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    for one, two in zip(wanted, batches.epoch(1, pinned=True), strict=True):
        assert one.step == two.step
        assert torch.equal(one.first, two.first)
        assert torch.equal(one.second, two.second)
        assert torch.equal(one.pois.category, two.pois.category)
        assert torch.equal(one.drawn[1].box, two.drawn[1].box)


def test_patches_of_one_date_go_to_a_device_once(store: RegionStore) -> None:
    (batch,) = Batches(store, small_recipe(batch_size=64, dates_as_views=False), 0).epoch(0)
    assert batch.second is batch.first
    moved = batch.to(torch.device("cpu", 0))
    assert moved.second is moved.first
    (both,) = Batches(store, small_recipe(batch_size=64), 0).epoch(0)
    assert both.second is not both.first
