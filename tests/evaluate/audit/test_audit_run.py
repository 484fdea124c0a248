"""The audit of a run: each leak is made, and named; without it, its path passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin
from scipy import sparse

from mmgr.config import Config, Evaluate
from mmgr.evaluate import Units, check_splits, read_units
from mmgr.evaluate.audit import Finding, Keys, Reach, Scored, audit_run
from mmgr.evaluate.audit.inputs import PoiInputs, made_of_inputs
from mmgr.evaluate.audit.labels import label_sources
from mmgr.evaluate.audit.learned import transductive
from mmgr.store import Patches, PoiBags, RegionStore, StoreInfo, write_store
from mmgr.taxonomy import Taxonomy

SIDE, COUNT, EDGE = 12, 144, 100.0
Make = Callable[..., gpd.GeoDataFrame]


def bags_of(counts: np.ndarray, unit: np.ndarray | None = None) -> PoiBags:
    """Counts of two categories in each region, shape (n, 2)."""
    n = len(counts)
    return PoiBags(
        starts=np.arange(0, 2 * n + 1, 2),
        category=np.tile(np.array([0, 1], np.int32), n),
        count=counts.astype(np.float32).ravel(),
        offset=np.full((2 * n, 2), np.nan, np.float32),
        area_km2=np.full(n, 0.01, np.float32),
        unit=np.full(n, "", object) if unit is None else unit,
    )


@pytest.fixture
def store(tmp_path: Path, grid: Make) -> Callable[..., RegionStore]:
    """A store of 144 cells with a patch of 8 pixels and two counts each."""

    def make(
        *, twins: tuple[int, int] | None = None, counts: np.ndarray | None = None, unit: Any = None
    ) -> RegionStore:
        rng = np.random.default_rng(0)
        views = rng.integers(0, 255, (COUNT, 1, 8, 8, 3)).astype(np.uint8)
        views[5:9] = 7  # open water: alike without being copied
        if twins is not None:
            views[twins[1]] = views[twins[0]]
        info = StoreInfo("EPSG:32611", 8, 3, EDGE, Taxonomy(("food", "shop"), ("food", "shop")))
        counts = rng.poisson(5, (COUNT, 2)) + 1 if counts is None else counts
        patches = [Patches(row, ("",), views[row]) for row in range(COUNT)]
        return write_store(
            tmp_path / "s.lance", regions=grid(SIDE, SIDE), patches=patches, bags=bags_of(counts, unit), info=info
        )

    return make


def configured(tmp_path: Path, **changes: Any) -> Config:
    given: dict[str, Any] = {
        "name": "made", "images": {"path": tmp_path}, "regions": {"size": EDGE},
        "pois": {"sources": [{"path": tmp_path / "pois.csv", "first_level": "a"}]},
    }  # fmt: skip
    return Config.model_validate(given | changes)


def findings(
    config: Config,
    store: RegionStore,
    some: Units,
    *,
    vectors: np.ndarray | None = None,
    reach: Reach | None = None,
    **settings: Any,
) -> dict[str, Finding]:
    evaluate = Evaluate(**{"seeds": 1, "folds": 3, "block": 300.0, "splits": ("blocks",)} | settings)
    plans = check_splits(some, evaluate, edge=EDGE, seed=0)
    audit = audit_run(config, store, [Scored(some, tuple(plans))], Keys.of(store, vectors), reach)
    return {finding.path: finding for finding in audit.findings}


@pytest.fixture
def labelled(grid: Make, task: Callable[..., Any], tmp_path: Path) -> Callable[..., Units]:
    """Labels read from census cells of ``edge`` metres with random counts."""

    def make(edge: float = EDGE, **settings: Any) -> Units:
        side = int(np.ceil(SIDE * EDGE / edge))
        cells = grid(side, side, edge=edge)
        people = np.random.default_rng(3).gamma(2, 100, len(cells)).round()
        path = tmp_path / "labels.gpkg"
        gpd.GeoDataFrame(
            {"people": people, "name": cells.index}, geometry=cells.geometry.to_numpy(), crs=cells.crs
        ).to_file(path)
        given = {"path": path, "units": "regions", **settings}
        return read_units(task(**given), grid(SIDE, SIDE))

    return make


def test_blocks_with_a_buffer_on_honest_data_pass_every_path(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    vectors = np.random.default_rng(1).normal(size=(COUNT, 4)).astype(np.float32)
    found = findings(configured(tmp_path), store(), labelled(), vectors=vectors)
    assert {path: f.status for path, f in found.items() if f.status != "pass"} == {
        "pre-training": "note",
        "choices on test units": "note",
    }
    assert len(found) == 11
    assert "Transductive" in found["pre-training"].text
    assert found["adjacent places"].numbers["nearest_metres"] == pytest.approx(100)


def test_random_folds_put_neighbours_on_both_sides(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    found = findings(configured(tmp_path), store(), labelled(), splits=("random",))
    adjacent = found["adjacent places"]
    assert adjacent.status == "named"
    assert adjacent.numbers["touching"] > 130
    assert "splits: [blocks]" in adjacent.text


def test_a_buffer_that_could_not_be_kept_is_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    found = findings(configured(tmp_path), store(), labelled(), buffer=0.0)
    assert found["adjacent places"].status == "named"
    assert "larger `buffer`" in found["adjacent places"].text
    assert found["overlapping patches"].status == "pass", "neighbours share an edge, no ground"


def test_a_wide_poi_radius_sees_into_test_regions(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    sources = [{"path": tmp_path / "pois.csv", "first_level": "a"}]
    narrow = configured(tmp_path, pois={"sources": sources, "radius": 90.0})
    assert findings(narrow, store(), labelled())["overlapping POI windows"].status == "pass"
    wide = configured(tmp_path, pois={"sources": sources, "radius": 120.0})
    named = findings(wide, RegionStore(tmp_path / "s.lance"), labelled())["overlapping POI windows"]
    assert named.status == "named"
    assert "`buffer` of 240 m" in named.text


@pytest.mark.parametrize("key", ["poi_context_metres", "poi_counts_metres"])
@pytest.mark.parametrize("images", ["images", None])
def test_the_context_of_pois_is_a_window(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path, images: str | None, key: str
) -> None:
    sources = [{"path": tmp_path / "pois.csv", "first_level": "a"}]
    changes = {} if images else {"images": None}
    config = configured(tmp_path, pois={"sources": sources}, **changes)
    named = findings(config, store(), labelled(), reach=Reach.of({key: [200.0, 400.0]}))
    assert named["overlapping POI windows"].status == "named"
    assert named["overlapping POI windows"].numbers["reach_metres"] == 800
    assert ("overlapping patches" in named) == bool(images)


def test_the_images_around_a_region_are_a_window(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    config, city = configured(tmp_path), store()
    named = findings(config, city, labelled(), reach=Reach.of({"image_surroundings_metres": [100.0, 50.0]}))
    assert named["overlapping image windows"].status == "named"
    assert named["overlapping image windows"].numbers["reach_metres"] == 200
    assert "see images that a training region sees too" in named["overlapping image windows"].text
    assert "overlapping image windows" not in findings(config, city, labelled(), reach=Reach.of({}))


def test_a_coarse_census_on_both_sides_is_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    some, city = labelled(edge=500.0), store()
    # the run's own splits keep the regions of a tract together
    assert findings(configured(tmp_path), city, some)["one label, both sides"].status == "pass"
    found = findings(configured(tmp_path), city, replace(some, sources=None))
    shared = found["one label, both sides"]
    assert shared.status == "named"
    assert shared.numbers["most_units_of_one"] == 25
    assert "units: polygons" in shared.text
    assert found["one label, many units"].status == "named"
    tracts = labelled(edge=300.0, units="polygons")
    assert (
        findings(configured(tmp_path), RegionStore(tmp_path / "s.lance"), tracts)["one label, both sides"].status
        == "pass"
    )


@pytest.mark.parametrize(("cell", "status"), [(500.0, "named"), (100.0, "pass"), (10.0, "pass")])
def test_a_coarse_raster_on_both_sides_is_named(
    store: Callable[..., RegionStore], grid: Make, task: Callable[..., Any], tmp_path: Path, cell: float, status: str
) -> None:
    regions = grid(SIDE, SIDE)
    west, _, _, north = regions.total_bounds
    side = int(np.ceil(SIDE * EDGE / cell))
    values = np.random.default_rng(0).gamma(2, 10, (side, side)).astype(np.float32)
    path = tmp_path / "gdp.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="float32", crs=regions.crs.to_wkt(),
        transform=from_origin(west, north, cell, cell),
    ) as raster:  # fmt: skip
        raster.write(values, 1)
    some, city = read_units(task(kind="raster_mean", path=path, column=None), regions), store()
    assert findings(configured(tmp_path), city, some)["one label, both sides"].status == "pass"
    found = findings(configured(tmp_path), city, replace(some, sources=None))["one label, both sides"]
    assert found.status == status
    assert ("10 times narrower" in found.text) == (cell == 10)


def test_small_regions_among_large_ones_may_share_a_cell(
    grid: Make, task: Callable[..., Any], units: Callable[..., Units], tmp_path: Path
) -> None:
    """Most regions are much wider than a cell; four others lie in pairs on one."""
    large = grid(6, 6)
    west, south, _, north = large.total_bounds
    small = [shapely.box(west + 10 * k, south, west + 10 * (k + 1), south + 10) for k in range(4)]
    regions = gpd.GeoDataFrame(geometry=[*large.geometry[1:], *small], crs=large.crs)
    path = tmp_path / "gdp.tif"
    with rasterio.open(
        path, "w", driver="GTiff", width=30, height=30, count=1, dtype="float32", crs=regions.crs.to_wkt(),
        transform=from_origin(west, north, 20.0, 20.0),
    ) as raster:  # fmt: skip
        raster.write(np.ones((30, 30), np.float32), 1)
    held = label_sources(task(kind="raster_mean", path=path, column=None), units(6), regions).held
    assert held is not None
    shared = (held @ held.T).toarray()
    assert not held[:35].sum(), "large regions have their label from many cells"
    assert shared[35:, 35:].tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]


def test_advice_can_be_followed_under_the_split_that_it_is_about(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    city = store()
    for edge, settings in ((300.0, {"splits": (), "protocol": "cityrep-trees"}), (100.0, {"splits": ("random",)})):
        some = replace(labelled(edge=edge), sources=None)
        found = findings(configured(tmp_path), city, some, reach=Reach(pois=200.0), **settings)
        named = {finding.text for finding in found.values() if finding.status == "named"}
        assert len(named) >= 2
        assert not any("Set a larger `buffer`" in text or " A `buffer`" in text for text in named)
        assert any("`splits: [blocks]`" in text for text in named)
    assert "stays as published" in findings(
        configured(tmp_path), city, labelled(edge=300.0), splits=(), protocol="cityrep-trees"
    )["one label, both sides"].text  # fmt: skip


def test_a_label_that_is_a_count_of_pois_is_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    some = labelled()
    rng = np.random.default_rng(5)
    counts = np.stack([np.round(some.values / some.values.max() * 300), rng.poisson(9, COUNT)], axis=1)
    found = findings(configured(tmp_path), store(counts=counts), some)["targets made of inputs"]
    assert found.status == "named"
    assert "the density of food" in found.text
    assert found.numbers["rank_correlation"] > 0.98


def test_a_label_that_is_a_sum_of_counts_is_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    counts = np.random.default_rng(5).poisson(20, (COUNT, 2)) + 1
    some = replace(labelled(), values=(counts @ [3.0, 1.0]) * 100)
    found = findings(configured(tmp_path), store(counts=counts), some)["targets made of inputs"]
    assert found.status == "named"
    assert found.numbers["rank_correlation"] < 0.98
    assert found.numbers["linear_r2"] > 0.99


def many_counts(*, seed: int = 5) -> np.ndarray:
    """Counts of six categories, half of them mostly absent, shape (n, 6)."""
    return np.random.default_rng(seed).poisson([4, 2, 1, 0.5, 0.2, 0.1], (COUNT, 6))


def of_classes(some: Units, values: np.ndarray, kind: str, **settings: Any) -> Units:
    names = tuple("abcdefgh"[: values.shape[1]])
    task = some.task.model_copy(update={"kind": kind, "column": None, **settings})
    return replace(some, task=task, values=values, classes=names)


def compared(tmp_path: Path, some: Units, counts: np.ndarray, first: tuple[str, ...] = ()) -> Finding:
    names = tuple(f"category {number}" for number in range(counts.shape[1]))
    pois = PoiInputs(Taxonomy(first or names, names), counts / 0.01)
    return made_of_inputs(configured(tmp_path), some, pois)


def test_shares_of_a_land_use_that_are_those_of_pois_are_named(labelled: Callable[..., Units], tmp_path: Path) -> None:
    counts = many_counts()
    some = labelled().only(counts.sum(axis=1) > 0)
    counts = counts[counts.sum(axis=1) > 0]
    shares = counts / counts.sum(axis=1, keepdims=True)
    wide = np.zeros((COUNT, 6))
    wide[: len(counts)] = counts
    some = replace(
        some, weights=sparse.csr_array((np.ones(len(some)), (np.arange(len(some)),) * 2), (len(some), COUNT))
    )
    found = compared(tmp_path, of_classes(some, shares, "polygon_shares"), wide)
    assert found.status == "named"
    assert found.numbers["rank_correlation"] == pytest.approx(1)
    assert found.numbers["linear_r2"] > 0.999
    assert "is the share of category" in found.text
    # of first levels, in another mixture, and of one class only
    first = ("x", "x", "y", "y", "z", "z")
    joined = shares.reshape(len(shares), 3, 2).sum(axis=2)
    mixed = of_classes(some, joined @ np.array([[0.8, 0.2, 0], [0.1, 0.8, 0.1], [0.2, 0, 0.8]]), "polygon_shares")
    assert compared(tmp_path, mixed, wide, first).numbers["linear_r2"] > 0.999
    random = np.random.default_rng(0).dirichlet([1, 1, 1], len(shares)) * (1 - joined[:, :1])
    one = compared(tmp_path, of_classes(some, np.hstack([joined[:, :1], random]), "polygon_shares"), wide, first)
    assert (one.status, one.numbers["class"]) == ("named", "a")
    assert "first level x" in one.text


def test_a_class_that_pois_alone_decide_is_named(labelled: Callable[..., Units], tmp_path: Path) -> None:
    some, counts = labelled(), np.random.default_rng(5).poisson(6, (COUNT, 4)) + np.eye(4)[np.arange(COUNT) % 4] * 0.5
    most = compared(tmp_path, of_classes(some, np.eye(4)[counts.argmax(axis=1)], "polygon_class"), counts)
    assert most.status == "named"
    assert "the most common POI category tells the class best" in most.text
    dense = (counts @ [3, 1, 0, 1] > np.median(counts @ [3, 1, 0, 1])).astype(int)
    line = compared(tmp_path, of_classes(some, np.eye(2)[dense], "polygon_class"), counts * 10)
    assert line.numbers["accuracy"] > 0.9
    assert line.numbers["by"].startswith("a linear function of POI")
    alone = (counts[:, 0] > 7).astype(int)
    assert compared(tmp_path, of_classes(some, np.eye(2)[alone], "polygon_class"), counts[:, :1]).status == "named"


@pytest.mark.parametrize("kind", ["polygon_shares", "polygon_class"])
def test_a_label_that_is_merely_well_predicted_passes(
    labelled: Callable[..., Units], tmp_path: Path, kind: str
) -> None:
    counts = np.random.default_rng(5).poisson(30, (COUNT, 3)) + np.eye(3)[np.arange(COUNT) % 3] * 12
    noisy = counts * np.random.default_rng(6).lognormal(0, 0.15, counts.shape)
    values = noisy / noisy.sum(axis=1, keepdims=True)
    if kind == "polygon_class":
        values = np.eye(3)[values.argmax(axis=1)]
    found = compared(tmp_path, of_classes(labelled(), values, kind), counts)
    assert found.status == "pass"
    assert max(found.numbers.get("accuracy", 0), found.numbers.get("linear_r2", 0)) > 0.6, "it is well predicted"


@pytest.mark.parametrize("kind", ["polygon_shares", "polygon_class", "polygon_total"])
@pytest.mark.parametrize("units", [20, COUNT])
def test_many_inputs_of_few_units_explain_nothing_by_chance(
    labelled: Callable[..., Units], tmp_path: Path, kind: str, units: int
) -> None:
    rng = np.random.default_rng(7)
    counts = rng.poisson(0.1, (COUNT, 400))
    some = labelled().only(np.arange(COUNT) < units)
    if kind != "polygon_total":
        values = rng.dirichlet(np.full(8, 0.2), units)
        values = values if kind == "polygon_shares" else np.eye(8)[values.argmax(axis=1)]
        some = of_classes(some, values, kind)
    assert compared(tmp_path, some, counts).status == "pass"


def test_a_rare_class_beside_a_rare_category_is_no_sign(labelled: Callable[..., Units], tmp_path: Path) -> None:
    """An airport is where airport things are: that both are nowhere else is not that one was made of the other."""
    rng = np.random.default_rng(8)
    counts = rng.poisson(5, (COUNT, 3))
    shares = rng.dirichlet([2, 2], COUNT)
    for places, status in ((np.arange(4), "pass"), (np.arange(20), "pass")):
        rare = np.zeros(COUNT)
        rare[places] = rng.uniform(0.1, 0.9, len(places))
        category = np.zeros(COUNT, np.int64)
        category[places] = rng.poisson(30, len(places)) + 1
        values = np.hstack([shares * (1 - rare[:, None]), rare[:, None]])
        found = compared(
            tmp_path, of_classes(labelled(), values, "polygon_shares"), np.hstack([counts, category[:, None]])
        )
        assert found.status == status


def test_what_cannot_be_compared_is_not_said_to_pass(labelled: Callable[..., Units], tmp_path: Path) -> None:
    some, counts = labelled(), many_counts()
    one = np.eye(2)[(np.arange(COUNT) < 3).astype(int)]
    for values, kind in ((one, "polygon_class"), (one, "polygon_shares")):
        found = compared(tmp_path, of_classes(some, values, kind), counts)
        assert found.status == "note"
        assert "Too few units" in found.text
    unknown = np.full((COUNT, 6), np.nan)
    assert compared(tmp_path, some, unknown).status == "note"
    nothing = made_of_inputs(configured(tmp_path), some, PoiInputs(Taxonomy((), ()), np.zeros((COUNT, 0))))
    assert (nothing.status, nothing.numbers) == ("pass", {"same_file": False})


@pytest.mark.parametrize(
    ("source", "label", "named"),
    [
        ({"kind": "counts", "columns": "poi_*"}, {"columns": "poi_*"}, "poi_*"),
        ({"kind": "counts", "columns": "poi_*"}, {"columns": "poi_food_*"}, "poi_food_*"),
        ({"kind": "counts", "columns": "poi_*"}, {"columns": ("use_a", "poi_b")}, "poi_b"),
        ({"kind": "counts", "columns": ("a", "b")}, {"columns": ("b", "c")}, "b"),
        ({"kind": "counts", "columns": "poi_*"}, {"columns": "use_*"}, ""),
        ({"first_level": "kind"}, {"column": "kind", "kind": "point_class"}, "kind"),
        ({"first_level": "big", "second_level": "kind"}, {"column": "kind", "kind": "point_class"}, "kind"),
        ({"first_level": "big"}, {"column": "kind", "kind": "point_class"}, ""),
    ],
)
def test_columns_that_are_read_as_pois_and_as_labels_are_named(
    labelled: Callable[..., Units], tmp_path: Path, source: dict[str, Any], label: dict[str, Any], named: str
) -> None:
    some = labelled()
    values = np.random.default_rng(0).dirichlet([1, 1], COUNT)
    some = of_classes(some, values, **({"kind": "polygon_shares"} | label))
    config = configured(tmp_path, pois={"sources": [source | {"path": tmp_path / "labels.gpkg"}]})
    pois = PoiInputs(Taxonomy(("a", "b"), ("a", "b")), many_counts()[:, :2] / 0.01)
    found = made_of_inputs(config, some, pois)
    assert found.status == "named"
    assert found.numbers.get("column", "") == named
    assert ("as POIs are: see" in found.text) == (not named)


def test_labels_and_counts_of_one_file_are_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    some = labelled()
    counts = {"kind": "counts", "path": tmp_path / "labels.gpkg", "columns": "poi_*"}
    found = findings(configured(tmp_path, pois={"sources": [counts]}), store(), some)["targets made of inputs"]
    assert found.status == "named"
    assert "see that it was not made of them" in found.text
    same = configured(tmp_path, pois={"sources": [counts | {"columns": ["poi_*", "people"]}]})
    found = findings(same, RegionStore(tmp_path / "s.lance"), some)["targets made of inputs"]
    assert "Column `people` of labels.gpkg is an input" in found.text


def test_copied_patches_and_vectors_are_named_and_water_is_not(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    vectors = np.random.default_rng(1).normal(size=(COUNT, 4)).astype(np.float32)
    vectors[140] = vectors[3]
    found = findings(configured(tmp_path), store(twins=(3, 140)), labelled(), vectors=vectors, buffer=0.0)
    assert found["identical patches"].numbers["shared"] == 2, "each is tested once, the other trained on"
    assert found["identical patches"].status == "named"
    assert found["identical vectors"].numbers["shared"] == 2


def test_counts_of_one_polygon_on_both_sides_are_named(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    unit = np.full(COUNT, "", object)
    unit[[3, 140]] = "tract 1"
    found = findings(configured(tmp_path), store(unit=unit), labelled(), buffer=0.0)
    assert found["one count, both sides"].numbers["shared"] == 2


def test_a_region_that_is_there_twice_is_named(labelled: Callable[..., Units], grid: Make, tmp_path: Path) -> None:
    regions = grid(SIDE, SIDE)
    regions = gpd.GeoDataFrame(
        {"group": regions["group"].to_numpy()}, index=regions.index,
        geometry=[regions.geometry.iloc[7], *regions.geometry.iloc[1:]], crs=regions.crs,
    ).rename_axis("region_id")  # fmt: skip
    info = StoreInfo("EPSG:32611", 0, 0, EDGE, Taxonomy((), ()))
    patches = [Patches(row, (), np.zeros((0, 0, 0, 0), np.uint8)) for row in range(COUNT)]
    store = write_store(tmp_path / "t.lance", regions=regions, patches=patches, bags=PoiBags.empty(COUNT), info=info)
    found = findings(configured(tmp_path, pois=None), store, labelled())
    assert found["one region twice"].numbers == {"same_id": 0, "same_outline": 1}
    assert found["one region twice"].status == "named"


def test_nothing_learned_before_is_nothing_transductive(tmp_path: Path) -> None:
    untrained = {"pretrain": {"epochs": 0, "recipe": "simclr"}, "categories": {"method": "one-hot"}}
    assert transductive(configured(tmp_path, **untrained)).status == "pass"
    assert "walks" in transductive(configured(tmp_path, images=None)).text


@pytest.mark.parametrize("changes", [{"images": None}, {"pretrain": {"epochs": 0}}, {"pois": None}])
def test_scales_and_components_of_all_regions_are_transductive(tmp_path: Path, changes: dict[str, Any]) -> None:
    found = transductive(configured(tmp_path, **{"categories": {"method": "one-hot"}} | changes))
    assert found.status == "note"
    assert found.numbers["transductive"]
    assert "scales, means and principal components of the vectors are those of all regions. No label" in found.text


def test_what_an_encoder_of_elsewhere_has_seen_is_not_claimed(tmp_path: Path) -> None:
    foreign = transductive(
        configured(tmp_path, pretrain={"bundle": tmp_path / "other"}, categories={"method": "one-hot"})
    )
    assert foreign.status == "note"
    assert foreign.numbers == {"transductive": False, "unknown": True}
    assert "the bundle other" in foreign.text
    assert "scales and principal components of all" in foreign.text
    shipped = transductive(configured(tmp_path, pretrain={"weights": "shipped"}))
    assert shipped.numbers == {"transductive": True, "unknown": False}, "ImageNet is of no place"
    begun = transductive(configured(tmp_path, pretrain={"weights": "pretrained"}))
    assert begun.numbers == {"transductive": True, "unknown": True}


def test_units_of_several_regions_are_judged_by_their_regions(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    """Tracts whose centres are far apart may have patches side by side."""
    some = labelled(edge=300.0, units="polygons")
    assert some.kind == "polygons"
    assert sparse.issparse(some.weights)
    found = findings(configured(tmp_path), store(), some, buffer=0.0, block=600.0, folds=2)
    assert found["adjacent places"].status == "named"
    assert found["adjacent places"].numbers["tested"] == COUNT
    assert shapely.area(some.geometry.to_numpy()).min() == pytest.approx(90_000)


def test_classes_are_audited_by_their_names(
    store: Callable[..., RegionStore], labelled: Callable[..., Units], tmp_path: Path
) -> None:
    some = labelled()
    east = (some.centres[:, 0] > some.centres[:, 0].mean()).astype(float)
    task = some.task.model_copy(update={"kind": "polygon_class"})
    classes = replace(some, task=task, values=np.stack([east, 1 - east], axis=1), classes=("east", "west"))
    found = findings(configured(tmp_path), store(), classes)
    assert found["targets made of inputs"].status == "pass"
    assert found["alike labels nearby"].numbers["range"] > 300
    assert "one label, many units" not in found, "of few classes many are the same"
