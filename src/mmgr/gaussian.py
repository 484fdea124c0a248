"""Gaussian weights of what lies near a place: one way for images and counts around a region."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.spatial import cKDTree


def gaussian_weights(centres: NDArray[np.float64], places: cKDTree, *, scale: float, cutoff: float) -> csr_array:
    """Return ``exp(-d^2 / 2 scale^2)`` of the distances between centres and places, as a sparse matrix.

    Parameters
    ----------
    centres
        Metres, shape ``(n, 2)``.
    places
        Of ``m`` places in metres.
    scale
        Standard deviation in metres.
    cutoff
        Standard deviations beyond which a weight is 0.

    Returns
    -------
    Shape ``(n, m)``, its indices sorted: there is one order of summation.
    """
    near = csr_array(cKDTree(centres).sparse_distance_matrix(places, cutoff * scale, output_type="coo_matrix"))
    near.sort_indices()
    near.data = np.exp(-0.5 * np.square(near.data / scale))
    return near
