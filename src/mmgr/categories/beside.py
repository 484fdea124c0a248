"""A second vector of each category, beside its first: what its name says, or another table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmgr.categories.text import text_vectors
from mmgr.categories.vectors import CategoryVectors


def with_second_vectors(vectors: CategoryVectors, folder: Path) -> CategoryVectors:
    """Put the vectors that a folder gives beside category vectors.

    Both parts have the same mean length, so that neither outweighs the other. Vectors of names are reduced
    to as many principal components as the first vectors have dimensions, or to one fewer than categories.

    Parameters
    ----------
    vectors
        The first vectors, shape ``(n, d)``.
    folder
        Category vectors that :meth:`CategoryVectors.save` wrote, of any taxonomy (a category that it does not know
        gets the mean of its first level's), or a sentence-transformers model, which encodes the names.

    Returns
    -------
    Vectors of shape ``(n, d + e)``.

    Raises
    ------
    InputError
        If the folder holds neither.
    """
    first = vectors.vectors
    if (folder / "vectors.safetensors").is_file() and (folder / "taxonomy.json").is_file():
        second = CategoryVectors.load(folder).of(vectors.taxonomy.first, vectors.taxonomy.second)
    else:
        dimensions = max(min(first.shape[1], len(first) - 1), 1)
        second = text_vectors(vectors.taxonomy, folder, dimensions=dimensions).astype(np.float32)
    scale = _mean_length(first) / _mean_length(second)
    both = np.concatenate([first, (scale * second).astype(np.float32)], axis=1)
    return replace(vectors, vectors=both, provenance={**vectors.provenance, "beside": str(folder)})


def _mean_length(vectors: NDArray[np.float32]) -> float:
    """Return the mean length of vectors; 1 where all are zero, which no scale mends."""
    return float(np.linalg.norm(vectors.astype(np.float64), axis=1).mean()) or 1.0
