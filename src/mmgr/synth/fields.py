"""Smooth random fields with a known spectrum, known at any place of a city of any size.

A field is a sum of plane waves: ``f(x) = sqrt(2 / K) * sum_k cos(w_k . x + p_k)``. With wave vectors ``w`` drawn from
the spectral density of a covariance and even phases ``p``, it has that covariance over the draws, and its values are
close to Gaussian for many waves (random Fourier features: Rahimi and Recht 2007, NeurIPS; the spectral method of
Shinozuka and Jan 1972). The covariance is Matern's with smoothness 3/2,

    C(r) = (1 + sqrt(3) r / l) * exp(-sqrt(3) r / l),

whose density in the plane, proportional to ``(3 / l^2 + |w|^2)^(-5/2)``, is Student's t with 3 degrees of freedom
and scale ``1 / l``. It falls to 0.05 at 2.739 l, which geostatistics calls the practical range.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.compiled import compiled

WAVES = 64
"""Waves of a field: a sum of so many has a kurtosis within 1 % of the Gaussian one."""
RANGE_IN_SCALES = 2.739
"""Practical range divided by the scale ``l``."""
_SMOOTHNESS_TWICE = 3
_LONGEST_STEP = 50.0
_STEPS_A_SCALE = 12
"""Lattice steps a scale ``l``: linear interpolation between them is exact to a hundredth of a standard deviation."""


@dataclass(frozen=True, slots=True)
class Fields:
    """``F`` fields of ``K`` waves each."""

    waves: NDArray[np.float64]
    """Wave vectors in radians a metre, shape ``(F, K, 2)``."""
    phases: NDArray[np.float64]
    """Shape ``(F, K)``."""
    means: NDArray[np.float64]
    """Shape ``(F,)``; variances are 1."""
    step: float
    """Metres between the nodes of the lattice that pictures read fields from."""

    def joined(self, other: Fields) -> Fields:
        """Return these fields and others after them, on the finer of the two lattices."""
        return Fields(
            np.concatenate([self.waves, other.waves]),
            np.concatenate([self.phases, other.phases]),
            np.concatenate([self.means, other.means]),
            min(self.step, other.step),
        )

    def at(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the fields at places in metres, shape ``(n, 2)``, as ``(n, F)``."""
        values = np.empty((len(xy), len(self.means)))
        _sum_waves(self.waves, self.phases, self.means, np.ascontiguousarray(xy, np.float64), values)
        return values

    def mean_over(self, centres: NDArray[np.float64], edge: float) -> NDArray[np.float64]:
        """Return the mean of the fields over squares of an edge in metres, shape ``(n, F)``.

        By Gauss and Legendre's rule with 2 x 2 points, which is exact for polynomials of third degree.
        """
        half = edge / (2 * np.sqrt(3.0))
        corners = [np.array([dx, dy]) * half for dx in (-1, 1) for dy in (-1, 1)]
        total = self.at(centres + corners[0])
        for corner in corners[1:]:
            total += self.at(centres + corner)
        return np.asarray(total / len(corners))

    def lattice(self, column: int, row: int, columns: int, rows: int) -> NDArray[np.float64]:
        """Return the fields on nodes ``step`` apart, counted from the city's corner, shape ``(F, rows, columns)``.

        A node's value is the same to the bit whatever part of the lattice is asked for.
        """
        values = np.empty((len(self.means), rows, columns))
        x = np.arange(column, column + columns, dtype=np.float64) * self.step
        y = np.arange(row, row + rows, dtype=np.float64) * self.step
        _sum_waves_on_lattice(self.waves, self.phases, self.means, x, y, values)
        return values


def make_fields(ranges: NDArray[np.float64], means: NDArray[np.float64], rng: np.random.Generator) -> Fields:
    """Draw independent fields with practical ranges in metres and means, both of shape ``(F,)``."""
    count = len(ranges)
    direction = rng.normal(size=(count, WAVES, 2))
    length = np.sqrt(rng.chisquare(_SMOOTHNESS_TWICE, (count, WAVES, 1)) / _SMOOTHNESS_TWICE)
    scale = ranges / RANGE_IN_SCALES
    waves = direction / length / scale[:, None, None]
    phases = rng.uniform(0, 2 * np.pi, (count, WAVES))
    return Fields(waves, phases, means, float(min(scale.min() / _STEPS_A_SCALE, _LONGEST_STEP)))


@compiled()
def _sum_waves(
    waves: NDArray[np.float64],
    phases: NDArray[np.float64],
    means: NDArray[np.float64],
    xy: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    amplitude = np.sqrt(2.0 / phases.shape[1])
    for point in range(len(xy)):
        for field in range(len(means)):
            total = 0.0
            for wave in range(phases.shape[1]):
                angle = waves[field, wave, 0] * xy[point, 0] + waves[field, wave, 1] * xy[point, 1]
                total += np.cos(angle + phases[field, wave])
            values[point, field] = means[field] + amplitude * total


@compiled()
def _sum_waves_on_lattice(
    waves: NDArray[np.float64],
    phases: NDArray[np.float64],
    means: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    values: NDArray[np.float64],
) -> None:
    """By ``cos(a + b) = cos a cos b - sin a sin b``, cosines are those of rows and columns only."""
    count = phases.shape[1]
    amplitude = np.sqrt(2.0 / count)
    across, along = np.empty((len(x), 2, count)), np.empty((len(y), 2, count))
    for field in range(len(means)):
        for wave in range(count):
            for column in range(len(x)):
                angle = waves[field, wave, 0] * x[column]
                across[column, 0, wave], across[column, 1, wave] = np.cos(angle), np.sin(angle)
            for row in range(len(y)):
                angle = waves[field, wave, 1] * y[row] + phases[field, wave]
                along[row, 0, wave], along[row, 1, wave] = np.cos(angle), np.sin(angle)
        for row in range(len(y)):
            for column in range(len(x)):
                total = 0.0
                for wave in range(count):
                    total += across[column, 0, wave] * along[row, 0, wave]
                    total -= across[column, 1, wave] * along[row, 1, wave]
                values[field, row, column] = means[field] + amplitude * total
