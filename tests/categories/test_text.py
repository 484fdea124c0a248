"""Vectors of names, by a tiny language model that the test makes."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mmgr.categories import TextVectors
from mmgr.categories.text import sentences, text_vectors
from mmgr.errors import ConfigError, InputError
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop", "shop", "sight"), ("fast_food", "café", "book_store", "книги", "sight"))


def copy_of(model: Path, target: Path) -> Path:
    return Path(shutil.copytree(model, target / "copy"))


def test_names_become_phrases() -> None:
    assert sentences(TAXONOMY) == ["food fast food", "food café", "shop book store", "shop книги", "sight"]


def test_a_model_in_a_folder_encodes_the_phrases(model: Path) -> None:
    from sentence_transformers import SentenceTransformer

    expected = SentenceTransformer(str(model), device="cpu").encode(sentences(TAXONOMY))
    assert text_vectors(TAXONOMY, model) == pytest.approx(expected, abs=1e-5)


def test_the_estimator_gives_each_poi_the_vector_of_its_name(model: Path) -> None:
    frame = pd.DataFrame({"x": [1e5, 2e5, 3e5], "y": 1e5, "first_level": "food", "second_level": ["bar", "pub", "bar"]})
    found = TextVectors(str(model)).fit_transform(frame)
    assert found.shape == (3, 16)
    assert (found[0] == found[2]).all()
    assert (found[0] != found[1]).any()


def test_fewer_dimensions_are_principal_components(model: Path) -> None:
    full, reduced = text_vectors(TAXONOMY, model), text_vectors(TAXONOMY, model, dimensions=3)
    values = np.linalg.svd(full - full.mean(axis=0), compute_uv=False)
    assert (reduced**2).sum(axis=0) == pytest.approx(values[:3] ** 2, rel=1e-6)


def test_there_are_no_more_components_than_categories(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert text_vectors(TAXONOMY, model, dimensions=12).shape == (5, 5)
    assert "only 5 principal components" in caplog.text
    assert text_vectors(Taxonomy(("a",), ("b",)), model, dimensions=4).shape == (1, 16)


def test_nothing_is_fetched(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*where: Any, **_: Any) -> None:
        raise AssertionError(f"asked the network for {where}")

    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert text_vectors(TAXONOMY, model).shape == (5, 16)
    with pytest.raises(InputError, match="not fetched"):
        text_vectors(TAXONOMY, "sentence-transformers/all-MiniLM-L6-v2")


def test_bits_do_not_depend_on_threads(model: Path) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = text_vectors(TAXONOMY, model)
        torch.set_num_threads(2)
        together = text_vectors(TAXONOMY, model)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert (alone == together).all()


def test_the_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("mmgr.categories.text.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'mmgr\[text\]'"):
        text_vectors(TAXONOMY, tmp_path)


def test_a_folder_that_is_missing_or_no_model_is_named(tmp_path: Path, model: Path) -> None:
    with pytest.raises(InputError, match="is no folder"):
        text_vectors(TAXONOMY, tmp_path / "absent")
    with pytest.raises(InputError, match="has no modules"):
        text_vectors(TAXONOMY, tmp_path)
    torn = copy_of(model, tmp_path)
    (torn / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match="no sentence-transformers model that can be read"):
        text_vectors(TAXONOMY, torn)
    (torn / "modules.json").write_text('{"type": 1}')
    with pytest.raises(InputError, match="lists no modules"):
        text_vectors(TAXONOMY, torn)


def test_what_is_no_model_says_what_to_do(tmp_path: Path, model: Path) -> None:
    remedy = r"Download the model's whole folder .*SentenceTransformer\.save"
    (tmp_path / "good.csv").write_text("a\n1\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"good\.csv is a file; name the folder .*{remedy}"):
        text_vectors(TAXONOMY, tmp_path / "good.csv")
    with pytest.raises(InputError, match=rf"no modules\.json\. {remedy}"):
        text_vectors(TAXONOMY, tmp_path)
    torn = copy_of(model, tmp_path)
    (torn / "model.safetensors").write_bytes(b"torn")
    with pytest.raises(InputError, match=rf"newer release than \d.*{remedy}"):
        text_vectors(TAXONOMY, torn)
    (torn / "modules.json").write_text('[{"type":')
    with pytest.raises(InputError, match=rf"modules\.json is not valid JSON .*{remedy}"):
        text_vectors(TAXONOMY, torn)


def test_code_of_the_folders_own_is_not_run(model: Path, tmp_path: Path) -> None:
    folder = copy_of(model, tmp_path)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules[1]["type"] = "custom.Pooling"
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "custom.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="code of its own"):
        text_vectors(TAXONOMY, folder)


def test_weights_as_pickles_are_not_read(model: Path, tmp_path: Path) -> None:
    folder = copy_of(model, tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="is a pickle"):
        text_vectors(TAXONOMY, folder)


def test_pickles_beside_safetensors_and_files_of_other_backends_do_not_matter(model: Path, tmp_path: Path) -> None:
    folder = copy_of(model, tmp_path)
    for name in ("openvino/openvino_model.bin", "checkpoint-5/pytorch_model.bin", "pytorch_model.bin", "words.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"never opened")
    assert (text_vectors(TAXONOMY, folder) == text_vectors(TAXONOMY, model)).all()


@pytest.mark.parametrize(
    ("kind", "place", "refused"),
    [
        ("Dense", "2_Dense/pytorch_model.bin", True),
        ("Dense", "2_Dense/checkpoint/pytorch_model.bin", False),
        ("Router", "2_Dense/query_0_Dense/pytorch_model.bin", True),
        ("Transformer", "2_Dense/pytorch_model-00001-of-00002.bin", True),
    ],
)
def test_pickles_are_found_in_the_modules_that_are_listed(
    model: Path, tmp_path: Path, kind: str, place: str, *, refused: bool
) -> None:
    folder = copy_of(model, tmp_path)
    modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    modules.append({"idx": 9, "name": "9", "path": "2_Dense", "type": f"sentence_transformers.models.{kind}"})
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / place).parent.mkdir(parents=True)
    (folder / place).write_bytes(b"a pickle")
    # a pickle that nobody opens does not make the module readable
    with pytest.raises(InputError, match="is a pickle" if refused else "can be read"):
        text_vectors(TAXONOMY, folder)


def test_a_model_is_asked_for() -> None:
    frame = pd.DataFrame({"x": [1e5], "y": 1e5, "first_level": "food"})
    with pytest.raises(ConfigError, match="needs `model`"):
        TextVectors(None).fit(frame)  # type: ignore[arg-type]
