"""What the estimators of region vectors share: scikit-learn's manners, POIs, and category vectors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import threadpool_limits

from mmgr.categories import CategoryVectors, make_category_vectors
from mmgr.categories.estimator import CategoryEstimator
from mmgr.categories.frames import places_of_frame
from mmgr.categories.places import Places
from mmgr.contexts.densities import DensityField, density_field
from mmgr.contexts.places import RegionPlaces, regions_of
from mmgr.errors import ConfigError


class RegionEstimator(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """What all methods share: ``X`` are regions, the result is one vector a region.

    ``X`` is a GeoDataFrame or GeoSeries of polygons or points in a projected CRS with metre units,
    or the regions' centres in metres: an array of shape ``(n, 2)`` or a DataFrame with ``x`` and
    ``y``. A region's centre is its centroid. ``pois`` is a table as the estimators of category
    vectors take it, in the same CRS.

    Attributes
    ----------
    taxonomy_ : Taxonomy
        The categories of the POIs.
    poi_count_ : int
        How many POIs there are.
    n_features_in_ : int
        Columns of ``X``.
    """

    pois: Any
    first_level: str
    second_level: str | None

    def fit(self, X: Any, y: Any = None) -> Self:
        """Read the POIs, and learn from the regions what the method learns.

        Parameters
        ----------
        X
            The regions.
        y
            Not used.

        Raises
        ------
        RegionError
            If regions have no CRS in metres, or another one than the POIs; or a geometry is empty,
            or a centre is missing or infinite.
        PoiError
            If there is no POI, or the table is not as :class:`mmgr.categories.SkipGramVectors` takes it.
        ConfigError
            If a parameter is out of its range.
        """
        regions = self._regions(X)
        places = places_of_frame(self.pois, first_level=self.first_level, second_level=self.second_level)
        self.n_features_in_ = int(X.shape[1]) if len(np.shape(X)) > 1 else 1
        self._learn(regions, places, y)
        # last, so that an estimator with a taxonomy is fitted
        self.taxonomy_, self.poi_count_ = places.taxonomy, len(places.xy)
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vector of each region, shape ``(n, n_dimensions)``.

        Raises
        ------
        RegionError
            As of :meth:`fit`.
        """
        check_is_fitted(self, "taxonomy_")
        return self._vectors(self._regions(X))

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return a name for each dimension, shape ``(n_dimensions,)``."""
        check_is_fitted(self, "taxonomy_")
        return np.array(self._dimension_names(), object)

    def _regions(self, X: Any) -> RegionPlaces:
        regions = regions_of(X)
        regions.check_crs(self.pois.crs if isinstance(self.pois, gpd.GeoDataFrame | gpd.GeoSeries) else None)
        return regions

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:
        """Learn what the method learns; nothing of ``self`` that ends in ``_`` is there yet."""
        raise NotImplementedError

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        """Return the vectors, shape ``(n, n_dimensions)``."""
        raise NotImplementedError

    def _dimension_names(self) -> list[str]:
        """Return as many names as a vector has dimensions."""
        raise NotImplementedError

    def _category_vectors(self, vectors: Any, places: Places, random_state: Any) -> NDArray[np.float32]:
        """Return a vector for each category of the POIs, shape ``(categories, dimensions)``."""
        source = self._source_of_vectors(vectors, random_state)
        made = source if isinstance(source, CategoryVectors) else source.fit(self.pois).to_vectors()
        return made.of(places.taxonomy.first, places.taxonomy.second)

    def _source_of_vectors(self, vectors: Any, random_state: Any) -> CategoryVectors | CategoryEstimator:
        """Return CategoryVectors as they are, and of an estimator or a method's name an estimator not yet fitted.

        A search or a cross-validation clones all estimators, also those in parameters. So one that is fitted
        already must not count: the same vectors would be learned anew there, or else be other ones.

        Raises
        ------
        ConfigError
            If ``vectors`` is something else, or the name of no method.
        """
        if isinstance(vectors, str):
            made = make_category_vectors(vectors, first_level=self.first_level, second_level=self.second_level)
            if "random_state" in made.get_params():
                made.set_params(random_state=random_state)
            return made
        if isinstance(vectors, CategoryEstimator):
            unfitted: CategoryEstimator = clone(vectors)
            return unfitted
        if not isinstance(vectors, CategoryVectors):
            raise ConfigError(
                f"`vectors` of {type(self).__name__} are CategoryVectors, an estimator of them or the name of a "
                f"method; got {type(vectors).__name__}."
            )
        return vectors


def field_of(places: Places, *, scales: Sequence[float] | float, kernel: str = "gaussian") -> DensityField:
    """Return the field of all categories."""
    return density_field(
        places.xy,
        places.category,
        groups=len(places.taxonomy),
        scales=scales,
        kernel=kernel,
    )


def metres(scale: float) -> str:
    """Return a distance as names of dimensions show it, such as ``200m``."""
    return f"{scale:g}m"


def product(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return ``a @ b`` by one thread: the bits do not depend on how many there are."""
    with threadpool_limits(1, "blas"):
        return np.asarray(a @ b)
