"""The samples of a task: what carries a label, and which regions stand for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Task
from mmgr.errors import LabelError
from mmgr.evaluate.names import names_of
from mmgr.evaluate.variogram import Variogram, empirical_variogram

MIN_UNITS = 10
"""Fewer labelled units than this are no basis for a score."""
MIN_OF_GROUP = 5
"""A group of fewer labelled units has no offset: where some are tested, hardly any would be left to learn it from."""
MOST_GROUPS = 50
"""With more groups than this none has an offset: they are no cities, but quarters, or places of their own."""


@dataclass(frozen=True)
class Units:
    """The ``u`` labelled units of a task over ``n`` regions.

    A unit is a region, or a label polygon (a tract) for which the regions in it stand.
    """

    task: Task
    """The task that the values belong to."""
    ids: NDArray[np.object_]
    """Name of each unit, shape ``(u,)``: a region's id or a polygon's."""
    geometry: gpd.GeoSeries
    """Outline of each unit in the store's CRS, shape ``(u,)``."""
    centres: NDArray[np.float64]
    """Area-weighted centre of each unit's regions in metres, shape ``(u, 2)``."""
    group: NDArray[np.object_]
    """Group that most of each unit's area of regions belongs to, shape ``(u,)``."""
    values: NDArray[np.float64]
    """The label: a number on its own scale, shape ``(u,)``; or the share of each class, shape ``(u, k)``, of which a
    task of classes has one that is 1."""
    weights: sparse.csr_array
    """Share of each region in each unit, shape ``(u, n)``; rows sum to 1."""
    coverage: NDArray[np.float64]
    """Share of a region that labels cover, or of a polygon that regions cover, shape ``(u,)``; 1 of labelled points,
    which cover nothing."""

    kind: Literal["regions", "polygons"] = "regions"
    """What a unit is."""
    classes: tuple[str, ...] = ()
    """Names of the ``k`` classes; none where the label is a number."""
    sources: sparse.csr_array | None = None
    """Label cells or polygons coarser than a region, or points in several regions, that each unit has its label from,
    shape ``(u, s)``; None where labels are finer."""
    points: NDArray[np.float64] | None = None
    """Labelled points in each unit, shape ``(u,)``; None where labels are none."""
    own_folds: NDArray[np.object_] | None = None
    """Fold of each unit in the user's own column, shape ``(u,)``; empty where it has none."""

    region_group: NDArray[np.object_] | None = None
    """Group of each region, shape ``(n,)``, where probes have an offset for each group; None where they have not."""

    def __post_init__(self) -> None:
        lengths = [len(self.geometry), len(self.centres), len(self.group), len(self.values), len(self.coverage)]
        if {len(self.ids), self.weights.shape[0], *lengths} != {len(self.ids)}:
            raise ValueError(f"{len(self.ids)} units, but columns of lengths {lengths}")
        if self.values.shape[1:] != ((len(self.classes),) if self.classes else ()):
            raise ValueError(f"values of shape {self.values.shape} for {len(self.classes)} classes")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def target(self) -> NDArray[np.float64]:
        """The label on the scale on which probes are fitted and scored, shape ``(u,)`` or ``(u, k)``."""
        return np.log1p(self.values) if self.task.uses_log else self.values

    @property
    def scale(self) -> str:
        """Name of the scale of :attr:`target`."""
        return "log1p" if self.task.uses_log else "as given"

    def untransform(self, target: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return predictions on the label's own scale; an amount is never below 0."""
        values = np.asarray(target, np.float64)
        if self.task.uses_log:
            # a probe that runs away must not overflow
            values = np.expm1(np.minimum(values, 700.0))
        return np.maximum(values, 0.0) if self.task.is_amount else values

    def features(self, matrix: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return each unit's weighted mean of its regions' vectors.

        Parameters
        ----------
        matrix
            Vectors of all regions, shape ``(n, d)``. NaN means unknown: such a value is left out and
            the weights of the others renormalised.

        Returns
        -------
        Vectors of the units, shape ``(u, d)``; NaN where no region of a unit is known.
        """
        if len(matrix) != self.weights.shape[1]:
            raise ValueError(f"vectors of {len(matrix)} regions for units over {self.weights.shape[1]}")
        known = ~np.isnan(matrix)
        total = self.weights @ np.where(known, matrix, 0.0)
        if known.all():
            return np.asarray(total, np.float32)
        weight = self.weights @ known.astype(np.float64)
        mean = np.divide(total, weight, out=np.full(total.shape, np.nan), where=weight > 0)
        return np.asarray(mean, np.float32)

    @cached_property
    def offsets(self) -> tuple[str, ...]:
        """Groups that have an offset, if offsets are asked for and there are several groups.

        They are those of :data:`MIN_OF_GROUP` units; none where they are more than :data:`MOST_GROUPS`.
        """
        if self.region_group is None:
            return ()
        names, counts = np.unique(names_of(self.group), return_counts=True)
        groups = tuple(names[counts >= MIN_OF_GROUP].tolist())
        return groups if len(names) > 1 and 0 < len(groups) <= MOST_GROUPS else ()

    def inputs(self, matrix: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return what probes see of each unit: :meth:`features`, and which of :attr:`offsets` is its own.

        Returns
        -------
        Shape ``(u, d + len(offsets))``.
        """
        return self._with_offsets(self.features(matrix), self.group)

    def region_inputs(self, matrix: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return what probes see of each region, as :meth:`inputs` of units; shape ``(n, d + len(offsets))``."""
        return self._with_offsets(np.asarray(matrix, np.float32), self.region_group)

    def input_parts(self, parts: tuple[int, ...], columns: int) -> tuple[int, ...]:
        """Return the numbers of columns of the parts of :meth:`inputs`, the offsets last.

        Parameters
        ----------
        parts
            Those of the vectors; none where these are one part.
        columns
            Of :meth:`inputs`.
        """
        count = len(self.offsets)
        return (*(parts or (columns - count,)), count) if count else parts

    def vectors_of(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return :meth:`inputs` without the offsets."""
        return inputs[:, : inputs.shape[1] - len(self.offsets)]

    def _with_offsets(self, vectors: NDArray[np.float32], group: NDArray[np.object_] | None) -> NDArray[np.float32]:
        if not self.offsets or group is None:
            return vectors
        indicators = names_of(group)[:, None] == np.array(self.offsets)[None, :]
        return np.hstack([vectors, indicators.astype(np.float32)])

    def only(self, kept: NDArray[np.bool_]) -> Units:
        """Return some of the units, over the same regions; ``kept`` of shape ``(u,)``."""
        rows = np.flatnonzero(kept)
        return replace(
            self,
            ids=self.ids[rows],
            geometry=self.geometry.iloc[rows],
            centres=self.centres[rows],
            group=self.group[rows],
            values=self.values[rows],
            weights=self.weights[rows],
            coverage=self.coverage[rows],
            sources=None if self.sources is None else self.sources[rows],
            points=None if self.points is None else self.points[rows],
            own_folds=None if self.own_folds is None else self.own_folds[rows],
        )

    @cached_property
    def linked(self) -> sparse.csr_array:
        """Pairs of units that share a region or one of :attr:`sources`, shape ``(u, u)``, boolean."""
        member = (self.weights > 0).astype(np.int32)
        if self.sources is not None:
            member = sparse.hstack([member, (self.sources > 0).astype(np.int32)], format="csr")
        return sparse.csr_array(member @ member.T > 0)

    @cached_property
    def anchors(self) -> NDArray[np.float64]:
        """Where a unit stands when blocks are made, shape ``(u, 2)``.

        Its centre; but where a label cell is coarser than a region, the mean centre of the units that have most of
        their label from that cell, so that a block's edge does not cut through it.
        """
        if self.sources is None:
            return self.centres
        count = np.bincount(self.cells)
        means = np.stack([np.bincount(self.cells, weights=axis) / count for axis in self.centres.T], axis=1)
        return np.asarray(means[self.cells], np.float64)

    @cached_property
    def variogram(self) -> Variogram | None:
        """How far labels are alike; None of too few units."""
        return empirical_variogram(self.centres, self.values, groups=self.group)

    @cached_property
    def cells(self) -> NDArray[np.int64]:
        """Number of the coarse label cell that most of a unit's label is from, shape ``(u,)``.

        Where labels are finer than regions, each unit has a number of its own.
        """
        alone = np.arange(len(self))
        if self.sources is None:
            return alone
        main = np.asarray(self.sources.tocsr().argmax(axis=1)).ravel()
        # a unit without a coarse cell stands for itself
        without = np.asarray(self.sources.sum(axis=1)).ravel() == 0
        _, number = np.unique(np.where(without, self.sources.shape[1] + alone, main), return_inverse=True)
        return np.asarray(number, np.int64)

    def facts(self) -> dict[str, Any]:
        """Return what a report says of the labels, as plain values."""
        used = np.asarray((self.weights > 0).sum(axis=0)).ravel() > 0
        return {
            "kind": self.kind,
            "units": len(self),
            "regions": int(self.weights.shape[1]),
            "regions_used": int(used.sum()),
            "groups": {str(name): int((self.group == name).sum()) for name in np.unique(self.group.astype(str))},
            "offsets": list(self.offsets),
            **self._share_facts(),
            "label": self._label_facts(),
        }

    def _share_facts(self) -> dict[str, Any]:
        """Return how many points the labels are of, or how much area."""
        if self.points is not None:
            low, middle, high = np.quantile(self.points, [0, 0.5, 1]).tolist()
            return {"points": {"lowest": low, "median": middle, "highest": high}}
        low, middle, high = np.quantile(self.coverage, [0, 0.5, 1]).tolist()
        return {
            "coverage": {
                "lowest": low,
                "median": middle,
                "highest": high,
                "area": float(self.coverage @ self.geometry.area / self.geometry.area.sum()),
                "deciles": np.quantile(self.coverage, np.linspace(0, 1, 11)).tolist(),
            }
        }

    def _label_facts(self) -> dict[str, Any]:
        if self.classes:
            shares = self.values.mean(axis=0)
            return {"classes": {name: float(share) for name, share in zip(self.classes, shares, strict=True)}}
        return {
            "lowest": float(self.values.min()),
            "median": float(np.median(self.values)),
            "highest": float(self.values.max()),
            "unit": self.task.unit,
        }

    def checked(self, *, where: str) -> Units:
        """Return the units if a probe can learn from them.

        Raises
        ------
        LabelError
            If they are fewer than :data:`MIN_UNITS`, all have one value, class or distribution, or some have a value
            that is infinite or has no logarithm where one is asked for.
        """
        if len(self) < MIN_UNITS:
            raise LabelError(
                f"{where}: only {len(self)} labelled units lie on the regions, at least {MIN_UNITS} are needed; "
                "check `min_cover`, `groups` and missing values."
            )
        infinite = int((~np.isfinite(self.values).reshape(len(self), -1).all(axis=1)).sum())
        if infinite:
            raise LabelError(f"{where}: the label is infinite in {infinite} of {len(self)} {self.kind}; mend it.")
        if (np.ptp(self.values, axis=0) == 0).all():
            shown = self.classes[int(self.values[0].argmax())] if self.classes else f"{self.values[0]:g}"
            raise LabelError(f"{where}: a label with one value ({shown}): nothing to learn.")
        # log(1 + y) is minus infinity at -1, and nothing below
        low = int((self.values <= -1).sum()) if self.task.uses_log else 0
        if low:
            raise LabelError(
                f"{where}: `transform: log1p` needs values above -1, but {low} of {len(self)} {self.kind} have others "
                f"(the lowest is {self.values.min():g}); set `transform: none`, or empty them if they mean 'missing'."
            )
        return self


def group_of_units(weights: sparse.csr_array, groups: NDArray[np.object_]) -> NDArray[np.object_]:
    """Return the group with the largest weight in each unit, shape ``(u,)``."""
    names, codes = np.unique(names_of(groups), return_inverse=True)
    member = sparse.csr_array((np.ones(len(codes)), (np.arange(len(codes)), codes)), shape=(len(codes), len(names)))
    return np.asarray(names.astype(object)[(weights @ member).toarray().argmax(axis=1)])
