from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mmgr.learn import losses
from mmgr.learn.losses import Contrast, cross_modal, nt_xent, retrieval

Loss = Callable[..., Contrast]
ByHand = Callable[..., tuple[Tensor, float]]

SIZE, DIMENSIONS = 7, 5


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a * a).sum().sqrt() / (b * b).sum().sqrt()


def joint_by_hand(a: Tensor, b: Tensor, temperature: Tensor, banned: Tensor, present: Tensor) -> tuple[Tensor, float]:
    """The paper's loss, pair by pair."""
    found, chances = [], []
    for anchors, others in ((a, b), (b, a)):
        for i in range(len(a)):
            if not present[i]:
                continue
            positive = (cosine(anchors[i], others[i]) / temperature).exp()
            total, candidates = positive, 1
            for j in range(len(a)):
                if j != i and present[j] and not banned[i, j]:
                    total = total + (cosine(anchors[i], others[j]) / temperature).exp()
                    total = total + (cosine(anchors[i], anchors[j]) / temperature).exp()
                    candidates += 2
            found.append(-(positive / total).log())
            chances.append(math.log(candidates))
    return sum(found) / len(found), sum(chances) / len(chances)


def cross_by_hand(a: Tensor, b: Tensor, temperature: Tensor, banned: Tensor, present: Tensor) -> tuple[Tensor, float]:
    """The symmetric loss between two kinds, pair by pair."""
    found, chances = [], []
    for anchors, others in ((a, b), (b, a)):
        for i in range(len(a)):
            if not present[i]:
                continue
            candidates = [j for j in range(len(a)) if j == i or (present[j] and not banned[i, j])]
            total = sum((cosine(anchors[i], others[j]) / temperature).exp() for j in candidates)
            found.append(-((cosine(anchors[i], others[i]) / temperature).exp() / total).log())
            chances.append(math.log(len(candidates)))
    return sum(found) / len(found), sum(chances) / len(chances)


LOSSES = [(nt_xent, joint_by_hand), (cross_modal, cross_by_hand)]


def make(size: int = SIZE, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    a, b = torch.randn(2, size, DIMENSIONS, generator=generator).to(dtype)
    return a.requires_grad_(), b.requires_grad_()


def masks() -> tuple[Tensor, Tensor]:
    banned = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    for i, j in ((0, 1), (2, 5), (4, 6), (3, 3)):  # a mask may name a region and itself
        banned[i, j] = banned[j, i] = True
    present = torch.ones(SIZE, dtype=torch.bool)
    present[[1, 6]] = False
    return banned, present


def chosen(names: str) -> dict[str, Tensor]:
    banned, present = masks()
    return {name: mask for name, mask in (("not_negative", banned), ("present", present)) if name in names}


MASKS = ["none", "present", "not_negative", "present and not_negative"]


@pytest.mark.parametrize("block", [losses.BLOCK, 40])
@pytest.mark.parametrize("temperature", [0.5, 0.1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize(("loss", "by_hand"), LOSSES)
def test_losses_and_gradients_equal_explicit_loops(
    monkeypatch: pytest.MonkeyPatch,
    loss: Loss,
    by_hand: ByHand,
    masked: str,
    dtype: torch.dtype,
    temperature: float,
    block: int,
) -> None:
    monkeypatch.setattr(losses, "BLOCK", block)  # 40 similarities at once are one or two regions of seven
    a, b = make(dtype=dtype)
    warmth = torch.tensor(temperature, requires_grad=True)
    found = loss(a, b, temperature=warmth, **chosen(masked))
    found.loss.backward()
    assert found.loss.dtype == torch.float32
    exact = [value.detach().double().requires_grad_() for value in (a, b, warmth)]
    banned = chosen(masked).get("not_negative", torch.zeros(SIZE, SIZE))
    present = chosen(masked).get("present", torch.ones(SIZE))
    wanted, chance = by_hand(*exact, banned, present)
    wanted.backward()
    assert float(found.loss.detach()) == pytest.approx(float(wanted.detach()), abs=1e-6)
    assert float(found.chance) == pytest.approx(chance, abs=1e-6)
    for value, reference in zip((a, b, warmth), exact, strict=True):
        assert value.grad.dtype == value.dtype
        # a gradient has its tensor's precision, and nothing else is lost: half a unit in the last place
        rounding = 0 if value.dtype == torch.float32 else 2**-8 * reference.grad.abs()
        scale = max(1, float(reference.grad.abs().max()))
        assert ((value.grad.double() - reference.grad).abs() <= rounding + 1e-6 * scale).all()


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("loss", [nt_xent, cross_modal])
def test_gradients_in_double_precision_are_those_of_finite_differences(loss: Loss, masked: str) -> None:
    a, b = make(dtype=torch.float64)
    warmth = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda *inputs: loss(*inputs[:2], temperature=inputs[2], **chosen(masked)).loss, (a, b, warmth)
    )


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
def test_masks_are_left_as_they_were(loss: Loss) -> None:
    a, b = make()
    given = chosen("present and not_negative")
    loss(a, b, temperature=0.2, **given)
    assert all(torch.equal(given[name], mask) for name, mask in chosen("present and not_negative").items())


@pytest.mark.parametrize("block", [losses.BLOCK, 8])
def test_retrieval_counts_the_nearest_that_is_ones_own_among_candidates(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(losses, "BLOCK", block)
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


MEMORY = """
import resource
import torch
from mmgr.learn.losses import cross_modal, nt_xent, retrieval

torch.set_num_threads(1)
def step(size):
    a, b = torch.randn(2, size, 128)
    mask = torch.rand(size, size) < 0.01
    options = {"not_negative": mask | mask.T, "present": torch.arange(size) % 5 > 0}
    for loss in (cross_modal, nt_xent):
        loss(a.requires_grad_(), b.requires_grad_(), temperature=0.2, **options).loss.backward()
    retrieval(a, b, **options)
step(8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
step(4096)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_4096_pairs_of_128_dimensions_need_less_than_300_mb() -> None:
    # the vectors are 4 MB, the mask 17 MB and its making 67 MB; all similarities of NT-Xent at once would be 268 MB
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300


SHARED = """
import sys
import numpy as np
import torch
from torch import distributed
from mmgr.learn.losses import cross_modal, nt_xent, retrieval
from mmgr.learn.share import Share

torch.set_num_threads(1)
folder, rank = sys.argv[1], int(sys.argv[2])
whole = np.load(f"{folder}/batch.npz")

def main(processes):
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meet{processes}", rank=rank, world_size=processes
    )
    found = {}
    for size in (13, 8, 3):
        measure(size, processes, found)
    np.savez(f"{folder}/{rank} of {processes}.npz", **{key: value.numpy() for key, value in found.items()})
    distributed.barrier()
    distributed.destroy_process_group()

def measure(size, processes, found):
    share = Share.of(size, rank=rank, processes=processes)
    masks = {
        "not_negative": torch.from_numpy(whole["not_negative"][:size, :size])[share.own],
        "present": torch.from_numpy(whole["present"][:size])[share.own],
    }
    for name, loss in (("nt_xent", nt_xent), ("cross_modal", cross_modal)):
        for masked in (False, True):
            a, b = (torch.from_numpy(whole[key][:size])[share.own].requires_grad_() for key in "ab")
            warmth = torch.tensor(0.3, requires_grad=True)
            contrast = loss(a, b, temperature=warmth, share=share, **(masks if masked else {}))
            contrast.loss.backward()
            key = f"{name} {size} {masked}"
            found[f"{key} loss"], found[f"{key} chance"] = contrast.loss.detach(), contrast.chance
            # data-parallel training takes the mean over the processes
            for part, value in (("a", a), ("b", b), ("warmth", warmth)):
                found[f"{key} gradient {part}"] = value.grad / processes
            top = retrieval(a, b, share=share, **(masks if masked else {}))
            found[f"retrieval {size} {masked}"] = torch.stack(top)

for processes in (2, 4):
    if rank < processes:
        main(processes)
"""


def test_processes_that_share_a_batch_get_the_loss_and_the_gradient_of_one(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    banned = random.random((13, 13)) < 0.2
    whole = {
        "a": random.normal(size=(13, DIMENSIONS)).astype(np.float32),
        "b": random.normal(size=(13, DIMENSIONS)).astype(np.float32),
        "not_negative": banned | banned.T,
        "present": random.random(13) < 0.7,
    }
    np.savez(tmp_path / "batch.npz", **whole)
    environment = os.environ | {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else dict(os.environ)
    running = [
        subprocess.Popen([sys.executable, "-c", SHARED, str(tmp_path), str(rank)], env=environment) for rank in range(4)
    ]
    assert [process.wait(300) for process in running] == [0] * 4
    for processes in (2, 4):
        assert_equal_to_one(whole, [np.load(tmp_path / f"{rank} of {processes}.npz") for rank in range(processes)])


def assert_equal_to_one(whole: dict[str, np.ndarray], found: list[dict[str, np.ndarray]]) -> None:
    for size in (13, 8, 3):  # even, uneven, and fewer than the processes
        masks = {
            "not_negative": torch.from_numpy(whole["not_negative"][:size, :size]),
            "present": torch.from_numpy(whole["present"][:size]),
        }
        for masked in (False, True):
            given = masks if masked else {}
            for name, loss in (("nt_xent", nt_xent), ("cross_modal", cross_modal)):
                a, b = (torch.from_numpy(whole[key][:size]).requires_grad_() for key in "ab")
                warmth = torch.tensor(0.3, requires_grad=True)
                wanted = loss(a, b, temperature=warmth, **given)
                wanted.loss.backward()
                key = f"{name} {size} {masked}"
                for part in found:
                    assert float(part[f"{key} loss"]) == pytest.approx(float(wanted.loss.detach()), abs=1e-6)
                    assert float(part[f"{key} chance"]) == pytest.approx(float(wanted.chance), abs=1e-6)
                for side, value in (("a", a), ("b", b)):
                    joined = np.concatenate([part[f"{key} gradient {side}"] for part in found])
                    # a process's own gradient is whole; the mean over processes is taken of what they share
                    assert np.allclose(joined, value.grad.numpy(), atol=1e-6, rtol=0)
                together = sum(part[f"{key} gradient warmth"] for part in found)
                assert float(together) == pytest.approx(float(warmth.grad), abs=1e-5)
            for part in found:
                assert np.allclose(part[f"retrieval {size} {masked}"], torch.stack(retrieval(a, b, **given)).numpy())
