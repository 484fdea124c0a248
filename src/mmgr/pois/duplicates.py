"""POIs that are there twice: counted and named, and left out where the user says so."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mmgr.config import Pois
from mmgr.console import log
from mmgr.pois.points import rows_text
from mmgr.pois.tables import PoiTables

SAME_PLACE = 0.1
"""Metres on a grid of which two points share a place."""


def settle_duplicates(tables: PoiTables, settings: Pois) -> PoiTables:
    """Name the points that have place and category of an earlier one, and return the tables with or without them.

    Within a file that may be right: shops of a mall often lie on one point. Where two files have the same points, they
    count twice.

    Parameters
    ----------
    tables
        The POIs of all sources.
    settings
        ``duplicates`` says whether they stay.
    """
    points = tables.points
    place = np.round(points.geometry.get_coordinates().to_numpy() / SAME_PLACE).astype(np.int64)
    keys = pd.DataFrame({"x": place[:, 0], "y": place[:, 1], "category": points["category"].to_numpy()})
    again = keys.duplicated().to_numpy()
    if not again.any():
        return tables
    source, row = points["source"].to_numpy(), points["row"].to_numpy()
    first = keys.assign(source=source).groupby(["x", "y", "category"], sort=False)["source"].transform("first")
    drop = settings.duplicates == "drop"
    what_then = "they are left out (pois.duplicates: drop)" if drop else "set pois.duplicates: drop to leave them out"
    for number in np.unique(source[again]):
        own = again & (source == number)
        for other in np.unique(first[own]):
            some = own & (first.to_numpy() == other)
            where = "in the same file" if other == number else f"in {tables.sources[other].path}"
            say = log.info if other == number else log.warning
            say(
                "%s: %d of %d POIs have place and category of an earlier one %s (%s); %s",
                tables.sources[number].path, some.sum(), (source == number).sum(), where, rows_text(row[some]),
                what_then,
            )  # fmt: skip
    return tables.without(again) if drop else tables
