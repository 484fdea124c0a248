"""Audit a run: each path by which test places may leak into training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from scipy import sparse

from mmgr.config import Config
from mmgr.evaluate.audit.duplicates import Keys, double_ids
from mmgr.evaluate.audit.inputs import PoiInputs, made_of_inputs
from mmgr.evaluate.audit.labels import Sources, label_sources, one_source
from mmgr.evaluate.audit.learned import transductive
from mmgr.evaluate.audit.places import autocorrelation, metres, numbers_of, percent, same_labels
from mmgr.evaluate.audit.records import Audit, Finding
from mmgr.evaluate.audit.sides import Folds, boxes, nearness, within_reach
from mmgr.evaluate.scores import SplitPlan
from mmgr.evaluate.units import Units
from mmgr.imagery.plan import patch_squares
from mmgr.store import RegionStore

_MOST_OF_A_GAUSSIAN = 2
"""Standard deviations: within two lie 86 % of a Gaussian's weight in the plane."""


@dataclass(frozen=True)
class Scored:
    """The units of a task with the splits that they are scored under."""

    units: Units
    plans: tuple[SplitPlan, ...]


@dataclass(frozen=True)
class Reach:
    """How far beyond itself a region's vector sees, as standard deviations of Gaussian weights in metres."""

    pois: float = 0.0
    """Of the widest context of POIs."""
    images: float = 0.0
    """Of the widest surroundings of images."""

    @classmethod
    def of(cls, provenance: Mapping[str, Any]) -> Reach:
        """Read what the embeddings say of themselves."""
        names = ("poi_context_metres", "poi_counts_metres", "image_surroundings_metres")
        points, counts, images = (provenance.get(name) or () for name in names)
        return cls(max((*points, *counts), default=0.0), max(images, default=0.0))


def audit_run(config: Config, store: RegionStore, tasks: list[Scored], keys: Keys, reach: Reach | None = None) -> Audit:
    """Look at every path on which a test place may have had a part in what is scored.

    Parameters
    ----------
    config
        The run's configuration.
    store
        Its regions, patches and POIs.
    tasks
        Units and splits of each task.
    keys
        What regions have in common: patches, vectors, polygons of counts.
    reach
        How far vectors see; not at all if not said.
    """
    findings = [*_of_all(config, store)]
    pois = PoiInputs.of(store)
    for scored in tasks:
        findings.append(made_of_inputs(config, scored.units, pois))
        sources = label_sources(scored.units.task, scored.units, store.regions)
        for plan in scored.plans:
            findings += _of_split(config, store, scored.units, plan, keys, sources, reach or Reach())
    return Audit(config.name, tuple(findings))


def _of_all(config: Config, store: RegionStore) -> Iterator[Finding]:
    yield transductive(config)
    yield double_ids(store.regions.index.to_numpy(object), store.regions.geometry.to_numpy())
    yield Finding(
        "choices on test units",
        "note",
        "By construction: probes, their scalers and what they tune are fitted on training units only. What a person "
        "chose after looking at scores is not to be seen from here.",
    )


def _of_split(
    config: Config, store: RegionStore, units: Units, plan: SplitPlan, keys: Keys, sources: Sources, reach: Reach
) -> Iterator[Finding]:
    task = units.task
    scope = f"{task.name}, {plan.kind}"
    folds = [fold for folds in plan.folds for fold in folds]
    regions = store.regions
    member = (units.weights > 0).astype(np.int64)
    yield _adjacent(regions.geometry.to_numpy(), member, folds, plan, scope)
    yield from _windows(config, store, member, folds, plan, scope, reach)
    centres = shapely.get_coordinates(shapely.centroid(units.geometry.to_numpy()))
    labels = np.array(units.classes, object)[units.values.argmax(axis=1)] if units.classes else units.values
    yield autocorrelation(centres, labels, folds, scope=scope, groups=units.group, block=plan.block)
    yield one_source(units, sources, folds, scope=scope, remedy=_remedy(plan))
    if not units.classes:
        yield same_labels(centres, units.values, folds, scope=scope)
    yield from keys.findings(member, folds, scope=scope)


def _adjacent(
    outlines: NDArray[np.object_], member: sparse.csr_array, folds: Folds, plan: SplitPlan, scope: str
) -> Finding:
    """Say how near the regions of training units lie to those of test units."""
    path = "adjacent places"
    near = nearness(outlines, of_regions(member, folds), limit=plan.buffer)
    text = f"The nearest training region of a tested one is {metres(near.nearest)} away (buffer {metres(plan.buffer)})"
    numbers = {**numbers_of(near), "buffer_metres": plan.buffer}
    if near.touching or near.near:
        found = f"{percent(near.touching, near.tested)} of tested regions touch one"
        if near.near > near.touching:
            found += f", {percent(near.near, near.tested)} are nearer than the buffer"
        remedy = f"; neighbours are alike, so the score is optimistic. {_remedy(plan)}"
        return Finding(path, "named", f"{text}: {found}{remedy}", scope, numbers)
    return Finding(path, "pass", f"{text}.", scope, numbers)


def _remedy(plan: SplitPlan) -> str:
    """Say what keeps the two sides of a split apart, as far as its settings can."""
    if plan.protocol is not None:
        return "The protocol's split stays as published; read the scores under `splits: [blocks]` beside it."
    return "Set a larger `buffer`." if plan.keeps_buffer else "Use `splits: [blocks]`."


def _windows(
    config: Config,
    store: RegionStore,
    member: sparse.csr_array,
    folds: Folds,
    plan: SplitPlan,
    scope: str,
    reach: Reach,
) -> Iterator[Finding]:
    """Say whether what regions are described by is cut from the same ground."""
    sides = of_regions(member, folds)
    regions = store.regions
    if config.images is not None:
        near = nearness(boxes(patch_squares(regions)), sides)
        text = f"Patches of {percent(near.overlapping, near.tested)} of tested regions overlap a training region's."
        yield Finding("overlapping patches", "named" if near.overlapping else "pass", text, scope, numbers_of(near))
    radius, what = _poi_reach(config, reach)
    if radius:
        yield _shared_ground(regions, sides, plan, "POIs", radius, what, scope)
    if reach.images:
        far = _MOST_OF_A_GAUSSIAN * reach.images
        what = f"the widest surroundings of images have most of their weight within {metres(far)}"
        yield _shared_ground(regions, sides, plan, "images", far, what, scope)


def _shared_ground(
    regions: gpd.GeoDataFrame, sides: Folds, plan: SplitPlan, seen: str, reach: float, what: str, scope: str
) -> Finding:
    """Say how many tested regions see something that a training region sees too."""
    shared = within_reach(shapely.get_coordinates(regions.centroid.to_numpy()), sides, 2 * reach)
    text = (
        f"{percent(shared.count, shared.tested)} of tested regions see {seen} that a training region sees too: {what}."
    )
    if shared.count:
        remedy = "A" if plan.keeps_buffer else "Beside this split, `splits: [blocks]` with a"
        text += f" {remedy} `buffer` of {metres(2 * reach)} would keep them apart, a smaller radius or context as well."
    numbers = {"shared": shared.count, "tested": shared.tested, "reach_metres": reach}
    path = f"overlapping {'POI' if seen == 'POIs' else 'image'} windows"
    return Finding(path, "named" if shared.count else "pass", text, scope, numbers)


def _poi_reach(config: Config, reach: Reach) -> tuple[float, str]:
    """Return how far from its centre a region sees POIs in metres, and why."""
    if config.pois is None:
        return 0.0, ""
    context = _MOST_OF_A_GAUSSIAN * reach.pois
    radius = config.pois.radius or 0.0
    if context >= radius and context:
        return context, f"the context's widest Gaussian has most of its weight within {metres(context)}"
    return radius, f"POIs within {metres(radius)} of a centre belong to a region" if radius else ""


def of_regions(member: sparse.csr_array, folds: Folds) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Return folds of units as folds of the regions that stand for them."""
    return [
        (
            np.flatnonzero(np.asarray(member[train].sum(axis=0)).ravel()),
            np.flatnonzero(np.asarray(member[test].sum(axis=0)).ravel()),
        )
        for train, test in folds
    ]
