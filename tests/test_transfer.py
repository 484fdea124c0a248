"""A model that was trained in one city embeds another, whose POIs have other categories."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from conftest import CITY_YAML, make_city
from learn_samples import TAXONOMY, make_store, small_recipe
from typer.testing import CliRunner

import mmgr
from mmgr.cli import app
from mmgr.embeddings import read_embeddings, read_provenance
from mmgr.errors import ArtefactError
from mmgr.learn.embed import embed, random_model
from mmgr.learn.model import MultiModalModel
from mmgr.store import PoiBags, RegionStore
from mmgr.taxonomy import Taxonomy
from mmgr.transfer import transferred

VECTORS = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)


@pytest.fixture
def model() -> MultiModalModel:
    return random_model(small_recipe(), VECTORS, 3, seed=4)


def store_of(folder: Path, taxonomy: Taxonomy, bags: PoiBags | None = None) -> RegionStore:
    """Return a small store whose categories have these names."""
    store = make_store(folder / "regions.lance", 9)
    store.info = replace(store.info, taxonomy=taxonomy)
    if bags is not None:
        store.bags = bags
    return store


def test_the_same_pois_under_other_numbers_have_the_same_vectors(tmp_path: Path, model: MultiModalModel) -> None:
    store = store_of(tmp_path, TAXONOMY)
    before = embed(model, store, model.recipe, device="cpu")
    # two more categories that do not occur, and another order
    order = np.array([3, 0, 7, 5, 1, 2], np.int32)
    names = np.empty((8, 2), object)
    names[order] = list(zip(TAXONOMY.first, TAXONOMY.second, strict=True))
    names[[4, 6]] = [("a", "new"), ("d", "zoo")]
    store.info = replace(store.info, taxonomy=Taxonomy(tuple(names[:, 0]), tuple(names[:, 1])))
    store.bags = replace(store.bags, category=order[store.bags.category])
    read = transferred(model, TAXONOMY, store)
    after = embed(read.model, store, model.recipe, device="cpu", bags=read.bags)
    assert after.poi.shape == before.poi.shape
    assert np.allclose(after.poi, before.poi, atol=1e-5)
    assert np.array_equal(model.category_vectors, VECTORS), "the bundle's model stays as it is"


def test_an_unknown_category_has_its_first_levels_mean_and_one_without_a_known_level_is_left_out(
    tmp_path: Path, model: MultiModalModel, caplog: pytest.LogCaptureFixture
) -> None:
    # of the model's categories a/p, b/r and c/u are there
    here = Taxonomy(tuple("aabdce"), ("p", "new", "r", "zoo", "u", "inn"))
    store = store_of(tmp_path, here)
    counts = np.bincount(store.bags.category, weights=store.bags.count, minlength=6)
    with caplog.at_level(logging.INFO):
        read = transferred(model, TAXONOMY, store)
    found = read.model.category_vectors
    assert found is not None
    assert np.array_equal(found[[0, 2, 4]], VECTORS[[0, 2, 5]])
    assert np.allclose(found[1], VECTORS[:2].mean(axis=0))
    assert set(read.bags.category) <= {0, 1, 2, 4}
    assert read.bags.count.sum() == counts[[0, 1, 2, 4]].sum()
    assert np.array_equal(read.bags.area_km2, store.bags.area_km2), "a region stays known"
    # the sum of log densities beside the readout sees each category by its own vector
    poi = embed(read.model, store, model.recipe, device="cpu", bags=read.bags).poi
    known = store.bags.known
    logs = np.log1p(store.bags.densities(6)[known])[:, [0, 1, 2, 4]]
    table = np.stack([VECTORS[0], VECTORS[:2].mean(axis=0), VECTORS[2], VECTORS[5]])
    assert np.allclose(poi[known, -8:], logs @ table, atol=1e-4)
    messages = [record.getMessage() for record in caplog.records if "POI categories" in record.getMessage()]
    assert len(messages) == 1
    assert "6, of which the bundle's model knows 3; 1, with " in messages[0]
    assert f"have the mean vector of their first level: 'a/new' ({counts[1]:.0f}); 2, with" in messages[0]
    ranked = sorted([("d/zoo", counts[3]), ("e/inn", counts[5])], key=lambda item: -item[1])
    assert "are unknown and left out: " + ", ".join(f"'{name}' ({count:.0f})" for name, count in ranked) in messages[0]


@pytest.mark.parametrize(
    ("taxonomy", "known", "said"),
    [
        (Taxonomy(("x", "y"), ("p", "q")), TAXONOMY, r"none of them, nor of their first levels \('a', 'b', 'c'\)"),
        (Taxonomy(*[tuple(f"category_{n:04}" for n in range(1, 4))] * 2), TAXONOMY, "have numbers for names"),
        (TAXONOMY, Taxonomy(*[tuple(f"category_{n:04}" for n in range(1, 7))] * 2), "have numbers for names"),
    ],
)  # fmt: skip
def test_categories_of_which_none_can_be_found_are_refused(
    tmp_path: Path, model: MultiModalModel, taxonomy: Taxonomy, known: Taxonomy, said: str
) -> None:
    with pytest.raises(ArtefactError, match=said):
        transferred(model, known, store_of(tmp_path, taxonomy))


@pytest.mark.parametrize("recipe", ["mmgr", "mmgr-2023"])
def test_a_bundle_of_one_city_embeds_another_with_other_categories(tmp_path: Path, recipe: str) -> None:
    runs = {}
    for number, name in enumerate(("one", "two")):
        folder = tmp_path / name
        folder.mkdir()
        made = make_city(folder, seed=number)
        more = f"recipe: {recipe}" if name == "one" else "bundle: ../one/output/bundle"
        (folder / "city.yaml").write_text(CITY_YAML.replace("epochs: 2", f"epochs: 1, {more}"), encoding="utf-8")
        if name == "two":  # no park, a kind of food that is new, and a first level that is
            pois = gpd.read_file(made.pois)
            pois = pois[pois["subcategory"] != "park_1"].replace(
                {"category": {"school": "temple"}, "subcategory": {"food_1": "food_9"}}
            )
            pois.to_file(made.pois)
        result = CliRunner().invoke(app, ["run", str(folder / "city.yaml")])
        assert result.exit_code == 0, result.output
        runs[name] = mmgr.Run(folder / "city.yaml")
    there, here = runs["one"].layout, runs["two"].layout
    path = here.embeddings / "poi.parquet"
    vectors, store = read_embeddings(path), mmgr.RegionStore(here.regions)
    assert np.isfinite(vectors).all()
    told = read_provenance(path)["poi_categories"]
    assert ", of which the bundle's model knows " in told
    assert "first level: 'food/food_9' (" in told
    assert "are unknown and left out: 'temple/" in told
    assert "left out: " in here.report.read_text(encoding="utf-8")
    shown = CliRunner().invoke(app, ["info", str(path)])
    assert "food/food_9" in shown.output
    if recipe == "mmgr-2023":  # nothing is made of the model's words: columns mean the same in both cities
        assert vectors.shape[1] == read_embeddings(there.embeddings / "poi.parquet").shape[1]
        bundle = mmgr.load_bundle(there.bundle)
        read = transferred(bundle.model, bundle.taxonomy, store)
        assert np.allclose(vectors, embed(read.model, store, bundle.recipe, device="cpu", bags=read.bags).poi)
