from __future__ import annotations

import math

import numpy as np
import torch

from mmgr.benchmark.infomax import CityGraph, _adjacency, train


def test_the_convolution_is_that_of_a_dense_matrix() -> None:
    # three in a line, two of which coincide
    xy = np.array([[0.0, 0.0], [100.0, 0.0], [100.0, 0.0], [300.0, 0.0]])
    found = _adjacency(xy, reach=np.inf).of(torch.eye(4)).numpy()
    d = np.hypot(300, 0)
    weight = {length: math.log((1 + d**1.5) / (1 + length**1.5)) for length in (100.0, 200.0)}
    top = max(weight.values())
    edges = np.array([[1, weight[100.0] / top, 0], [weight[100.0] / top, 1, weight[200.0] / top],
                      [0, weight[200.0] / top, 1]])  # fmt: skip
    degree = edges.sum(1)
    by_vertex = edges / np.sqrt(np.outer(degree, degree))
    member = np.array([[1, 0, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(found, member @ by_vertex @ (member / member.sum(0)).T, rtol=1e-5)


def test_regions_out_of_reach_are_no_neighbours() -> None:
    xy = np.array([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0], [5000.0, 0.0]])
    found = _adjacency(xy, reach=500.0).of(torch.eye(4)).numpy()
    assert (found[3, :3] == 0).all()
    assert found[3, 3] == 1


def test_training_tells_own_regions_from_others_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    region = np.repeat(np.arange(12), 10)
    # two kinds of regions, west and east, with POIs of their own
    east = region >= 6
    xy = rng.uniform(0, 100, (120, 2)) + np.stack([100.0 * region, np.zeros(120)], 1)
    features = np.eye(2)[east.astype(int)] + rng.normal(0, 0.1, (120, 2))
    centres = np.stack([100.0 * np.arange(12) + 50, np.tile([20.0, 80.0], 6)], 1)
    graph = CityGraph(
        features=torch.from_numpy(features).float(),
        pois=_adjacency(xy, reach=np.inf),
        region=torch.from_numpy(region),
        regions=_adjacency(centres, reach=np.inf),
        area=torch.full((12,), 1 / 12),
    )
    model, vectors = train(graph, seed=3, steps=60)
    with torch.no_grad():
        loss = np.mean([float(model.loss(graph, torch.Generator().manual_seed(k))) for k in range(5)])
    assert loss < math.log(2)
    np.testing.assert_array_equal(vectors, train(graph, seed=3, steps=60)[1])
    ends = vectors[[0, 1, 2, 9, 10, 11]]
    apart = np.linalg.norm(ends[:, None] - ends[None], axis=-1)
    assert apart[:3, 3:].mean() > 2 * apart[:3, :3].mean()
