"""All baselines beside our own method: same regions, same folds, same probe, one command."""

from mmgr.benchmark.rows import Context, LeftOut, Made, Row

__all__ = ["Context", "LeftOut", "Made", "Row"]
