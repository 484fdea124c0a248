"""The methods as scikit-learn estimators: from a POI table to one vector a POI, that of its category."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

from mmgr.categories.estimator import CategoryEstimator
from mmgr.categories.frames import SECOND_LEVEL
from mmgr.errors import ConfigError


class SkipGramVectors(CategoryEstimator):
    """Vectors learned from random walks between neighbouring POIs (Huang et al. 2022).

    Parameters
    ----------
    dimensions
        Length of a vector.
    walks, length, p, q
        Walks from each POI, POIs in a walk, and the return and in-out parameters of node2vec.
    region_decay
        Weight of a step that leaves its region (``a_r``).
    cell
        Edge in metres of the square regions.
    gap
        Metres, at least 1: POIs are of one city where a chain of them leads from one to the other, each nearer
        than this to the next. Each city is triangulated apart, and no walk leaves it.
    negatives
        Negative categories for each pair.
    negatives_from
        ``"unmet"``: categories that the target never meets, as published; ``"frequency"``: all, by
        frequency. See :func:`mmgr.categories.skipgram.negative_shares`.
    hierarchy
        ``lambda`` of the term that draws categories of one first level together.
    solver
        ``"cooccurrence"``: all pairs at once, on their counts; ``"minibatch"``: batches of pairs, as published.
    learning_rate
        Adam's step size; by default 0.01 for the counts and the published 0.0005 for mini-batches.
    iterations
        Steps of the solver on counts.
    epochs, batch_size
        How often mini-batches go through all pairs, and how many pairs one holds.
    random_state
        Start of walks, vectors and samples. Only a whole number (or an equal generator) gives the same vectors
        again: with None each fit begins elsewhere, as everywhere in scikit-learn.
    first_level, second_level
        Columns of the category.
    """

    _method = "skip-gram"

    def __init__(
        self,
        dimensions: int = 64,
        *,
        walks: int = 5,
        length: int = 10,
        p: float = 0.5,
        q: float = 0.5,
        region_decay: float = 0.4,
        cell: float = 250.0,
        gap: float = 25_000.0,
        negatives: int = 5,
        negatives_from: str = "unmet",
        hierarchy: float = 4e-6,
        solver: str = "cooccurrence",
        learning_rate: float | None = None,
        iterations: int = 500,
        epochs: int = 100,
        batch_size: int = 128,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.dimensions = dimensions
        self.walks = walks
        self.length = length
        self.p = p
        self.q = q
        self.region_decay = region_decay
        self.cell = cell
        self.gap = gap
        self.negatives = negatives
        self.negatives_from = negatives_from
        self.hierarchy = hierarchy
        self.solver = solver
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level


class Place2VecVectors(CategoryEstimator):
    """Vectors learned from each POI's nearest POIs, the nearer the heavier (Yan et al. 2017).

    The pairs are those of :func:`mmgr.categories.contexts.nearest_contexts`; skip-gram with negatives
    by frequency (to the power 3/4, as in word2vec) learns from them.

    Parameters
    ----------
    dimensions
        Length of a vector.
    neighbours
        Nearest POIs that are a POI's contexts.
    power
        A context weighs by its distance to the power of ``-power``.
    gap
        Metres, at least 1: only nearer POIs are contexts.
    negatives
        Negative categories for each pair.
    solver, learning_rate, iterations, epochs, batch_size
        As of :class:`SkipGramVectors`.
    random_state
        Start of vectors and samples, as of :class:`SkipGramVectors`: with None no two fits are alike.
    first_level, second_level
        Columns of the category.
    """

    _method = "place2vec"

    def __init__(
        self,
        dimensions: int = 64,
        *,
        neighbours: int = 10,
        power: float = 1.0,
        gap: float = 25_000.0,
        negatives: int = 5,
        solver: str = "cooccurrence",
        learning_rate: float | None = None,
        iterations: int = 500,
        epochs: int = 100,
        batch_size: int = 128,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.dimensions = dimensions
        self.neighbours = neighbours
        self.power = power
        self.gap = gap
        self.negatives = negatives
        self.solver = solver
        self.learning_rate = learning_rate
        self.iterations = iterations
        self.epochs = epochs
        self.batch_size = batch_size
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level


class OneHotVectors(CategoryEstimator):
    """Two-level one-hot vectors, which learn nothing: first levels, then categories.

    Parameters
    ----------
    level_weights
        Value of the one in the first level's part and in the second's.
    first_level, second_level
        Columns of the category.
    """

    _method = "one-hot"

    def __init__(
        self,
        level_weights: tuple[float, float] = (1.0, 1.0),
        *,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.level_weights = level_weights
        self.first_level = first_level
        self.second_level = second_level

    def _dimension_names(self) -> list[str]:
        categories = [f"category_{name}" for name in self.taxonomy_.names]
        firsts = sorted(set(self.taxonomy_.first))
        levels = [f"{self.first_level}_{name}" for name in firsts]
        if not set(levels).isdisjoint(categories):  # as where the column is called category, too
            levels = [f"first_level_{name}" for name in firsts]
        return [*levels, *categories]


class TfidfVectors(CategoryEstimator):
    """One-hot vectors times inverse document frequency; see :func:`mmgr.categories.counted.tf_idf`.

    Parameters
    ----------
    cell
        Edge in metres of the square cells that are documents.
    first_level, second_level
        Columns of the category.
    """

    _method = "tf-idf"

    def __init__(
        self, cell: float = 250.0, *, first_level: str = "first_level", second_level: str | None = SECOND_LEVEL
    ) -> None:
        self.cell = cell
        self.first_level = first_level
        self.second_level = second_level

    def _dimension_names(self) -> list[str]:
        return [f"category_{name}" for name in self.taxonomy_.names]


class TextVectors(CategoryEstimator):
    """Vectors of the categories' names by a sentence-transformers model on this machine.

    Parameters
    ----------
    model
        Folder of the model; nothing is fetched. Needs ``pip install 'mmgr[text]'``.
    dimensions
        Reduce to as many principal components; None keeps the model's own length.
    first_level, second_level
        Columns of the category.
    """

    _method = "text"

    def __init__(
        self,
        model: str | Path,
        *,
        dimensions: int | None = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.model = model
        self.dimensions = dimensions
        self.first_level = first_level
        self.second_level = second_level


ESTIMATORS: dict[str, type[CategoryEstimator]] = {
    kind._method: kind  # noqa: SLF001 - this module's own
    for kind in (SkipGramVectors, OneHotVectors, TfidfVectors, Place2VecVectors, TextVectors)
}
"""The estimator of each ``categories.method``."""


def make_category_vectors(method: str = "skip-gram", **parameters: Any) -> CategoryEstimator:
    """Return the estimator of a method.

    Parameters
    ----------
    method
        ``skip-gram``, ``one-hot``, ``tf-idf``, ``place2vec`` or ``text``.
    parameters
        Those of the estimator.

    Raises
    ------
    ConfigError
        If there is no such method, or it has no such parameter.
    """
    if method not in ESTIMATORS:
        near = get_close_matches(method, ESTIMATORS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(
            f"there is no method {method!r} of category vectors; {hint}known are {', '.join(ESTIMATORS)}."
        )
    kind = ESTIMATORS[method]
    try:
        return kind(**parameters)
    except TypeError as error:
        raise ConfigError(f"{kind.__name__}: {error}") from error
