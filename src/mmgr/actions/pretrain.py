"""Pretrain: the region store and category vectors become a bundle."""

from __future__ import annotations

import shutil
from functools import partial

from mmgr.categories import CategoryVectors
from mmgr.config import Config
from mmgr.console import log
from mmgr.errors import OtherTrainingError
from mmgr.layout import Layout
from mmgr.store import RegionStore


def act(config: Config, layout: Layout) -> None:
    """Train from the newest checkpoint of the same settings, or from the start; write the bundle.

    Without images there is nothing to train, and no bundle.
    """
    if config.images is None:
        log.info("no images in the configuration: nothing to train")
        for folder in (layout.bundle, layout.pretrain):
            shutil.rmtree(folder, ignore_errors=True)  # of an earlier configuration
        return
    _train(config, layout)


def _train(config: Config, layout: Layout) -> None:
    from mmgr.bundle import save_bundle  # noqa: PLC0415 - torch loads slowly, and a run without images needs none
    from mmgr.learn.pretrain import pretrain  # noqa: PLC0415
    from mmgr.learn.recipes import resolve  # noqa: PLC0415

    store = RegionStore(layout.regions)
    recipe = resolve(config.pretrain)
    vectors = CategoryVectors.load(layout.categories) if config.pois else None
    train = partial(
        pretrain, store, vectors, recipe, folder=layout.pretrain, seed=config.seed, device=config.pretrain.device
    )
    try:
        model = train()
    except OtherTrainingError as error:
        log.warning("training starts afresh, since something changed: %s", error)
        shutil.rmtree(layout.pretrain)
        model = train()
    taxonomy = store.info.taxonomy
    save_bundle(layout.bundle, model, recipe, taxonomy, {**store.info.provenance, "seed": config.seed})
