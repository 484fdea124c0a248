"""POIs that lie apart from all others: more often than not a coordinate is wrong, such as 0, 0."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pyproj import CRS

from mmgr.pois.coordinates import transform
from mmgr.pois.outside import FAR, distance_to_box, far_limit
from mmgr.pois.tables import PoiTables

_DEGREES = CRS.from_epsg(4326)
_TAIL = 0.01
"""Part of the points at each end of an axis that may be strays; one point at least."""
_FEW = 20
"""Of fewer points than this, none is called a stray, save at longitude and latitude 0."""
_VERY_FAR = 1_000_000.0
"""Metres: cities of one table lie hundreds of kilometres apart, and two UTM zones are less than 1,400 km wide; a sign,
a digit or a pair of axes that is wrong leads thousands of kilometres away."""
_SCATTERED = 0.04
"""Part of the distinct places that may be strays where all of them are very far; one place at least. A small city
beside a large one has more."""
_SAME = 1.0
"""Metres: points nearer than this to longitude and latitude 0 have exactly these."""
_OFTEN = 10.0
"""Points this many times as far from the middle as half of all are those that a message names."""
_SHOWN = 3
"""Rows of a file that a message names, with their places."""


def stray(xy: NDArray[np.float64], *, crs: CRS | None = None) -> NDArray[np.bool_]:
    """Say which points lie far from the bulk of the others, shape ``(n,)``.

    These are points as far from the bulk as a point is far outside regions (see
    :func:`mmgr.pois.outside.far_limit`). The bulk is the box from the first to the last percentile of
    each axis, once two kinds are left out that may be more than a hundredth. Of a few distinct places
    (4 % at most) each is more than 1,000 km, and more than the diagonal of the box around all others,
    away from this box: however often one place occurs, it counts once. Points of the other kind have
    longitude and latitude 0, which stand for none.

    Parameters
    ----------
    xy
        Points in metres, shape ``(n, 2)``, finite.
    crs
        Their CRS; without one, no point is known to have longitude and latitude 0.
    """
    return apart(xy, crs=crs) > 0


def apart(xy: NDArray[np.float64], *, crs: CRS | None = None) -> NDArray[np.float64]:
    """Return metres from each stray point to the bulk of the others, and 0 for points that are none, shape ``(n,)``.

    Points are told apart, and parameters are, as in :func:`stray`.
    """
    nowhere = np.zeros(len(xy), bool) if crs is None else _at_zero(xy, crs)
    left_out = nowhere.copy()
    left_out[~nowhere] = _scattered(xy[~nowhere])
    others = np.sort(xy[~left_out], axis=0)
    if len(others) < 2 or (len(xy) < _FEW and not nowhere.any()):
        return np.zeros(len(xy))
    ends = max(1, int(_TAIL * len(others))) if len(others) >= _FEW else 0
    bulk = np.concatenate([others[ends], others[-1 - ends]])
    distance = distance_to_box(xy, bulk)
    return np.where(distance > far_limit(bulk), distance, 0.0)


def furthest_text(tables: PoiTables) -> str:
    """Name the points that are much further from the middle than most, as a sentence; empty if there are none."""
    points = tables.points
    if not len(points):
        return ""
    xy = np.stack([points.geometry.x.to_numpy(), points.geometry.y.to_numpy()], axis=1)
    distance = np.hypot(*(xy - np.median(xy, axis=0)).T)
    limit = max(_OFTEN * float(np.median(distance)), FAR)
    far = distance > limit
    if not far.any():
        return ""
    named = "; ".join(_rows_with_places(tables, xy, far))
    return (
        f"{far.sum()} of {len(far)} POIs lie more than {limit / 1000:,.0f} km from the middle of all ({named}): "
        "if their coordinates are wrong, mend or remove these rows"
    )


def _at_zero(xy: NDArray[np.float64], crs: CRS) -> NDArray[np.bool_]:
    """Say which points have longitude and latitude 0, shape ``(n,)``."""
    zero = transform(np.zeros((1, 2)), _DEGREES, crs)  # NaN, near to nothing, where the CRS has no place for it
    return np.asarray(np.hypot(*(xy - zero).T) < _SAME)


def _scattered(xy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Say which points are of the few places that are very far from all others, shape ``(n,)``."""
    nothing = np.zeros(len(xy), bool)
    if len(xy) < _FEW or np.hypot(*np.ptp(xy, axis=0)) <= _VERY_FAR:
        return nothing
    rounded = np.round(xy)
    places = rounded[~pd.DataFrame(rounded).duplicated().to_numpy()]
    few = max(1, int(_SCATTERED * len(places)))
    if len(places) <= 2 * few + 1:
        return nothing
    ordered = np.sort(places, axis=0)
    box = np.concatenate([ordered[few], ordered[-1 - few]])
    while True:  # towns that are not very far draw in those beyond them
        near = distance_to_box(places, box) <= max(_VERY_FAR, far_limit(box))
        grown = np.concatenate([places[near].min(axis=0), places[near].max(axis=0)])
        if (grown == box).all():
            break
        box = grown
    if (~near).sum() > few:
        return nothing
    return np.asarray(distance_to_box(rounded, box) > max(_VERY_FAR, far_limit(box)))


def _rows_with_places(tables: PoiTables, xy: NDArray[np.float64], far: NDArray[np.bool_]) -> Iterator[str]:
    """Yield, for each file with far points, its first rows of them with their places in degrees."""
    source, row = tables.points["source"].to_numpy(), tables.points["row"].to_numpy()
    for number in np.unique(source[far]):
        own = np.flatnonzero(far & (source == number))
        places = transform(xy[own[:_SHOWN]], CRS.from_user_input(tables.points.crs), _DEGREES).round(3) + 0.0
        shown = [f"row {row[at]} at lon {x:.3f}, lat {y:.3f}" for at, (x, y) in zip(own, places, strict=False)]
        more = f" and {len(own) - _SHOWN} more" if len(own) > _SHOWN else ""
        yield f"{tables.sources[number].path}: {', '.join(shown)}{more}"
