"""One vector a category: looked up, compared, saved and loaded."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from mmgr.categories import CategoryVectors
from mmgr.errors import ArtefactError
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop", "sight"), ("bar", "café", "книги", "sight"))
VECTORS = np.array([[1, 0], [2, 0.1], [0, 1], [-1, 0]], np.float32)


def sample(cooccurrence: np.ndarray | None = None) -> CategoryVectors:
    return CategoryVectors(TAXONOMY, VECTORS, np.array([3, 9, 1, 2.5]), cooccurrence, {"method": "one-hot", "seed": 7})


def test_a_known_category_has_its_vector() -> None:
    assert (sample().of(["shop", "food", "shop"], ["книги", "bar", "книги"]) == VECTORS[[2, 0, 2]]).all()
    assert sample().of([], []).shape == (0, 2)


def test_an_unknown_category_has_the_mean_of_its_first_level_or_of_all(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="mmgr")
    found = sample().of(["food", "money", "", "food"], ["diner", "atm", "", "diner"])
    assert found[0] == pytest.approx([1.5, 0.05])
    assert found[1] == pytest.approx(VECTORS.mean(axis=0))
    assert found[2] == pytest.approx(VECTORS.mean(axis=0))
    assert len(caplog.records) == 1
    assert "4 of 4 POIs have one of 3 unknown categories: 'food/diner' (2), 'money/atm' (1), '' (1)" in caplog.text


def test_neighbours_are_sorted_by_cosine_and_never_the_category_itself() -> None:
    nearest, similarity = sample().neighbours(2)
    assert nearest[0].tolist() == [1, 2]
    assert similarity[0] == pytest.approx([2 / np.hypot(2, 0.1), 0])


@pytest.mark.parametrize("cooccurrence", [None, np.arange(16.0).reshape(4, 4)])
def test_vectors_survive_the_disk(tmp_path: Path, cooccurrence: np.ndarray | None) -> None:
    vectors = sample(cooccurrence)
    vectors.save(tmp_path / "categories")
    again = CategoryVectors.load(tmp_path / "categories")
    assert again.taxonomy == vectors.taxonomy
    assert (again.vectors == vectors.vectors).all()
    assert (again.frequency == vectors.frequency).all()
    assert again.provenance == vectors.provenance
    assert again.cooccurrence is None if cooccurrence is None else (again.cooccurrence == cooccurrence).all()


def test_the_files_tell_a_person_what_is_frequent_and_what_is_near(tmp_path: Path) -> None:
    sample().save(tmp_path)
    assert json.loads((tmp_path / "taxonomy.json").read_text(encoding="utf-8"))["pois"] == [3, 9, 1, 2.5]
    table = json.loads((tmp_path / "neighbours.json").read_text(encoding="utf-8"))["categories"]
    assert [row["category"] for row in table] == ["food/café", "food/bar", "sight", "shop/книги"]
    assert next(iter(table[0]["nearest"].items())) == ("food/bar", pytest.approx(2 / np.hypot(2, 0.1), abs=1e-4))


def test_parts_of_other_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="4 categories"):
        CategoryVectors(TAXONOMY, VECTORS[:3], np.ones(4))
    with pytest.raises(ValueError, match="4 categories"):
        CategoryVectors(TAXONOMY, VECTORS, np.ones(4), np.eye(3))


def test_torn_or_missing_vectors_are_an_artefact_error(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="missing"):
        CategoryVectors.load(tmp_path)
    sample().save(tmp_path)
    (tmp_path / "vectors.safetensors").write_bytes(b"torn")
    with pytest.raises(ArtefactError, match="mmgr categories"):
        CategoryVectors.load(tmp_path)


def test_vectors_of_an_older_version_ask_for_their_stage_again(tmp_path: Path) -> None:
    sample().save(tmp_path)
    path = tmp_path / "taxonomy.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"schema_version": 2', '"schema_version": 1'))
    with pytest.raises(ArtefactError, match="run `mmgr categories` again"):
        CategoryVectors.load(tmp_path)


def test_a_folder_may_be_named_by_text(tmp_path: Path) -> None:
    sample().save(str(tmp_path / "made"))
    assert (CategoryVectors.load(str(tmp_path / "made")).vectors == VECTORS).all()
