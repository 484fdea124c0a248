"""Vectors of regions from the POIs in and around them: the methods as scikit-learn estimators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.estimator import positive
from mmgr.categories.frames import SECOND_LEVEL
from mmgr.categories.places import Places
from mmgr.contexts.estimator import RegionEstimator, field_of, metres, product
from mmgr.contexts.groups import LEVELS, groups_of_levels
from mmgr.contexts.places import RegionPlaces
from mmgr.contexts.squashed import SquashedComponents
from mmgr.errors import ConfigError, RegionError

SCALES = (200.0, 400.0, 800.0, 1600.0, 3200.0)
"""Standard deviations in metres: from a few houses to a part of a city."""
FLOOR = 0.1
"""POIs per km2 below which densities count as alike: one POI in 10 km2."""
SQUASH = 2.0
"""Standard deviations at which columns of a context are bent."""
PART = 4096
"""Regions whose whole table is in memory at a time where only their vectors are kept."""


class ContextDensities(RegionEstimator):
    """Logarithms of the POIs per km2 around each region's centre, by group and scale.

    ``log(floor + density)``, see :func:`mmgr.contexts.context_densities`: one dimension for each
    group of ``levels`` at each scale. With ``vectors`` the log densities of the categories, as a
    row, times the category vectors, at each scale; ``levels`` then do not matter.

    Parameters
    ----------
    pois
        The POI table.
    vectors
        An estimator of category vectors or a method's name such as ``"skip-gram"``, which learn from ``pois``,
        also where the estimator is fitted already; or CategoryVectors, as of ``estimator.to_vectors()``, which
        stay as they are, wherever they were learned; or None.
    scales
        Standard deviations of the Gaussian weights in metres.
    floor
        Positive POIs per km2 that are added before the logarithm.
    levels
        Which groups are counted: see :func:`mmgr.contexts.groups.groups_of_levels`.
    random_state
        Start of vectors that are learned, where ``vectors`` is a name.
    first_level, second_level
        Columns of the category.
    """

    def __init__(
        self,
        pois: Any,
        vectors: Any = None,
        *,
        scales: Sequence[float] = SCALES,
        floor: float = FLOOR,
        levels: Sequence[str] = LEVELS,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.pois = pois
        self.vectors = vectors
        self.scales = scales
        self.floor = floor
        self.levels = levels
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:  # noqa: ARG002
        _check_floor(self.floor)
        self._groups = groups_of_levels(places.taxonomy, "category" if self.vectors is not None else self.levels)
        self._field = field_of(places, scales=self.scales)
        if self.vectors is not None:
            self.vectors_ = self._category_vectors(self.vectors, places, self.random_state)

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        table = np.log(np.float32(self.floor) + self._groups.total(self._field.densities(regions.centres)))
        if self.vectors is not None:
            table = product(table, self.vectors_)  # (n, S, dimensions)
        return np.asarray(table.reshape(len(regions), -1), np.float32)

    def _dimension_names(self) -> list[str]:
        names = self._groups.names
        if self.vectors is not None:
            names = tuple(f"contextdensities{axis}" for axis in range(self.vectors_.shape[1]))
        return [f"{name}_{metres(scale)}" for scale in self._field.scales for name in names]


class CountTable(RegionEstimator):
    """The plain table: ``log(1 + count)`` of each category within each radius of a region's centre.

    Parameters
    ----------
    pois
        The POI table.
    radii
        Radii in metres.
    first_level, second_level
        Columns of the category.
    """

    def __init__(
        self,
        pois: Any,
        radii: Sequence[float] = (250.0, 500.0, 1000.0, 2000.0, 4000.0),
        *,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.pois = pois
        self.radii = radii
        self.first_level = first_level
        self.second_level = second_level

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:  # noqa: ARG002
        self._field = field_of(places, scales=self.radii, kernel="disc")

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        return np.log1p(self._field.sums(regions.centres)).reshape(len(regions), -1)

    def _dimension_names(self) -> list[str]:
        names = groups_of_levels(self.taxonomy_, "category").names
        return [f"{name}_within_{metres(radius)}" for radius in self._field.scales for name in names]


class ContextVectors(RegionEstimator):
    """What lies around each region, at several scales and levels of detail, in few dimensions: the default.

    1. ``log(floor + POIs per km2)`` of each category, each first level and all, at each scale, as
       :class:`ContextDensities`;
    2. standardised over the regions that were fitted, but for columns that hardly vary;
    3. squashed, ``tanh(z / squash)``, so that one odd downtown or one empty cell of sea cannot decide everything;
    4. their principal components, not whitened. Steps 2 to 4 are :class:`mmgr.contexts.squashed.SquashedComponents`.

    Nothing is random, and no label is used.

    Parameters
    ----------
    pois
        The POI table.
    scales, floor, levels
        As of :class:`ContextDensities`.
    dimensions
        Number of components, fewer where there are fewer regions or columns; None keeps the squashed table.
    squash
        Standard deviations at which columns are bent.
    random_state
        Not used: nothing is random. It is there so that all learning methods take it.
    first_level, second_level
        Columns of the category.

    Attributes
    ----------
    scaler_ : StandardScaler
        Step 2.
    pca_ : PCA or None
        Step 4.
    """

    def __init__(
        self,
        pois: Any,
        *,
        scales: Sequence[float] = SCALES,
        floor: float = FLOOR,
        levels: Sequence[str] = LEVELS,
        dimensions: int | None = 128,
        squash: float = SQUASH,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.pois = pois
        self.scales = scales
        self.floor = floor
        self.levels = levels
        self.dimensions = dimensions
        self.squash = squash
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:  # noqa: ARG002
        if len(regions) < 2:
            raise RegionError("one region alone tells nothing of how regions differ; fit at least two.")
        _check_floor(self.floor)
        _check_dimensions(self.dimensions)
        if not positive(self.squash):
            raise ConfigError(f"`squash` is a positive number of standard deviations; got {self.squash!r}.")
        self._groups = groups_of_levels(places.taxonomy, self.levels)
        self._field = field_of(places, scales=self.scales)
        self._squashed = SquashedComponents.of(self._log_densities(regions), self.dimensions, squash=self.squash)
        self.scaler_, self.pca_ = self._squashed.scaler, self._squashed.pca

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        return np.concatenate([self._squashed(self._log_densities(part)) for part in regions.parts(PART)])

    def _log_densities(self, regions: RegionPlaces) -> NDArray[np.float32]:
        """Return the table of step 1, shape ``(n, scales * groups)``."""
        densities = self._groups.total(self._field.densities(regions.centres))
        return np.asarray(np.log(np.float32(self.floor) + densities).reshape(len(regions), -1), np.float32)

    def _dimension_names(self) -> list[str]:
        if self.pca_ is not None:
            return [f"contextvectors{axis}" for axis in range(self.pca_.n_components_)]
        return [f"{name}_{metres(scale)}" for scale in self._field.scales for name in self._groups.names]


def _check_floor(floor: float) -> None:
    if not positive(floor):
        raise ConfigError(f"`floor` is positive POIs per km2, since a logarithm is taken; got {floor!r}.")


def _check_dimensions(dimensions: int | None) -> None:
    if dimensions is not None and not (isinstance(dimensions, int | np.integer) and dimensions >= 1):
        raise ConfigError(
            f"`dimensions` is at least 1, a whole number, or None for the whole table; got {dimensions!r}."
        )
