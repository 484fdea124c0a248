"""Vectors of regions learned from their POIs by contrast, without labels and without images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn.functional import normalize

from mmgr.categories.frames import SECOND_LEVEL
from mmgr.categories.places import Places
from mmgr.contexts.estimator import RegionEstimator, field_of
from mmgr.contexts.estimators import FLOOR, SCALES
from mmgr.contexts.groups import LEVELS, groups_of_levels
from mmgr.contexts.places import RegionPlaces
from mmgr.errors import ConfigError, RegionError
from mmgr.learn.poi_set_encoders import PoiSets, nearest_pois
from mmgr.learn.poi_set_training import SetTraining, encode, new_model, one_thread, train

ENCODERS = ("attention", "set2set")
"""How a set is read."""
_LEAST_SPREAD = 1e-6
"""Standard deviation below which values are taken as all the same."""


class PoiSetVectors(RegionEstimator):
    """Vectors of regions that tell one half of their POIs from other regions' by the other half.

    A region's set is the POIs nearest to its centre, wherever they lie, each with its category
    vector and its distance; so a region without a POI inside has a set too. In each step every
    region of a batch is seen twice, each time with a random half of its set, and

        loss = NTXent(half, other half) + side * mean square error of the guessed log densities,

    where the guess is made from each half, of :class:`mmgr.contexts.ContextDensities`, standardised
    and squashed by ``tanh``. The contrast is that of Bai et al. 2023 (section 3.4) with halves in the
    place of images and POIs; Set2Set is that of Vinyals, Bengio, Kudlur 2016.

    One thread computes, so that the same seed gives the same bits; no global generator is touched.

    Parameters
    ----------
    pois
        The POI table.
    vectors
        CategoryVectors, an estimator of them (fitted to ``pois`` where it is not yet), or the name
        of a method such as ``"skip-gram"``. They stay as they are, but for their length, made 1.
    encoder
        ``"attention"``, :class:`mmgr.learn.poi_set_encoders.AttentionPool`, or ``"set2set"``.
    neighbours
        POIs of a set.
    scales
        Standard deviations in metres of the densities that are guessed, and of the attention's reach at first.
    dimensions
        Length of a vector.
    steps, batch_size
        How many batches are seen, and regions in each; fewer where fewer are fitted.
    temperature
        What the contrast divides cosine similarities by.
    learning_rate
        Largest step size of Adam; it rises for a tenth of the steps and falls to 0 as a cosine.
    keep
        Share of the POIs in each view; above 0.5 views share some.
    contrast, side
        Weights of the two losses; not both 0.
    apart
        Regions nearer than these metres are no negatives of each other.
    random_state
        Start of weights, batches and views.
    first_level, second_level
        Columns of the category.

    Attributes
    ----------
    vectors_ : ndarray of shape (n_categories, n), float32
        The category vectors.
    losses_ : ndarray of shape (steps, 3), float32
        Contrast, what a guess would score at it, and side task, at each step.
    """

    def __init__(
        self,
        pois: Any,
        vectors: Any = "skip-gram",
        *,
        encoder: str = "attention",
        neighbours: int = 256,
        scales: Sequence[float] = SCALES,
        dimensions: int = 64,
        steps: int = 300,
        batch_size: int = 128,
        temperature: float = 0.5,
        learning_rate: float = 3e-3,
        keep: float = 0.5,
        contrast: float = 1.0,
        side: float = 1.0,
        apart: float = 0.0,
        random_state: Any = None,
        first_level: str = "first_level",
        second_level: str | None = SECOND_LEVEL,
    ) -> None:
        self.pois = pois
        self.vectors = vectors
        self.encoder = encoder
        self.neighbours = neighbours
        self.scales = scales
        self.dimensions = dimensions
        self.steps = steps
        self.batch_size = batch_size
        self.temperature = temperature
        self.learning_rate = learning_rate
        self.keep = keep
        self.contrast = contrast
        self.side = side
        self.apart = apart
        self.random_state = random_state
        self.first_level = first_level
        self.second_level = second_level

    def _learn(self, regions: RegionPlaces, places: Places, y: Any) -> None:  # noqa: ARG002
        self._check()
        if len(regions) < 2:
            raise RegionError("PoiSetVectors contrasts regions with each other and needs at least 2; got 1.")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        self.vectors_ = self._category_vectors(self.vectors, places, seed)
        self._xy, self._category = places.xy, places.category
        target = self._targets(regions, places)
        self._model = new_model(
            self.encoder,
            category_dimensions=self.vectors_.shape[1],
            dimensions=self.dimensions,
            targets=target.shape[1],
            scales=tuple(self.scales),
            seed=seed,
        )
        with one_thread():
            sets, centres = self._sets(regions), torch.from_numpy(regions.centres)
            self.losses_ = train(self._model, self._table(), sets, centres, target, self._training(seed))
            made = encode(self._model, self._table(), sets)
        self._mean, self._spread = made.mean(0), np.maximum(made.std(0), _LEAST_SPREAD)

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        with one_thread():
            made = encode(self._model, self._table(), self._sets(regions))
        return np.asarray((made - self._mean) / self._spread, np.float32)

    def _dimension_names(self) -> list[str]:
        return [f"poisetvectors{axis}" for axis in range(self.dimensions)]

    def _check(self) -> None:
        """Raise a ConfigError that lists all parameters out of their range."""
        whole = {"neighbours": 1, "dimensions": 1, "steps": 0, "batch_size": 2}
        faults = [
            f"`{name}` is a whole number of at least {least} (got {getattr(self, name)!r})"
            for name, least in whole.items()
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < least
        ]
        faults += [
            f"`{name}` is positive (got {getattr(self, name)!r})"
            for name in ("temperature", "learning_rate")
            if not 0 < getattr(self, name) < np.inf
        ]
        faults += [
            f"`{name}` is at least 0 (got {getattr(self, name)!r})"
            for name in ("contrast", "side", "apart")
            if not 0 <= getattr(self, name) < np.inf
        ]
        if not 0 < self.keep <= 1:
            faults.append(f"`keep` is a share above 0 and up to 1 (got {self.keep!r})")
        if self.encoder not in ENCODERS:
            faults.append(f"`encoder` is one of {', '.join(ENCODERS)} (got {self.encoder!r})")
        if self.contrast == self.side == 0:
            faults.append("one of `contrast` and `side` is above 0, or nothing is learned")
        if faults:
            raise ConfigError(f"PoiSetVectors cannot be fitted: {'; '.join(faults)}")

    def _sets(self, regions: RegionPlaces) -> PoiSets:
        return nearest_pois(regions.centres, self._xy, self._category, self.neighbours)

    def _table(self) -> Tensor:
        """Return the category vectors with length 1, as the encoders expect them."""
        return normalize(torch.from_numpy(np.asarray(self.vectors_, np.float32)), dim=1)

    def _training(self, seed: int) -> SetTraining:
        names = [name for name in SetTraining.__dataclass_fields__ if name != "seed"]
        return SetTraining(**{name: getattr(self, name) for name in names}, seed=seed)

    def _targets(self, regions: RegionPlaces, places: Places) -> Tensor:
        """Return the squashed log densities that are guessed, shape ``(n, targets)``."""
        densities = field_of(places, scales=self.scales).densities(regions.centres)  # (n, S, categories)
        table = np.log(np.float32(FLOOR) + groups_of_levels(places.taxonomy, LEVELS).total(densities))
        table = table.reshape(len(regions), -1)
        # a density that is the same everywhere becomes 0
        table = (table - table.mean(0)) / np.maximum(table.std(0), _LEAST_SPREAD)
        return torch.from_numpy(np.tanh(table).astype(np.float32))
