"""The rows of the Singapore benchmark: what makes vectors of regions out of POIs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray

from mmgr.categories import CategoryVectors, make_category_vectors
from mmgr.contexts import ContextDensities, ContextVectors, CountTable, RegionMean

SEED = 0
"""Of everything that is learned."""
BASELINE = "plain table"
"""The row that all others are compared with."""


class UnavailableError(Exception):
    """A row that cannot be made here, with the reason."""


@dataclass
class City:
    """The POIs, and category vectors fitted to them once for all rows and units."""

    pois: gpd.GeoDataFrame
    text_model: Path | None = None
    fitted: dict[str, CategoryVectors] = field(default_factory=dict)

    def vectors(self, method: str, **parameters: Any) -> CategoryVectors:
        """Return the category vectors of a method, fitted the first time they are asked for."""
        key = f"{method} {sorted(parameters.items())}"
        if key not in self.fitted:
            made = make_category_vectors(method, **parameters)
            if "random_state" in made.get_params():
                made.set_params(random_state=SEED)
            self.fitted[key] = made.fit(self.pois).to_vectors()
        return self.fitted[key]

    def text(self) -> CategoryVectors:
        """Return vectors of the categories' names."""
        if self.text_model is None:
            raise UnavailableError("needs --text-model, the folder of a sentence-transformers model")
        return self.vectors("text", model=self.text_model)


@dataclass(frozen=True)
class Row:
    """One line of the tables."""

    name: str
    make: Callable[[City], Any]
    """An estimator of region vectors, or several whose vectors stand side by side."""
    trees: bool = False
    """Whether gradient boosted trees score it, too."""


def vectors_of(row: Row, city: City, regions: gpd.GeoDataFrame) -> NDArray[np.float32]:
    """Return the row's vector of each region, shape ``(n, d)``.

    Raises
    ------
    UnavailableError
        If something that the row needs is not here.
    """
    try:
        made = row.make(city)
    except ImportError as error:
        raise UnavailableError(str(error)) from error
    parts = made if isinstance(made, list) else [made]
    return np.hstack([np.asarray(part.fit(regions).transform(regions), np.float32) for part in parts])


def _mean(vectors: Callable[[City], CategoryVectors], **parameters: Any) -> Callable[[City], Any]:
    return lambda city: RegionMean(city.pois, vectors(city), **parameters)


def _one_hot(city: City) -> CategoryVectors:
    return city.vectors("one-hot")


def _skip_gram(city: City) -> CategoryVectors:
    return city.vectors("skip-gram")


def _no_hierarchy(city: City) -> CategoryVectors:
    return city.vectors("skip-gram", hierarchy=0.0)


def _frequency_negatives(city: City) -> CategoryVectors:
    return city.vectors("skip-gram", negatives_from="frequency")


def _place2vec(city: City) -> CategoryVectors:
    return city.vectors("place2vec")


def _table(city: City) -> Any:
    return CountTable(city.pois)


def _poi_sets(encoder: str) -> Callable[[City], Any]:
    def make(city: City) -> Any:
        kind = import_module("mmgr.learn.poi_sets").PoiSetVectors
        return kind(city.pois, _skip_gram(city), encoder=encoder, random_state=SEED)

    return make


KILOMETRE = 1000.0
ROWS = {
    row.name: row
    for row in (
        Row("one-hot, inside", _mean(_one_hot)),
        Row("one-hot, 1 km", _mean(_one_hot, radius=KILOMETRE), trees=True),
        Row(BASELINE, _table, trees=True),
        Row("TF-IDF, 1 km", _mean(_one_hot, radius=KILOMETRE, weighting="tf-idf")),
        Row("Place2Vec mean, 1 km", _mean(_place2vec, radius=KILOMETRE)),
        Row("text mean, 1 km", _mean(City.text, radius=KILOMETRE)),
        Row("skip-gram mean, inside", _mean(_skip_gram)),
        Row("skip-gram mean, 1 km", _mean(_skip_gram, radius=KILOMETRE)),
        Row("skip-gram TF-IDF mean, 1 km", _mean(_skip_gram, radius=KILOMETRE, weighting="tf-idf")),
        Row("skip-gram without hierarchy mean, 1 km", _mean(_no_hierarchy, radius=KILOMETRE)),
        Row("skip-gram, negatives by frequency, mean, 1 km", _mean(_frequency_negatives, radius=KILOMETRE)),
        Row("skip-gram densities, 5 scales", lambda city: ContextDensities(city.pois, _skip_gram(city))),
        Row("Set2Set, contrast", _poi_sets("set2set")),
        Row("attention, contrast", _poi_sets("attention")),
        Row("category densities, 5 scales", lambda city: ContextDensities(city.pois)),
        Row("kernels, contrast", _poi_sets("kernels")),
        Row("context (ours), bent at 1 spread", lambda city: ContextVectors(city.pois, squash=1.0)),
        Row("context (ours), 128 components", lambda city: ContextVectors(city.pois), trees=True),
        Row("context (ours), whole", lambda city: ContextVectors(city.pois, dimensions=None), trees=True),
    )
}
"""The rows by name, in the order of the tables."""
