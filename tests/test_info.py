"""What is said of an artefact."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmgr.categories import CategoryVectors
from mmgr.info import describe
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop"), ("bar", "café", "books"))


def test_category_vectors_tell_method_frequency_and_neighbours(tmp_path: Path) -> None:
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1]], np.float32)
    made = {"software": "9.9", "method": "place2vec", "seed": 4}
    CategoryVectors(TAXONOMY, vectors, np.array([2.0, 5000, 30]), None, made).save(tmp_path)
    facts = dict(describe(tmp_path))
    assert facts["method"] == "place2vec, seed 4"
    assert facts["categories"] == "3 in 2 first levels"
    assert facts["most frequent"] == "food/café (5,000), shop/books (30), food/bar (2)"
    assert facts["near food/café"] == "food/bar, shop/books"
    assert facts["written by"].startswith("MMGR 9.9, schema ")


def test_nothing_is_near_where_vectors_are_at_right_angles(tmp_path: Path) -> None:
    CategoryVectors(TAXONOMY, np.eye(3, dtype=np.float32), np.ones(3)).save(tmp_path)
    assert not [name for name, _ in describe(tmp_path) if name.startswith("near")]
