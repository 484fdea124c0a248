from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mmgr.learn.losses import Contrast, cross_modal, nt_xent, retrieval

Loss = Callable[..., Contrast]
ByHand = Callable[..., tuple[float, float]]

SIZE, DIMENSIONS = 7, 5


def cosine(a: Tensor, b: Tensor) -> float:
    dot = sum(float(x) * float(y) for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(float(x) ** 2 for x in a)) / math.sqrt(sum(float(y) ** 2 for y in b))


def joint_by_hand(a: Tensor, b: Tensor, temperature: float, banned: Tensor, present: Tensor) -> tuple[float, float]:
    """The paper's loss, pair by pair in Python's double precision."""
    losses, chances = [], []
    for anchors, others in ((a, b), (b, a)):
        for i in range(len(a)):
            if not present[i]:
                continue
            positive = math.exp(cosine(anchors[i], others[i]) / temperature)
            total, candidates = positive, 1
            for j in range(len(a)):
                if j != i and present[j] and not banned[i, j]:
                    total += math.exp(cosine(anchors[i], others[j]) / temperature)
                    total += math.exp(cosine(anchors[i], anchors[j]) / temperature)
                    candidates += 2
            losses.append(-math.log(positive / total))
            chances.append(math.log(candidates))
    return (sum(losses) / len(losses), sum(chances) / len(chances)) if losses else (0.0, 0.0)


def cross_by_hand(a: Tensor, b: Tensor, temperature: float, banned: Tensor, present: Tensor) -> tuple[float, float]:
    losses, chances = [], []
    for anchors, others in ((a, b), (b, a)):
        for i in range(len(a)):
            if not present[i]:
                continue
            candidates = [j for j in range(len(a)) if j == i or (present[j] and not banned[i, j])]
            total = sum(math.exp(cosine(anchors[i], others[j]) / temperature) for j in candidates)
            losses.append(-math.log(math.exp(cosine(anchors[i], others[i]) / temperature) / total))
            chances.append(math.log(len(candidates)))
    return (sum(losses) / len(losses), sum(chances) / len(chances)) if losses else (0.0, 0.0)


LOSSES = [(nt_xent, joint_by_hand), (cross_modal, cross_by_hand)]


def make(size: int = SIZE, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, size, DIMENSIONS, generator=generator).to(dtype)
    return a.requires_grad_(), b.requires_grad_()


def masks() -> tuple[Tensor, Tensor]:
    banned = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for i, j in ((0, 1), (2, 5), (4, 6)):
        banned[i, j] = banned[j, i] = True
    present = torch.ones(SIZE, dtype=torch.bool)
    present[[1, 6]] = False
    return banned, present


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", ["", "masked"])
@pytest.mark.parametrize(("loss", "by_hand"), LOSSES)
def test_losses_equal_explicit_loops(loss: Loss, by_hand: ByHand, masked: str, dtype: torch.dtype) -> None:
    a, b = make(dtype=dtype)
    banned, present = masks()
    if masked:
        found = loss(a, b, temperature=0.3, not_negative=banned, present=present)
    else:
        found = loss(a, b, temperature=0.3)
        banned, present = torch.zeros_like(banned), torch.ones_like(present)
    wanted, chance = by_hand(a.detach(), b.detach(), 0.3, banned, present)
    assert found.loss.dtype == torch.float32
    assert float(found.loss.detach()) == pytest.approx(wanted, abs=1e-6)
    assert float(found.chance) == pytest.approx(chance, abs=1e-6)


def test_chance_without_masks_is_the_log_of_the_number_of_candidates() -> None:
    a, b = make()
    assert float(nt_xent(a, b, temperature=1).chance) == pytest.approx(math.log(2 * SIZE - 1), abs=1e-6)
    assert float(cross_modal(a, b, temperature=1).chance) == pytest.approx(math.log(SIZE), abs=1e-6)


@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
def test_equal_vectors_score_exactly_chance(loss: Loss) -> None:
    a = torch.ones(SIZE, DIMENSIONS)
    found = loss(a, a, temperature=0.1)
    assert float(found.loss) == pytest.approx(float(found.chance), abs=1e-6)


@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
def test_autocast_around_a_loss_does_not_lower_its_precision(loss: Loss) -> None:
    a, b = make()
    wanted = loss(a, b, temperature=0.2).loss
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(a, b, temperature=0.2).loss, wanted)


@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
@pytest.mark.parametrize("size", [1, SIZE])
def test_a_batch_with_nothing_to_contrast_is_zero_with_zero_gradient(loss: Loss, size: int) -> None:
    a, b = make(size)
    present = torch.zeros(size, dtype=torch.bool) if size > 1 else None
    found = loss(a, b, temperature=0.2, present=present)
    found.loss.backward()
    assert float(found.loss.detach()) == 0
    assert float(found.chance) == 0
    assert torch.equal(a.grad, torch.zeros_like(a))
    assert torch.equal(b.grad, torch.zeros_like(b))


@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
def test_an_absent_pair_moves_nothing_and_gets_no_gradient(loss: Loss) -> None:
    a, b = make()
    _, present = masks()
    found = loss(a, b, temperature=0.2, present=present)
    found.loss.backward()
    assert a.grad.any()
    assert not a.grad[~present].any()
    assert not b.grad[~present].any()
    changed = torch.where(present[:, None], b, 100.0).detach()
    assert torch.equal(loss(a, changed, temperature=0.2, present=present).loss, found.loss)


@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    a, b = make()
    banned, present = masks()
    loss(a, b, temperature=0.5, not_negative=banned, present=present).loss.backward()
    step = torch.zeros_like(a)
    step[2, 3] = 1e-2
    high, low = (
        loss(a.detach() + s, b.detach(), temperature=0.5, not_negative=banned, present=present).loss
        for s in (step, -step)
    )
    assert float(high - low) / 2e-2 == pytest.approx(float(a.grad[2, 3]), abs=1e-4)


def test_retrieval_counts_the_nearest_that_is_ones_own_among_candidates() -> None:
    b = torch.eye(4)
    a = b[[0, 1, 3, 2]] + b / 2  # the last two lie nearest to each other's
    top, chance = retrieval(a, b)
    assert float(top) == 0.5
    assert float(chance) == 0.25
    alike = torch.zeros(4, 4, dtype=torch.bool)
    alike[2, 3] = alike[3, 2] = True
    top, chance = retrieval(a, b, not_negative=alike)
    assert float(top) == 1
    assert float(chance) == pytest.approx((1 / 4 + 1 / 4 + 1 / 3 + 1 / 3) / 4)
    assert float(retrieval(a, b, present=torch.zeros(4, dtype=torch.bool))[0]) == 0
