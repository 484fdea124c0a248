"""Classes and shares as labels, from polygons, rasters and points; expected values are worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from affine import Affine

from mmgr.config import Task
from mmgr.errors import LabelError
from mmgr.evaluate import Units, read_units

CRS = "EPSG:32611"
X, Y = 500_000.0, 3_800_000.0
Grid = Callable[..., gpd.GeoDataFrame]
Make = Callable[..., Task]


def boxes(*cells: tuple[float, float, float, float]) -> list[shapely.Polygon]:
    return [shapely.box(X + a, Y + b, X + c, Y + d) for a, b, c, d in cells]


def strips(count: int, width: float, height: float = 200) -> list[shapely.Polygon]:
    return boxes(*[(i * width, 0, (i + 1) * width, height) for i in range(count)])


def of(units: Units, unit: str) -> dict[str, float]:
    row = list(units.ids).index(unit)
    return {name: pytest.approx(share) for name, share in zip(units.classes, units.target[row], strict=True)}


@pytest.fixture
def polygons(tmp_path: Path, task: Make, grid: Grid) -> Callable[..., Units]:
    """Units of a grid of 10 x 2 regions of 100 m, from polygons with columns."""

    def read(shapes: list[Any], table: dict[str, Any], **settings: Any) -> Units:
        frame = gpd.GeoDataFrame(table | {"id": [f"p{i}" for i in range(len(shapes))]}, geometry=shapes, crs=CRS)
        frame.to_file(tmp_path / "labels.gpkg")
        return read_units(task(path=tmp_path / "labels.gpkg", id="id", **{"column": None} | settings), grid(10, 2))

    return read


def test_a_region_has_the_class_of_most_of_its_area(polygons: Callable[..., Units]) -> None:
    # 70 m strips: r0 lies on 70 m of p0 and 30 m of p1, r1 on 40 m of p1 and 60 m of p2
    zone = [["home", "work", "park"][i % 3] for i in range(15)]
    units = polygons(strips(15, 70), {"zone": zone}, kind="polygon_class", column="zone", units="regions")
    assert units.classes == ("home", "park", "work")
    assert of(units, "r0") == {"home": 1, "park": 0, "work": 0}
    assert of(units, "r1") == {"home": 0, "park": 1, "work": 0}
    assert (units.target.sum(axis=1) == 1).all()
    assert units.scale == "as given"


def test_shares_of_area_of_polygons_of_one_class_each(polygons: Callable[..., Units]) -> None:
    zone = [["home", "work", None][i % 3] for i in range(15)]
    units = polygons(strips(15, 70), {"zone": zone}, kind="polygon_shares", column="zone", min_cover=0.3)
    assert units.kind == "regions"
    assert of(units, "r0") == {"home": 0.7, "work": 0.3}
    # r1: 40 m of work, and 60 m that say nothing
    assert of(units, "r1") == {"home": 0, "work": 1}
    assert dict(zip(units.ids, units.coverage, strict=True))["r1"] == pytest.approx(0.4)


def test_spaces_and_empty_names_make_no_classes(
    polygons: Callable[..., Units], caplog: pytest.LogCaptureFixture
) -> None:
    zone = ["park", " park", "", "home", "home ", " ", "park", "park", None, "home"]
    settings = {"kind": "polygon_class", "column": "zone", "units": "regions"}
    with caplog.at_level("INFO", "mmgr"):
        units = polygons(strips(10, 100), {"zone": zone}, **settings)
    assert units.classes == ("home", "park")
    assert set(units.ids) == {f"r{number}" for number in (*range(2), 3, 4, 6, 7, 9, 10, 11, 13, 14, 16, 17, 19)}
    assert "3 class names had spaces around them" in caplog.text
    assert "3 polygons under regions have no value and are left out" in caplog.text
    named = polygons(strips(10, 100), {"zone": zone}, classes={"park ": "green", "home": "living"}, **settings)
    assert named.classes == ("green", "living")


def test_columns_of_one_name_are_added_up(polygons: Callable[..., Units]) -> None:
    share = np.tile([0.2, 0.4], 5)
    table = {"s_a": share, "s_b": share / 2, "s_c": 1 - 1.5 * share}
    settings = {"kind": "polygon_shares", "columns": "s_*", "units": "regions"}
    units = polygons(strips(10, 100), table, classes={"s_a": "x", "s_b": "x"}, **settings)
    assert units.classes == ("x", "c")
    assert of(units, "r0") == {"x": 0.3, "c": 0.7}
    assert of(units, "r1") == {"x": 0.6, "c": 0.4}


def test_columns_of_shares_are_weighted_by_area_and_columns_of_amounts_shared_out(
    polygons: Callable[..., Units],
) -> None:
    shapes = strips(10, 150)
    share = np.tile([0.2, 0.6], 5)
    by_area = polygons(
        shapes,
        {"s_home": 100 * share, "s_work": 100 - 100 * share},
        kind="polygon_shares",
        columns="s_*",
        units="regions",
    )
    assert by_area.classes == ("home", "work")
    # half of r1 on each of p0 and p1
    assert of(by_area, "r1") == {"home": 0.4, "work": 0.6}
    jobs = polygons(
        shapes,
        {"home": np.tile([30.0, 90.0], 5), "work": np.tile([60.0, 30.0], 5)},
        kind="polygon_shares", columns=["home", "work"], units="regions", classes={"home": "living"},
    )  # fmt: skip
    # a third of each polygon: 10 + 30 against 20 + 10
    assert of(jobs, "r1") == {"living": 4 / 7, "work": 3 / 7}


@pytest.mark.parametrize("one", [1.0, 100.0])
def test_shares_of_which_some_do_not_add_up_are_refused_with_their_sums(
    polygons: Callable[..., Units], one: float
) -> None:
    share = np.tile([0.2, 0.6], 5)
    table = {"a": one * share, "b": one * (1 - share)}
    table["b"][[3, 8]] -= 0.1 * one
    message = (
        rf"add up to {one:g} \(within 1%\) in 8 of 10 features, but to {0.9 * one:g} in feature 4, {0.9 * one:g} in "
        "feature 9; mend"
    )
    settings = {"kind": "polygon_shares", "columns": ["a", "b"], "units": "regions"}
    with pytest.raises(LabelError, match=message):
        polygons(strips(10, 100), table, **settings)
    # rounding is no fault
    table["b"][[3, 8]] += 0.095 * one
    units = polygons(strips(10, 100), table, **settings)
    np.testing.assert_allclose(units.target.sum(axis=1), 1.0)


def test_faulty_shares_are_named_by_their_number_in_the_file(polygons: Callable[..., Units]) -> None:
    shapes = [*boxes((-900, 0, -800, 100)), *strips(10, 100)]
    table = {"a": np.full(11, 0.5), "b": [0.5] * 10 + [0.2]}
    with pytest.raises(LabelError, match=r"but to 0\.7 in feature 11; mend"):
        polygons(shapes, table, kind="polygon_shares", columns=["a", "b"], units="regions")


def test_counts_that_are_mostly_single_are_amounts(polygons: Callable[..., Units]) -> None:
    table = {"a": [1, 0] * 5, "b": [0, 1] * 4 + [3, 1]}
    units = polygons(strips(10, 100), table, kind="polygon_shares", columns=["a", "b"], units="regions")
    assert of(units, "r8") == {"a": 0.25, "b": 0.75}


def test_larger_polygons_of_shares_are_units_themselves(polygons: Callable[..., Units]) -> None:
    shapes = boxes(*[(x, 0, x + 100, 200) for x in range(0, 1000, 100)])
    amounts = np.arange(1.0, 11)
    units = polygons(shapes, {"a": amounts, "b": 3 * amounts[::-1]}, kind="polygon_shares", columns=["a", "b"])
    assert units.kind == "polygons"
    assert of(units, "p0") == {"a": 1 / 31, "b": 30 / 31}
    np.testing.assert_allclose(units.target.sum(axis=1), 1.0)


def test_points_are_counted_by_class(tmp_path: Path, task: Make, grid: Grid) -> None:
    regions = grid(10, 2)
    inside = [(X + 100 * (i % 10) + 50, Y + 100 * (i // 10) + 50) for i in range(20)]
    rows = [(x, y, "a") for x, y in inside] + [(x, y, "b") for x, y in inside[:5]] + [(*inside[0], "b")]
    rows += [(X - 5000, Y, "far"), (*inside[3], None)]
    pd.DataFrame(rows, columns=["x", "y", "label"]).to_csv(tmp_path / "points.csv", index=False)
    settings = {"path": tmp_path / "points.csv", "column": "label", "crs": CRS, "x": "x", "y": "y"}
    shares = read_units(task(kind="point_shares", **settings), regions)
    assert of(shares, "r0") == {"a": 1 / 3, "b": 2 / 3, "far": 0}
    assert of(shares, "r1") == {"a": 0.5, "b": 0.5, "far": 0}
    assert of(shares, "r19") == {"a": 1, "b": 0, "far": 0}
    most = read_units(task(kind="point_class", classes={"a": "A", "b": "B"}, **settings), regions)
    assert of(most, "r0") == {"A": 0, "B": 1}
    with pytest.raises(LabelError, match="only 5 labelled units"):
        read_units(task(kind="point_shares", min_points=2, **settings), regions)
    elsewhere = grid(4, 4).set_geometry(grid(4, 4).translate(50_000, 0))
    with pytest.raises(LabelError, match="no labelled point lies in a region"):
        read_units(task(kind="point_shares", **settings), elsewhere)


def write_raster(path: Path, band: np.ndarray, *, size: float = 50.0, nodata: int = 255, crs: str = CRS) -> None:
    transform = Affine(size, 0, X, 0, -size, Y + size * band.shape[0])
    profile = {"driver": "GTiff", "count": 1, "height": band.shape[0], "width": band.shape[1], "dtype": "uint8"}
    with rasterio.open(path, "w", **profile, crs=crs, nodata=nodata, transform=transform) as raster:
        raster.write(band.astype(np.uint8), 1)


def test_shares_and_classes_of_a_raster_count_fractions_of_cells(tmp_path: Path, task: Make, grid: Grid) -> None:
    path = tmp_path / "cover.tif"
    band = np.random.default_rng(0).choice([10, 20, 30, 255], (8, 8), p=[0.4, 0.4, 0.15, 0.05])
    write_raster(path, band)
    regions = grid(4, 4)
    shares = read_units(task(path=path, column=None, kind="raster_shares", min_cover=0.1), regions)
    assert shares.classes == ("10", "20", "30")
    for row, name in enumerate(shares.ids):
        y, x = divmod(int(name[1:]), 4)
        cells = band[::-1][2 * y : 2 * y + 2, 2 * x : 2 * x + 2].ravel()
        expected = [(cells == code).sum() / (cells != 255).sum() for code in (10, 20, 30)]
        np.testing.assert_allclose(shares.target[row], expected, atol=1e-6)
        assert shares.coverage[row] == pytest.approx((cells != 255).mean())
    named = read_units(
        task(path=path, column=None, kind="raster_class", classes={10: "trees", 20: "built"}, min_cover=0.0), regions
    )
    assert named.classes == ("trees", "built")
    both = shares.target[:, :2].sum(axis=1) * shares.coverage
    np.testing.assert_allclose(named.coverage, both[both > 0], atol=1e-6)
    assert named.sources is None


def test_cells_coarser_than_regions_link_the_regions_that_share_one(tmp_path: Path, task: Make, grid: Grid) -> None:
    path = tmp_path / "coarse.tif"
    write_raster(path, np.arange(9).reshape(3, 3) + 1, size=250)
    units = read_units(task(path=path, column=None, kind="raster_sum", density=False), grid(7, 7))
    assert units.sources is not None
    centres = (units.centres - [X, Y]) / 250
    touched = [{(int(x), int(y)) for x in (cx - 0.19, cx + 0.19) for y in (cy - 0.19, cy + 0.19)} for cx, cy in centres]
    expected = np.array([[bool(a & b) for b in touched] for a in touched])
    np.testing.assert_array_equal(units.linked.toarray(), expected)
    assert len(np.unique(units.anchors, axis=0)) == 9


def of_two_sizes() -> gpd.GeoDataFrame:
    """Three regions of 100 m, and north of them nine of 300 m."""
    small = [(x, 0, x + 100, 100) for x in range(0, 300, 100)]
    large = [(x, 100, x + 300, 400) for x in range(0, 2700, 300)]
    names = pd.Index([f"r{number}" for number in range(12)], name="region_id")
    return gpd.GeoDataFrame({"group": ""}, index=names, geometry=boxes(*small, *large), crs=CRS)


def test_cells_larger_than_a_few_regions_are_shared_by_larger_ones_too(
    tmp_path: Path, task: Make, caplog: pytest.LogCaptureFixture
) -> None:
    write_raster(tmp_path / "coarse.tif", np.arange(22).reshape(2, 11) + 1, size=250)
    with caplog.at_level("INFO", "mmgr"):
        units = read_units(task(path=tmp_path / "coarse.tif", column=None, kind="raster_mean"), of_two_sizes())
    assert "coarser than 3 of 12 regions" in caplog.text
    assert units.sources is not None
    # shares of two cells of 62,500 m2: of those of larger regions alone nothing is asked
    expected = np.zeros((12, 2))
    expected[:5] = [[0.16, 0], [0.16, 0], [0.08, 0.08], [0.6, 0.12], [0, 0.48]]
    np.testing.assert_allclose(units.sources.toarray(), expected, atol=1e-6)


def test_polygons_larger_than_a_few_regions_link_them(tmp_path: Path, task: Make) -> None:
    squares = boxes(*[(x, y, x + 250, y + 250) for y in (0, 250) for x in range(0, 2750, 250)])
    gpd.GeoDataFrame({"rate": np.arange(22.0)}, geometry=squares, crs=CRS).to_file(tmp_path / "labels.gpkg")
    units = read_units(
        task(path=tmp_path / "labels.gpkg", kind="polygon_rate", column="rate", units="regions"), of_two_sizes()
    )
    linked = np.eye(12, dtype=bool)
    linked[:4, :4] = linked[2:5, 2:5] = True
    np.testing.assert_array_equal(units.linked.toarray(), linked)


def test_polygons_coarser_than_regions_link_them_too(polygons: Callable[..., Units]) -> None:
    units = polygons(
        strips(5, 200), {"people": np.arange(5.0)}, kind="polygon_total", column="people", units="regions"
    )  # fmt: skip
    pair = np.arange(20) % 10 // 2
    np.testing.assert_array_equal(units.linked.toarray(), pair[:, None] == pair[None])


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        ({"a": np.arange(10.0)}, {"columns": "a*"}, "fewer than two columns of `columns: a"),
        (
            {"a": [1.0] * 10, "b": [-1.0] * 10},
            {"columns": ["a", "b"]},
            "`b` has negative or infinite values, such as -1",
        ),
        ({"a": [1.0] * 10, "b": ["x"] * 10}, {"columns": ["a", "b"]}, "`b` holds no numbers"),
        ({"zone": ["x"] * 10}, {"column": "zone"}, r"one value \(x\): nothing to learn"),
        (
            {"zone": list("abcdefghij")},
            {"column": "zone", "classes": {"z": "Z"}},
            r"no class under the regions; `classes`",
        ),
    ],
)
def test_labels_that_cannot_be_used_are_refused(
    polygons: Callable[..., Units], columns: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(LabelError, match=message):
        polygons(strips(10, 100), columns, kind="polygon_shares", units="regions", **settings)


def test_a_column_of_numbers_is_no_column_of_classes(polygons: Callable[..., Units]) -> None:
    with pytest.raises(LabelError, match=r"70 different values, such as .* too many for classes"):
        polygons(strips(70, 14), {"zone": np.arange(70) * 1.5}, kind="polygon_class", column="zone")


def test_subzones_of_singapore_have_their_published_shares(shared_data: Path, task: Make) -> None:
    path = shared_data / "singapore" / "subzones.geojson"
    frame = gpd.read_file(path).to_crs("EPSG:32648")
    regions = frame.rename_axis("region_id").assign(group="")
    regions.index = regions.index.astype(str)
    columns = [name for name in frame.columns if name.startswith("land_use_")]
    units = read_units(
        task(path=path, column=None, columns="land_use_*", kind="polygon_shares", units="regions"), regions
    )
    assert len(units.classes) == len(columns) == 5
    known = regions.loc[units.ids, columns].to_numpy()
    full = units.coverage > 0.999
    assert full.mean() > 0.9
    assert np.abs(units.target - known)[full].max() < 0.02
