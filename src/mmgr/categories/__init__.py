"""Vectors of POI categories, learned from where POIs lie (Huang et al. 2022)."""

from mmgr.categories.figure import category_figure
from mmgr.categories.vectors import CategoryVectors, fit_category_vectors

__all__ = ["CategoryVectors", "category_figure", "fit_category_vectors"]
