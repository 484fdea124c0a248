"""How many POIs of each group lie around a place, weighted by distance, at several scales at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mmgr.contexts.kernels import Rows, add_kernels
from mmgr.contexts.merge import merge_points, rows_of_points
from mmgr.errors import ConfigError, PoiError, RegionError

CUTOFF = 6.5
"""Standard deviations beyond which a Gaussian is taken as 0.

Around a hole in a city of ``D`` POIs per km2 this loses at most ``D * exp(-6.5 ** 2 / 2)``: 7e-6 per km2 where there
are 10,000, far below the floor of 0.1 that logarithms are taken above by default.
"""
BINS = 10
"""POIs of a group in one square bin of this part of a standard deviation are merged."""
KNOTS = 256
"""Values of a Gaussian kept for each unit of ``d^2 / 2h^2``; straight lines between them err by 2e-6 of the value."""


@dataclass(frozen=True, slots=True)
class DensityField:
    """POIs made ready to be summed around any place.

    Build it with :func:`density_field`. Every place is summed by itself, so places may be handed in
    parts: the bits are the same.
    """

    groups: int
    """Number of groups."""
    scales: tuple[float, ...]
    """Standard deviations, or radii of discs, in metres."""
    areas_km2: NDArray[np.float64]
    """What a sum is divided by to be a density: the integral of each kernel, shape ``(S,)``."""
    reaches: tuple[float, ...]
    """Distance in metres beyond which each kernel is 0."""
    table: NDArray[np.float32]
    """The kernel at even steps of the squared distance, from 0 to the reach."""
    rows: tuple[Rows, ...]
    """The points of each scale."""

    def sums(self, centres: ArrayLike) -> NDArray[np.float32]:
        """Return the sum of weight times kernel, 1 at distance 0, shape ``(n, S, groups)``; discs give counts.

        Parameters
        ----------
        centres
            Places in metres, shape ``(n, 2)``.

        Raises
        ------
        RegionError
            If the shape is another, or a coordinate is missing or infinite.
        """
        places = np.ascontiguousarray(centres, np.float64)
        if places.ndim != 2 or places.shape[1] != 2:
            raise RegionError(f"centres have the shape (n, 2), metres east and north; got {places.shape}.")
        bad = np.flatnonzero(~np.isfinite(places).all(axis=1))
        if len(bad):
            raise RegionError(f"{len(bad)} of {len(places)} centres are missing or infinite (row {bad[0]} first).")
        sums = np.zeros((len(places), len(self.scales), self.groups), np.float32)
        for scale, (rows, reach) in enumerate(zip(self.rows, self.reaches, strict=True)):
            if len(rows.x):
                add_kernels(places, rows, self.table, reach, sums[:, scale])
        return sums

    def densities(self, centres: ArrayLike) -> NDArray[np.float32]:
        """Return POIs per km2, shape ``(n, S, groups)``; the errors are those of :meth:`sums`."""
        sums = self.sums(centres)
        sums /= self.areas_km2.astype(np.float32)[:, None]
        return sums


def density_field(
    xy: ArrayLike,
    group: ArrayLike,
    *,
    groups: int,
    scales: Sequence[float] | float,
    weights: ArrayLike | None = None,
    kernel: str = "gaussian",
) -> DensityField:
    """Make POIs ready to be summed around any place; the parameters are those of :func:`context_densities`."""
    if kernel not in {"gaussian", "disc"}:
        raise ConfigError(f"there is no kernel {kernel!r}; known are gaussian, disc.")
    h = _checked_scales(scales)
    points, group_of, weight = _checked_points(xy, group, groups, weights)
    gaussian = kernel == "gaussian"
    rows = tuple(
        rows_of_points(
            *merge_points(points, group_of, weight, edge=scale / BINS if gaussian else 0.0), height=scale / 2
        )
        for scale in h
    )
    return DensityField(
        groups=groups,
        scales=h,
        areas_km2=(2 * np.pi if gaussian else np.pi) * np.square(h) / 1e6,
        reaches=tuple(scale * (CUTOFF if gaussian else 1.0) for scale in h),
        table=_gaussian_table() if gaussian else np.ones(3, np.float32),
        rows=rows,
    )


def context_densities(
    centres: ArrayLike,
    xy: ArrayLike,
    group: ArrayLike,
    *,
    groups: int,
    scales: Sequence[float] | float,
    weights: ArrayLike | None = None,
    kernel: str = "gaussian",
) -> NDArray[np.float32]:
    """Return the POIs per km2 around each place, by group and scale.

    ``sum_k w_k exp(-d_k^2 / 2 h^2) / (2 pi h^2)`` over the POIs ``k`` of the group, up to
    :data:`CUTOFF` standard deviations ``h``. POIs of a group within one bin of ``h / 10`` count as
    one point at their mean, so that the work for a place is bounded however many POIs there are. Of
    a crowd this errs by about 0.1 %; a POI alone in its bin counts where it is.

    Parameters
    ----------
    centres
        Places in metres, shape ``(n, 2)``.
    xy
        POIs in the same metres, shape ``(m, 2)``.
    group
        Group of each POI, shape ``(m,)``, in ``0 .. groups - 1``.
    groups
        Number of groups.
    scales
        ``S`` standard deviations in metres; with ``kernel="disc"`` radii.
    weights
        How many POIs each one stands for, shape ``(m,)``; by default 1.
    kernel
        ``"gaussian"``, or ``"disc"``: all POIs within the radius alike, none merged.

    Returns
    -------
    Shape ``(n, S, groups)``. Memory is this and the POIs; for more places than fit, keep
    :func:`density_field` and hand it places in parts.

    Raises
    ------
    ConfigError
        If a scale is not positive, or there is no such kernel.
    PoiError
        If arrays of POIs differ in length, a coordinate is not finite, a group is out of its range,
        or a weight is negative or not finite.
    RegionError
        If centres have another shape, or one is missing or infinite.
    """
    field = density_field(xy, group, groups=groups, scales=scales, weights=weights, kernel=kernel)
    return field.densities(centres)


def _checked_scales(scales: Sequence[float] | float) -> tuple[float, ...]:
    try:
        h = tuple(float(scale) for scale in np.atleast_1d(np.asarray(scales)))
    except (TypeError, ValueError):
        raise ConfigError(f"scales are positive metres, at least one; got {scales!r}.") from None
    if not h or not all(np.isfinite(scale) and scale > 0 for scale in h):
        raise ConfigError(f"scales are positive metres, at least one; got {list(h)}.")
    return h


def _checked_points(
    xy: ArrayLike, group: ArrayLike, groups: int, weights: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.float64]]:
    points, group_of = np.asarray(xy, np.float64).reshape(-1, 2), np.asarray(group, np.int32)
    weight = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    if not len(points) == len(group_of) == len(weight):
        raise PoiError(f"{len(points)} POIs, but {len(group_of)} groups and {len(weight)} weights.")
    if not np.isfinite(points).all():
        raise PoiError("POIs have coordinates that are missing or infinite; repair or drop them.")
    if len(group_of) and not (group_of.min() >= 0 and group_of.max() < groups):
        raise PoiError(f"groups of POIs lie in 0 .. {groups - 1}; got {group_of.min()} .. {group_of.max()}.")
    if not (np.isfinite(weight) & (weight >= 0)).all():
        raise PoiError("weights of POIs are finite and not negative.")
    there = weight > 0
    return points[there], group_of[there], weight[there]


def _gaussian_table() -> NDArray[np.float32]:
    """Return ``exp(-u)`` from 0 to the cutoff, and the last value once more for a point on the very edge."""
    end = CUTOFF**2 / 2
    values = np.exp(-np.linspace(0, end, int(end * KNOTS) + 1)).astype(np.float32)
    return np.append(values, values[-1])
