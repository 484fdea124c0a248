"""What the configuration chooses of the encoders reaches the bundle and the embeddings."""

from __future__ import annotations

from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
from learn_samples import CATEGORIES, TAXONOMY, make_store

from mmgr.actions import embed, pretrain
from mmgr.bundle import PatchSize, load_bundle
from mmgr.categories import CategoryVectors
from mmgr.config import Config
from mmgr.layout import Layout
from mmgr.run import Run
from mmgr.stages import input_fingerprint

DIMENSIONS, BESIDE = 8, 5


def vectors_in(folder: Path, dimensions: int) -> None:
    table = np.random.default_rng(dimensions).normal(size=(CATEGORIES, dimensions)).astype(np.float32)
    CategoryVectors(TAXONOMY, table, np.ones(CATEGORIES)).save(folder)


def config_of(folder: Path, **choices: object) -> Config:
    small = {"encoder": "test_resnet", "crop": 32, "epochs": 1, "batch_size": 8, "precision": "fp32", "device": "cpu"}
    return Config.model_validate(
        {
            "output": str(folder / "output"),
            "images": {"path": str(folder)},
            "regions": {"size": 500},
            "pois": {"sources": [{"path": str(folder / "pois.csv"), "first_level": "a"}], "context": []},
            "pretrain": small | choices,
        }
    )


def test_chosen_encoders_of_pois_reach_the_bundle_and_the_embeddings(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "output")
    make_store(layout.regions, 12, without_image=(3,))
    vectors_in(layout.categories, DIMENSIONS)
    vectors_in(tmp_path / "other", BESIDE)
    config = config_of(
        tmp_path,
        poi_encoder="attention",
        poi_positions=True,
        crop_pois=True,
        poi_text=str(tmp_path / "other"),
        band_mean=[0.4, 0.4, 0.4],
        band_std=[0.2, 0.2, 0.2],
    )
    pretrain.act(config, layout)
    bundle = load_bundle(layout.bundle)
    recipe = bundle.recipe
    assert bundle.patches == PatchSize(pixels=40, edge=500.0)
    assert (recipe.poi_encoder, recipe.poi_positions, recipe.crop_pois) == ("attention", True, True)
    assert recipe.band_mean == (0.4, 0.4, 0.4)
    vectors = bundle.model.category_vectors
    assert vectors is not None
    assert vectors.shape == (CATEGORIES, DIMENSIONS + BESIDE)
    assert np.array_equal(vectors[:, :DIMENSIONS], CategoryVectors.load(layout.categories).vectors)
    assert bundle.model.poi_encoder.by_place is not None
    # another city needs neither the folder beside nor the vectors: the bundle has them
    embed.act(config.model_copy(update={"pretrain": config.pretrain.model_copy(update={"poi_text": None})}), layout)
    found = gpd.read_parquet(layout.embeddings / "embeddings.parquet")
    table = np.stack(found["embedding"].to_numpy())
    # 11 images have ten components, which become 16 columns of equal weight, of their own and around
    poi = gpd.read_parquet(layout.embeddings / "poi.parquet")
    assert table.shape == (12, 16 + 16 + len(poi["embedding"].iloc[0]))
    assert np.isfinite(table).all()


@pytest.mark.parametrize("key", ["weights", "poi_text"])
def test_a_change_in_what_training_reads_is_a_change_of_the_stage(tmp_path: Path, key: str) -> None:
    (tmp_path / "pois.csv").write_text("a\n")
    path = tmp_path / "other"
    path.mkdir()
    (path / "file").write_text("one")
    run = Run(config_of(tmp_path, **{key: str(path)}))
    before = run.ledger.key("pretrain")
    assert before == run.ledger.key("pretrain")
    (path / "file").write_text("another one")
    input_fingerprint.cache_clear()  # as in another process
    assert run.ledger.key("pretrain") != before
