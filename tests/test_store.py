"""The region store: what is written comes back, by row."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.errors import ArtefactError
from mmgr.store import Patches, PoiBags, RegionStore, StoreInfo, stored_ids, write_store
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop"), ("bar", "cafe", "books"))


def make_bags(lengths: list[int], seed: int = 0) -> PoiBags:
    rng = np.random.default_rng(seed)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    entries = int(starts[-1])
    return PoiBags(
        starts=starts,
        category=rng.integers(0, 3, entries).astype(np.int32),
        count=rng.integers(1, 5, entries).astype(np.float32),
        offset=rng.normal(0, 50, (entries, 2)).astype(np.float32),
        area_km2=np.where(np.arange(len(lengths)) % 3 == 2, 0, 0.04).astype(np.float32),
        unit=np.array([f"t{i % 2}" for i in range(len(lengths))], object),
    )


def write(path: Path, lengths: list[int], *, batch: int = 3, skip: int = 0) -> RegionStore:
    count = len(lengths)
    regions = gpd.GeoDataFrame(
        {"group": ["a" if i % 2 else "b" for i in range(count)]},
        index=[f"r{i}" for i in range(count)],
        geometry=[shapely.box(200 * i, 0, 200 * i + 200, 200) for i in range(count)],
        crs=32611,
    )
    patches = (
        Patches(i, tuple(str(2016 + k) for k in range(i % 3)), np.full((i % 3, 8, 8, 3), 10 * i, np.uint8))
        for i in range(skip, count)
    )
    info = StoreInfo("EPSG:32611", 8, 3, 200.0, TAXONOMY, {"seed": 7})
    return write_store(path, regions=regions, patches=patches, bags=make_bags(lengths), info=info, batch=batch)


def test_regions_bags_and_patches_come_back(tmp_path: Path) -> None:
    lengths = [2, 0, 3, 0, 1, 0, 4]
    store = write(tmp_path / "s.lance", lengths)
    bags = make_bags(lengths)
    assert len(store) == 7
    assert store.info.taxonomy == TAXONOMY
    assert store.info.provenance == {"seed": 7}
    assert list(store.regions.index) == [f"r{i}" for i in range(7)]
    assert store.regions.crs.to_epsg() == 32611
    assert store.regions["views"].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert np.allclose(store.regions["area_km2"], 0.04)
    for name in ("starts", "category", "count", "offset", "area_km2", "unit"):
        assert np.array_equal(getattr(store.bags, name), getattr(bags, name))
    patches = store.patches([5, 1, 3, 5])
    assert [len(p) for p in patches] == [2, 1, 0, 2]
    assert (patches[0] == 50).all()
    assert (patches[1] == 10).all()
    assert [len(p) for batch in store.iterate(2) for p in batch] == [0, 1, 2, 0, 1, 2, 0]
    assert store.dates()[2] == ["2016", "2017"]


def test_pois_are_nan_where_no_source_covers_a_region(tmp_path: Path) -> None:
    store = write(tmp_path / "s.lance", [1, 0, 0])
    assert np.isfinite(store.regions["pois"][:2]).all()
    assert store.regions["pois"].iloc[1] == 0
    assert np.isnan(store.regions["pois"].iloc[2])


def test_a_killed_build_keeps_what_it_committed(tmp_path: Path) -> None:
    path = tmp_path / "s.lance"
    assert stored_ids(path) == set()
    write(path, [0] * 4, batch=2)
    assert stored_ids(path) == {"r0", "r1", "r2", "r3"}
    store = write(path, [0] * 6, batch=2, skip=4)
    assert list(store.regions.index) == [f"r{i}" for i in range(6)]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="mmgr build"):
        RegionStore(tmp_path / "missing")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArtefactError, match="not a region store"):
        RegionStore(tmp_path / "folder")


def test_a_store_of_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "s.lance", [1])
    monkeypatch.setattr("mmgr.store.SCHEMA_VERSION", 99)
    with pytest.raises(ArtefactError, match="run `mmgr build` again"):
        RegionStore(tmp_path / "s.lance")


class TestPoiBags:
    def test_counts_and_densities_by_hand(self) -> None:
        bags = PoiBags(
            starts=np.array([0, 3, 3, 4]),
            category=np.array([0, 2, 0, 1], np.int32),
            count=np.array([1, 2, 1, 5], np.float32),
            offset=np.full((4, 2), np.nan, np.float32),
            area_km2=np.array([0.5, 0.5, 0], np.float32),
            unit=np.array(["", "", ""], object),
        )
        assert bags.counts(3).tolist() == [[2, 0, 2], [0, 0, 0], [0, 5, 0]]
        densities = bags.densities(3)
        assert densities[:2].tolist() == [[4, 0, 4], [0, 0, 0]]
        assert np.isnan(densities[2]).all()
        assert bags.present.tolist() == [True, False, True]
        assert bags.known.tolist() == [True, True, False]

    def test_lengths_that_disagree_are_refused(self) -> None:
        with pytest.raises(ValueError, match="starts end at 3"):
            PoiBags(
                starts=np.array([0, 3]),
                category=np.zeros(2, np.int32),
                count=np.zeros(2, np.float32),
                offset=np.zeros((2, 2), np.float32),
                area_km2=np.zeros(1, np.float32),
                unit=np.array([""], object),
            )

    @given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
    @settings(deadline=None)
    def test_taking_rows_equals_taking_rows_of_the_table(self, lengths: list[int], data: st.DataObject) -> None:
        bags = make_bags(lengths)
        rows = data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=8))
        taken = bags.take(np.array(rows))
        assert np.array_equal(taken.counts(3), bags.counts(3)[rows])
        assert np.array_equal(taken.area_km2, bags.area_km2[rows])
