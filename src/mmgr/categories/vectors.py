"""Category vectors: from clean POIs to one vector a category, and their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mmgr.categories.cooccurrence import cooccurrence_of_counts, cooccurrence_of_walks
from mmgr.categories.graph import delaunay_graph
from mmgr.categories.skipgram import fit_skip_gram, skip_gram
from mmgr.categories.walks import edge_weights, random_walks
from mmgr.config import Categories
from mmgr.console import log
from mmgr.errors import ArtefactError, PoiError
from mmgr.files import check_schema, explained_writes, read_json, write_aside, write_json
from mmgr.pois import PoiTables
from mmgr.taxonomy import Taxonomy

SCHEMA_VERSION = 1
"""Version of the files that :meth:`CategoryVectors.save` writes."""


@dataclass(frozen=True, slots=True)
class CategoryVectors:
    """One learned vector a category."""

    taxonomy: Taxonomy
    """The categories."""
    vectors: NDArray[np.float32]
    """Their vectors, shape ``(n, dimensions)``."""
    cooccurrence: NDArray[np.float64]
    """Pairs of target and context that they were learned from, shape ``(n, n)``."""

    def __post_init__(self) -> None:
        count = len(self.taxonomy)
        if len(self.vectors) != count or self.cooccurrence.shape != (count, count):
            raise ValueError(
                f"{count} categories, but vectors {self.vectors.shape} and co-occurrence {self.cooccurrence.shape}"
            )

    def neighbours(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the ``k`` nearest other categories of each, and their cosine similarities.

        Both have shape ``(n, min(k, n - 1))``, the nearest first.
        """
        length = np.linalg.norm(self.vectors.astype(np.float64), axis=1, keepdims=True)
        unit = self.vectors / np.where(length > 0, length, 1)
        similarity = unit @ unit.T
        np.fill_diagonal(similarity, -np.inf)
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : min(k, len(unit) - 1)]
        return nearest, np.take_along_axis(similarity, nearest, axis=1)

    def save(self, folder: Path) -> None:
        """Write ``vectors.safetensors`` and ``taxonomy.json``."""
        with explained_writes(folder):
            folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            "vectors": np.ascontiguousarray(self.vectors),
            "cooccurrence": np.ascontiguousarray(self.cooccurrence),
        }
        with write_aside(folder / "vectors.safetensors") as aside:
            save_file(tensors, aside)
        write_json(folder / "taxonomy.json", {"schema_version": SCHEMA_VERSION} | self.taxonomy.to_json())

    @classmethod
    def load(cls, folder: Path) -> CategoryVectors:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ArtefactError
            If a file is missing, torn or of another version.
        """
        stored = read_json(folder / "taxonomy.json")
        try:
            check_schema(stored["schema_version"], SCHEMA_VERSION, path=folder, stage="categories")
            tensors = load_file(folder / "vectors.safetensors")
            return cls(Taxonomy.from_json(stored), tensors["vectors"], tensors["cooccurrence"])
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, PoiError) as error:
            raise ArtefactError(
                f"{folder} holds no category vectors of MMGR ({error}); run `mmgr categories` again."
            ) from error


def fit_category_vectors(tables: PoiTables, settings: Categories, *, cell: float, seed: int) -> CategoryVectors:
    """Learn a vector for each category from the places of its POIs (Huang et al. 2022).

    Points are walked over, counts are paired within polygons, and both are summed. A category that
    never has another POI near learns nothing: it gets the mean of its first level's others.

    Parameters
    ----------
    tables
        The clean POIs.
    settings
        Parameters of walks and skip-gram.
    cell
        Edge in metres of the regions that walks seldom leave.
    seed
        Start of the walks and of the vectors.

    Raises
    ------
    PoiError
        If there is no category.
    """
    if not len(tables.taxonomy):
        raise PoiError("there are no POI categories to learn vectors of; add a source to `pois`.")
    cooccurrence, shared = _cooccurrence(tables, settings, cell=cell, seed=seed)
    objective = skip_gram(
        cooccurrence, shared, tables.taxonomy.first_ids, negatives=settings.negatives, hierarchy=settings.hierarchy
    )
    vectors = fit_skip_gram(
        objective,
        dimensions=settings.dimensions,
        iterations=settings.iterations,
        learning_rate=settings.learning_rate,
        seed=seed,
    )
    vectors = _fill(vectors, cooccurrence, tables.taxonomy)
    return CategoryVectors(tables.taxonomy, vectors.astype(np.float32), cooccurrence)


def _cooccurrence(
    tables: PoiTables, settings: Categories, *, cell: float, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the pairs of all sources, and which categories share a study area, both ``(n, n)``."""
    categories = len(tables.taxonomy)
    cooccurrence = np.zeros((categories, categories))
    presence = [np.zeros((0, categories), bool)]  # (areas, categories)
    if len(tables.points):
        points, category = tables.points.geometry, tables.points["category"].to_numpy(np.int32)
        graph = delaunay_graph(np.stack([points.x.to_numpy(), points.y.to_numpy()], axis=1))
        weights = edge_weights(graph, cell=cell, decay=settings.region_decay)
        walks = random_walks(graph, weights, settings, seed=seed)
        cooccurrence += cooccurrence_of_walks(walks, category, categories=categories)
        presence.append(np.zeros((len(graph.diagonals), categories), bool))
        presence[-1][graph.area[graph.vertex], category] = True
    if len(tables.counts):
        source = tables.counts["source"].to_numpy()
        cooccurrence += cooccurrence_of_counts(
            tables.count_matrix,
            tables.counts.geometry,
            source,
            decay=settings.region_decay,
            contexts=settings.walks * (settings.length - 1),
        )
        presence.extend(tables.count_matrix[source == number].any(axis=0)[None] for number in np.unique(source))
    areas = np.concatenate(presence).astype(np.float64)
    return cooccurrence, areas.T @ areas > 0


def _fill(vectors: NDArray[np.float64], cooccurrence: NDArray[np.float64], taxonomy: Taxonomy) -> NDArray[np.float64]:
    """Give categories without any context the mean of their first level."""
    alone = cooccurrence.sum(axis=1) == 0
    if alone.any():
        log.info("%d of %d categories have no POI, or none near another; they get the mean of their first level",
                 alone.sum(), len(alone))  # fmt: skip
    filled = vectors.copy()
    for row in np.flatnonzero(alone):
        siblings = ~alone & (taxonomy.first_ids == taxonomy.first_ids[row])
        if siblings.any():
            filled[row] = vectors[siblings].mean(axis=0)
    return filled
