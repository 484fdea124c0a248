"""Vectors of POI categories, learned from where POIs lie (Huang et al. 2022) or made by other methods."""

from mmgr.categories.estimators import (
    OneHotVectors,
    Place2VecVectors,
    SkipGramVectors,
    TextVectors,
    TfidfVectors,
    make_category_vectors,
)
from mmgr.categories.figure import category_figure
from mmgr.categories.fit import fit_category_vectors
from mmgr.categories.vectors import CategoryVectors

__all__ = [
    "CategoryVectors",
    "OneHotVectors",
    "Place2VecVectors",
    "SkipGramVectors",
    "TextVectors",
    "TfidfVectors",
    "category_figure",
    "fit_category_vectors",
    "make_category_vectors",
]
