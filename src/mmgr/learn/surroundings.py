"""The image part of an embedding: a region's own images, the level of its city, and the images around it.

A patch shows a hundred metres or two; how many people live there depends on the street and the quarter as well.
So the vector of a region sees its neighbours: weighted by a Gaussian of the distance, in the few directions in
which images differ most. Where regions are scattered far apart, a region's surroundings are itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmgr.components import Components, evenly, of_unit_variance
from mmgr.learn.recipes import Recipe

MOST_LEVELS = 8
"""Components that are kept of how cities differ as a whole."""
CUTOFF = 3.0
"""Standard deviations beyond which a Gaussian is taken as 0."""
PART = 4096
"""Regions whose neighbours are in memory at a time."""

Vectors = NDArray[np.float32]


def image_part(
    image: Vectors,
    has_image: NDArray[np.bool_],
    group: NDArray[np.object_],
    centres: NDArray[np.float64],
    *,
    recipe: Recipe,
    edge: float,
) -> Vectors:
    """Return the image part of an embedding.

    Parameters
    ----------
    image
        Image vectors of ``n`` regions (:attr:`mmgr.learn.embed.Embeddings.image`), shape ``(n, F)``.
    has_image
        Whether a region has an image, shape ``(n,)``.
    group
        Name of each region's group, such as its city, shape ``(n,)``.
    centres
        Of the regions in metres, shape ``(n, 2)``.
    recipe
        Which parts there are.
    edge
        Of a region in metres.

    Returns
    -------
    Shape ``(n, d)``: the region's own images, the level of its group, and the images around it, in this order. A
    region without an image holds the mean of the others in the first two.
    """
    own, levels = image, np.zeros((len(image), 0), np.float32)
    if recipe.groups_alike:
        own, levels = apart_from_groups(image, has_image, group)
    scales = [scale * edge for scale in recipe.image_scales]
    around = image_surroundings(own, has_image, centres, scales=scales, dimensions=recipe.surrounding_components)
    if recipe.image_components is not None:
        even = evenly(Components.of(own[has_image], recipe.image_components)(own[has_image]))
        own = np.zeros((len(image), even.shape[1]), np.float32)
        own[has_image] = even
    return np.hstack([own, levels, around])


def apart_from_groups(
    image: Vectors, has_image: NDArray[np.bool_], group: NDArray[np.object_]
) -> tuple[Vectors, Vectors]:
    """Take the image vectors of each group, such as a city, apart into its mean and what differs from that.

    Images of one city were taken in one light, by one sensor, over one soil; what an encoder makes of these says which
    city it is. A probe that was fitted in one city and is asked of another takes it for a difference of the place, in
    every direction in which it has a weight. In columns of their own, the means of cities get the weight that is due
    to them: none where a probe has seen one city alone. Nothing but images is used, those of test places too
    (transductive).

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
    differences
        Of each image from the mean of its group's, shape ``(n, F)``; zeros where there is no image.
    levels
        Principal components of the groups' means, in the mean of variance 1, shape ``(n, L)``: at most
        :data:`MOST_LEVELS`, one fewer than there are groups; zeros where there is no image.
    """
    own, means = np.zeros_like(image), np.zeros_like(image)
    names = np.unique(group[has_image].astype(str))
    rows_of = [np.flatnonzero(has_image & (group.astype(str) == name)) for name in names]
    for rows in rows_of:
        means[rows] = image[rows].mean(axis=0, dtype=np.float64)
        own[rows] = image[rows] - means[rows]
    if len(names) < 2:
        return own, np.zeros((len(image), 0), np.float32)
    firsts = means[[rows[0] for rows in rows_of]]
    levels = Components.of(firsts, min(MOST_LEVELS, len(names) - 1))(means)
    levels[~has_image] = 0
    return own, of_unit_variance(levels)


def image_surroundings(
    image: Vectors,
    has_image: NDArray[np.bool_],
    centres: NDArray[np.float64],
    *,
    scales: Sequence[float],
    dimensions: int,
) -> Vectors:
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
    Shape ``(n, scales * columns)``: for each scale the weighted mean of the components, in columns of equal weight
    and variance 1 (:func:`mmgr.components.evenly`); zeros, the mean of all, where no image lies within :data:`CUTOFF`
    standard deviations.
    """
    if has_image.sum() < 2 or not scales:
        return np.zeros((len(image), 0), np.float32)
    known = image[has_image]
    components = evenly(Components.of(known, dimensions)(known)).astype(np.float64)  # (k, c)
    parts = [_weighted_means(components, centres[has_image], centres, scale) for scale in scales]
    return np.hstack([of_unit_variance(part) for part in parts])


def _weighted_means(
    values: NDArray[np.float64], places: NDArray[np.float64], centres: NDArray[np.float64], scale: float
) -> Vectors:
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
