"""Held-out regions: what the encoders make of places that they were not trained on.

Losses of a training say how well it is remembered. Whether something was learned that holds elsewhere, a
few regions say that no step has seen, with any of their dates: is a view's nearest other view its own, and
an image's nearest POIs? They are no test set of a score: their neighbours are trained on, and the vectors of
POI categories have seen all POIs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmgr.learn.augment import make_views
from mmgr.learn.data import LEAST_HELD_OUT, Batch, Batches
from mmgr.learn.losses import retrieval
from mmgr.learn.model import MultiModalModel
from mmgr.learn.modes import evaluating as evaluating  # noqa: PLC0414 - read here by others, too
from mmgr.learn.places import seen_in_views


@dataclass(frozen=True, slots=True)
class HeldOutMeasures:
    """What held-out regions say of a model; NaN where there are none, or the recipe has no POIs."""

    held_out_view_retrieval: float = math.nan
    """Part of first views whose nearest second view, of all held-out regions', is their own."""
    held_out_view_retrieval_chance: float = math.nan
    held_out_poi_retrieval: float = math.nan
    """Part of first views whose nearest POIs, of all held-out regions that have any, are their own; POIs that
    are the same are not told apart."""
    held_out_poi_retrieval_chance: float = math.nan
    alignment: float = math.nan
    """Mean squared distance of two views of one region, 0 (equal) to 4; see :func:`alignment`."""
    uniformity: float = math.nan
    """0 where all vectors are equal, towards -4 as they spread; see :func:`uniformity`."""


def measure(model: MultiModalModel, batches: Batches, device: torch.device) -> HeldOutMeasures:
    """Measure a model on the held-out regions of a training.

    Their views are the same in each epoch. The model is as it was before: weights, modes, statistics of batch
    norms; no global generator is drawn from.
    """
    if not len(batches.held_out):
        return HeldOutMeasures()
    with evaluating(model):
        parts = [_project(model, batch.to(device)) for batch in batches.held_out_batches()]
    z1, z2 = (torch.cat([part[number] for part in parts]) for number in (0, 1))  # (n, 128) each
    view_retrieval, view_chance = retrieval(z1, z2)
    poi_retrieval = poi_chance = z1.new_tensor(math.nan)
    u, present = (torch.cat([part[number] for part in parts]) if model.recipe.uses_pois else None for number in (2, 3))
    if u is not None and present is not None and present.any():
        same = torch.from_numpy(batches.negatives.indistinct(batches.held_out)).to(z1.device)
        poi_retrieval, poi_chance = retrieval(z1, u, not_negative=same, present=present)
    return HeldOutMeasures(
        held_out_view_retrieval=float(view_retrieval),
        held_out_view_retrieval_chance=float(view_chance),
        held_out_poi_retrieval=float(poi_retrieval),
        held_out_poi_retrieval_chance=float(poi_chance),
        alignment=float(alignment(z1, z2)),
        uniformity=float((uniformity(z1) + uniformity(z2)) / 2),
    )


def describe_held_out(batches: Batches) -> str:
    """Say how many regions are kept out of training, or why none is."""
    kept, regions = len(batches.held_out), len(batches.held_out) + len(batches.rows)
    if kept:
        return f"held out of training to measure retrieval on: {kept} of {regions} regions"
    part = batches.recipe.held_out
    few = f" ({part:.3g} of {regions} is fewer than {LEAST_HELD_OUT})" if part else ""
    return f"no region is held out of training{few}: the monitor tells of the regions trained on alone"


def alignment(a: Tensor, b: Tensor) -> Tensor:
    """Return the mean squared distance of pairs on the unit sphere (Wang and Isola 2020, alpha = 2).

    Parameters
    ----------
    a, b
        Two views' vectors, shape ``(n, d)`` each; their lengths do not matter.
    """
    return (normalize(a.float(), dim=1) - normalize(b.float(), dim=1)).square().sum(1).mean()


def uniformity(vectors: Tensor) -> Tensor:
    """Return the log of the mean Gaussian kernel of all pairs on the unit sphere (Wang and Isola 2020, t = 2).

    Parameters
    ----------
    vectors
        Shape ``(n, d)``, at least two; their lengths do not matter.
    """
    distances = torch.pdist(normalize(vectors.double(), dim=1))  # (n (n - 1) / 2,)
    return distances.square().mul(-2).exp().mean().log()


def _project(model: MultiModalModel, batch: Batch) -> tuple[Tensor, ...]:
    """Return the projections of both views, and with POIs theirs and who has any; ``(B, 128)`` and ``(B,)``."""
    recipe = model.recipe
    patches = (batch.first, batch.second)
    views = [make_views(some, drawn, recipe.crop) for some, drawn in zip(patches, batch.drawn, strict=True)]
    found = model.image_head(model.encode_images(torch.cat(views))).chunk(2)
    if not recipe.uses_pois:
        return tuple(found)
    pois = seen_in_views(batch.pois, batch.drawn[0]) if recipe.crop_pois else batch.pois
    return (*found, model.project_pois(pois), pois.present)
