"""The region store: what is written comes back, by row."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import lance
import numpy as np
import pyarrow as pa
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.errors import ArtefactError
from mmgr.store import Patches, PoiBags, RegionStore, StoreInfo, _digest, stored_ids, write_store
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
    values, starts, ends = store.pixels([5, 0, 1, 5])
    assert (ends - starts).tolist() == [2, 0, 1, 2]
    assert values.shape == (3, 8, 8, 3)
    assert (values[starts[0] : ends[0]] == 50).all()
    assert not values.flags.writeable
    assert [len(part) for part in store.pixels([0, 3])] == [0, 2, 2]


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


def test_a_store_without_digests_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.lance"
    write(path, [1])
    table = lance.dataset(str(path)).to_table().drop_columns(["digest"])
    said = table.schema.metadata[b"mmgr"].replace(b'"schema_version": 2', b'"schema_version": 1')
    lance.write_dataset(table.replace_schema_metadata({b"mmgr": said}), str(path), mode="overwrite")
    with pytest.raises(ArtefactError, match="has schema version 1, this MMGR reads 2; run `mmgr build` again"):
        RegionStore(path)


class TestDigests:
    def test_they_tell_rows_apart_and_depend_on_no_batch(self, tmp_path: Path) -> None:
        found = [write(tmp_path / f"{batch}.lance", [0] * 7, batch=batch).digests() for batch in (2, 3, 7)]
        assert found[0].shape == (7, 16)
        assert len({row.tobytes() for row in found[0]}) == 7
        assert np.array_equal(found[0], found[1])
        assert np.array_equal(found[0], found[2])

    @pytest.mark.parametrize("what", ["patches", "dates", "geometry", "digest"])
    def test_a_row_that_was_changed_by_other_means_is_found(self, tmp_path: Path, what: str) -> None:
        store = write(tmp_path / "s.lance", [0] * 7)
        store.check_rows(range(7))
        other = {
            "patches": [bytes(192), bytes([1]) + bytes(191)],
            "dates": ["2016", "2018"],
            "geometry": shapely.to_wkb(shapely.box(0, 0, 1, 1)),
            "digest": bytes(16),
        }
        table = lance.dataset(str(store.path)).to_table()
        rows = table[what].to_pylist()
        assert rows[5] != other[what]
        column = pa.array([*rows[:5], other[what], *rows[6:]], table.schema.field(what).type)
        table = table.set_column(table.schema.get_field_index(what), table.schema.field(what), column)
        lance.write_dataset(table, str(store.path), mode="overwrite")
        changed = RegionStore(store.path)
        changed.check_rows([0, 6, 4])
        with pytest.raises(ArtefactError, match=r"s\.lance: the patches, dates or geometry of the region r5 are not"):
            changed.check_rows([6, 5, 5])

    def test_the_same_bytes_cut_otherwise_are_another_row(self) -> None:
        rows = [
            ([b"ab", b"c"], ["1", "2"], b"d"),
            ([b"a", b"bc"], ["1", "2"], b"d"),
            ([b"ab", b"c"], ["12", ""], b"d"),
            ([b"ab"], ["1", "2"], b"cd"),
            ([b"ab", b"cd"], ["1", "2"], None),
            ([b"ab", b"cd"], ["1", "2"], b""),
        ]
        assert len({_digest(*row) for row in rows}) == len(rows)


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
