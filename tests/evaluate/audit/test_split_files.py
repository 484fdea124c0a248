from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely

from mmgr.errors import InputError, SplitError
from mmgr.evaluate.audit import Columns, read_split
from mmgr.evaluate.audit.split_rows import any_table


def rows_by_id(path: Path, **columns: Any) -> list[tuple[set[str], set[str]]]:
    split = read_split(path, columns=Columns(**columns))
    return [(set(split.ids[train]), set(split.ids[test])) for train, test in split.folds]


def as_json(folder: Path, value: Any) -> Path:
    path = folder / "splits.json"
    path.write_text(json.dumps(value))
    return path


ONE = [({"a", "b", "c"}, {"d"})]


@pytest.mark.parametrize(
    "value",
    [
        {"train": ["a", "b"], "val": ["c"], "test": ["d"]},
        [{"train": ["a", "b", "c"], "test": ["d"]}],
        {"seed 0": {"Training": ["a", "b"], "Validation": ["c"], "Test": ["d"], "note": "x"}},
        {"a": "train", "b": "train", "c": "dev", "d": "test"},
        [
            {"region_id": name, "split": part}
            for name, part in zip("abcd", ["train", "train", "val", "test"], strict=True)
        ],
        {"id": list("abcd"), "set": ["train", "train", "val", "test"]},
        {"train_ids": ["a", "b"], "val_ids": ["c"], "test_ids": ["d"]},
        [{"trainIdx": ["a", "b", "c"], "testIdx": ["d"]}],
        {"id": list("abcd"), "train": [1, 1, 1, 0], "test": [0, 0, 0, 1]},
        [{"id": name, "is_train": name != "d", "is_test": name == "d"} for name in "abcd"],
    ],
)
def test_all_usual_forms_of_json_are_one_split(tmp_path: Path, value: Any) -> None:
    assert rows_by_id(as_json(tmp_path, value)) == ONE


def test_columns_of_zeros_and_ones_are_one_split(tmp_path: Path) -> None:
    path = tmp_path / "marks.csv"
    path.write_text("id,train,valid,test\na,1,0,0\nb,1,0,0\nc,0,1,0\nd,0,0,1\ne,0,0,0\n")
    assert rows_by_id(path) == ONE
    split = read_split(path)
    assert split.parts == {"train": 2, "validation": 1, "test": 1}
    assert split.has_validation
    # a unit marked twice is on both sides, as the audit then says
    path.write_text("id,is_train,is_test\na,True,False\nb,True,True\nc,True,False\n")
    assert rows_by_id(path) == [({"a", "b", "c"}, {"b"})]
    # scores are no marks
    path.write_text("id,train,test\na,0.9,0.8\nb,0.7,0.6\n")
    with pytest.raises(InputError, match="no column `split`"):
        read_split(path)


def test_few_numbers_are_ids(tmp_path: Path) -> None:
    assert rows_by_id(as_json(tmp_path, {"train": [0], "test": [1]})) == [({"0"}, {"1"})]
    assert rows_by_id(as_json(tmp_path, {"train": [0, 1, 2], "test": [3, 4, 5]})) == [
        ({"0", "1", "2"}, {"3", "4", "5"})
    ]


def test_numbers_of_folds_are_each_tested_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "folds.csv"
    # a gap turns the column into floats
    path.write_text("id,fold\n1,0\n2,0\n3,1\n4,2\n5,\n")
    assert rows_by_id(path) == [({"3", "4"}, {"1", "2"}), ({"1", "2", "4"}, {"3"}), ({"1", "2", "3"}, {"4"})]
    assert read_split(path).parts == {"0": 2, "1": 1, "2": 1}


def test_several_folds_of_lists_keep_their_own_sides(tmp_path: Path) -> None:
    value = [{"train": [1, 2], "test": [3]}, {"train": [1, 3], "test": [2]}]
    assert rows_by_id(as_json(tmp_path, value)) == [({"1", "2"}, {"3"}), ({"1", "3"}, {"2"})]


def test_places_come_from_columns_in_degrees(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("tile,Longitude,Latitude,split\na,103.8,1.3,train\nb,103.9,1.4,test\n")
    split = read_split(path)
    assert split.shapes is not None
    assert split.shapes.crs.to_epsg() == 4326
    assert split.shapes.iloc[1].x == 103.9
    assert list(split.ids) == ["a", "b"]


def test_places_come_from_another_file_by_id(tmp_path: Path) -> None:
    boxes = gpd.GeoDataFrame(
        {"code": [3, 1, 2], "people": [30, 10, 20]}, geometry=shapely.box([3, 1, 2], 0, [4, 2, 3], 1), crs=32632
    )
    boxes.to_file(tmp_path / "boxes.gpkg")
    path = as_json(tmp_path, {"train": ["1", "2"], "test": ["3"]})
    split = read_split(path, geometry=tmp_path / "boxes.gpkg", columns=Columns(id="code", label="people"))
    assert split.shapes is not None
    assert split.shapes.bounds["minx"].tolist() == [1, 2, 3]
    assert split.labels is not None
    assert split.labels.tolist() == [10, 20, 30]


def test_splits_of_a_spreadsheet_with_decimal_commas_are_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("id;lon;lat;split\n01;9,18;48,7;train\n02;9,2;48,75;test\n", encoding="utf-8")
    with caplog.at_level("INFO", "mmgr"):
        table = any_table(path, Columns())
    assert table.to_dict("list") == {
        "id": ["01", "02"], "lon": [9.18, 9.2], "lat": [48.7, 48.75], "split": ["train", "test"],
    }  # fmt: skip
    assert caplog.text.count("decimal commas") == 1


def test_rows_of_one_id_are_parts_of_one_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = gpd.GeoDataFrame(
        {"id": [1, 2, 1, 9], "people": [5, 6, 7, 8]},
        geometry=shapely.box([0, 10, 5, 90], 0, [1, 11, 6, 91], 1),
        crs=32632,
    )
    frame.to_file(tmp_path / "parts.gpkg")
    path = as_json(tmp_path, {"train": [1], "test": [2]})
    caplog.set_level("INFO")
    split = read_split(path, geometry=tmp_path / "parts.gpkg", columns=Columns(label="people"))
    assert split.shapes is not None
    assert split.labels is not None
    assert split.shapes.bounds.to_numpy()[:, [0, 2]].tolist() == [[0, 6], [10, 11]]
    assert split.shapes.area.tolist() == [2, 1]
    assert split.labels.tolist() == [5, 6]
    assert "1 ids have several rows in" in caplog.text
    assert "1 ids have rows of different `people`" in caplog.text
    (tmp_path / "places.csv").write_text("id,lon,lat\n1,0,0\n2,1,1\n1,2,2\n")
    split = read_split(path, geometry=tmp_path / "places.csv")
    assert split.shapes is not None
    assert split.shapes.iloc[0].equals(shapely.MultiPoint([(0, 0), (2, 2)]))


@pytest.mark.parametrize(("own", "other"), [("id", "geoid"), ("geoid", "id"), ("code", "unit")])
@pytest.mark.parametrize("where", ["splits", "geometry"])
def test_an_id_may_have_another_name_in_the_other_file(tmp_path: Path, own: str, other: str, where: str) -> None:
    names = (own, other) if where == "splits" else (other, own)
    (tmp_path / "s.csv").write_text(f"{names[0]},split\na,train\nb,test\n")
    (tmp_path / "g.csv").write_text(f"{names[1]},lon,lat\nb,2,2\na,1,1\n")
    split = read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv", columns=Columns(id=own))
    assert split.shapes is not None
    assert split.shapes.x.tolist() == [1, 2]


def test_an_id_that_neither_file_has_is_named(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,split\na,train\nb,test\n")
    (tmp_path / "g.csv").write_text("id,lon,lat\nb,2,2\na,1,1\n")
    with pytest.raises(InputError, match=r"s.csv has no column `geoid`"):
        read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv", columns=Columns(id="geoid"))
    (tmp_path / "s.csv").write_text("part,split\na,train\nb,test\n")
    (tmp_path / "g.csv").write_text("geoid,lon,lat\nb,2,2\na,1,1\n")
    with pytest.raises(InputError, match=r"s.csv has no column `geoid`"):
        read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv", columns=Columns(id="geoid"))


@pytest.mark.parametrize(
    ("ids", "there", "unlike"),
    [
        (["06001", "06003"], ["06003", "06001"], 0),
        (["6001", "6003"], ["06003", "06001"], 2),
        (["06001", "06003"], [6003, 6001], 2),
        (["06001", "36001"], [36001, 6001], 1),
        (["1", "2"], [2, 1], 0),
        (["1.0", "2.0"], [2, 1], 0),
        (["0", "1"], ["01", "00"], 2),
    ],
)
def test_codes_keep_their_zeros_and_are_found_without_them(
    tmp_path: Path, ids: list[str], there: list[Any], unlike: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "s.csv").write_text(f"id,split\n{ids[0]},train\n{ids[1]},test\n")
    frame = gpd.GeoDataFrame({"id": there}, geometry=shapely.points([[2, 2], [1, 1]]), crs=32632)
    frame.to_file(tmp_path / "g.gpkg")
    caplog.set_level("INFO")
    split = read_split(tmp_path / "s.csv", geometry=tmp_path / "g.gpkg")
    assert split.shapes is not None
    assert split.shapes.x.tolist() == [1, 2]
    assert list(split.ids) == [name.removesuffix(".0") for name in ids]
    assert (f"{unlike} ids are found in" in caplog.text) == bool(unlike)
    assert ("but for leading zeros" in caplog.text) == bool(unlike)


def test_zeros_that_tell_ids_apart_are_kept(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,split\n1,train\n01,test\n")
    assert list(read_split(tmp_path / "s.csv").ids) == ["1", "01"]
    (tmp_path / "g.csv").write_text("id,lon,lat\n1,1,1\n001,2,2\n")
    with pytest.raises(InputError, match=r"no row for 1 ids of the splits, such as 01; its column `id` has 1, 001"):
        read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv")


def test_a_label_of_numbers_with_a_word_in_it_is_refused_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("id,split,people\n1,train,10\n2,train,\n3,test,suppressed\n4,test,40\n5,test,5\n")
    with pytest.raises(InputError, match=r"s.csv: column `people` .* in 1 of 4 cells: row 3 has 'suppressed'"):
        read_split(path, columns=Columns(label="people"))
    frame = pd.read_csv(path).assign(lon=1.0, lat=1.0)
    frame.to_csv(tmp_path / "g.csv", index=False)
    with pytest.raises(InputError, match=r"g.csv: column `people` .* in 1 of 2 cells: row 3 has 'suppressed'"):
        read_split(
            as_json(tmp_path, {"train": [1], "test": [3]}), geometry=tmp_path / "g.csv", columns=Columns(label="people")
        )


def test_a_word_in_a_label_of_another_place_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "g.csv").write_text("id,lon,lat,people\n1,1,1,10\n2,1,1,suppressed\n3,1,1,30\n")
    path = as_json(tmp_path, {"train": [1], "test": [3]})
    split = read_split(path, geometry=tmp_path / "g.csv", columns=Columns(label="people"))
    np.testing.assert_array_equal(split.labels, [10, 30])


def test_a_label_of_the_splits_beside_places_of_another_file_is_named_with_its_own(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("id,split,people\n1,train,10\n2,train,11\n3,test,none\n4,test,n/k\n5,test,3\n")
    (tmp_path / "g.csv").write_text("id,lon,lat,use\n1,1,1,a\n2,1,1,\n3,1,1,b\n4,1,1,\n5,1,1,a\n")
    with pytest.raises(InputError, match=r"s.csv: column `people` .* row 3 has 'none'"):
        read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv", columns=Columns(label="people"))
    labels = read_split(tmp_path / "s.csv", geometry=tmp_path / "g.csv", columns=Columns(label="use")).labels
    assert labels is not None
    assert [value if value == value else "missing" for value in labels] == ["a", "missing", "b", "missing", "a"]  # noqa: PLR0124 - NaN differs from itself


def test_labels_are_numbers_or_names_and_empty_cells_are_missing(tmp_path: Path) -> None:
    frame = pd.DataFrame({"id": range(5), "split": ["train", "train", "test", "test", "test"]})
    labels: dict[str, Any] = {
        "count": pd.array([1, 2, None, 4, 5], dtype="Int64"),
        "text": ["1.5", " 2", "", None, "5"],
        "use": ["a", "", None, "12", "b"],
        "kind": pd.Categorical(["a", "b", None, "a", "b"]),
        "none": [None] * 5,
    }
    frame.assign(**labels).to_parquet(tmp_path / "s.parquet")
    read = {name: read_split(tmp_path / "s.parquet", columns=Columns(label=name)).labels for name in labels}
    np.testing.assert_array_equal(read["count"], [1, 2, np.nan, 4, 5])
    np.testing.assert_array_equal(read["text"], [1.5, 2, np.nan, np.nan, 5])
    assert read["use"] is not None
    assert read["kind"] is not None
    assert [name if isinstance(name, str) else None for name in read["use"]] == ["a", None, None, "12", "b"]
    assert [name if isinstance(name, str) else None for name in read["kind"]] == ["a", "b", None, "a", "b"]
    assert np.isnan(read["none"]).all()


def test_a_torn_file_is_one_message(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(InputError, match=r"splits: .*torn.parquet is not readable"):
        read_split(tmp_path / "torn.parquet")
    with pytest.raises(InputError, match=r"geometry: .*torn.parquet is not readable"):
        read_split(as_json(tmp_path, {"train": [1], "test": [3]}), geometry=tmp_path / "torn.parquet")


def test_geoparquet_has_all_in_one(tmp_path: Path) -> None:
    frame = gpd.GeoDataFrame(
        {"id": ["a", "b"], "split": ["train", "test"]}, geometry=shapely.points([[1, 2], [3, 4]]), crs=32632
    )
    frame.to_parquet(tmp_path / "s.parquet")
    split = read_split(tmp_path / "s.parquet")
    assert split.shapes is not None
    pd.DataFrame(frame[["id", "split"]]).to_parquet(tmp_path / "plain.parquet")
    assert read_split(tmp_path / "plain.parquet").shapes is None


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            "id,part_of\n1,train\n2,test\n",
            {},
            "no column `split`.* Its columns are id, part_of",
        ),
        ("id,split\n1,train\n2,train\n", {}, "fold 1 of 1 learns from 2 units and tests 0"),
        ("id,split,x,y\n1,train,500000,4000000\n2,test,500000,4000000\n", {}, "no degrees; name their CRS"),
        ("id,split,lon,lat\n1,train,,1\n2,test,2,2\n", {}, r"1 rows without coordinates \(number 1"),
        ("id,split,lon,lat\n1,train,a,1\n2,test,2,2\n", {}, "hold no numbers"),
        ("id,split\n1,train\n2,test\n", {"fold": "fold"}, "no column `fold`"),
        ("id,split\n1,train\n2,test\n", {"id": "region"}, "no column `region`"),
        ("id,split\n1,train\n2,test\n", {"label": "people"}, "no column `people`"),
        ("id,split\n1,train\n2,test\n", {"x": "east"}, "no column `east`"),
        ("id,split,lon,lat\n1,train,1,1\n2,test,2,2\n", {"crs": "EPSG:0"}, "is no CRS"),
    ],
)
def test_what_cannot_be_used_says_what_to_do(tmp_path: Path, text: str, columns: Any, message: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises((InputError, SplitError), match=message):
        read_split(path, columns=Columns(**columns))


def test_json_of_no_known_form_is_refused(tmp_path: Path) -> None:
    for value in ([1, 2], {}, {"a": {"b": 1}}, {"train": ["a"]}):
        with pytest.raises(InputError, match="none of the known forms"):
            read_split(as_json(tmp_path, value))
    (tmp_path / "splits.json").write_text("{")
    with pytest.raises(InputError, match="not valid JSON"):
        read_split(tmp_path / "splits.json")


def test_ids_without_a_place_are_named(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("id,lon,lat\na,1,1\n")
    path = as_json(tmp_path, {"train": ["a"], "test": ["z"]})
    with pytest.raises(InputError, match="no row for 1 ids of the splits, such as z"):
        read_split(path, geometry=tmp_path / "places.csv")
    assert np.all(read_split(path).ids == ["a", "z"])
