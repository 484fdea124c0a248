"""One-hot and TF-IDF, beside scikit-learn."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pytest
from shapely import box
from sklearn.feature_extraction.text import TfidfTransformer

from mmgr.categories.counted import one_hot, tf_idf
from mmgr.categories.places import Places
from mmgr.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("food", "food", "shop"), ("bar", "café", "books"))


def test_one_hot_has_first_levels_then_categories() -> None:
    assert one_hot(TAXONOMY).tolist() == [[1, 0, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]
    assert one_hot(TAXONOMY, weights=(0, 3))[1].tolist() == [0, 0, 0, 3, 0]


def test_polygons_and_cells_are_documents_alike() -> None:
    counts = np.array([[2.0, 0, 1], [0, 0, 0], [5, 0, 0]])  # the second polygon is no document
    shapes = gpd.GeoSeries([box(0, 0, 1, 1)] * 3)
    xy = np.array([[10.0, 10], [20, 20], [20, 30], [-10, 10]])
    category = np.array([1, 1, 0, 1], np.int32)
    places = Places(TAXONOMY, xy, category, counts, shapes, np.zeros(3, int))
    documents = np.array([[2, 0, 1], [5, 0, 0], [1, 2, 0], [0, 1, 0]])
    assert np.diag(tf_idf(places, cell=100)) == pytest.approx(TfidfTransformer().fit(documents).idf_)


def test_a_category_without_pois_has_the_largest_weight() -> None:
    places = Places(TAXONOMY, np.zeros((2, 2)), np.array([0, 1], np.int32), np.zeros((0, 3)))
    weights = np.diag(tf_idf(places, cell=100))
    assert np.isfinite(weights).all()
    assert weights[2] > weights[0]
