"""Measurements that anyone can repeat: what a stage costs on inputs made for the purpose."""

from mmgr.bench.categories import bench_categories
from mmgr.bench.city import SyntheticCity, synthetic_city

__all__ = ["SyntheticCity", "bench_categories", "synthetic_city"]
