"""No part of a step adds gradients up in an order that threads decide."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from learn_samples import Vectors, small_recipe
from torch.utils._python_dispatch import TorchDispatchMode

from mmgr.learn.augment import make_views
from mmgr.learn.data import Batches
from mmgr.learn.model import seeded_model
from mmgr.learn.places import seen_in_views
from mmgr.store import RegionStore


class Unordered(TorchDispatchMode):
    """Notes what PyTorch, on a CPU, lets several threads add to the same place."""

    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(function)
        if "index_put" in name and ((args[3:] and args[3]) or (kwargs or {}).get("accumulate")):
            self.found.add(name)
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("pool", ["set2set", "attention", "mean"])
@pytest.mark.parametrize("crop_pois", [False, True])
def test_a_step_has_one_order(store: RegionStore, vectors: Vectors, pool: str, crop_pois: bool) -> None:  # noqa: FBT001
    recipe = small_recipe(poi_encoder=pool, crop_pois=crop_pois, poi_positions=crop_pois, learn_temperature=True)
    batch = next(iter(Batches(store, recipe, 0).epoch(0)))
    model = seeded_model(recipe, vectors.vectors, 3, 0).train()
    views = [
        make_views(patches, drawn, recipe.crop)
        for patches, drawn in zip((batch.first, batch.second), batch.drawn, strict=True)
    ]
    seen = (seen_in_views(batch.pois, batch.drawn[0]), seen_in_views(batch.pois, batch.drawn[1])) if crop_pois else None
    with Unordered() as order:
        model.losses((views[0], views[1]), batch.pois, batch.not_negative, batch.near, seen).total.backward()
    assert model.image_head[0].weight.grad is not None
    assert not order.found


def test_the_spy_sees_brackets() -> None:
    with Unordered() as order:
        torch.zeros(4, requires_grad=True)[torch.tensor([0, 0, 1])].sum().backward()
    assert order.found
