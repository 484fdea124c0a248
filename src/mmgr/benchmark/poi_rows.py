"""Rows that are made of POIs alone, and learn no encoder."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmgr.benchmark.rows import Context, LeftOut, Row, Vectors, filled
from mmgr.store import PoiBags


def one_hot(context: Context) -> Vectors:
    """Shares of the two-level one-hot vectors of a region's POIs (Huang et al. 2022 call it the baseline to beat)."""
    return _mean_of(context, "one-hot")


def densities(context: Context) -> Vectors:
    """Return ``log(1 + POIs per km2)`` of each category."""
    from mmgr.evaluate import poi_density_features  # noqa: PLC0415 - scikit-learn loads slowly

    bags = context.store.bags
    return filled(poi_density_features(bags, len(context.store.info.taxonomy)), bags.known)


def place2vec(context: Context) -> Vectors:
    """Return the mean of Place2Vec's category vectors."""
    return _mean_of(context, "place2vec")


def category_mean(context: Context) -> Vectors:
    """Return the mean of the category vectors that the configuration asks for."""
    return mean_vectors(context.store.bags, context.categories.vectors)


def poi_context(context: Context) -> Vectors:
    """Return the densities of POIs in and around regions at several scales, as `mmgr embed` makes them."""
    from mmgr.contexts.around import counts_around, points_around  # noqa: PLC0415 - numba loads slowly

    assert context.config.pois is not None  # noqa: S101 - a row of POIs has some
    _ = context.centres  # left out where there are none
    scales, regions = context.config.pois.context or "auto", context.store.regions
    vectors = np.hstack([see(context.tables, regions, scales).vectors for see in (points_around, counts_around)])
    if not vectors.shape[1]:
        raise LeftOut("it needs POIs around at least two regions")
    return vectors


def count_table(context: Context) -> Vectors:
    """Return ``log(1 + count)`` of each category within several radii."""
    from mmgr.contexts import CountTable  # noqa: PLC0415 - numba loads slowly

    return np.asarray(CountTable(context.points).fit_transform(context.centres), np.float32)


def mean_vectors(bags: PoiBags, vectors: Vectors) -> Vectors:
    """Describe regions by the mean of their POIs' vectors.

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
    counts = bags.counts(len(vectors)).astype(np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    return filled(shares @ vectors, bags.known)


def _mean_of(context: Context, method: str) -> Vectors:
    """Return means of the vectors that another method gives the categories."""
    from mmgr.categories import fit_category_vectors  # noqa: PLC0415 - numba loads slowly

    own: dict[str, Any] = {"method": method, "model": None}
    if method == "one-hot":
        own["dimensions"] = None
    settings = context.config.categories.model_copy(update=own)
    found = fit_category_vectors(context.tables, settings, cell=context.store.info.edge, seed=context.seed)
    return mean_vectors(context.store.bags, found.vectors)


ROWS = (
    Row("poi-one-hot", "poi", one_hot, "shares of first levels and categories of a region's POIs"),
    Row("poi-densities", "poi", densities, "log densities of POIs by category"),
    Row("poi-context", "poi", poi_context, "log densities in and around the region at several scales, components"),
    Row("count-table", "poi", count_table, "log counts of each category within five radii"),
    Row("place2vec", "poi", place2vec, "mean of Place2Vec's category vectors (Yan et al. 2017)"),
    Row("category-vectors", "poi", category_mean, "mean of the configured category vectors (Huang et al. 2022)"),
)
"""The rows of this module."""
