"""Vectors of regions learned from their POIs by contrast, without labels and without images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from torch import Tensor
from torch.nn.functional import normalize

from mmgr.categories.estimator import positive
from mmgr.categories.frames import SECOND_LEVEL
from mmgr.categories.places import Places
from mmgr.contexts.estimator import RegionEstimator, field_of
from mmgr.contexts.estimators import FLOOR, SCALES
from mmgr.contexts.groups import LEVELS, groups_of_levels
from mmgr.contexts.places import RegionPlaces
from mmgr.errors import ConfigError, RegionError
from mmgr.learn.poi_set_data import PoiParts, PoiSets, nearest_pois
from mmgr.learn.poi_set_training import CHUNK, SetTraining, encode, new_model, one_thread, train

ENCODERS = ("kernels", "attention", "set2set")
"""How a set is read."""
PARTS = 8
"""Random parts of all POIs that views are made of; halves of 8 are 35 different pairs."""
_LEAST_SPREAD = 1e-6
"""Standard deviation below which values are taken as all the same."""


class PoiSetVectors(RegionEstimator):
    """Vectors of regions that tell one half of their POIs from other regions' by the other half.

    A region's set is the POIs around its centre, wherever they lie; so a region without a POI inside
    has a set too. In each step every region of a batch is seen twice, each time with a random half of
    its set, and

        loss = contrast * NTXent(half, other half) + side * mean square error of the guessed log densities,

    where the guess is made from each half, of :class:`mmgr.contexts.ContextDensities`, standardised
    and squashed by ``tanh``. The contrast is that of Bai et al. 2023 (section 3.4) with halves in the
    place of images and POIs. Three encoders read a set:

    - ``"kernels"`` sums all POIs under Gaussians, by category, first level and altogether. It starts from
      the principal components of what :class:`mmgr.contexts.ContextVectors` sees, and training moves them.
    - ``"attention"`` has learned queries look at the nearest POIs by category vector and distance.
    - ``"set2set"`` reads the same with Set2Set (Vinyals, Bengio, Kudlur 2016).

    Vectors are centred over the fitted regions and divided by one number; dimensions keep the shares of
    variance that they were learned with. One thread of torch computes, so that the same seed gives the
    same bits, and no global generator is touched. Training with ``"kernels"`` holds 8 densities a region,
    group and scale: 18 kB for 100 categories at 5 scales.

    Parameters
    ----------
    pois
        The POI table.
    vectors
        As of :class:`mmgr.contexts.RegionMean`. Training does not change them, but for their length, made 1.
        Sums under kernels keep categories apart; they do not look at vectors.
    encoder
        ``"kernels"``, ``"attention"`` or ``"set2set"``.
    neighbours
        POIs of a set; kernels see all.
    scales
        Standard deviations in metres of the densities that are guessed and of the kernels, and the attention's
        reach at first.
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
        The category vectors; of length 0 where they are not looked at.
    losses_ : ndarray of shape (steps, 3), float32
        Contrast, what a guess would score at it, and side task, at each step.
    """

    def __init__(
        self,
        pois: Any,
        vectors: Any = "skip-gram",
        *,
        encoder: str = "kernels",
        neighbours: int = 256,
        scales: Sequence[float] = SCALES,
        dimensions: int = 64,
        steps: int = 100,
        batch_size: int = 256,
        temperature: float = 0.5,
        learning_rate: float = 5e-4,
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
        self._places = places
        self._part = self._draw_parts(seed)
        self.vectors_ = self._read_vectors(seed)
        target = self._targets(regions)
        with one_thread():
            sets, centres = self._sets(regions), torch.from_numpy(regions.centres)
            self._model = new_model(
                self.encoder, sets, target, category_dimensions=self.vectors_.shape[1], dimensions=self.dimensions,
                scales=tuple(self.scales), seed=seed,
            )  # fmt: skip
            self.losses_ = train(self._model, self._table(), sets, centres, target, self._training(seed))
        made = self._encode(regions)
        self._mean = made.mean(0)
        self._spread = max(float((made - self._mean).std()), _LEAST_SPREAD)

    def _vectors(self, regions: RegionPlaces) -> NDArray[np.float32]:
        return np.asarray((self._encode(regions) - self._mean) / self._spread, np.float32)

    def _encode(self, regions: RegionPlaces) -> NDArray[np.float32]:
        """Return what the model makes of whole sets, in chunks, for memory's sake, shape ``(n, dimensions)``."""
        made = np.empty((len(regions), self.dimensions), np.float32)
        for start in range(0, len(regions), CHUNK):
            part = slice(start, start + CHUNK)
            sets = self._sets(RegionPlaces(regions.centres[part], None), parts=False)
            with one_thread():
                made[part] = encode(self._model, self._table(), sets)
        return made

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
            if not positive(getattr(self, name))
        ]
        faults += [
            f"`{name}` is at least 0 (got {getattr(self, name)!r})"
            for name in ("contrast", "side", "apart")
            if not (positive(getattr(self, name)) or getattr(self, name) == 0)
        ]
        if not (positive(self.keep) and self.keep <= 1):
            faults.append(f"`keep` is a share above 0 and up to 1 (got {self.keep!r})")
        if self.encoder not in ENCODERS:
            faults.append(f"`encoder` is one of {', '.join(ENCODERS)} (got {self.encoder!r})")
        if self.contrast == self.side == 0:
            faults.append("one of `contrast` and `side` is above 0, or nothing is learned")
        if faults:
            raise ConfigError(f"PoiSetVectors cannot be fitted: {'; '.join(faults)}")

    def _read_vectors(self, seed: int) -> NDArray[np.float32]:
        """Return the category vectors; sums under kernels keep categories apart and need none."""
        if self.encoder == "kernels":
            self._source_of_vectors(self.vectors, seed)  # what other encoders would refuse is refused here, too
            return np.zeros((len(self._places.taxonomy), 0), np.float32)
        return self._category_vectors(self.vectors, self._places, seed)

    def _draw_parts(self, seed: int) -> NDArray[np.int64]:
        """Return a random part for each POI, shape ``(m,)``, whatever the order of the table."""
        xy = self._places.xy
        part = np.empty(len(xy), np.int64)
        order = np.lexsort((self._places.category, xy[:, 1], xy[:, 0]))
        part[order] = np.random.default_rng(seed).permutation(len(xy)) % PARTS
        return part

    def _sets(self, regions: RegionPlaces, *, parts: bool = True) -> PoiSets | PoiParts:
        """Return what an encoder reads; without ``parts`` the POIs need not be told apart."""
        places = self._places
        if self.encoder != "kernels":
            return nearest_pois(regions.centres, places.xy, places.category, self.neighbours)
        which = [self._part == part for part in range(PARTS)] if parts else [np.full(len(places.xy), fill_value=True)]
        found = [
            self._densities(regions, replace(places, xy=places.xy[some], category=places.category[some]))
            for some in which
        ]
        return PoiParts(torch.from_numpy(np.stack(found, axis=1)))

    def _densities(self, regions: RegionPlaces, places: Places) -> NDArray[np.float32]:
        """Return POIs per km2 by scale and group, shape ``(n, F)``."""
        groups = groups_of_levels(places.taxonomy, LEVELS)
        if not len(places.xy):
            return np.zeros((len(regions), len(self.scales) * len(groups.names)), np.float32)
        found = groups.total(field_of(places, scales=self.scales).densities(regions.centres))  # (n, S, groups)
        return np.asarray(found.reshape(len(regions), -1), np.float32)

    def _targets(self, regions: RegionPlaces) -> Tensor:
        """Return the squashed log densities that are guessed, shape ``(n, targets)``."""
        table = np.log(np.float32(FLOOR) + self._densities(regions, self._places))
        # a density that is the same everywhere becomes 0
        table = (table - table.mean(0)) / np.maximum(table.std(0), _LEAST_SPREAD)
        return torch.from_numpy(np.tanh(table).astype(np.float32))

    def _table(self) -> Tensor:
        """Return the category vectors with length 1, as the encoders expect them."""
        return normalize(torch.from_numpy(np.asarray(self.vectors_, np.float32)), dim=1)

    def _training(self, seed: int) -> SetTraining:
        names = [name for name in SetTraining.__dataclass_fields__ if name != "seed"]
        return SetTraining(**{name: getattr(self, name) for name in names}, seed=seed)
