"""The vectors of regions that have POIs and no image."""

from __future__ import annotations

import math

import numpy as np

from mmgr.actions.embed import region_vectors
from mmgr.store import PoiBags


def test_a_region_is_the_sum_of_its_categories_weighted_by_log_density() -> None:
    bags = PoiBags(
        starts=np.array([0, 3, 3, 3]),
        category=np.array([0, 0, 1], np.int32),
        count=np.array([1, 2, 4], np.float32),
        offset=np.full((3, 2), np.nan, np.float32),
        area_km2=np.array([0.5, 0.5, 0], np.float32),
        unit=np.array(["", "", ""], object),
    )
    found = region_vectors(bags, np.array([[1, 0], [0.5, -1]], np.float32))
    first = [math.log(1 + 6) + 0.5 * math.log(1 + 8), -math.log(1 + 8)]
    assert found.dtype == np.float32
    assert np.allclose(found[0], first)
    assert (found[1] == 0).all(), "it is known to hold none"
    assert np.allclose(found[2], np.array(first) / 2), "unknown: the mean of the others"


def test_regions_without_any_known_poi_are_zeros() -> None:
    assert (region_vectors(PoiBags.empty(3), np.ones((2, 4), np.float32)) == np.zeros((3, 4))).all()
