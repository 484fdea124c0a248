"""One category has one spelling, in any alphabet."""

from __future__ import annotations

import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmgr.pois.names import clean_names, pair_levels, respelt


def names(*values: object) -> list[str]:
    return clean_names(pd.Series(values, dtype=object)).tolist()


def test_categories_in_other_alphabets_and_numbers_stay_themselves() -> None:
    found = names(" カフェ ", "学校", "مدرسة", "👩‍🍳🍜", "école", 2742.0, None, float("nan"), "")
    assert found == ["カフェ", "学校", "مدرسة", "👩‍🍳🍜", "école", "2742", "", "", ""]


@pytest.mark.parametrize("name", ["école", "カフェバー ガ", "학교", "trường học"])
def test_two_spellings_of_one_name_are_one_category(name: str) -> None:
    apart = unicodedata.normalize("NFD", name)
    assert apart != name
    assert names(name, apart) == [name, name]
    column = pd.Series([name, apart, None, apart], dtype=object)
    assert respelt(column).tolist() == [False, True, False, True]


def test_signs_of_no_width_are_stripped_at_the_ends_and_kept_inside() -> None:
    family = "👩\u200d🍳"  # two signs and their joiner
    assert names("\ufeffcafe\u200b", "\u200b", f" {family}") == ["cafe", "", family]


@settings(deadline=None)
@given(st.lists(st.one_of(st.none(), st.text(alphabet=" ab\t", max_size=4)), max_size=20))
def test_cleaning_names_is_stripping_each(values: list[str | None]) -> None:
    expected = ["" if value is None else value.strip() for value in values]
    assert names(*values) == expected


@settings(deadline=None)
@given(st.lists(st.text(max_size=5), min_size=1, max_size=10))
def test_a_clean_name_is_clean(values: list[str]) -> None:
    once = names(*values)
    assert names(*once) == once
    assert not respelt(pd.Series(once, dtype=object)).any()


def test_pairs_are_distinct_and_in_order() -> None:
    first, second = np.array(["b", "a", "b"], object), np.array(["x", "x", "x"], object)
    pairs, category = pair_levels(first, second)
    assert pairs == (("a", "x"), ("b", "x"))
    assert category.tolist() == [1, 0, 1]
