"""Groups of categories at several levels."""

from __future__ import annotations

import numpy as np
import pytest

from mmgr.contexts import groups_of_levels
from mmgr.errors import ConfigError
from mmgr.taxonomy import Taxonomy

TWO = Taxonomy(("shop", "food", "food"), ("books", "bar", "café"))
ONE = Taxonomy(("food", "shop"), ("food", "shop"))


def test_categories_first_levels_and_all_are_counted_at_once() -> None:
    groups = groups_of_levels(TWO)
    assert groups.names == (
        "category_shop/books", "category_food/bar", "category_food/café", "first_level_food", "first_level_shop", "all",
    )  # fmt: skip
    counts = np.array([[[1, 2, 4]], [[0.5, 0, 8]]], np.float32)
    assert groups.total(counts).tolist() == [[[1, 2, 4, 6, 1, 7]], [[0.5, 0, 8, 8, 0.5, 8.5]]]


def test_levels_come_in_the_order_asked_for() -> None:
    assert groups_of_levels(TWO, ("all", "first")).names == ("all", "first_level_food", "first_level_shop")


def test_one_level_is_not_counted_twice() -> None:
    assert groups_of_levels(ONE).names == ("category_food", "category_shop", "all")
    assert groups_of_levels(ONE, "first").names == ("first_level_food", "first_level_shop")


@pytest.mark.parametrize("levels", [(), ("category", "second"), ("all", "all")])
def test_unknown_or_repeated_levels_are_refused(levels: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="category, first, all, each once"):
        groups_of_levels(TWO, levels)
