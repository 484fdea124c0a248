"""Features that an embedding is compared with, on the same folds and probes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmgr.store import PoiBags


def poi_density_features(bags: PoiBags, categories: int) -> NDArray[np.float32]:
    """Return ``log(1 + POIs per km2)`` of each category, shape ``(n, categories)``; NaN where unknown."""
    return np.log1p(bags.densities(categories))
