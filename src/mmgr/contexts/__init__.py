"""Vectors of regions from POIs alone: each region sees the POIs around it, weighted by distance."""

from mmgr.contexts.densities import DensityField, context_densities, density_field
from mmgr.contexts.estimators import ContextDensities, ContextVectors, CountTable
from mmgr.contexts.groups import Groups, groups_of_levels
from mmgr.contexts.means import RegionMean
from mmgr.contexts.methods import make_region_vectors

__all__ = [
    "ContextDensities",
    "ContextVectors",
    "CountTable",
    "DensityField",
    "Groups",
    "RegionMean",
    "context_densities",
    "density_field",
    "groups_of_levels",
    "make_region_vectors",
]
