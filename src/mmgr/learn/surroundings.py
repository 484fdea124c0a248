"""What lies around a region: the mean image vector of the regions near it, at several scales.

A patch shows a hundred metres or two; how many people live there depends on the street and the quarter as well.
So the vector of a region sees its neighbours: weighted by a Gaussian of the distance, in the few directions in
which images differ most. Where regions are scattered far apart, a region's surroundings are itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

SHRINK = 20.0
"""A group of this many images is half its own measure, half that of all."""
CUTOFF = 3.0
"""Standard deviations beyond which a Gaussian is taken as 0."""
PART = 4096
"""Regions whose neighbours are in memory at a time."""


def standardise_by_group(
    image: NDArray[np.float32], has_image: NDArray[np.bool_], group: NDArray[np.object_]
) -> NDArray[np.float32]:
    """Give the image vectors of each group, such as a city, one mean and one spread.

    Images of one city were taken in one light, by one sensor, over one soil; what an encoder makes of these says which
    city it is, and a probe that was fitted in others errs in it. Nothing but images is used, those of test places too
    (transductive). What truly differs between cities as a whole is lost to the image part.

    Parameters
    ----------
    image
        Image vectors of ``n`` regions, shape ``(n, F)``; a region without an image holds anything.
    has_image
        Shape ``(n,)``.
    group
        Name of each region's group, shape ``(n,)``.

    Returns
    -------
    Shape ``(n, F)``; zeros, the mean, where there is no image. Means and variances of small groups are shrunk towards
    those of all images, see :data:`SHRINK`; with one group, all that changes is the scale.
    """
    result = np.zeros_like(image)
    if not has_image.any():
        return result
    known = image[has_image].astype(np.float64)
    mean, variance = known.mean(axis=0), known.var(axis=0)
    least = 1e-6 * max(float(variance.max()), 1e-12)  # a feature that never varies
    for name in np.unique(group.astype(str)):
        rows = np.flatnonzero(has_image & (group.astype(str) == name))
        if not len(rows):
            continue
        own = image[rows].astype(np.float64)
        weight = len(rows) / (len(rows) + SHRINK)
        centre = weight * own.mean(axis=0) + (1 - weight) * mean
        spread = weight * own.var(axis=0) + (1 - weight) * variance
        result[rows] = (own - centre) / np.sqrt(spread + least)
    return result


def image_surroundings(
    image: NDArray[np.float32],
    has_image: NDArray[np.bool_],
    centres: NDArray[np.float64],
    *,
    scales: Sequence[float],
    dimensions: int,
) -> NDArray[np.float32]:
    """Describe regions by the images in and around them.

    Parameters
    ----------
    image
        Image vectors of ``n`` regions, shape ``(n, F)``.
    has_image
        Whether a region has an image, shape ``(n,)``; others count for nobody, but have surroundings too.
    centres
        Of the regions in metres, shape ``(n, 2)``.
    scales
        Standard deviations of the weights by distance, in metres.
    dimensions
        Principal components of the image vectors that are kept; fewer where there are fewer regions or features.

    Returns
    -------
    Shape ``(n, scales * components)``: for each scale the weighted mean of the components; zeros, the mean of all,
    where no image lies within :data:`CUTOFF` standard deviations.
    """
    if has_image.sum() < 2 or not scales:
        return np.zeros((len(image), 0), np.float32)
    known = np.flatnonzero(has_image)
    # not the randomised solver, and one thread in full precision: the same images give the same vectors
    with threadpool_limits(1, "blas"):
        pca = PCA(min(dimensions, len(known), image.shape[1]), svd_solver="covariance_eigh")
        components = pca.fit_transform(image[known].astype(np.float64))  # (k, c), centred
    return np.hstack([_weighted_means(components, centres[known], centres, scale) for scale in scales])


def _weighted_means(
    values: NDArray[np.float64], places: NDArray[np.float64], centres: NDArray[np.float64], scale: float
) -> NDArray[np.float32]:
    """Return the mean of ``values`` at ``places`` around each of ``centres``, weighted by a Gaussian."""
    tree = cKDTree(places)
    means = np.zeros((len(centres), values.shape[1]), np.float32)
    for start in range(0, len(centres), PART):
        rows = slice(start, start + PART)
        # distances of the pairs within reach alone, as a sparse matrix
        near = cKDTree(centres[rows]).sparse_distance_matrix(tree, CUTOFF * scale, output_type="coo_matrix").tocsr()
        near.sort_indices()  # one order of summation
        near.data = np.exp(-0.5 * np.square(near.data / scale))
        total = np.asarray(near.sum(axis=1)).ravel()
        means[rows] = np.divide(
            near @ values, total[:, None], out=np.zeros((len(total), values.shape[1])), where=total[:, None] > 0
        )
    return means
