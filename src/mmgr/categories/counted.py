"""Vectors that are counted, not learned: one-hot and TF-IDF."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.places import Places
from mmgr.taxonomy import Taxonomy


def one_hot(taxonomy: Taxonomy, *, weights: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.float64]:
    """Return two-level one-hot vectors, shape ``(n, first levels + n)``.

    The sum over a region is its counts by first level and by category: the baseline of Huang et al. (2022).

    Parameters
    ----------
    taxonomy
        The categories.
    weights
        Value of the one in the first level's part (in the order of the levels' names) and in the second's.
    """
    levels = np.eye(len(set(taxonomy.first)))[taxonomy.first_ids]
    return np.hstack([weights[0] * levels, weights[1] * np.eye(len(taxonomy))])


def tf_idf(places: Places, *, cell: float) -> NDArray[np.float64]:
    """Return one-hot vectors times the categories' inverse document frequency, shape ``(n, n)``.

    ``idf_j = ln((1 + N) / (1 + N_j)) + 1``, as scikit-learn's ``TfidfTransformer`` smooths it, with
    ``N`` documents of which ``N_j`` hold category ``j``. The sum over a region's POIs, at unit
    length, is the region's TF-IDF vector.

    Parameters
    ----------
    places
        The POIs. A document is a square cell that holds points, or a polygon that holds counts.
    cell
        Edge in metres of a cell.
    """
    categories = len(places.taxonomy)
    _, document = np.unique(np.floor(places.xy / cell).astype(np.int64), axis=0, return_inverse=True)
    held = np.unique(document.reshape(-1) * categories + places.category)
    frequency = np.bincount(held % max(categories, 1), minlength=categories) + (places.counts > 0).sum(axis=0)
    documents = document.max(initial=-1) + 1 + (places.counts > 0).any(axis=1).sum()
    return np.diag(np.log((1 + documents) / (1 + frequency)) + 1)
