from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from learn_samples import make_store, small_recipe

from mmgr.benchmark.byol import MOMENTUM, Byol, _new
from mmgr.learn.data import Batch, Batches


@pytest.fixture(scope="module")
def batch(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    path: Path = tmp_path_factory.mktemp("byol") / "regions.lance"
    return next(Batches(make_store(path, 12), small_recipe("simclr"), seed=0).epoch(0))


def new() -> Byol:
    byol = _new(small_recipe("simclr"), 3, 0)
    byol.modules().train()
    return byol


def test_no_gradient_flows_into_the_target(batch: Batch) -> None:
    byol = new()
    loss = byol.loss(batch)
    assert 0 <= float(loss.detach()) <= 8
    loss.backward()
    assert all(weight.grad is None and not weight.requires_grad for weight in byol.target.parameters())
    assert all(weight.grad is not None for weight in byol.learned())
    learned = {id(weight) for weight in byol.learned()}
    assert not learned & {id(weight) for weight in byol.target.parameters()}


@pytest.mark.parametrize(("progress", "tau"), [(0.0, MOMENTUM), (0.5, (1 + MOMENTUM) / 2), (1.0, 1.0)])
def test_the_target_is_a_moving_average(progress: float, tau: float) -> None:
    byol = new()
    with torch.no_grad():
        for weight in byol.online.parameters():
            weight.add_(1.0)
    before = [weight.clone() for weight in byol.target.parameters()]
    byol.after_step(progress)
    for old, slow, fast in zip(before, byol.target.parameters(), byol.online.parameters(), strict=True):
        torch.testing.assert_close(slow, tau * old + (1 - tau) * fast, rtol=1e-5, atol=1e-6)


def test_the_target_begins_as_the_online_network_and_stays_through_a_loss(batch: Batch) -> None:
    byol = new()
    before = [weight.clone() for weight in byol.target.parameters()]
    for one, two in zip(byol.target.parameters(), byol.online.parameters(), strict=True):
        assert torch.equal(one, two)
    byol.loss(batch).backward()
    torch.optim.SGD(byol.learned(), lr=0.1).step()
    assert all(torch.equal(old, new) for old, new in zip(before, byol.target.parameters(), strict=True))


def test_the_loss_is_the_mean_square_of_unit_vectors(batch: Batch) -> None:
    byol = new()
    byol.modules().eval()  # batch norms by their statistics, so that a second pass is the same
    with torch.no_grad():
        found = float(byol.loss(batch))
        views = byol.views.of(batch.first, batch, 0), byol.views.of(batch.second, batch, 1)
        z = [torch.nn.functional.normalize(byol.target.image_head(byol.target.encode_images(v))) for v in views]
        q = [
            torch.nn.functional.normalize(byol.predictor(byol.online.image_head(byol.online.encode_images(v))))
            for v in views
        ]
    expected = sum(float(((q[a] - z[1 - a]) ** 2).sum(1).mean()) for a in (0, 1))
    assert found == pytest.approx(expected, rel=1e-4)
    assert math.isfinite(found)
