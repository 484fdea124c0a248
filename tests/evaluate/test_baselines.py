from __future__ import annotations

import numpy as np

from mmgr.evaluate import poi_density_features
from mmgr.store import PoiBags


def test_densities_are_logged_and_unknown_regions_stay_unknown() -> None:
    bags = PoiBags(
        starts=np.array([0, 3, 3, 3]),
        category=np.array([0, 0, 2], np.int32),
        count=np.array([1, 1, 4], np.float32),
        offset=np.zeros((3, 2), np.float32),
        area_km2=np.array([0.5, 1.0, 0.0], np.float32),
        unit=np.full(3, "", object),
    )
    known = np.log([[1 + 4, 1, 1 + 8], [1, 1, 1]])
    np.testing.assert_allclose(poi_density_features(bags, 3)[:2], known, rtol=1e-6)
    assert np.isnan(poi_density_features(bags, 3)[2]).all()
