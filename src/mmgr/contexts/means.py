"""The mean of category vectors in or around each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from mmgr.categories.counted import tf_idf
from mmgr.categories.estimator import positive
from mmgr.categories.frames import SECOND_LEVEL
from mmgr.categories.places import Places
from mmgr.console import log
from mmgr.contexts.estimator import RegionEstimator, field_of, metres, product
from mmgr.contexts.places import RegionPlaces
from mmgr.errors import ConfigError, RegionError


class RegionMean(RegionEstimator):
    """The mean of the category vectors of the POIs in each region, or around it.

    A region without POIs has zeros, and the log counts such regions. With one-hot vectors a
    region's vector is its shares of first levels and categories.

    Parameters
    ----------
    pois
        The POI table.
    vectors
        An estimator of category vectors or a method's name such as ``"skip-gram"``, which learn from ``pois``,
        also where the estimator is fitted already; or CategoryVectors, as of ``estimator.to_vectors()``, which
        stay as they are, wherever they were learned.
    radius
        None: the POIs in or on the edge of each polygon count alike. Otherwise all POIs around its
        centre count by a Gaussian of this standard deviation in metres; of several, the means stand
        one after the other.
    weighting
        ``"tf-idf"``: each POI weighs by the inverse document frequency of its category, see
        :func:`mmgr.categories.counted.tf_idf`. None: all weigh alike.
    cell
        Edge in metres of the square cells that are documents.
    random_state
        Start of vectors that are learned, where ``vectors`` is a name.
    first_level, second_level
        Columns of the category.

    Attributes
    ----------
    vectors_ : ndarray of shape (n_categories, n_dimensions), float32
        The category vectors.
    weights_ : ndarray of shape (n_categories,)
        Weight of each category.
    """

    def __init__(
        self,
        pois: Any,
        vectors: Any = "skip-gram",
        *,
        radius: float | Sequence[float] | None = None,
        weighting: str | None = None,
        cell: float = 250.0,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.pois = pois
        self.vectors = vectors
        self.radius = radius
        self.weighting = weighting
        self.cell = cell
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:  # noqa: ARG002
        self._field = None if self.radius is None else field_of(places, scales=self.radius)
        self._places = places
        self._check_polygons(regions)
        self.weights_ = self._category_weights(places)
        self.vectors_ = self._category_vectors(self.vectors, places, self.random_state)

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        self._check_polygons(regions)
        counts = self._counts(regions)  # (n, S, categories)
        empty = int((~counts.any(axis=(1, 2))).sum())
        if empty:
            log.info("%d of %d regions have no POI: their vectors are zeros", empty, len(regions))
        weighted = counts * self.weights_
        total = weighted.sum(axis=2, keepdims=True)
        shares = np.divide(weighted, total, out=np.zeros_like(weighted), where=total > 0)
        return np.asarray(product(shares, self.vectors_).reshape(len(regions), -1), np.float32)

    def _counts(self, regions: RegionPlaces) -> NDArray[np.float64]:
        """Return the POIs of each category inside, or weighted at each radius, shape ``(n, S, categories)``."""
        if self._field is not None:
            return self._field.sums(regions.centres).astype(np.float64)
        return counts_inside(regions.shapes, self._places)[:, None]

    def _check_polygons(self, regions: RegionPlaces) -> None:
        if self._field is None and (regions.shapes is None or (shapely.get_dimensions(regions.shapes) < 2).any()):
            raise RegionError(
                "without `radius` the POIs inside each region are averaged, so regions must be polygons; "
                "name a `radius` in metres for points and centres."
            )

    def _category_weights(self, places: Places) -> NDArray[np.float64]:
        if self.weighting not in (None, "tf-idf"):
            raise ConfigError(f"`weighting` is 'tf-idf' or None; got {self.weighting!r}.")
        if not positive(self.cell):
            raise ConfigError(f"`cell` is positive metres; got {self.cell!r}.")
        if self.weighting is None:
            return np.ones(len(places.taxonomy))
        return np.asarray(np.diagonal(tf_idf(places, cell=self.cell)))

    def _dimension_names(self) -> list[str]:
        names = [f"regionmean{axis}" for axis in range(self.vectors_.shape[1])]
        if self._field is None:
            return names
        return [f"{name}_{metres(radius)}" for radius in self._field.scales for name in names]


def counts_inside(shapes: Any, places: Places) -> NDArray[np.float64]:
    """Return the POIs of each category in or on the edge of each polygon, shape ``(n, categories)``."""
    categories = len(places.taxonomy)
    points = np.asarray(shapely.points(places.xy), object)
    owner, point = shapely.STRtree(points).query(shapes, predicate="intersects")
    found = np.bincount(owner * categories + places.category[point], minlength=len(shapes) * categories)
    return found.reshape(len(shapes), categories).astype(np.float64)
