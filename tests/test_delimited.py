"""CSV: what is read, and one clear error for each fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.delimited import _separator
from mmgr.errors import InputError
from mmgr.tables import read_table


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
def test_a_csv_is_read_whatever_its_separator_and_encoding(tmp_path: Path, separator: str, encoding: str) -> None:
    path = tmp_path / "pois.csv"
    path.write_bytes(f"name{separator}lon\nCafé{separator}1.5\n".encode(encoding))
    table = read_table(path, columns=["lon"], what="POIs")
    assert table.to_dict("list") == {"name": ["Café"], "lon": [1.5]}


@pytest.mark.parametrize(("written", "name"), [("cp1252", "Café €"), ("latin-1", "Café"), ("latin-1", "Café \x81")])
def test_western_encodings_are_told_by_the_bytes_that_only_one_has(tmp_path: Path, written: str, name: str) -> None:
    (tmp_path / "pois.csv").write_bytes(f"name,lon\n{name},1.5\n".encode(written))
    assert read_table(tmp_path / "pois.csv", what="POIs")["name"].tolist() == [name]


@pytest.mark.parametrize("ends", [",", ",,"])
def test_separators_at_the_end_of_rows_move_no_cell(tmp_path: Path, ends: str) -> None:
    (tmp_path / "pois.csv").write_text(f"kind,lon,lat\nbar,1.5,2{ends}\nNA,2.5,3{ends}\n", encoding="utf-8")
    table = read_table(tmp_path / "pois.csv", names=["kind"], what="POIs")
    assert table.to_dict("list") == {"kind": ["bar", "NA"], "lon": [1.5, 2.5], "lat": [2, 3]}


def test_a_cell_may_be_very_long(tmp_path: Path) -> None:
    (tmp_path / "pois.csv").write_text(f"kind,shape\nbar,{'x' * 200_000}\n", encoding="utf-8")
    assert read_table(tmp_path / "pois.csv", what="POIs")["kind"].tolist() == ["bar"]


def test_names_of_rows_without_a_name_of_their_column_are_no_cells(tmp_path: Path) -> None:
    (tmp_path / "pois.csv").write_text('"kind","note"\n"1","bar",""\n"2","shop","old"\n', encoding="utf-8")
    assert read_table(tmp_path / "pois.csv", what="POIs")["kind"].tolist() == ["bar", "shop"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (["103,82", "-0,5", "7", "1,5E3"], [103.82, -0.5, 7, 1500]),
        (["0,234", "1,234", ""], [0.234, 1.234, None]),
        (["1234,567", "NA"], [1234.567, None]),
        (["1,234", "12,345"], ["1,234", "12,345"]),  # thousands as likely
        (["1,5", "many"], ["1,5", "many"]),
        (["1,5", "1,2,3"], ["1,5", "1,2,3"]),
        (["1.234,5", "2,5"], ["1.234,5", "2,5"]),
        (["1", "2"], [1, 2]),
        (["1.5", "2"], [1.5, 2]),
    ],
)
def test_a_decimal_comma_is_read_beside_semicolons(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: list[str], expected: list[object]
) -> None:
    path = tmp_path / "pois.csv"
    path.write_text("kind;lon\n" + "".join(f"bar;{row}\n" for row in rows), encoding="utf-8")
    with caplog.at_level("INFO", "mmgr"):
        column = read_table(path, what="POIs")["lon"]
    assert column.astype(object).where(column.notna(), None).tolist() == expected
    assert ("decimal commas are read in `lon`" in caplog.text) == (isinstance(expected[0], float) and "," in rows[0])


@pytest.mark.parametrize(("third", "expected"), [("7", 1.234), ("0,5", 1.234), ("0.5", "1,234")])
def test_what_may_be_thousands_is_read_as_its_neighbours_are(tmp_path: Path, third: str, expected: float | str) -> None:
    path = tmp_path / "pois.csv"
    path.write_text(f"lon;lat;third\n9,18;1,234;{third}\n9,2;2,345;{third}\n", encoding="utf-8")
    table = read_table(path, what="POIs")
    assert table["lon"].tolist() == [9.18, 9.2]
    assert table["lat"][0] == expected


def test_names_with_commas_stay_names_and_other_separators_have_points(tmp_path: Path) -> None:
    path = tmp_path / "pois.csv"
    path.write_text("kind;lon\n1,2;1,5\n3,4;2,5\n", encoding="utf-8")
    assert read_table(path, names=["kind"], what="POIs").to_dict("list") == {"kind": ["1,2", "3,4"], "lon": [1.5, 2.5]}
    assert read_table(path, texts=["lon"], what="POIs")["lon"].tolist() == ["1,5", "2,5"]
    path.write_text("kind\tlon\nbar\t1,5\n", encoding="utf-8")
    assert read_table(path, what="POIs")["lon"].tolist() == ["1,5"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "holds no table"),
        (b"a,b\n", "no rows"),
        (
            b"a,b\n1,2\n1,2,3,4\n",
            r"CSV: Expected 2 fields in line 3, saw 4\. Mend that line: it needs one cell a column",
        ),
        (b'a,b\n1,"2\n3,4\n', r"EOF inside string starting at row 1\. Mend that line: .* quotes"),
        (b"\x00\x01\x02", "not a text table; CSV in UTF-8 and Parquet are read: save it again"),
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16, not UTF-8; .* save it again"),
    ],
)
def test_a_bad_csv_gives_one_error_that_names_it(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path, what="POIs")
    assert str(path) in str(caught.value)


@settings(deadline=None)
@given(
    names=st.lists(st.text("abcxyz_", min_size=1, max_size=8), min_size=2, max_size=6), mark=st.sampled_from(",;\t|")
)
def test_the_separator_is_the_one_that_splits_the_header(names: list[str], mark: str) -> None:
    assert _separator(mark.join(names) + "\n1\n") == mark


def test_names_may_be_words_for_a_missing_value(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "pois.csv"
    path.write_text("kind,lon,code,old\nNone,1.5,7,NA\nNA,NA,,x\nbar,null,8,\n,2.5,NA,x\n", encoding="utf-8")
    table = read_table(path, names=["kind", "code"], what="POIs")
    assert table["kind"].fillna("(missing)").tolist() == ["None", "NA", "bar", "(missing)"]
    assert table["lon"].fillna(-1).tolist() == [1.5, -1, -1, 2.5]
    assert table["code"].fillna(-1).tolist() == [7, -1, 8, -1]
    assert table["old"].isna().tolist() == [True, False, True, False]
    assert "2 of 4 cells of `kind` say None or NA, which is read as a name; leave cells empty" in caplog.text
    assert read_table(path, what="POIs")["kind"].isna().tolist() == [True, True, False, True]
