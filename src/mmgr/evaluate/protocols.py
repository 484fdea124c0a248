"""Evaluation protocols of published benchmarks by name, so that a score can stand beside theirs.

====================  ======================================================================================
``cityrep``           10 x 10 blocks over the units' own bounding box, vectors of unit length, one hidden layer of
                      1024; R2 or macro-F1. CityRep, arXiv 2605.26036.
``cityrep-kernel``    Its blocks and vectors of unit length; ridge regression with a Gaussian kernel whose
                      width and penalty are settled beforehand, and twenty draws of blocks instead of five. Ours, not
                      published.
``cityrep-trees``     Its splits; gradient boosted trees on the vectors as they are. Ours, not published.
``regiondcl``         Random units; shares by one hidden layer of 512, numbers by a random forest.
                      Li, Huang, Cong, Wang, Wang (2023), Urban region representation learning with OpenStreetMap
                      building footprints, KDD.
``regiondcl-blocks``  The same probes and parts over blocks of 5 km. Ours: random units are optimistic.
====================  ======================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import train_test_split

from mmgr.config import LabelKind as Kind
from mmgr.errors import SplitError
from mmgr.evaluate.kernel import KernelHead
from mmgr.evaluate.metrics import cosine, kl_divergence, l1, macro_f1, r2
from mmgr.evaluate.side_by_side import one_thread
from mmgr.evaluate.splits import block_of
from mmgr.evaluate.tuning import Rows

METRICS: dict[Kind, dict[str, Callable[[ArrayLike, ArrayLike], float]]] = {
    "number": {"r2": r2},
    "class": {"macro_f1": macro_f1},
    "shares": {"l1": l1, "kl": kl_divergence, "cosine": cosine},
}
"""The metrics of each kind of label."""


class GroupHoldOut:
    """Parts of whole groups, such as blocks: one draw a seed into training, validation and test.

    Groups are dealt by ``sklearn.model_selection.train_test_split`` on their sorted numbers: first the
    test's, then the validation's out of the rest, both with the seed as ``random_state``. Where each unit
    is its own group, that is a random split.

    Parameters
    ----------
    groups
        Group of each unit, shape ``(n,)``.
    seeds
        One draw each.
    test
        Share of the groups that are tested.
    validation
        Share of the remaining groups that choose an epoch.
    among
        All groups that are dealt; by default those of ``groups``. With those of the whole area, a sample
        of units falls into the same parts as the whole.

    Raises
    ------
    SplitError
        If there are fewer than three groups, or ``among`` lacks one.
    """

    def __init__(
        self,
        groups: ArrayLike,
        *,
        seeds: tuple[int, ...],
        test: float = 0.2,
        validation: float = 0.1,
        among: ArrayLike | None = None,
    ) -> None:
        self.groups = np.asarray(groups)
        self.seeds = tuple(seeds)
        self.test = test
        self.validation = validation
        self.among = np.unique(self.groups if among is None else np.asarray(among))
        if len(self.among) < 3:
            raise SplitError(f"three parts need at least 3 groups or blocks, got {len(self.among)}")
        strange = np.setdiff1d(self.groups, self.among)
        if len(strange):
            raise SplitError(f"{len(strange)} groups, such as {strange[0]}, are not among those dealt")

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:  # noqa: ARG002 - scikit-learn's interface
        """Return the number of seeds."""
        return len(self.seeds)

    def split(self, X: Any = None, y: Any = None, groups: Any = None) -> Iterator[tuple[Rows, Rows]]:  # noqa: ARG002 - scikit-learn's interface
        """Yield the rows to train on, validation included, and the rows to test on, seed by seed.

        Raises
        ------
        SplitError
            As of :meth:`parts`, or if ``X`` has another number of rows than there are units.
        """
        if X is not None and len(X) != len(self.groups):
            raise SplitError(f"the split was made for {len(self.groups)} units, but X has {len(X)} rows")
        for train, validation, test in self.parts():
            yield np.union1d(train, validation), test

    def parts(self) -> Iterator[tuple[Rows, Rows, Rows]]:
        """Yield the rows of training, validation and test, seed by seed.

        Raises
        ------
        SplitError
            If a part has no unit.
        """
        for seed in self.seeds:
            rest, test = train_test_split(self.among, test_size=self.test, random_state=seed)
            train, validation = train_test_split(rest, test_size=self.validation, random_state=seed)
            rows = tuple(np.flatnonzero(np.isin(self.groups, part)) for part in (train, validation, test))
            if not all(len(part) for part in rows):
                sizes = " / ".join(str(len(part)) for part in rows)
                raise SplitError(f"seed {seed} leaves a part empty: {sizes} units to train, validate and test")
            yield rows[0], rows[1], rows[2]


def grid_blocks(places: ArrayLike, per_side: int = 10) -> Rows:
    """Return the block of each unit in a grid of ``per_side`` squared over the units' bounding box.

    Parameters
    ----------
    places
        Two coordinates of each unit in any unit, such as a raster's column and row, shape ``(n, 2)``.
    per_side
        Blocks along each axis.

    Returns
    -------
    ``row * per_side + column``, shape ``(n,)``; blocks without a unit leave gaps.
    """
    points = np.asarray(places, np.float64)
    lowest = points.min(axis=0)
    span = np.maximum(points.max(axis=0) - lowest, 1e-12)
    column, row = np.clip(np.floor((points - lowest) / span * per_side), 0, per_side - 1).astype(np.int64).T
    return np.asarray(row * per_side + column, np.int64)


@dataclass(frozen=True, slots=True)
class Protocol:
    """A split, a probe and its metrics, under the name of who published them."""

    name: str
    groups_of: Callable[[NDArray[np.float64]], Rows]
    """Group of each unit, from the units' places."""
    probe: Callable[[Kind, int], Any]
    """An unfitted probe of a kind of label and a seed."""
    seeds: tuple[int, ...]
    test: float
    validation: float
    optimistic: bool
    """Whether neighbours of test units are trained on."""
    unit_length: bool = False
    """Whether vectors are divided by their length first."""
    standardised: bool = False
    """Whether numbers are z-scored first, over all units: a matter of scale that no R2 sees."""

    def splitter(self, places: ArrayLike, *, rows: ArrayLike | None = None) -> GroupHoldOut:
        """Return the split of units at ``places``, shape ``(n, 2)``, or of some of them (``rows``).

        Raises
        ------
        SplitError
            If the units lie in fewer than three groups.
        """
        groups = self.groups_of(np.asarray(places, np.float64))
        some = groups if rows is None else groups[np.asarray(rows)]
        return GroupHoldOut(some, seeds=self.seeds, test=self.test, validation=self.validation, among=groups)

    def score(
        self, X: ArrayLike, y: ArrayLike, places: ArrayLike, *, kind: Kind, rows: ArrayLike | None = None
    ) -> list[dict[str, float]]:
        """Score vectors of units, seed by seed.

        Parameters
        ----------
        X
            Vectors, shape ``(n, d)``.
        y
            Labels, shape ``(n,)``; shares have the shape ``(n, classes)``.
        places
            What the protocol makes its blocks of, shape ``(n, 2)``: columns and rows of a raster,
            degrees of points (``cityrep``) or metres (``regiondcl-blocks``).
        kind
            What a label is.
        rows
            Where ``X`` and ``y`` are a sample: its rows in ``places``, so that it falls into the same
            blocks as all units do.

        Returns
        -------
        The test's metrics, one dictionary a seed; its key ``seed`` is the seed.

        Raises
        ------
        SplitError
            If a part of the split has no unit.
        ValueError
            If a vector is not finite or there is one more or less than labels.
        """
        vectors, labels = np.asarray(X, np.float32), np.asarray(y)
        splitter = self.splitter(places, rows=rows)
        if not len(vectors) == len(labels) == len(splitter.groups):
            raise ValueError(f"{len(vectors)} vectors, {len(labels)} labels and {len(splitter.groups)} places differ")
        return [
            {"seed": seed} | {name: metric(labels[test], predicted) for name, metric in METRICS[kind].items()}
            for seed, test, predicted in self._predict(vectors, labels, splitter, kind)
        ]

    def predict(
        self, X: ArrayLike, y: ArrayLike, places: ArrayLike, *, kind: Kind
    ) -> Iterator[tuple[Rows, NDArray[np.float64] | NDArray[np.int64]]]:
        """Yield the rows of the test, seed by seed, and what is predicted for them, on the scale of ``y``.

        Parameters
        ----------
        X, y, places, kind
            As of :meth:`score`.

        Raises
        ------
        SplitError
            If a part of the split has no unit.
        """
        labels = np.asarray(y)
        for _, test, predicted in self._predict(np.asarray(X, np.float32), labels, self.splitter(places), kind):
            yield test, predicted

    def _predict(
        self, vectors: NDArray[np.float32], labels: NDArray[Any], splitter: GroupHoldOut, kind: Kind
    ) -> Iterator[tuple[int, Rows, NDArray[Any]]]:
        if self.unit_length:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6)
        level, spread = 0.0, 1.0
        if self.standardised and kind == "number":
            level, spread = float(labels.mean()), float(labels.std() or 1.0)
            labels = (labels - level) / spread
        for seed, parts in zip(self.seeds, splitter.parts(), strict=True):
            predicted = _fit_predict(self.probe(kind, seed), vectors, labels, parts)
            yield seed, parts[2], predicted * spread + level if kind == "number" else predicted


def get_protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises
    ------
    SplitError
        If there is none of that name.
    """
    if name not in PROTOCOLS:
        raise SplitError(f"there is no protocol {name!r}; known are {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def _fit_predict(
    probe: Any, vectors: NDArray[np.float32], labels: NDArray[Any], parts: tuple[Rows, Rows, Rows]
) -> NDArray[Any]:
    train, validation, test = parts
    with one_thread():
        if "validation" in signature(probe.fit).parameters:
            probe.fit(vectors[train], labels[train], validation=(vectors[validation], labels[validation]))
        else:  # nothing is chosen: the validation units are trained on, too
            both = np.union1d(train, validation)
            probe.fit(vectors[both], labels[both])
        return np.asarray(probe.predict(vectors[test]))


def _cityrep(kind: Kind, seed: int) -> Any:
    from mmgr.evaluate.networks import cityrep_probe  # noqa: PLC0415 - torch loads slowly

    return cityrep_probe(kind, seed)


def _kernel(kind: Kind, seed: int) -> Any:
    if kind != "number":
        raise ValueError("kernel ridge regression is here for numbers, not for classes or shares")
    return KernelHead(linear=0.0, penalties=(1.0,), random_state=seed)


def _trees(kind: Kind, seed: int) -> Any:
    if kind == "shares":
        raise ValueError("gradient boosted trees predict numbers or classes, no shares")
    # without early stopping no unit is set aside at random, beside those that it is tested on
    family = HistGradientBoostingRegressor if kind == "number" else HistGradientBoostingClassifier
    return family(early_stopping=False, random_state=seed)


def _regiondcl(kind: Kind, seed: int) -> Any:
    if kind == "class":
        raise ValueError("the protocol regiondcl knows numbers and shares, no classes")
    if kind == "number":
        return RandomForestRegressor(random_state=seed, n_jobs=-1)
    from mmgr.evaluate.networks import regiondcl_probe  # noqa: PLC0415 - torch loads slowly

    return regiondcl_probe(seed)


def _each_its_own(places: NDArray[np.float64]) -> Rows:
    return np.arange(len(places))


def _five_kilometres(places: NDArray[np.float64]) -> Rows:
    return block_of(places, 5000.0)


_CITYREP_SEEDS = (42, 24, 7, 0, 100)
# a fit takes a second, and which blocks are tested matters more than what describes them; none of the published seeds
_MORE_SEEDS = tuple(range(101, 121))
# the public code's ten repeats; its fractions are a fifth, then a fifth of the rest (64 / 16 / 20, not 60 / 20 / 20)
_REGIONDCL_SEEDS = tuple(range(1, 11))

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        Protocol(
            "cityrep", grid_blocks, _cityrep, _CITYREP_SEEDS, 0.2, 0.1,
            optimistic=False, unit_length=True, standardised=True,
        ),
        Protocol(
            "cityrep-kernel", grid_blocks, _kernel, _MORE_SEEDS, 0.2, 0.1,
            optimistic=False, unit_length=True, standardised=True,
        ),
        Protocol("cityrep-trees", grid_blocks, _trees, _CITYREP_SEEDS, 0.2, 0.1, optimistic=False),
        Protocol("regiondcl", _each_its_own, _regiondcl, _REGIONDCL_SEEDS, 0.2, 0.2, optimistic=True),
        Protocol("regiondcl-blocks", _five_kilometres, _regiondcl, _REGIONDCL_SEEDS, 0.2, 0.2, optimistic=False),
    )
}  # fmt: skip
"""The protocols by name."""
