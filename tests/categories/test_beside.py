from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmgr.categories import CategoryVectors
from mmgr.categories.beside import with_second_vectors
from mmgr.categories.text import text_vectors
from mmgr.errors import InputError
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop", "shop", "sight"), ("fast_food", "café", "book_store", "книги", "sight"))


def vectors_of(taxonomy: Taxonomy, dimensions: int, seed: int = 0) -> CategoryVectors:
    table = np.random.default_rng(seed).normal(size=(len(taxonomy), dimensions)).astype(np.float32)
    return CategoryVectors(taxonomy, table, np.ones(len(taxonomy)))


def mean_length(table: np.ndarray) -> float:
    return float(np.linalg.norm(table, axis=1).mean())


def test_vectors_of_names_stand_beside_the_learned_ones_with_equal_weight(model: Path) -> None:
    first = vectors_of(TAXONOMY, 3)
    both = with_second_vectors(first, model)
    assert both.vectors.shape == (5, 6)
    assert both.vectors.dtype == np.float32
    assert np.array_equal(both.vectors[:, :3], first.vectors)
    second = both.vectors[:, 3:]
    assert mean_length(second) == pytest.approx(mean_length(first.vectors), rel=1e-5)
    named = text_vectors(TAXONOMY, model, dimensions=3)
    assert np.allclose(second / mean_length(second), named / mean_length(named), atol=1e-5)
    assert both.taxonomy == TAXONOMY
    assert both.provenance["beside"] == str(model)


def test_few_categories_have_fewer_components(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert with_second_vectors(vectors_of(TAXONOMY, 9), model).vectors.shape == (5, 9 + 4)
    assert not caplog.text


def test_category_vectors_of_another_city_are_looked_up_by_name(tmp_path: Path) -> None:
    other = Taxonomy(("food", "shop", "work"), ("café", "book_store", "office"))
    elsewhere = vectors_of(other, 4, seed=1)
    elsewhere.save(tmp_path / "other")
    first = vectors_of(TAXONOMY, 3)
    second = with_second_vectors(first, tmp_path / "other").vectors[:, 3:]
    wanted = elsewhere.of(TAXONOMY.first, TAXONOMY.second)
    assert np.allclose(second, wanted * mean_length(first.vectors) / mean_length(wanted), atol=1e-5)
    # one that is unknown there has the mean of its first level
    assert np.allclose(second[0], second[1])


def test_a_folder_of_neither_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no sentence-transformers model"):
        with_second_vectors(vectors_of(TAXONOMY, 3), tmp_path)
