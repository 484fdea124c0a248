"""The image part of an embedding: a region's own images, and the images around it.

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
from mmgr.gaussian import gaussian_weights
from mmgr.learn.recipes import Recipe

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
    Shape ``(n, d)``: the region's own images and the images around it, in this order. A region without an image holds
    the mean of the others in the first.
    """
    own = image if recipe.group_means == 1 else nearer_groups(image, has_image, group, kept=recipe.group_means)
    scales = [scale * edge for scale in recipe.image_scales]
    around = image_surroundings(own, has_image, centres, scales=scales, dimensions=recipe.surrounding_components)
    if recipe.image_components is not None:
        even = evenly(Components.of(own[has_image], recipe.image_components)(own[has_image]))
        own = np.zeros((len(image), even.shape[1]), np.float32)
        own[has_image] = even
    return np.hstack([own, around])


def nearer_groups(image: Vectors, has_image: NDArray[np.bool_], group: NDArray[np.object_], *, kept: float) -> Vectors:
    """Move the mean of each group's image vectors, such as a city's, towards that of all.

    Images of one city were taken in one light, by one sensor, over one soil; what an encoder makes of these says which
    city it is. A probe that was fitted in one city and is asked of another takes it for a difference of the place, in
    every direction in which it has a weight. But cities do differ as a whole, which a probe that knows both should
    find. So means stay, smaller: a probe with a penalty finds them at a price. Nothing but images is used, those of
    test places too (transductive).

    Parameters
    ----------
    image
        Image vectors of ``n`` regions, shape ``(n, F)``; a region without an image holds anything.
    has_image
        Shape ``(n,)``.
    group
        Name of each region's group, shape ``(n,)``.
    kept
        Part of a mean's difference from that of all images that is kept, 0 to 1.

    Returns
    -------
    Shape ``(n, F)``; the mean of all where there is no image.
    """
    result = np.zeros_like(image)
    if not has_image.any():
        return result
    everything = image[has_image].mean(axis=0, dtype=np.float64)
    result[~has_image] = everything
    names = group.astype(str)
    for name in np.unique(names[has_image]):
        rows = np.flatnonzero(has_image & (names == name))
        result[rows] = image[rows] - (1 - kept) * (image[rows].mean(axis=0, dtype=np.float64) - everything)
    return result


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
        near = gaussian_weights(centres[rows], tree, scale=scale, cutoff=CUTOFF)
        total = np.asarray(near.sum(axis=1)).ravel()
        means[rows] = np.divide(
            near @ values, total[:, None], out=np.zeros((len(total), values.shape[1])), where=total[:, None] > 0
        )
    return means
