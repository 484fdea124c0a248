"""Pretrain: the region store and category vectors become a bundle."""

from __future__ import annotations

import shutil

from mmgr.bundle import save_bundle
from mmgr.categories import CategoryVectors
from mmgr.config import Config
from mmgr.errors import ArtefactError, ConfigError
from mmgr.layout import Layout
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import resolve
from mmgr.store import RegionStore


def act(config: Config, layout: Layout) -> None:
    """Train from the newest checkpoint of the same settings, or from the start; write the bundle."""
    store = RegionStore(layout.regions)
    recipe = resolve(config.pretrain)
    if recipe.uses_pois and not store.bags.present.any():
        raise ConfigError(
            f"the recipe {recipe.name} contrasts images with POIs, but no region of {layout.regions} has a POI; "
            "set `pretrain.recipe: simclr`, or add `pois`."
        )
    vectors = CategoryVectors.load(layout.categories) if config.pois else None
    try:
        model = pretrain(
            store, vectors, recipe, folder=layout.pretrain, seed=config.seed, device=config.pretrain.device
        )
    except ArtefactError:
        # checkpoints of other settings: this stage runs because something changed, so they go
        shutil.rmtree(layout.pretrain)
        model = pretrain(
            store, vectors, recipe, folder=layout.pretrain, seed=config.seed, device=config.pretrain.device
        )
    save_bundle(layout.bundle, model, recipe, store.info.taxonomy, {**store.info.provenance, "seed": config.seed})
