"""Embed: the region store and the bundle become one vector per region."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config
from mmgr.console import log
from mmgr.embeddings import write_embeddings
from mmgr.files import read_json, write_aside
from mmgr.layout import Layout
from mmgr.pois import PoiTables
from mmgr.regions import centres_of
from mmgr.store import PoiBags, RegionStore
from mmgr.taxonomy import Taxonomy

if TYPE_CHECKING:  # torch and numba load slowly
    from mmgr.contexts.around import Scales
    from mmgr.learn.embed import Embeddings
    from mmgr.learn.model import MultiModalModel

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


def inside_vectors(poi: NDArray[np.float32], bags: PoiBags, taxonomy: Taxonomy) -> NDArray[np.float32]:
    """Turn what is known of the POIs inside ``n`` regions into at most :data:`POI_COMPONENTS` columns of equal weight.

    Beside the vectors stand the log densities of each category, each first level and all. All are squashed
    (:class:`mmgr.contexts.squashed.SquashedComponents`): the one tract with a zoo is no direction of its own.

    Parameters
    ----------
    poi
        What an encoder, or the category vectors, make of the POIs, shape ``(n, d)``.
    bags
        The POIs.
    taxonomy
        Their categories.

    Returns
    -------
    Shape ``(n, k)``; the mean of the others where POIs are unknown.
    """
    from mmgr.contexts.around import log_densities, squashed_vectors  # noqa: PLC0415 - numba loads slowly

    return squashed_vectors(np.hstack([poi, log_densities(bags, taxonomy)]), bags.known, POI_COMPONENTS)


def _of_pois(layout: Layout, store: RegionStore, scales: Scales) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors of a run without images, and what they are made of."""
    from mmgr.categories import CategoryVectors  # noqa: PLC0415 - numba loads slowly

    mean = region_vectors(store.bags, CategoryVectors.load(layout.categories).vectors)
    poi = inside_vectors(mean, store.bags, store.info.taxonomy)
    recipe = "category vectors, weighted by log densities, and log densities"
    around, facts = _context(layout, store, scales)
    if around.shape[1]:
        poi = np.hstack([poi, around])
        recipe += "; and the POIs around, at several scales"
    return {"embeddings": poi, "poi": poi}, {"recipe": recipe, **facts}


def _context(layout: Layout, store: RegionStore, setting: Scales) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Return the vectors of the POIs around each region, and the scales that they were seen at."""
    if not setting:
        return np.zeros((len(store), 0), np.float32), {"poi_context_metres": [], "poi_counts_metres": []}
    from mmgr.contexts.around import counts_around, points_around  # noqa: PLC0415 - numba loads slowly

    tables = PoiTables.load(layout.pois)
    points, counts = (see(tables, store.regions, setting) for see in (points_around, counts_around))
    metres = {"poi_context_metres": list(points.metres), "poi_counts_metres": list(counts.metres)}
    return np.hstack([points.vectors, counts.vectors]), metres


def _of_model(config: Config, layout: Layout, store: RegionStore) -> tuple[Parts, dict[str, Any]]:
    """Return the vectors that the trained model and an untrained one give, and which model it was."""
    from mmgr.bundle import check_bundle, load_bundle  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.embed import embed, random_model  # noqa: PLC0415
    from mmgr.learn.quantised import quantised_encoder  # noqa: PLC0415
    from mmgr.learn.surroundings import image_part  # noqa: PLC0415
    from mmgr.transfer import transferred  # noqa: PLC0415

    bundle = load_bundle(layout.bundle)
    check_bundle(bundle, store)
    recipe, read = bundle.recipe, transferred(bundle.model, bundle.taxonomy, store)
    quantised = config.embed.engine == "onnx"

    def describe(model: MultiModalModel) -> Embeddings:
        encode = quantised_encoder(model, store, recipe) if quantised else None
        device = "cpu" if quantised else config.pretrain.device
        return embed(model, store, recipe, device=device, encode=encode, bags=read.bags)

    group, centres = store.regions["group"].to_numpy(object), centres_of(store.regions)

    def of_images(found: Embeddings) -> NDArray[np.float32]:
        return image_part(found.image, found.has_image, group, centres, recipe=recipe, edge=store.info.edge)

    trained = describe(read.model)
    untrained = random_model(recipe, read.model.category_vectors, store.info.bands, seed=config.seed)
    image, random, poi = of_images(trained), of_images(describe(untrained)), trained.poi
    facts: dict[str, Any] = {
        "recipe": recipe.name,
        "engine": config.embed.engine,
        "image_surroundings_metres": [scale * store.info.edge for scale in recipe.image_scales],
        **({"poi_categories": read.told} if read.told else {}),
    }
    # nothing of what stands beside the model's words was learned: it counts this run's own categories
    if poi.shape[1] and recipe.even_pois:
        poi = inside_vectors(poi, store.bags, store.info.taxonomy)
    if poi.shape[1] and recipe.poi_context and config.pois:
        context, more = _context(layout, store, config.pois.context)
        poi = np.hstack([poi, context])
        facts |= more
    parts = {"embeddings": np.hstack([image, poi]), "image": image, "random": random}
    if poi.shape[1]:
        parts["poi"] = poi
    files = read_json(layout.bundle / "manifest.json").get("files", {})
    return parts, {**facts, "bundle": files}
