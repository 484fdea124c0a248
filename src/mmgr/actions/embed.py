"""Embed: the region store and the bundle become one vector per region."""

from __future__ import annotations

from importlib.metadata import version

from mmgr.bundle import load_bundle
from mmgr.config import Config
from mmgr.console import log
from mmgr.embeddings import write_embeddings
from mmgr.files import read_json, write_aside
from mmgr.layout import Layout
from mmgr.learn.embed import embed, random_model
from mmgr.store import RegionStore


def act(config: Config, layout: Layout) -> None:
    """Write `[image, POI]`, each part alone, and the image part of an untrained encoder."""
    store = RegionStore(layout.regions)
    bundle = load_bundle(layout.bundle)
    trained = embed(bundle.model, store, bundle.recipe, device=config.pretrain.device)
    untrained = random_model(bundle.recipe, bundle.model.category_vectors, store.info.bands, seed=config.seed)
    random = embed(untrained, store, bundle.recipe, device=config.pretrain.device)
    parts = {"embeddings": trained.combined, "image": trained.image, "random": random.image}
    if trained.poi.shape[1]:
        parts["poi"] = trained.poi
    regions = store.regions.assign(has_image=trained.has_image, has_poi=trained.has_poi)
    provenance = {
        "software": version("mmgr"),
        "name": config.name,
        "seed": config.seed,
        "recipe": bundle.recipe.name,
        "bundle": read_json(layout.bundle / "manifest.json").get("files", {}),
        "image_dimensions": trained.image.shape[1],
        "poi_dimensions": trained.poi.shape[1],
    }
    with write_aside(layout.embeddings) as aside:
        aside.mkdir()
        for name, vectors in parts.items():
            write_embeddings(aside / f"{name}.parquet", regions, vectors, {**provenance, "part": name})
    log.info(
        "%d regions: %d dimensions of the image, %d of the POIs",
        len(regions),
        *(p.shape[1] for p in (trained.image, trained.poi)),
    )
