"""Embed: the region store and the bundle become one vector per region."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config
from mmgr.console import log
from mmgr.embeddings import write_embeddings
from mmgr.files import read_json, write_aside
from mmgr.layout import Layout
from mmgr.pois import PoiTables
from mmgr.store import PoiBags, RegionStore

Parts = dict[str, NDArray[np.float32]]
"""Vectors of all regions by the name of their file."""


def act(config: Config, layout: Layout) -> None:
    """Write `[image, POI]`, each part alone, and the image part of an untrained encoder.

    Without images the embedding is its POI part.
    """
    store = RegionStore(layout.regions)
    if config.images is None:
        parts, facts = _of_pois(layout, store, config.pois.context if config.pois else ())
    else:
        parts, facts = _of_model(config, layout, store)
    dimensions = {name: parts[name].shape[1] if name in parts else 0 for name in ("image", "poi")}
    regions = store.regions.assign(has_image=store.views > 0, has_poi=store.bags.known)
    provenance = {
        "software": version("mmgr"),
        "name": config.name,
        "seed": config.seed,
        **facts,
        **{f"{name}_dimensions": count for name, count in dimensions.items()},
    }
    with write_aside(layout.embeddings) as aside:
        aside.mkdir()
        for name, vectors in parts.items():
            write_embeddings(aside / f"{name}.parquet", regions, vectors, {**provenance, "part": name})
    log.info("%d regions: %d dimensions of the image, %d of the POIs", len(regions), *dimensions.values())


def region_vectors(bags: PoiBags, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Describe regions by their POIs: ``log(1 + POIs per km2)`` of each category times its vector, summed.

    Parameters
    ----------
    bags
        The POIs of ``n`` regions.
    vectors
        One vector a category, shape ``(categories, d)``.

    Returns
    -------
    Shape ``(n, d)``: zeros where a region has no POI, the mean of the others' where its POIs are unknown.
    """
    found = np.log1p(bags.densities(len(vectors))) @ vectors
    known = bags.known
    found[~known] = found[known].mean(axis=0, dtype=np.float64) if known.any() else 0
    return np.asarray(found, np.float32)


def _of_pois(layout: Layout, store: RegionStore, scales: Sequence[float]) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors of a run without images, and what they are made of."""
    from mmgr.categories import CategoryVectors  # noqa: PLC0415 - numba loads slowly

    poi = region_vectors(store.bags, CategoryVectors.load(layout.categories).vectors)
    recipe = "category vectors, weighted by log densities"
    tables = PoiTables.load(layout.pois)
    if scales and len(tables.points) and len(store) > 1:
        poi = np.concatenate([poi, context_vectors(tables, store.regions, scales)], axis=1)
        recipe += "; and the POIs around, at several scales"
    return {"embeddings": poi, "poi": poi}, {"recipe": recipe}


def context_vectors(tables: PoiTables, regions: gpd.GeoDataFrame, scales: Sequence[float]) -> NDArray[np.float32]:
    """Describe regions by the points in and around them (:class:`mmgr.contexts.ContextVectors`), shape ``(n, d)``.

    Parameters
    ----------
    tables
        The clean POIs; those that are only counted in polygons have no place, and no part in this.
    regions
        The regions, in the POIs' CRS.
    scales
        Standard deviations in metres of the weights by distance.
    """
    from mmgr.contexts import ContextVectors  # noqa: PLC0415 - numba loads slowly

    category = tables.points["category"].to_numpy()
    points = tables.points.assign(
        first_level=np.array(tables.taxonomy.first, object)[category],
        second_level=np.array(tables.taxonomy.second, object)[category],
    )
    return np.asarray(ContextVectors(points, scales=scales).fit(regions).transform(regions), np.float32)


def _of_model(config: Config, layout: Layout, store: RegionStore) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors that the trained model and an untrained one give, and which model it was."""
    from mmgr.bundle import load_bundle  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.embed import embed, random_model  # noqa: PLC0415

    bundle = load_bundle(layout.bundle)
    trained = embed(bundle.model, store, bundle.recipe, device=config.pretrain.device)
    untrained = random_model(bundle.recipe, bundle.model.category_vectors, store.info.bands, seed=config.seed)
    random = embed(untrained, store, bundle.recipe, device=config.pretrain.device)
    parts = {"embeddings": trained.combined, "image": trained.image, "random": random.image}
    if trained.poi.shape[1]:
        parts["poi"] = trained.poi
    files = read_json(layout.bundle / "manifest.json").get("files", {})
    return parts, {"recipe": bundle.recipe.name, "bundle": files}
