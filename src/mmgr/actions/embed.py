"""Embed: the region store and the bundle become one vector per region."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from mmgr.components import Components, evenly
from mmgr.config import Config
from mmgr.console import log
from mmgr.embeddings import write_embeddings
from mmgr.files import read_json, write_aside
from mmgr.layout import Layout
from mmgr.pois import PoiTables
from mmgr.pois.bags import points_known
from mmgr.regions import region_edge
from mmgr.store import PoiBags, RegionStore

if TYPE_CHECKING:  # torch loads slowly
    from mmgr.learn.embed import Embeddings
    from mmgr.learn.model import MultiModalModel

Scales = Literal["auto"] | Sequence[float]
"""Standard deviations in metres, or `auto`."""
POI_COMPONENTS = 64
"""Principal components of what is known of the POIs inside a region."""
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


def even_components(poi: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn the POI vectors of ``n`` regions into :data:`POI_COMPONENTS` principal components of equal weight.

    Columns are scaled to variance 1 first; from shape ``(n, d)`` to ``(n, k)``, see :func:`mmgr.components.evenly`.
    """
    return evenly(Components.of(poi, POI_COMPONENTS, scaled=True)(poi))


def _of_pois(layout: Layout, store: RegionStore, scales: Scales) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors of a run without images, and what they are made of."""
    from mmgr.categories import CategoryVectors  # noqa: PLC0415 - numba loads slowly

    poi = even_components(region_vectors(store.bags, CategoryVectors.load(layout.categories).vectors))
    recipe = "category vectors, weighted by log densities"
    around, facts = _context(layout, store, scales)
    if around.shape[1]:
        poi = np.hstack([poi, around])
        recipe += "; and the POIs around, at several scales"
    return {"embeddings": poi, "poi": poi}, {"recipe": recipe, **facts}


def _context(layout: Layout, store: RegionStore, setting: Scales) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the vectors of the points around each region, and the scales that they were seen at."""
    if not setting:
        return np.zeros((len(store), 0), np.float32), {"poi_context_metres": []}
    tables = PoiTables.load(layout.pois)
    scales = scales_of(setting, tables, store.regions)
    around = context_vectors(tables, store.regions, scales)
    return around, {"poi_context_metres": list(scales) if around.shape[1] else []}


def scales_of(setting: Scales, tables: PoiTables, regions: gpd.GeoDataFrame) -> tuple[float, ...]:
    """Return the scales of the context of POIs in metres; `auto` chooses them by POIs and regions.

    See :func:`mmgr.contexts.scales.context_scales`; regions whose points are unknown have no say.
    """
    from mmgr.contexts.scales import context_scales  # noqa: PLC0415 - numba loads slowly

    if setting != "auto":
        return tuple(setting)
    there = regions[points_known(tables, regions)]
    places = tables.points.geometry.get_coordinates().to_numpy()
    return context_scales(places, centres_of(there), there["group"], edge=region_edge(regions))


def context_vectors(tables: PoiTables, regions: gpd.GeoDataFrame, scales: Sequence[float]) -> NDArray[np.float32]:
    """Describe regions by the points in and around them (:class:`mmgr.contexts.ContextVectors`), shape ``(n, d)``.

    Their components lie in columns of equal weight (:func:`mmgr.components.evenly`). A region that no source of points
    covers holds the mean of the others; none of two covered ones, no dimension.

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

    known = points_known(tables, regions)
    if known.sum() < 2 or not scales:
        return np.zeros((len(regions), 0), np.float32)
    category = tables.points["category"].to_numpy()
    points = tables.points.assign(
        first_level=np.array(tables.taxonomy.first, object)[category],
        second_level=np.array(tables.taxonomy.second, object)[category],
    )
    found = evenly(np.asarray(ContextVectors(points, scales=scales).fit_transform(regions[known]), np.float32))
    vectors = np.tile(found.mean(axis=0, dtype=np.float64).astype(np.float32), (len(regions), 1))
    vectors[known] = found
    return vectors


def _of_model(config: Config, layout: Layout, store: RegionStore) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors that the trained model and an untrained one give, and which model it was."""
    from mmgr.bundle import check_bundle, load_bundle  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.embed import embed, random_model  # noqa: PLC0415
    from mmgr.learn.quantised import quantised_encoder  # noqa: PLC0415
    from mmgr.learn.surroundings import image_part  # noqa: PLC0415

    bundle = load_bundle(layout.bundle)
    check_bundle(bundle, store)
    recipe = bundle.recipe
    quantised = config.embed.engine == "onnx"

    def describe(model: MultiModalModel) -> Embeddings:
        encode = quantised_encoder(model, store, recipe) if quantised else None
        return embed(model, store, recipe, device="cpu" if quantised else config.pretrain.device, encode=encode)

    group, centres = store.regions["group"].to_numpy(object), centres_of(store.regions)

    def of_images(found: Embeddings) -> NDArray[np.float32]:
        return image_part(found.image, found.has_image, group, centres, recipe=recipe, edge=store.info.edge)

    trained = describe(bundle.model)
    untrained = random_model(recipe, bundle.model.category_vectors, store.info.bands, seed=config.seed)
    image, random, poi = of_images(trained), of_images(describe(untrained)), trained.poi
    facts: dict[str, Any] = {
        "recipe": recipe.name,
        "engine": config.embed.engine,
        "image_surroundings_metres": [scale * store.info.edge for scale in recipe.image_scales],
    }
    if poi.shape[1] and recipe.even_pois:
        poi = even_components(poi)
    if poi.shape[1] and recipe.poi_context and config.pois:
        context, more = _context(layout, store, config.pois.context)
        poi = np.hstack([poi, context])
        facts |= more
    parts = {"embeddings": np.hstack([image, poi]), "image": image, "random": random}
    if poi.shape[1]:
        parts["poi"] = poi
    files = read_json(layout.bundle / "manifest.json").get("files", {})
    return parts, {**facts, "bundle": files}


def centres_of(regions: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """Return the centres of regions in metres, shape ``(n, 2)``."""
    return np.asarray(regions.geometry.centroid.get_coordinates().to_numpy(), np.float64)
