"""From POIs to category vectors: one way through all methods."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.contexts import Contexts, nearest_contexts, walk_contexts
from mmgr.categories.counted import one_hot, tf_idf
from mmgr.categories.minibatch import fit_minibatch
from mmgr.categories.places import Places
from mmgr.categories.skipgram import SkipGram, fit_skip_gram, skip_gram
from mmgr.categories.text import text_vectors
from mmgr.categories.vectors import CategoryVectors
from mmgr.config import Categories
from mmgr.console import log
from mmgr.errors import PoiError
from mmgr.pois import PoiTables
from mmgr.taxonomy import Taxonomy

Fitted = tuple[NDArray[np.float64], NDArray[np.float64] | None]
"""Vectors ``(n, dimensions)``, and the co-occurrence ``(n, n)`` that they were learned from, if any."""

DIMENSIONS = 64
"""Length of a learned vector where the settings do not say."""
LEARNING_RATE = {"cooccurrence": 0.01, "minibatch": 5e-4}
"""Step size of each solver where the settings do not say; the published one for mini-batches."""


def fit_category_vectors(tables: PoiTables, settings: Categories, *, cell: float, seed: int) -> CategoryVectors:
    """Give each category a vector, learned from the places of its POIs or by another method.

    Points and counts are used together. A category that never has another POI near learns nothing:
    it gets the mean of its first level's others, or of all. Where no POI of any category has another
    near, as when all lie in one place, nothing is learned: all vectors are zero, with a warning. One
    category alone has a vector, and a warning.

    Parameters
    ----------
    tables
        The clean POIs.
    settings
        The method and its parameters.
    cell
        Edge in metres of the regions that walks seldom leave, and of the documents of TF-IDF.
    seed
        Start of everything random.

    Raises
    ------
    PoiError
        If there is no category.
    """
    return fit_places(Places.of_tables(tables), settings, cell=cell, seed=seed)


def fit_places(places: Places, settings: Categories, *, cell: float, seed: int) -> CategoryVectors:
    """Give each category of some places a vector; the parameters are those of :func:`fit_category_vectors`."""
    if not len(places.taxonomy):
        raise PoiError("there are no POI categories to learn vectors of; add a source to `pois`.")
    if len(places.taxonomy) == 1:
        log.warning("%s is the only POI category: its vector tells no places apart", places.taxonomy.names[0])
    vectors, cooccurrence = _METHODS[settings.method](places, settings, cell, seed)
    provenance = {
        "software": version("mmgr"),
        "method": settings.method,
        "seed": seed,
        "cell": cell,
        "settings": settings.model_dump(mode="json"),
    }
    return CategoryVectors(places.taxonomy, vectors.astype(np.float32), places.frequency, cooccurrence, provenance)


def _skip_gram(places: Places, settings: Categories, cell: float, seed: int) -> Fitted:
    contexts = walk_contexts(places, settings, cell=cell, seed=seed)
    return _learned(
        places.taxonomy,
        contexts,
        settings,
        seed,
        hierarchy=settings.hierarchy,
        unmet=settings.negatives_from == "unmet",
    )


def _place2vec(places: Places, settings: Categories, _cell: float, seed: int) -> Fitted:
    # the paper has no hierarchy, and word2vec's negatives
    contexts = nearest_contexts(places, settings)
    return _learned(places.taxonomy, contexts, settings, seed, hierarchy=0.0, unmet=False)


def _one_hot(places: Places, settings: Categories, _cell: float, _seed: int) -> Fitted:
    return one_hot(places.taxonomy, weights=settings.level_weights), None


def _tf_idf(places: Places, _settings: Categories, cell: float, _seed: int) -> Fitted:
    return tf_idf(places, cell=cell), None


def _text(places: Places, settings: Categories, _cell: float, _seed: int) -> Fitted:
    if settings.model is None:
        raise PoiError("vectors of category names need `model`, the folder of a sentence-transformers model.")
    return text_vectors(places.taxonomy, settings.model, dimensions=settings.dimensions), None


_METHODS: dict[str, Callable[[Places, Categories, float, int], Fitted]] = {
    "skip-gram": _skip_gram,
    "one-hot": _one_hot,
    "tf-idf": _tf_idf,
    "place2vec": _place2vec,
    "text": _text,
}


def _learned(
    taxonomy: Taxonomy, contexts: Contexts, settings: Categories, seed: int, *, hierarchy: float, unmet: bool
) -> Fitted:
    """Learn from pairs by the solver that the settings name."""
    objective = skip_gram(
        contexts.pairs,
        contexts.shared,
        taxonomy.first_ids,
        negatives=settings.negatives,
        hierarchy=hierarchy,
        unmet=unmet,
    )
    targets, _ = solve(objective, settings, seed=seed)
    return _fill(targets, contexts.pairs, taxonomy), contexts.pairs


def solve(objective: SkipGram, settings: Categories, *, seed: int) -> NDArray[np.float64]:
    """Minimise an objective by ``settings.solver``; return targets and contexts, shape ``(2, n, dimensions)``."""
    dimensions = settings.dimensions or DIMENSIONS
    rate = settings.learning_rate or LEARNING_RATE[settings.solver]
    if settings.solver == "minibatch":
        return fit_minibatch(
            objective,
            dimensions=dimensions,
            epochs=settings.epochs,
            batch_size=settings.batch_size,
            learning_rate=rate,
            seed=seed,
        )
    return fit_skip_gram(
        objective, dimensions=dimensions, iterations=settings.iterations, learning_rate=rate, seed=seed
    )


def _fill(vectors: NDArray[np.float64], cooccurrence: NDArray[np.float64], taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Give categories without any context the mean of their first level, or of all; zeros where none has any."""
    alone = cooccurrence.sum(axis=1) == 0
    if not alone.any():
        return vectors
    if alone.all():
        log.warning(
            "no POI has another near it (do all lie in one place?): nothing is learned of the categories, and all "
            "vectors are zero; check the coordinates, or take `method: one-hot`, which does not learn"
        )
        return np.zeros_like(vectors)
    log.info(
        "%d of %d categories have no POI, or none near another; they get the mean of their first level, or of all",
        alone.sum(),
        len(alone),
    )
    filled = vectors.copy()
    for row in np.flatnonzero(alone):
        siblings = ~alone & (taxonomy.first_ids == taxonomy.first_ids[row])
        filled[row] = vectors[siblings if siblings.any() else ~alone].mean(axis=0)
    return filled
