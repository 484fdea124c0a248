"""Category vectors end to end on a made city: how long each part takes, and how much memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from mmgr.bench.city import SyntheticCity, synthetic_city
from mmgr.bench.machine import machine, software
from mmgr.categories.cooccurrence import cooccurrence_along_walks
from mmgr.categories.fit import solve
from mmgr.categories.graph import delaunay_graph
from mmgr.categories.skipgram import skip_gram
from mmgr.categories.walks import edge_weights
from mmgr.config import Categories
from mmgr.console import quiet
from mmgr.stages import peak_rss_mb

CELL = 256.0
"""Metres: edge of the regions that walks seldom leave."""
_WARM_UP = 2000


def bench_categories(pois: int, *, categories: int = 200, seed: int = 0) -> dict[str, Any]:
    """Learn the category vectors of a made city with the default settings, and time it.

    Making the city is not counted. A tiny city is done first, so that no time for compiling is
    counted; a first run on a new machine spends that once more, and later runs find it on disk.

    Parameters
    ----------
    pois
        Size of the city.
    categories
        Categories of its POIs.
    seed
        Of the city, the walks and the vectors.

    Returns
    -------
    ``graph_seconds`` (vertices and triangulation), ``walk_seconds`` (weights, walks and
    co-occurrence), ``fit_seconds`` and their sum ``total_seconds``; ``steps_per_second``, steps
    walked by ``walk_seconds``; ``peak_rss_mb`` of the whole process, the city included; and what
    was measured on what.

    Raises
    ------
    InputError
        If no such city can be made.
    """
    city = synthetic_city(pois, categories=categories, seed=seed)
    with quiet():
        _learn(synthetic_city(min(pois, _WARM_UP), categories=categories, seed=seed), Categories(iterations=1), seed)
    settings, measured_on = Categories(), machine()
    seconds, facts = _learn(city, settings, seed)
    return {
        "pois": pois,
        "categories": categories,
        "seed": seed,
        **facts,
        **{f"{part}_seconds": round(spent, 6) for part, spent in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 6),
        "steps_per_second": round(facts["steps"] / seconds["walk"]),
        "peak_rss_mb": peak_rss_mb(),
        "threads": numba.get_num_threads(),
        "machine": measured_on,
        "software": software(),
    }


def _learn(city: SyntheticCity, settings: Categories, seed: int) -> tuple[dict[str, float], dict[str, int]]:
    """Return the seconds of each part, and the sizes of what it worked on."""
    seconds: dict[str, float] = {}
    with _timed(seconds, "graph"):
        graph = delaunay_graph(city.xy)
    with _timed(seconds, "walk"):
        weights = edge_weights(graph, cell=CELL, decay=settings.region_decay)
        count = len(city.first_level)
        pairs = cooccurrence_along_walks(graph, weights, city.category, settings, categories=count, seed=seed)
    shared = _shared(graph.area[graph.vertex], city.category, count)
    with _timed(seconds, "fit"):
        objective = skip_gram(
            pairs, shared, city.first_level, negatives=settings.negatives, hierarchy=settings.hierarchy
        )
        solve(objective, settings, seed=seed)
    return seconds, {
        "vertices": len(graph.xy),
        "edges": len(graph.indices) // 2,
        "areas": len(graph.diagonals),
        "steps": int(pairs.sum()),
    }


@contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[part] = time.perf_counter() - start


def _shared(area: NDArray[np.int32], category: NDArray[np.int32], categories: int) -> NDArray[np.bool_]:
    """Return which categories occur in one study area, shape ``(categories, categories)``."""
    presence = np.zeros((int(area.max()) + 1, categories))
    presence[area, category] = 1
    return np.asarray(presence.T @ presence > 0)
