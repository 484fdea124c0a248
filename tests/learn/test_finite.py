"""Whether a loss is looked at at once or one step later, the weights are those of before it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmgr.errors import MmgrError
from mmgr.learn.finite import FiniteCheck


def names(*regions: str):  # noqa: ANN201
    return lambda: ", ".join(regions)


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("fault", ["loss", "gradient"])
def test_weights_are_left_as_they_were(kind: type[torch.optim.Adam], later: bool, fault: str) -> None:  # noqa: FBT001
    weight = nn.Parameter(torch.ones(3))
    optimiser = kind([weight], lr=0.1, fused=later or None)
    check = FiniteCheck(later=later)

    def step(loss: float, slope: float, name: str) -> None:
        weight.grad = torch.full((3,), slope)
        check.look(optimiser, torch.tensor(loss), f"step {name}", names(name))
        optimiser.step()

    step(1.0, 0.5, "a")
    good = weight.detach().clone()
    assert not torch.equal(good, torch.ones(3))
    bad = (float("nan"), 0.5) if fault == "loss" else (1.0, float("inf"))
    match = f"{'loss is nan' if fault == 'loss' else 'gradient inf'} in step b.*regions are b"
    if later:
        step(*bad, "b")
        assert torch.equal(weight, good)
        with pytest.raises(MmgrError, match=match):
            step(1.0, 0.5, "c")
    else:
        with pytest.raises(MmgrError, match=match):
            step(*bad, "b")
    assert torch.equal(weight, good)


def test_nothing_is_kept_unlooked_at() -> None:
    weight = nn.Parameter(torch.ones(1))
    optimiser = torch.optim.Adam([weight], fused=True)
    check = FiniteCheck(later=True)
    weight.grad = torch.full((1,), float("nan"))
    check.look(optimiser, torch.tensor(1.0), "step 1", names("x"))
    with pytest.raises(MmgrError, match="step 1"):
        check.finish()
    check.finish()  # told once


def test_a_step_after_a_good_one_is_taken() -> None:
    weight, plain = nn.Parameter(torch.ones(4)), nn.Parameter(torch.ones(4))
    fused, usual = torch.optim.AdamW([weight], fused=True), torch.optim.AdamW([plain])
    check = FiniteCheck(later=True)
    for slope in (0.3, -0.2, 0.9):
        weight.grad, plain.grad = torch.full((4,), slope), torch.full((4,), slope)
        check.look(fused, torch.tensor(1.0), "", names())
        fused.step()
        usual.step()
    assert torch.allclose(weight, plain)
