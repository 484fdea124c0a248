"""What a training step sends to a GPU on its way to the loss: nothing that the host has to wait for.

No GPU is needed to see it, but gradients cannot be taken without one.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from learn_samples import Vectors, small_recipe
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmgr.learn import augment
from mmgr.learn.checkpoints import Cadence
from mmgr.learn.data import Batches
from mmgr.learn.model import seeded_model
from mmgr.learn.training import Training
from mmgr.store import RegionStore


class Copies(TorchDispatchMode):
    """Counts what makes the host wait: copies between devices. (Reading numbers back is an error of itself here.)"""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        found = function(*args, **given)
        name = str(function)
        if name.startswith("aten._to_copy") and args[0].device != found.device and not given.get("non_blocking"):
            self.found[f"{name} of {tuple(args[0].shape)}"] += 1
        if name.startswith("aten.copy_") and args[0].device != args[1].device and not (args[2:] and args[2]):
            self.found[f"{name} of {tuple(args[1].shape)}"] += 1
        return found


@pytest.fixture(autouse=True)
def _constants_are_forgotten() -> Iterator[None]:
    yield
    augment._constant.cache_clear()


def on_gpu(module: nn.Module) -> None:
    """Put a module's weights on a GPU that is not there."""
    for part in module.modules():
        for weights in (part._parameters, part._buffers):
            for name, value in weights.items():
                if value is not None:
                    moved = torch.empty_like(value, device="cuda")
                    weights[name] = nn.Parameter(moved, value.requires_grad) if weights is part._parameters else moved


def absent(part: Tensor) -> Tensor:
    """Return a tensor of the same shape on a GPU that is not there."""
    return torch.empty(part.shape, dtype=part.dtype, device="cuda")


@pytest.mark.filterwarnings("ignore:CUDA is not available")  # to autocast, which computes in float32 then
@pytest.mark.parametrize("recipe", ["mmgr", "mmgr-2023", "simclr"])
def test_the_host_waits_for_nothing(
    store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    chosen = small_recipe(recipe, precision="bf16", poi_encoder="attention")  # Set2Set asks for a driver
    batches = Batches(store, chosen, 0)
    batch = next(iter(batches.epoch(0)))
    model = seeded_model(chosen, vectors.vectors if chosen.uses_pois else None, 3, 0)
    training = Training(model, batches, 0, Path(), Cadence("1 steps"))
    monkeypatch.setattr(Training, "_seeded_dropout", lambda *_: contextlib.nullcontext())
    with FakeTensorMode(allow_non_fake_inputs=True), Copies() as copies:
        on_gpu(model)
        moved = batch._with(absent)
        assert moved.drawn[0].box.device.type == "cuda"
        training.training_step(moved, 0)  # constants go there once
        copies.found.clear()
        loss = training.training_step(moved, 1)
    assert loss.device.type == "cuda"
    assert not copies.found


def test_the_spy_sees_what_it_looks_for() -> None:
    with FakeTensorMode(), Copies() as copies:
        there = torch.empty(3, device="cuda")
        there.new_tensor([1.0, 2.0])
        torch.empty(3).to(there)
        torch.empty(3).to("cuda", non_blocking=True)
    assert sum(copies.found.values()) == 2
    with FakeTensorMode(), pytest.raises(RuntimeError):
        float(torch.empty((), device="cuda"))
