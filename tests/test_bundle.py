from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from learn_samples import TAXONOMY, make_store, small_recipe

from mmgr.actions import embed as embedding
from mmgr.actions import pretrain
from mmgr.bundle import PatchSize, check_bundle, load_bundle, save_bundle
from mmgr.config import Config
from mmgr.errors import ArtefactError, ConfigError
from mmgr.files import sha256
from mmgr.layout import Layout
from mmgr.learn.embed import embed, random_model
from mmgr.learn.model import MultiModalModel
from mmgr.learn.recipes import RECIPES
from mmgr.taxonomy import Taxonomy

FILES = ["config.yaml", "manifest.json", "model.safetensors", "taxonomy.json"]


@pytest.fixture
def model() -> MultiModalModel:
    return random_model(small_recipe(), np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32), 3, seed=4)


@pytest.fixture
def bundle(tmp_path: Path, model: MultiModalModel) -> Path:
    save_bundle(tmp_path / "bundle", model, model.recipe, TAXONOMY, {"seed": 4, "images": "abc", "path": tmp_path})
    return tmp_path / "bundle"


def test_a_bundle_gives_the_same_embeddings(tmp_path: Path, bundle: Path, model: MultiModalModel) -> None:
    store = make_store(tmp_path / "regions.lance", 9)
    loaded = load_bundle(bundle)
    assert sorted(path.name for path in bundle.iterdir()) == FILES
    assert (loaded.recipe, loaded.taxonomy) == (model.recipe, TAXONOMY)
    one = embed(model, store, model.recipe, device="cpu")
    two = embed(loaded.model, store, loaded.recipe, device="cpu")
    assert np.array_equal(one.combined, two.combined)
    assert (loaded.manifest["seed"], loaded.manifest["provenance"]["images"]) == (4, "abc")


@pytest.mark.parametrize("name", RECIPES)
def test_a_bundle_holds_the_full_recipe(tmp_path: Path, name: str) -> None:
    recipe = small_recipe(name, temperature=0.123, mask_near=250.0, epochs=7)
    vectors = np.zeros((6, 8), np.float32) if recipe.uses_pois else None
    save_bundle(tmp_path / "b", random_model(recipe, vectors, 3, seed=0), recipe, TAXONOMY, {})
    assert load_bundle(tmp_path / "b").recipe == recipe
    written = yaml.safe_load((tmp_path / "b" / "config.yaml").read_text())["recipe"]
    assert written == recipe.model_dump(mode="json")


def test_a_bundle_of_images_alone_has_no_taxonomy(tmp_path: Path) -> None:
    recipe = small_recipe("simclr")
    save_bundle(tmp_path / "b", random_model(recipe, None, 4, seed=0), recipe, Taxonomy((), ()), {})
    loaded = load_bundle(tmp_path / "b")
    assert (len(loaded.taxonomy), loaded.model.bands, loaded.model.categories) == (0, 4, 0)


def test_loading_does_not_ask_for_the_weights_that_training_began_with(tmp_path: Path, model: MultiModalModel) -> None:
    recipe = model.recipe.model_copy(update={"weights": "/nowhere/w.safetensors"})
    save_bundle(tmp_path / "b", model, recipe, TAXONOMY, {})
    assert load_bundle(tmp_path / "b").recipe.weights == "/nowhere/w.safetensors"


@pytest.mark.parametrize("name", ["config.yaml", "model.safetensors", "taxonomy.json"])
def test_a_tampered_or_missing_file_is_named(bundle: Path, name: str) -> None:
    path = bundle / name
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match=rf"{name} is not the file that manifest\.json names"):
        load_bundle(bundle)
    path.unlink()
    with pytest.raises(ArtefactError, match=rf"{name} is missing"):
        load_bundle(bundle)


def test_an_extra_file_is_never_read(tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Bad:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "it-ran",))

    for name in ("model.pkl", "model.pt", "pytorch_model.bin", "model.ckpt"):
        (bundle / name).write_bytes(pickle.dumps(Bad()))
    opened: list[str] = []
    for method in ("open", "read_text", "read_bytes"):
        original = getattr(Path, method)

        def noted(
            self: Path, *arguments: object, original: Callable[..., object] = original, **options: object
        ) -> object:
            opened.append(self.name)
            return original(self, *arguments, **options)

        monkeypatch.setattr(Path, method, noted)
    load_bundle(bundle)
    assert set(opened) == set(FILES)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("name", ["../model.safetensors", "/etc/passwd", "model.pkl", "sub/config.yaml"])
def test_a_manifest_that_names_other_files_is_refused(bundle: Path, name: str) -> None:
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"][name] = "0" * 64
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match=r"names files that a bundle does not have") as error:
        load_bundle(bundle)
    assert name in str(error.value)


def change_settings(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    def spoil(bundle: Path) -> None:
        settings = yaml.safe_load((bundle / "config.yaml").read_text())
        change(settings)
        (bundle / "config.yaml").write_text(yaml.safe_dump(settings))

    return spoil


def taxonomy_of(first: str, second: str) -> Callable[[Path], object]:
    text = json.dumps(Taxonomy(("a",), ("b",)).to_json() | {"first_level": list(first), "second_level": list(second)})
    return lambda bundle: (bundle / "taxonomy.json").write_text(text)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda bundle: (bundle / "config.yaml").write_bytes(b"\xff\xfe\x00"), "codec can't decode"),
        (change_settings(lambda settings: settings["model"].update(categories=0)), "needs category vectors"),
        (change_settings(lambda settings: settings["recipe"].update(crop=3)), "crop"),
        (change_settings(lambda settings: settings.update(patches={"pixels": "a", "edge": 1})), "pixels, not 'a'"),
        (change_settings(lambda settings: settings.update(patches={"pixels": 40, "edge": -1})), "metres, not -1"),
        (taxonomy_of("aa", "bb"), "names one category twice"),
        (taxonomy_of("a", "b"), "names 1 categories, and the model knows 6"),
    ],
)
def test_a_bundle_whose_hashes_fit_but_not_its_files_is_one_clear_error(
    bundle: Path, spoil: Callable[[Path], object], said: str
) -> None:
    spoil(bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"] = {name: sha256(bundle / name) for name in manifest["files"]}
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtefactError, match=f"bundle is not a bundle that this MMGR can read: (.*\n)*.*{said}"):
        load_bundle(bundle)


def test_another_schema_and_another_folder_are_refused(tmp_path: Path, bundle: Path) -> None:
    with pytest.raises(ArtefactError, match=r"manifest\.json is missing"):
        load_bundle(tmp_path)
    manifest = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(manifest | {"schema_version": 99}))
    with pytest.raises(ArtefactError, match="schema version 99, this MMGR reads 1"):
        load_bundle(bundle)


def test_a_bundle_replaces_the_one_before(bundle: Path, model: MultiModalModel) -> None:
    save_bundle(bundle, model, model.recipe, TAXONOMY, {"seed": 5})
    assert load_bundle(bundle).manifest["seed"] == 5


def test_a_bundle_replaces_nothing_else(tmp_path: Path, model: MultiModalModel) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"is not a bundle: it holds thesis\.txt, and would be replaced"):
        save_bundle(tmp_path, model, model.recipe, TAXONOMY, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("stage", ["pretrain", "embed"])
def test_a_bundle_that_knows_no_category_is_refused(tmp_path: Path, stage: str) -> None:
    taxonomy, said = Taxonomy(tuple("xyz"), tuple("pqr")), r"the bundle's model knows none of them"
    recipe, layout = small_recipe(), Layout(tmp_path / "output")
    make_store(layout.regions, 9)
    there = layout.bundle if stage == "embed" else tmp_path / "theirs"
    save_bundle(there, random_model(recipe, np.ones((len(taxonomy), 8), np.float32), 3, seed=0), recipe, taxonomy, {})
    config = Config.model_validate(
        {
            "output": layout.folder,
            "images": {"path": "x"},
            "regions": {"size": 500},
            "pretrain": {"bundle": there, "device": "cpu"},
        }
    )
    with pytest.raises(ArtefactError, match=said):
        (pretrain if stage == "pretrain" else embedding).act(config, layout)


@pytest.mark.parametrize(
    ("pixels", "edge", "crop", "said"),
    [
        (None, None, 32, None),
        (40, 500.0, 32, None),
        (40, 430.0, 32, None),
        (40, 380.0, 32, "40 pixels (12.5 m a pixel), and the bundle's model was trained on 40 x 40 pixels (9.5 m"),
        (80, 1000.0, 32, "trained on 80 x 80 pixels (12.5 m a pixel)"),
        (80, 0.0, 32, "trained on 80 x 80 pixels:"),
        (None, None, 64, "has patches of 40 pixels, which are enlarged to the 64"),
        (40, 500.0, 64, None),
    ],
)  # fmt: skip
def test_patches_of_another_size_are_told_of(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    pixels: int | None,
    edge: float | None,
    crop: int,
    said: str | None,
) -> None:
    store = make_store(tmp_path / "regions.lance", 3)
    recipe = small_recipe("simclr", crop=crop)
    patches = None if pixels is None or edge is None else PatchSize(pixels, edge)
    model = random_model(recipe, None, 3, seed=0)
    save_bundle(tmp_path / "bundle", model, recipe, Taxonomy((), ()), {}, patches)
    bundle = load_bundle(tmp_path / "bundle")
    assert bundle.patches == patches
    check_bundle(bundle, store)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [said in warning for warning in warnings] == [True] if said else not warnings
