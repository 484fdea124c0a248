"""Categories of two levels in a fixed order."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmgr.errors import PoiError
from mmgr.taxonomy import Taxonomy

names = st.text(min_size=1, max_size=5)


def test_pairs_are_sorted_and_distinct() -> None:
    taxonomy = Taxonomy.from_pairs([("shop", "books"), ("food", "bar"), ("food", "bar"), ("bank", "bank")])
    assert taxonomy.names == ("bank", "food/bar", "shop/books")
    assert taxonomy.first_ids.tolist() == [0, 1, 2]


def test_slashes_in_levels_give_no_two_categories_one_name() -> None:
    taxonomy = Taxonomy(("a", "a/b", "a/b/c", "d", "e\\"), ("b/c", "c", "a/b/c", "e", "f"))
    assert taxonomy.names == (r"a/b\/c", r"a\/b/c", r"a\/b\/c", "d/e", r"e\\/f")
    assert Taxonomy(("a", "d"), ("b/c", "e")).names == ("a/b/c", "d/e")


def test_all_names_are_different() -> None:
    levels = ["".join(signs) for length in (1, 2, 3) for signs in product("a/\\", repeat=length)]
    assert len(set(Taxonomy.from_pairs(product(levels, repeat=2)).names)) == len(levels) ** 2


def test_a_category_named_twice_is_refused() -> None:
    with pytest.raises(PoiError, match="twice"):
        Taxonomy(("a", "a"), ("b", "b"))


@given(st.lists(st.tuples(names, names), max_size=20))
def test_ids_and_json_come_back(pairs: list[tuple[str, str]]) -> None:
    taxonomy = Taxonomy.from_pairs(pairs)
    assert Taxonomy.from_json(taxonomy.to_json()) == taxonomy
    assert taxonomy.ids(taxonomy.first, taxonomy.second).tolist() == list(range(len(taxonomy)))
    assert taxonomy.ids(["?unknown?"], ["?"]).tolist() == [-1]
