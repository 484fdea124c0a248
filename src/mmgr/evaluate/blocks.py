"""How large blocks are, and which block each unit lies in."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pyproj import Transformer

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.splits import block_of, choose_block
from mmgr.evaluate.tuning import Rows
from mmgr.evaluate.units import Units

_LEAST_A_FOLD = 2
"""With fewer blocks a fold, another seed gives next to the same folds."""
_LEAST_EDGES = 3.0
"""Of a block narrower than so many regions, a buffer would leave nothing."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a task's units."""

    size: float
    """Edge in metres; of hexagons, of the square of equal area."""
    number: Rows
    """Block of each unit, counted over occupied ones, shape ``(u,)``."""
    chosen_by: Literal["given", "variogram", "extent"]
    why: str
    """In words, for the log."""


def make_blocks(units: Units, settings: Evaluate, *, edge: float) -> Blocks:
    """Choose the edge of blocks, and give each unit its block.

    An edge that is given is taken. Otherwise it is the range of the label's variogram, since labels of units nearer to
    each other than that are alike; where there is no range (too few units, or labels of neighbours not alike), or it
    leaves fewer than two blocks a fold, :func:`mmgr.evaluate.splits.choose_block` chooses from the extent. Blocks that
    are smaller than the range, for whichever reason, are warned of.

    Parameters
    ----------
    units
        The labelled units.
    settings
        Block, shape and folds.
    edge
        Edge of a region in metres.

    Raises
    ------
    SplitError
        If no blocks can be made, or the extra for hexagons is not installed.
    """
    blocks = _choose(units, settings, edge)
    found = units.variogram
    if found is not None and blocks.size < found.range * (1 - 1e-9):
        log.warning(
            "%s: blocks of %s m are smaller than the label's range: labels are alike up to %s%s m, so that training "
            "units beyond a test unit's block and buffer may still know its label; read the scores as optimistic",
            units.task.name,
            f"{blocks.size:,.0f}",
            "more than " if found.is_bound else "",
            f"{found.range:,.0f}",
        )
    return blocks


def _choose(units: Units, settings: Evaluate, edge: float) -> Blocks:
    if settings.block is not None:
        return _of_size(units, settings, settings.block, "given", "as the configuration says")
    found = units.variogram
    if found is None or found.range <= 0:
        why = "the label has no range of its own: " + (
            "too few labelled pairs" if found is None else "near places are no more alike than any two"
        )
        return _by_extent(units, settings, edge, why)
    size = max(found.range, _LEAST_EDGES * edge)
    blocks = _of_size(units, settings, size, "variogram", f"labels are alike up to {found.range:,.0f} m")
    count = int(blocks.number.max()) + 1
    if count < _LEAST_A_FOLD * settings.folds:
        bound = "more than " if found.is_bound else ""
        why = f"labels are alike up to {bound}{found.range:,.0f} m, but so large blocks would be {count}"
        return _by_extent(units, settings, edge, why)
    return blocks


def _by_extent(units: Units, settings: Evaluate, edge: float, why: str) -> Blocks:
    size = choose_block(units.anchors, edge=edge, folds=settings.folds)
    return _of_size(units, settings, size, "extent", f"{why}; chosen from the extent")


def _of_size(
    units: Units, settings: Evaluate, size: float, chosen_by: Literal["given", "variogram", "extent"], why: str
) -> Blocks:
    if settings.block_shape == "square":
        return Blocks(float(size), block_of(units.anchors, size), chosen_by, why)
    resolution, equal = h3_resolution(size)
    log.debug("%s: blocks are hexagons of H3 resolution %d", units.task.name, resolution)
    return Blocks(equal, h3_cells(units, resolution), chosen_by, f"{why}; H3 resolution {resolution}")


def h3_resolution(size: float) -> tuple[int, float]:
    """Return the H3 resolution whose mean area is nearest to ``size`` squared, and the edge of a square of that area.

    Raises
    ------
    SplitError
        If the extra is not installed.
    """
    try:
        import h3  # noqa: PLC0415 - an extra
    except ImportError:
        raise SplitError("blocks of shape h3 need the extra: `pip install 'mmgr[h3]'`") from None
    edges = [math.sqrt(h3.average_hexagon_area(resolution, unit="m^2")) for resolution in range(16)]
    nearest = int(np.argmin([abs(math.log(edge / size)) for edge in edges]))
    return nearest, edges[nearest]


def h3_cells(units: Units, resolution: int) -> Rows:
    """Return the number of the H3 cell of each unit, counted over occupied ones, shape ``(u,)``."""
    import h3  # noqa: PLC0415 - an extra

    to_degrees = Transformer.from_crs(units.geometry.crs, "EPSG:4326", always_xy=True)
    longitude, latitude = to_degrees.transform(*units.anchors.T)
    cells = [h3.latlng_to_cell(y, x, resolution) for x, y in zip(longitude, latitude, strict=True)]
    return np.asarray(np.unique(cells, return_inverse=True)[1], np.int64)
