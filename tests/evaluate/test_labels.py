from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
import shapely.affinity
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.config import Task
from mmgr.errors import InputError, LabelError, RegionError
from mmgr.evaluate import Units, read_units
from mmgr.evaluate.audit.labels import label_sources, one_source

CRS = "EPSG:32611"
X, Y = 500_000.0, 3_800_000.0
Grid = Callable[..., gpd.GeoDataFrame]
Read = Callable[..., Units]


def boxes(*cells: tuple[float, float, float, float]) -> list[shapely.Polygon]:
    """Rectangles in metres from the grid's south-west corner."""
    return [shapely.box(X + a, Y + b, X + c, Y + d) for a, b, c, d in cells]


@pytest.fixture
def read(tmp_path: Path, task: Callable[..., Task]) -> Read:
    """Write polygons with ``people`` to a file and read them as units of some regions."""

    def call(regions: gpd.GeoDataFrame, shapes: list[Any], people: Any, *, crs: str = CRS, **settings: Any) -> Units:
        frame = gpd.GeoDataFrame(
            {"people": people, "name": [f"p{number}" for number in range(len(shapes))]}, geometry=shapes, crs=crs
        )
        path = tmp_path / "labels.gpkg"
        frame.to_file(path)
        return read_units(task(path=path, **{"id": "name"} | settings), regions)

    return call


def test_amounts_are_shared_out_by_area(grid: Grid, read: Read) -> None:
    """People per km2 of cells of 0.01 km2, worked out by hand."""
    regions = grid(6, 2)
    shapes = boxes((0, 0, 300, 200), (300, 0, 550, 400))
    units = read(regions, shapes, [300, 100], units="regions")
    by_id = dict(zip(units.ids, units.values, strict=True))
    assert by_id["r0"] == pytest.approx(300 / 0.06)
    assert by_id["r3"] == pytest.approx(100 / 0.1)
    # half of r5 is covered: its density is that of the covered half
    assert by_id["r5"] == pytest.approx(100 / 0.1)
    assert dict(zip(units.ids, units.coverage, strict=True))["r5"] == pytest.approx(0.5)
    assert units.kind == "regions"


def test_a_region_on_two_polygons_has_both_shares(grid: Grid, read: Read) -> None:
    regions = grid(5, 2)
    shapes = boxes((0, 0, 150, 200), (150, 0, 500, 200))
    total = read(regions, shapes, [30, 700], units="regions", density=False)
    # 50 m x 100 m of r1 on each: a sixth of 30 and a fourteenth of 700
    assert total.values[list(total.ids).index("r1")] == pytest.approx(30 / 6 + 700 / 14)
    rate = read(regions, shapes, [30, 700], units="regions", kind="polygon_rate")
    assert rate.values[list(rate.ids).index("r1")] == pytest.approx((30 + 700) / 2)


def test_a_region_of_which_too_little_is_covered_has_no_label(grid: Grid, read: Read) -> None:
    shapes = boxes((0, 0, 300, 200), (300, 0, 540, 400))
    assert "r5" not in read(grid(6, 2), shapes, [300, 100], units="regions").ids
    assert "r5" in read(grid(6, 2), shapes, [300, 100], units="regions", min_cover=0.3).ids


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10_000))
def test_interpolation_keeps_the_number_of_people(seed: int) -> None:
    """Polygons that tile the regions' extent: what the regions get adds up to what there was."""
    from mmgr.evaluate.polygon_labels import Overlaps, shared_areas, units_of_regions

    rng = np.random.default_rng(seed)
    corners = np.arange(5) * 100.0
    regions = gpd.GeoDataFrame(
        {"group": "a"}, index=[f"r{i}" for i in range(25)],
        geometry=[shapely.box(x, y, x + 100, y + 100) for y in corners for x in corners], crs=CRS,
    )  # fmt: skip
    points = shapely.multipoints(rng.uniform(0, 500, (8, 2)))
    cells = shapely.get_parts(shapely.voronoi_polygons(points, extend_to=shapely.box(0, 0, 500, 500)))
    cells = shapely.intersection(cells, shapely.box(0, 0, 500, 500))
    people = rng.integers(0, 1000, len(cells)).astype(float)
    polygons = gpd.GeoDataFrame({"id": "p"}, index=range(len(cells)), geometry=cells, crs=CRS)
    overlaps = Overlaps(polygons, people, *shared_areas(regions.geometry.to_numpy(), cells), amounts=True)
    task = Task.model_validate(
        {"name": "t", "path": "x", "kind": "polygon_total", "column": "people", "density": False}
    )
    units = units_of_regions(task, regions, np.arange(25), overlaps)
    assert units.values.sum() == pytest.approx(people.sum())
    assert units.coverage == pytest.approx(1.0)


def test_polygons_larger_than_regions_are_the_units(grid: Grid, read: Read) -> None:
    regions = grid(8, 6)
    shapes = boxes(*[(x, y, x + 200, y + 200) for x in range(0, 800, 200) for y in range(0, 600, 200)])
    units = read(regions, shapes, np.arange(12) * 4.0)
    assert units.kind == "polygons"
    assert list(units.ids) == [f"p{number}" for number in range(12)]
    np.testing.assert_allclose(units.values, np.arange(12) * 100.0)
    np.testing.assert_allclose(units.weights.sum(axis=1), 1.0)
    assert units.weights.shape == (12, 48)
    assert units.weights[[0]].nonzero()[1].tolist() == [0, 1, 8, 9]
    np.testing.assert_allclose(units.centres[0], [X + 100, Y + 100])
    np.testing.assert_allclose(units.coverage, 1.0)
    assert set(units.group) == {"west", "east"}
    assert units.features(np.arange(48.0)[:, None])[0, 0] == pytest.approx((0 + 1 + 8 + 9) / 4)


def test_splinters_are_no_units_and_named(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    """3,300 people in the 70 cm2 that simplifying left of a quarter would be more per km2 than live on Earth."""
    shapes = boxes(*[(x, 0, x + 200, 200) for x in range(0, 2400, 200)], (100, 100, 100.1, 100.07))
    units = read(grid(24, 2), shapes, [*np.arange(12.0), 3300.0], units="polygons")
    assert list(units.ids) == [f"p{number}" for number in range(12)]
    assert units.values.max() == pytest.approx(11 / 0.04)
    assert "labels.gpkg smaller than 1 m2" in caplog.text
    assert "are left out: p12" in caplog.text
    # of a region's people they are a part like any other
    assert read(grid(24, 2), shapes, [*np.arange(12.0), 3300.0], units="regions").values.max() > 3300 / 0.011


def test_polygons_smaller_than_regions_label_the_regions(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, y, x + 50, y + 50) for x in range(0, 500, 50) for y in range(0, 300, 50)])
    units = read(grid(5, 3), shapes, np.arange(60) * 1.0)
    assert units.kind == "regions"
    assert len(units) == 15


@pytest.mark.parametrize("crs", [CRS, "EPSG:4326", "EPSG:3857", "EPSG:32610"])
def test_polygons_that_are_the_regions_label_them_in_whatever_crs(grid: Grid, read: Read, crs: str) -> None:
    regions = grid(6, 4)
    shapes = list(regions.geometry.to_crs(crs))
    units = read(regions, shapes, np.arange(24.0), crs=crs)
    assert units.kind == "regions"
    assert len(units) == 24
    # a hair larger is no other polygon, a tenth is
    wider = [shapely.affinity.scale(shape, 1.004, 1.004) for shape in regions.geometry]
    assert read(regions, wider, np.arange(24.0)).kind == "regions"
    wider = [shapely.affinity.scale(shape, 1.05, 1.05) for shape in regions.geometry]
    assert read(regions, wider, np.arange(24.0)).kind == "polygons"


def test_regions_count_for_a_polygon_by_the_area_they_share(grid: Grid, read: Read) -> None:
    shapes = boxes((0, 0, 130, 100), *[(x, 200, x + 200, 600) for x in range(0, 2400, 200)])
    units = read(grid(24, 6), shapes, np.arange(13.0) + 1, units="polygons", min_cover=0.2)
    weights = units.weights[[0]].toarray().ravel()
    assert weights[:2] == pytest.approx([100 / 130, 30 / 130])
    np.testing.assert_allclose(units.centres[0], [X + (50 * 100 + 150 * 30) / 130, Y + 50])


def test_a_polygon_with_only_a_corner_of_a_region_is_left_out(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = boxes(*[(x, 0, x + 200, 200) for x in range(0, 2400, 200)], (2370, 190, 2700, 500))
    with caplog.at_level("INFO", "mmgr"):
        units = read(grid(24, 2), shapes, np.arange(13.0))
    assert list(units.ids) == [f"p{number}" for number in range(12)]
    assert "1 polygons hold too little of any region" in caplog.text
    assert "regions cover 100.0 % of a polygon in the median" in caplog.text


def test_labels_in_degrees_are_brought_to_the_regions_crs(grid: Grid, read: Read) -> None:
    regions = grid(6, 4)
    shapes = boxes(*[(x, y, x + 200, y + 200) for x in range(0, 600, 200) for y in range(0, 400, 200)])
    shapes += boxes(*[(x, y, x + 100, y + 100) for x in (0, 100) for y in (400, 500)])
    in_degrees = gpd.GeoSeries(shapes, crs=CRS).to_crs("EPSG:4326")
    people = np.arange(10) * 4.0
    there = read(regions, list(in_degrees), people, crs="EPSG:4326", units="regions")
    here = read(regions, shapes, people, units="regions")
    np.testing.assert_allclose(there.values, here.values, rtol=1e-4, atol=0.1)


def test_groups_choose_regions_and_weights_keep_all_columns(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, 0, x + 100, 400) for x in range(0, 800, 100)])
    units = read(grid(8, 4), shapes, np.arange(8.0), groups=["east"], units="regions")
    assert set(units.group) == {"east"}
    assert units.weights.shape == (16, 32)


def test_an_unknown_group_is_refused_with_the_nearest(grid: Grid, read: Read) -> None:
    with pytest.raises(LabelError, match=r"no region is of group 'eest'; did you mean .*east"):
        read(grid(8, 4), boxes((0, 0, 800, 400)), [1.0], groups=["eest"])


def test_missing_values_are_counted_and_left_out(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    with caplog.at_level("INFO", "mmgr"):
        units = read(grid(10, 2), shapes, [np.nan, np.nan, *range(8)], units="regions")
    assert len(units) == 16
    assert "2 polygons under regions have no value" in caplog.text


def test_features_without_geometry_are_counted_and_left_out(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    shapes: list[Any] = boxes(*[(x, y, x + 100, y + 100) for x in range(0, 400, 100) for y in range(0, 400, 100)])
    shapes[2:2] = [None, shapely.Polygon()]
    units = read(grid(4, 4), shapes, np.arange(18.0), units="polygons")
    assert "2 features without geometry (number 3, 4); they are left out" in caplog.text
    assert list(units.ids) == [f"p{number}" for number in range(18) if number not in {2, 3}]
    np.testing.assert_allclose(units.values, [100 * number for number in range(18) if number not in {2, 3}])
    finding = one_source(units, label_sources(units.task, replace(units, kind="regions"), grid(4, 4)), [], scope="")
    assert finding.status == "pass"


def test_labels_without_any_geometry_are_refused(grid: Grid, read: Read) -> None:
    with pytest.raises(InputError, match="has 12 features, and none with a geometry"):
        read(grid(4, 4), [shapely.Polygon()] * 12, np.arange(12.0))


def test_overlapping_polygons_are_warned_of(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)], (0, 0, 200, 200))
    read(grid(10, 2), shapes, np.arange(11.0), units="regions")
    assert "overlap one another on 4 regions" in caplog.text


def test_area_under_two_polygons_covers_a_region_once(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture) -> None:
    # of r0 45 of 100 m are covered, twice; of r1 30, and other 30; of r2 40, and 40 of which 20 are others
    shapes = boxes((0, 0, 45, 100), (0, 0, 45, 100), (100, 0, 130, 100), (150, 0, 180, 100), (200, 0, 240, 100),
                   (220, 0, 260, 100), *[(x, 0, x + 100, 100) for x in range(300, 1300, 100)])  # fmt: skip
    people = [10.0, 30.0, 1.0, 2.0, 3.0, 7.0, *range(10)]
    units = read(grid(13, 1), shapes, people, units="regions")
    coverage = dict(zip(units.ids, units.coverage, strict=True))
    assert coverage == pytest.approx({"r1": 0.6, "r2": 0.6} | {f"r{number}": 1 for number in range(3, 13)})
    assert "overlap one another on 1 regions" in caplog.text
    rate = read(grid(13, 1), shapes, people, units="regions", kind="polygon_rate", min_cover=0.4)
    assert list(rate.values[:3]) == pytest.approx([20, 1.5, 5])
    assert rate.coverage[0] == pytest.approx(0.45)


@pytest.mark.parametrize("units", ["regions", "polygons"])
def test_a_total_among_its_parts_is_named(grid: Grid, read: Read, caplog: pytest.LogCaptureFixture, units: str) -> None:
    # the last part reaches beyond the total by a third
    parts = boxes(*[(x, 0, x + 200, 400) for x in range(0, 2000, 200)], (2000, 0, 2300, 400))
    whole = boxes((0, 0, 2200, 400))
    read(grid(23, 4), [*parts, *whole], np.arange(12.0), units=units)
    assert "polygon 'p11' of" in caplog.text
    assert "holds 96 % of the area of the 11 others, as a row of the total does" in caplog.text
    caplog.clear()
    read(grid(23, 4), [*parts, *whole, *whole], np.arange(13.0), units=units)
    assert ("polygon 'p11' of" in caplog.text, "polygon 'p12' of" in caplog.text) == (True, True)


def test_a_large_polygon_beside_others_or_among_few_is_no_total(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    parts = boxes(*[(x, 0, x + 100, 400) for x in range(0, 1200, 100)])
    read(grid(24, 8), [*parts, *boxes((0, 400, 2400, 800))], np.arange(13.0), units="regions")
    read(grid(24, 8), boxes((0, 0, 1200, 400), (0, 0, 600, 400), (600, 0, 1200, 400)), [1, 2, 3], units="regions")
    assert "row of the total" not in caplog.text


def test_negative_amounts_are_refused_by_name(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    with pytest.raises(LabelError, match=r"negative or infinite: p3: -666666, p7: -1; empty them"):
        read(grid(10, 2), shapes, [0, 1, 2, -666666, 4, 5, 6, -1, 8, 9])
    with pytest.raises(LabelError, match="negative or infinite: feature 1: -5; empty them"):
        read(grid(10, 2), shapes, [-5, *range(9)], id=None)
    # rates may be negative
    assert len(read(grid(10, 2), shapes, np.arange(10) - 5.0, kind="polygon_rate", units="regions")) == 20


def test_rates_without_a_logarithm_are_refused_when_labels_are_read(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, y, x + 100, y + 100) for x in range(0, 400, 100) for y in range(0, 400, 100)])
    with pytest.raises(LabelError, match=r"labels.gpkg: `transform: log1p` .* 5 of 16 regions .* \(the lowest is -5\)"):
        read(grid(4, 4), shapes, np.arange(16.0) - 5, kind="polygon_rate", transform="log1p")


def test_skewed_rates_whose_scale_nobody_chose_are_told_of(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = boxes(*[(x, y, x + 100, y + 100) for x in range(0, 400, 100) for y in range(0, 400, 100)])
    skewed = np.exp(np.arange(16.0))
    with caplog.at_level("INFO", "mmgr"):
        for settings in (
            {"kind": "polygon_total"},
            {"kind": "polygon_rate", "transform": "log1p"},
            {"kind": "polygon_rate", "transform": "none"},
        ):
            read(grid(4, 4), shapes, skewed, **settings)
        read(grid(4, 4), shapes, np.arange(16.0), kind="polygon_rate")
        read(grid(4, 4), shapes, skewed - 2, kind="polygon_rate")
        assert "skewness" not in caplog.text
        read(grid(4, 4), shapes, skewed, kind="polygon_rate")
    assert "population: values are scored as given, though a few are far above the others (skewness 3." in caplog.text


def test_text_is_no_label(grid: Grid, read: Read) -> None:
    words = (
        r"column `people` holds no numbers \(it has 'many' in feature 1, 'few' in feature 2\); name a numeric column"
    )
    with pytest.raises(LabelError, match=words):
        read(grid(10, 2), boxes((0, 0, 500, 200), (500, 0, 900, 200)), ["many", "few"])


def test_numbers_that_a_file_holds_as_text_are_read_and_told_of(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    texts = ["2047", " 12 ", "1.5e3", ".5", "7.", "0012", "+3", "9", "", None]
    with caplog.at_level("INFO", "mmgr"):
        found = read(grid(10, 2), shapes, texts, units="regions").values
    np.testing.assert_array_equal(found, read(grid(10, 2), shapes, [2047, 12, 1500, 0.5, 7, 12, 3, 9, None, None],
                                              units="regions").values)  # fmt: skip
    assert caplog.text.count("column `people` holds its numbers as text; they are read as numbers") == 1


@pytest.mark.parametrize("other", ["1,234", "n/a", "-", "nan", "inf", "1 234", "0x1f"])
def test_text_among_numbers_is_named_with_its_feature(grid: Grid, read: Read, other: str) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    people = [str(number) for number in range(8)] + [other, other]
    words = rf"`people` holds numbers, but in 2 of 10 features something else \('{other}' in feature 9\); write these"
    with pytest.raises(LabelError, match=words):
        read(grid(10, 2), shapes, people)


def test_one_value_teaches_nothing(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    with pytest.raises(LabelError, match=r"`people` has one value \(5\) in all polygons"):
        read(grid(10, 2), shapes, np.full(10, 5.0), kind="polygon_rate", units="regions")


def test_too_few_units_are_refused_with_their_number(grid: Grid, read: Read) -> None:
    shapes = boxes(*[(x, 0, x + 200, 200) for x in range(0, 800, 200)])
    with pytest.raises(LabelError, match=r"labels\.gpkg: only 4 labelled units lie on the regions"):
        read(grid(8, 2), shapes, np.arange(4.0))


def test_labels_elsewhere_are_refused_with_both_extents(grid: Grid, read: Read) -> None:
    shapes = boxes((500_000, 0, 500_200, 200))
    with pytest.raises(LabelError, match=r"do not overlap: labels span lon -11\d\.\d+ .*, regions lon -117\.0000"):
        read(grid(8, 2), shapes, [1.0])


def test_no_value_at_all_under_the_regions_is_refused(grid: Grid, read: Read) -> None:
    with pytest.raises(LabelError, match="only 0 labelled units"):
        read(grid(8, 2), boxes((0, 0, 800, 200), (9000, 0, 9100, 100)), [np.nan, 1.0])


def test_regions_in_degrees_are_refused(grid: Grid, read: Read) -> None:
    with pytest.raises(RegionError):
        read(grid(8, 2).to_crs("EPSG:4326"), boxes((0, 0, 800, 200)), [1.0])


def test_regions_in_a_crs_that_distorts_areas_are_warned_of(
    grid: Grid, read: Read, caplog: pytest.LogCaptureFixture
) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    read(grid(10, 2), shapes, np.arange(10.0))
    assert "makes areas" not in caplog.text
    read(grid(10, 2).to_crs("EPSG:3857"), shapes, np.arange(10.0))
    assert "regions are in EPSG:3857 (WGS 84 / Pseudo-Mercator), which makes areas 1.47 times" in caplog.text


@pytest.fixture(scope="module")
def tiles(shared_data: Path) -> gpd.GeoDataFrame:
    frame = gpd.read_file(shared_data / "california" / "tiles.geojson").to_crs("EPSG:32611")
    return frame.assign(group=frame["city"]).set_index("tile").rename_axis("region_id")


def test_santa_monica_agrees_with_an_independent_areal_weighting(
    shared_data: Path, tiles: gpd.GeoDataFrame, task: Callable[..., Task]
) -> None:
    """`tiles.geojson` has people in each footprint, computed elsewhere by areal weighting of census blocks."""
    blocks = shared_data / "california" / "santa_monica_blocks.geojson"
    units = read_units(
        task(path=blocks, column="population_2010", id="block", units="regions", density=False,
             groups=["santa_monica"]),
        tiles,
    )  # fmt: skip
    known = tiles.loc[units.ids, "population_blocks_2010"].to_numpy()
    full = units.coverage > 0.999
    assert full.sum() > 60
    assert np.abs(units.values - known)[full].max() <= 0.02 * known[full].max()
    assert units.values[full].sum() == pytest.approx(known[full].sum(), rel=0.02)


def test_tracts_of_california_are_the_units_of_population(
    shared_data: Path, tiles: gpd.GeoDataFrame, task: Callable[..., Task]
) -> None:
    path = shared_data / "california" / "tracts.geojson"
    tracts = gpd.read_file(path).set_index("tract")
    for column in ("population_acs", "jobs_lodes_2018"):
        units = read_units(task(path=path, column=column, id="tract"), tiles)
        assert units.kind == "polygons"
        assert 100 < len(units) <= 124
        known = tracts.loc[units.ids]
        np.testing.assert_allclose(units.values, known[column] / known["area_km2"], rtol=0.01)
        assert "santa_monica" not in set(units.group)
        assert units.coverage.max() < 0.5
