"""Audit splits that somebody else made, from nothing but who is where."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmgr.errors import InputError
from mmgr.evaluate.audit.flat import laid_flat
from mmgr.evaluate.audit.places import autocorrelation, metres, numbers_of, percent, same_labels
from mmgr.evaluate.audit.records import Audit, Finding
from mmgr.evaluate.audit.sides import Nearness, boxes, membership, nearness, shared_by_sides, within_reach
from mmgr.evaluate.audit.split_files import SplitFile

_NEIGHBOUR = 1.5
"""Points nearer than this many times the usual distance to the next are neighbours: a lattice's diagonals are."""


def audit_split(split: SplitFile, *, window: float | None = None) -> Audit:
    """Look at what can be seen of somebody's splits: ids, places, and labels if there are any.

    Parameters
    ----------
    split
        As of :func:`mmgr.evaluate.audit.read_split`.
    window
        Edge in metres of the square of ground that each unit is described by, where places are points.

    Raises
    ------
    InputError
        If the window is no length above 0.
    """
    if window is not None and not 0 < window < np.inf:
        raise InputError(
            f"`--window` {window:g}: an image's edge is a number of metres above 0; leave it out if unknown."
        )
    return Audit(split.name, tuple(_findings(split, window)))


def _findings(split: SplitFile, window: float | None) -> Iterator[Finding]:
    yield _same_ids(split)
    if split.shapes is None:
        text = "The file has no places; give `--geometry FILE`, or name columns with `--x` and `--y`."
        yield Finding("adjacent places", "note", f"Not looked at. {text}")
    else:
        shapes, cluster = laid_flat(split.shapes)
        yield _same_places(split, shapes)
        yield from _near(split, shapes, window)
        if split.labels is not None:
            yield from _labels(split, shapes, cluster, split.labels)
    if split.labels is None:
        text = "Not looked at: no labels. Name their column with `--label`."
        yield Finding("alike labels nearby", "note", text)
    if split.has_validation:
        text = "Units to validate on count as learned from: what is chosen on them is chosen by them."
        yield Finding("validation", "note", text)
    text = (
        "Not to be seen from splits: pre-training on test places, targets made of inputs, choices made on test scores."
    )
    yield Finding("what is not in the file", "note", text)


def _same_ids(split: SplitFile) -> Finding:
    shared = shared_by_sides(membership([[name] for name in split.ids]), split.folds)
    parts = ", ".join(f"{name} ({count:,})" for name, count in split.parts.items())
    text = f"{f'{len(split.folds)} folds' if len(split.folds) > 1 else 'Parts'}: {parts}. "
    numbers = {"shared": shared.count, "tested": shared.tested, "folds": len(split.folds), "parts": dict(split.parts)}
    if shared.count:
        text += f"{percent(shared.count, shared.tested)} of tested ids are learned from in the same fold."
        return Finding("one id, both sides", "named", text, numbers=numbers)
    return Finding("one id, both sides", "pass", f"{text}No id is on both sides.", numbers=numbers)


def _same_places(split: SplitFile, shapes: NDArray[np.object_]) -> Finding:
    # to the millimetre: digits lost in writing and reading are no other place
    keys = shapely.to_wkb(shapely.normalize(shapely.transform(shapes, lambda at: np.round(at, 3) + 0.0)))
    shared = shared_by_sides(membership([[key] for key in keys]), split.folds)
    text = f"{percent(shared.count, shared.tested)} of test units lie exactly where a training unit does."
    numbers = {"shared": shared.count, "tested": shared.tested}
    return Finding("one place, both sides", "named" if shared.count else "pass", text, numbers=numbers)


def _near(split: SplitFile, shapes: NDArray[np.object_], window: float | None) -> Iterator[Finding]:
    near = nearness(shapes, split.folds)
    text = (
        f"The nearest training unit of a tested one is {metres(near.nearest)} away, in the median {metres(near.median)}"
    )
    if (shapely.get_dimensions(shapes) == 2).all():
        text += f"; {percent(near.touching, near.tested)} of test units touch one."
        yield _adjacent(text, near.touching, numbers_of(near))
        yield _overlapping(near)
        return
    centres = shapely.get_coordinates(shapely.centroid(shapes))
    seen = None
    if window is not None:
        seen = nearness(boxes(np.hstack([centres - window / 2, centres + window / 2])), split.folds)
    spacing = _spacing(centres)
    beside = within_reach(centres, split.folds, _NEIGHBOUR * spacing)
    text += (
        f"; places are usually {metres(spacing)} from the next, and {percent(beside.count, beside.tested)} of test "
        f"units have a training unit within {_NEIGHBOUR:g} times that."
    )
    numbers = numbers_of(near) | {"spacing_metres": spacing, "neighbours": beside.count}
    if seen is not None and window is not None:
        text += f" Images of {metres(window)} touch or overlap for {percent(seen.touching, seen.tested)}."
        numbers |= {"window_metres": window, "touching": seen.touching, "overlapping": seen.overlapping}
    yield _adjacent(text, max(beside.count, seen.touching if seen else 0), numbers)
    if seen is not None:
        yield _overlapping(seen)
    else:
        text = "Not looked at: places are points. Give the edge of the images in metres with `--window`."
        yield Finding("overlapping windows", "note", text)


def _adjacent(text: str, count: int, numbers: dict[str, Any]) -> Finding:
    if count:
        text += " Neighbours are alike, so the score is optimistic: test whole blocks, with a buffer."
    return Finding("adjacent places", "named" if count else "pass", text, numbers=numbers)


def _overlapping(near: Nearness) -> Finding:
    text = f"The ground of {percent(near.overlapping, near.tested)} of test units overlaps a training unit's."
    return Finding("overlapping windows", "named" if near.overlapping else "pass", text, numbers=numbers_of(near))


def _spacing(centres: NDArray[np.float64]) -> float:
    """Return the median distance from a place to the next other one."""
    distinct = np.unique(centres, axis=0)
    if len(distinct) < 2:
        return 0.0
    distance, _ = cKDTree(distinct).query(distinct, k=2)
    return float(np.median(np.asarray(distance)[:, 1]))


def _labels(
    split: SplitFile, shapes: NDArray[np.object_], cluster: NDArray[np.int64], labels: NDArray[np.generic]
) -> Iterator[Finding]:
    centres = shapely.get_coordinates(shapely.centroid(shapes))
    yield autocorrelation(centres, labels, split.folds, scope="", groups=cluster)
    if labels.dtype.kind in "fiu":
        yield same_labels(centres, labels.astype(np.float64), split.folds, scope="")
