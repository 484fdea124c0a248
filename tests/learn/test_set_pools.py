from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmgr.learn.set_pools import MeanPool, QueryPool, Set2Set, ragged_softmax

CHANNELS, STEPS = 6, 5


def bags() -> tuple[Tensor, Tensor]:
    """Items of four sets, of which the third has none; not in the order of their sets."""
    torch.manual_seed(0)
    return torch.randn(9, CHANNELS), torch.tensor([0, 0, 1, 3, 3, 3, 1, 0, 3])


# the trusted one's library compiles scripts in a way that PyTorch will drop
trusted_import = pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")


@trusted_import
def test_set2set_equals_the_trusted_one_with_the_same_weights() -> None:
    from torch_geometric.nn.aggr import Set2Set as Trusted

    items, owner = bags()
    order = owner.argsort(stable=True)  # the trusted one wants sorted sets
    ours, trusted = Set2Set(CHANNELS, STEPS), Trusted(CHANNELS, STEPS)
    trusted.lstm.load_state_dict(ours.lstm.state_dict())
    found = ours(items, owner, torch.ones(9), 4)
    assert torch.allclose(found, trusted(items[order], owner[order], dim_size=4), atol=1e-6)


@trusted_import
def test_an_item_with_a_count_equals_repeated_items() -> None:
    from torch_geometric.nn.aggr import Set2Set as Trusted

    items, owner = bags()
    count = torch.tensor([1, 3, 2, 1, 7, 1, 1, 4, 2])
    ours, trusted = Set2Set(CHANNELS, STEPS), Trusted(CHANNELS, STEPS)
    trusted.lstm.load_state_dict(ours.lstm.state_dict())
    found = ours(items, owner, count.float(), 4)
    order = owner.repeat_interleave(count).argsort(stable=True)
    repeated = items.repeat_interleave(count, 0)[order], owner.repeat_interleave(count)[order]
    assert torch.allclose(found, trusted(*repeated, dim_size=4), atol=1e-6)
    assert torch.allclose(found, ours(*repeated, torch.ones(len(order)), 4), atol=1e-6)


def test_set2set_equals_explicit_loops_and_an_empty_set_reads_zeros() -> None:
    items, owner = bags()
    count = torch.tensor([1.0, 3, 2, 1, 7, 1, 1, 4, 2])
    ours = Set2Set(CHANNELS, STEPS)
    found = ours(items, owner, count, 4)
    for region in range(4):
        mine = [k for k in range(9) if owner[k] == region]
        output, hidden, cell = torch.zeros(2 * CHANNELS), torch.zeros(CHANNELS), torch.zeros(CHANNELS)
        weights = ours.lstm.state_dict()
        for _ in range(STEPS):
            gates = weights["weight_ih_l0"] @ output + weights["bias_ih_l0"]
            gates = gates + weights["weight_hh_l0"] @ hidden + weights["bias_hh_l0"]
            enter, forget, new, leave = gates.chunk(4)
            cell = forget.sigmoid() * cell + enter.sigmoid() * new.tanh()
            hidden = leave.sigmoid() * cell.tanh()
            shares = [float(count[k]) * math.exp(float(items[k] @ hidden)) for k in mine]
            readout = sum(
                (s / sum(shares) * items[k] for s, k in zip(shares, mine, strict=True)), torch.zeros(CHANNELS)
            )
            output = torch.cat([hidden, readout])
        assert torch.allclose(found[region], output, atol=1e-6)
    assert not found[2, CHANNELS:].any()
    assert found[2].isfinite().all()


def test_softmax_of_large_logits_does_not_overflow() -> None:
    weight = ragged_softmax(torch.tensor([1e4, 1e4, -1e4]), torch.tensor([0, 0, 1]), 3)
    assert weight.tolist() == [0.5, 0.5, 1.0]


def test_softmax_of_several_heads_is_that_of_each() -> None:
    torch.manual_seed(0)
    logits, owner = torch.randn(9, 3), bags()[1]
    each = torch.stack([ragged_softmax(logits[:, head], owner, 4) for head in range(3)], 1)
    assert torch.equal(ragged_softmax(logits, owner, 4), each)


def test_a_mean_is_a_mean_with_its_counts() -> None:
    items, owner = bags()
    count = torch.tensor([1.0, 3, 2, 1, 7, 1, 1, 4, 2])
    found = MeanPool(CHANNELS)(items, owner, count, 4)
    for region in (0, 1, 3):
        mine = owner == region
        repeated = items[mine].repeat_interleave(count[mine].long(), 0)
        assert torch.allclose(found[region], repeated.mean(0), atol=1e-6)
    assert not found[2].any()


@torch.no_grad()
def test_attention_equals_explicit_loops_with_one_item_more_in_each_set() -> None:
    items, owner = bags()
    count = torch.tensor([1.0, 3, 2, 1, 7, 1, 1, 4, 2])
    pool = QueryPool(CHANNELS, heads=3)
    torch.nn.init.normal_(pool.empty_logit)
    torch.nn.init.normal_(pool.empty_value)
    found = pool(items, owner, count, 4)
    assert found.shape == (4, pool.features) == (4, 2 * CHANNELS)
    for region in range(4):
        for head in range(3):
            shares, values = [float(pool.empty_logit[head].exp())], [pool.empty_value[head]]
            for k in (k for k in range(9) if owner[k] == region):
                shares.append(float(count[k] * (pool.query.weight[head] @ items[k] + pool.query.bias[head]).exp()))
                values.append((pool.value(items[k])).view(3, -1)[head])
            wanted = sum((s / sum(shares) * v for s, v in zip(shares, values, strict=True)), torch.zeros(4))
            assert torch.allclose(found[region].view(3, -1)[head], wanted, atol=1e-5)


def test_attention_tells_many_from_few_of_the_same() -> None:
    pool = QueryPool(CHANNELS, heads=2)
    torch.nn.init.normal_(pool.empty_value)
    item, none = torch.randn(1, CHANNELS), torch.zeros(1, dtype=torch.int64)
    few, many = (pool(item, none, torch.tensor([n]), 1) for n in (1.0, 50.0))
    assert not torch.allclose(few, many, atol=1e-3)


@pytest.mark.parametrize("pool", [Set2Set(CHANNELS, STEPS), MeanPool(CHANNELS), QueryPool(CHANNELS, 4)])
def test_any_pool_forgets_the_order_and_reads_counts_as_repetitions(pool: torch.nn.Module) -> None:
    items, owner = bags()
    count = torch.tensor([1, 3, 2, 1, 7, 1, 1, 4, 2])
    found = pool(items, owner, count.float(), 4)
    order = torch.randperm(9)
    assert torch.allclose(found, pool(items[order], owner[order], count[order].float(), 4), atol=1e-6)
    repeated = items.repeat_interleave(count, 0), owner.repeat_interleave(count)
    assert torch.allclose(found, pool(*repeated, torch.ones(22), 4), atol=1e-5)
    # a set is read alone: the others of the batch do not matter
    mine = owner == 3
    alone = pool(items[mine], torch.zeros(4, dtype=torch.int64), count[mine].float(), 1)
    assert torch.allclose(found[3:], alone, atol=1e-6)


@pytest.mark.parametrize("pool", [Set2Set(CHANNELS, STEPS), MeanPool(CHANNELS), QueryPool(CHANNELS, 4)])
def test_any_pool_reads_batches_without_items_and_learns_from_them(pool: torch.nn.Module) -> None:
    items = torch.zeros(0, CHANNELS, requires_grad=True)
    found = pool(items, torch.zeros(0, dtype=torch.int64), torch.zeros(0), 3)
    assert found.shape == (3, pool.features)
    assert found.isfinite().all()
    assert torch.equal(found[0], found[2])
    found.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in pool.parameters())
