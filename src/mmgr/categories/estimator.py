"""What the estimators of category vectors share: scikit-learn's manners."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mmgr.categories.fit import fit_places
from mmgr.categories.frames import names_of_frame, places_of_frame
from mmgr.categories.vectors import CategoryVectors
from mmgr.config import Categories
from mmgr.errors import ConfigError


class CategoryEstimator(TransformerMixin, BaseEstimator):  # type: ignore[misc] # scikit-learn has no types
    """What all methods share: ``X`` is a POI table, the result one vector a POI.

    ``X`` is a GeoDataFrame of points in a projected CRS with metre units, or a DataFrame with ``x``
    and ``y`` in metres. Columns ``first_level`` and ``second_level`` name the category; a table
    without a column ``second_level`` has one level. Other columns are not looked at.

    Attributes
    ----------
    taxonomy_ : Taxonomy
        The categories.
    vectors_ : ndarray of shape (n_categories, n_dimensions), float32
        Their vectors.
    frequency_ : ndarray of shape (n_categories,)
        POIs of each.
    n_features_in_ : int
        Columns of the table.
    feature_names_in_ : ndarray of str
        Their names.
    """

    _method: ClassVar[str]
    first_level: str
    second_level: str | None

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: ARG002 - scikit-learn's signature
        """Give each category a vector.

        Parameters
        ----------
        X
            The POI table.
        y
            Not used.

        Raises
        ------
        PoiError
            If there is no POI, a column or a name is missing, a coordinate is missing or infinite,
            or the CRS is not one of metres.
        ConfigError
            If a parameter is out of its range.
        """
        settings = self._settings()
        places = places_of_frame(X, first_level=self.first_level, second_level=self.second_level)
        made = fit_places(places, settings, cell=self._cell(), seed=self._seed())
        self.taxonomy_, self.vectors_, self.frequency_ = made.taxonomy, made.vectors, made.frequency
        self.n_features_in_ = X.shape[1]
        self.feature_names_in_ = np.array([str(column) for column in X.columns], object)
        self._made = made
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Return the vector of each POI's category, shape ``(n_pois, n_dimensions)``.

        Only the columns of the category are read. A category that was not fitted, or has no name,
        has the mean of its first level's vectors; where the first level is unknown too, the mean of
        all. The log counts them.

        Raises
        ------
        PoiError
            If a column is missing.
        """
        check_is_fitted(self, "vectors_")
        names = names_of_frame(X, first_level=self.first_level, second_level=self.second_level)
        return self.to_vectors().of(*names)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return a name for each dimension, shape ``(n_dimensions,)``."""
        check_is_fitted(self, "vectors_")
        return np.array(self._dimension_names(), object)

    def to_vectors(self) -> CategoryVectors:
        """Return the fitted vectors as the artefact that is saved and loaded."""
        check_is_fitted(self, "vectors_")
        return self._made

    def _settings(self) -> Categories:
        """Return the parameters as the configuration holds them, checked."""
        given = {name: value for name, value in self.get_params().items() if name in Categories.model_fields}
        try:
            return Categories(method=self._method, **given)
        except ValidationError as error:
            faults = "; ".join(_fault(fault) for fault in error.errors())
            raise ConfigError(f"{type(self).__name__} cannot be fitted: {faults}") from None

    def _cell(self) -> float:
        cell = getattr(self, "cell", 1.0)
        if not positive(cell):
            raise ConfigError(f"{type(self).__name__} cannot be fitted: `cell` is positive metres (got {cell!r})")
        return float(cell)

    def _seed(self) -> int:
        state = getattr(self, "random_state", 0)
        if isinstance(state, int | np.integer):
            return int(state)
        return int(check_random_state(state).randint(2**31 - 1))

    def _dimension_names(self) -> list[str]:
        return [f"{type(self).__name__.lower()}{axis}" for axis in range(self.vectors_.shape[1])]


def positive(value: Any) -> bool:
    """Say whether a parameter is a positive, finite number."""
    return isinstance(value, int | float | np.integer | np.floating) and bool(0 < value < np.inf)


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"])
    return f"{f'`{place}`: ' if place else ''}{fault['msg'].removeprefix('Value error, ')} (got {fault['input']!r})"
