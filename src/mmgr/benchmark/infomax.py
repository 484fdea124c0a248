"""A graph infomax over POIs, regions and the city, after HGI (Huang et al. 2023, ISPRS JPRS 196) but much smaller.

    POIs      category vectors, one graph convolution along Delaunay edges weighted by length      p  (m, d)
    regions   attention over a region's POIs, one graph convolution over neighbouring regions      r  (n, d)
    city      the squashed mean of all regions, weighted by area                                   c  (d,)

    loss = 1/2 BCE(p with its own region, p with another's) + 1/2 BCE(r with c, r~ with c)

where ``r~`` are the regions of a city whose POIs are dealt anew, and each pair is judged by a bilinear form, as in Deep
Graph Infomax (Velickovic et al. 2019). HGI-like, not HGI: there is one head of attention; another region is drawn
evenly, not by likeness; regions are neighbours by the Delaunay graph of their centres, not by borders; category vectors
are those that the configuration asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from mmgr.benchmark.rows import Context, LeftOut, Made, filled
from mmgr.categories.graph import delaunay_graph, distance_weights
from mmgr.console import track

DIMENSIONS = 64
STEPS = 200
"""Each sees the whole graph."""
LEARNING_RATE = 5e-3
FAR = 10.0
"""Regions whose centres lie further apart than so many edges are no neighbours."""


@dataclass(frozen=True, slots=True)
class Adjacency:
    """A graph convolution over ``n`` points that lie on ``v`` vertices."""

    gather: Tensor
    """Mean of the points of each vertex, sparse, shape ``(v, n)``."""
    spread: Tensor
    """Each point's share of its vertex and the vertices around, sparse, shape ``(n, v)``."""

    def of(self, features: Tensor) -> Tensor:
        """Convolve features, shape ``(n, d)``."""
        found: Tensor = torch.sparse.mm(self.spread, torch.sparse.mm(self.gather, features))
        return found


@dataclass(frozen=True, slots=True)
class CityGraph:
    """POIs in their regions and who is next to whom."""

    features: Tensor
    """Category vector of each POI, shape ``(m, k)``."""
    pois: Adjacency
    """Who is next to whom."""
    region: Tensor
    """Region of each POI, shape ``(m,)``, among those that have any."""
    regions: Adjacency
    """Of the ``r`` regions with POIs."""
    area: Tensor
    """Share of each region in the city's area, shape ``(r,)``."""


class GraphInfomax(nn.Module):
    """The encoder and its two judges."""

    def __init__(self, features: int, dimensions: int) -> None:
        super().__init__()
        self.poi = nn.Linear(features, dimensions)
        self.attention = nn.Linear(dimensions, 1)
        self.region = nn.Linear(dimensions, dimensions)
        self.bends = nn.ModuleList([nn.PReLU(), nn.PReLU()])
        self.of_region = nn.Parameter(torch.empty(dimensions, dimensions))
        self.of_city = nn.Parameter(torch.empty(dimensions, dimensions))
        for judge in (self.of_region, self.of_city):
            nn.init.xavier_uniform_(judge)

    def forward(self, graph: CityGraph, features: Tensor) -> tuple[Tensor, Tensor]:
        """Return POIs, shape ``(m, d)``, and regions, shape ``(r, d)``."""
        p: Tensor = self.bends[0](graph.pois.of(self.poi(features)))
        inside = self._attend(p, graph.region, len(graph.area))
        r: Tensor = self.bends[1](graph.regions.of(self.region(inside)))
        return p, r

    def _attend(self, p: Tensor, region: Tensor, count: int) -> Tensor:
        """Average the POIs of each region by a softmax over them, shape ``(r, d)``."""
        score = self.attention(p)[:, 0]
        weight = (score - score.detach().max()).exp() + 1e-12  # (m,)
        total = weight.new_zeros(count).index_add(0, region, weight)
        return p.new_zeros(count, p.shape[1]).index_add(
            0, region, p * (weight / total.index_select(0, region))[:, None]
        )

    def loss(self, graph: CityGraph, random: torch.Generator) -> Tensor:
        """Return the loss of the whole graph, a scalar; chance is ln 2."""
        p, r = self(graph, graph.features)
        _, false_r = self(graph, graph.features[torch.randperm(len(graph.features), generator=random)])
        city = torch.sigmoid(graph.area @ r)  # (d,)
        count = len(graph.area)
        # a step of 1 .. count - 1 round the circle never ends at the start
        other = (graph.region + torch.randint(1, count, graph.region.shape, generator=random)) % count
        judged = p @ self.of_region  # (m, d)
        own, foreign = ((judged * torch.sigmoid(r[region])).sum(1) for region in (graph.region, other))
        true, false = (regions @ (self.of_city @ city) for regions in (r, false_r))
        return 0.5 * _judge(own, foreign) + 0.5 * _judge(true, false)


def infomax(context: Context) -> Made:
    """Train the graph on the whole city and return its regions; those without POIs hold the mean of the others."""
    _ = context.centres  # left out where there are none
    places = context.points.geometry.get_coordinates().to_numpy()
    category = context.points["category"].to_numpy(np.int64)
    regions = context.store.regions
    # a POI on a border belongs to the first of its regions, so that it is one vertex
    poi, owner = shapely.STRtree(regions.geometry.to_numpy()).query(shapely.points(places), predicate="intersects")
    poi, first = np.unique(poi, return_index=True)
    rows, region = np.unique(owner[first], return_inverse=True)
    if len(rows) < 2 or len(poi) < 2:
        raise LeftOut("fewer than two regions have POIs as points inside them")
    area = regions["area_km2"].to_numpy()[rows]
    graph = CityGraph(
        features=torch.from_numpy(_standard(context.categories.vectors)[category[poi]]),
        pois=_adjacency(places[poi], reach=np.inf),
        region=torch.from_numpy(region.astype(np.int64)),
        regions=_adjacency(context.centres[rows], reach=FAR * context.store.info.edge),
        area=torch.from_numpy(area / area.sum()).float(),
    )
    model, found = train(graph, seed=context.seed)
    vectors = np.zeros((len(regions), DIMENSIONS), np.float32)
    vectors[rows] = found
    known = np.isin(np.arange(len(regions)), rows)
    count = sum(weight.numel() for weight in model.parameters())
    return Made(filled(vectors, known), count, f"{STEPS} steps of Adam {LEARNING_RATE:g} on the whole graph")


def train(graph: CityGraph, *, seed: int, steps: int = STEPS) -> tuple[GraphInfomax, NDArray[np.float32]]:
    """Train on a graph, and return the model and the regions' vectors, shape ``(r, d)``."""
    random = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GraphInfomax(graph.features.shape[1], DIMENSIONS)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    for _ in track(range(steps), "graph infomax", total=steps):
        optimiser.zero_grad()
        model.loss(graph, random).backward()  # type: ignore[no-untyped-call] # torch has no types here
        optimiser.step()
    with torch.inference_mode():
        return model, np.asarray(model(graph, graph.features)[1].numpy(), np.float32)


def _judge(true: Tensor, false: Tensor) -> Tensor:
    return (bce(true, torch.ones_like(true)) + bce(false, torch.zeros_like(false))) / 2


def _adjacency(xy: NDArray[np.float64], *, reach: float) -> Adjacency:
    """Return Delaunay edges and loops, weighted by length and normalised by degree (Kipf and Welling 2017)."""
    graph = delaunay_graph(xy)
    weight = np.where(graph.lengths <= reach, distance_weights(graph), 0.0)
    vertices, count = len(graph.xy), len(xy)
    highest = weight.max(initial=0.0) or 1.0
    edges = sparse.csr_array((weight / highest, graph.indices, graph.indptr), shape=(vertices, vertices))
    joined = sparse.coo_array(edges + sparse.eye_array(vertices, format="csr"))
    degree = np.asarray(joined.sum(axis=1)).ravel()
    joined.data = joined.data / np.sqrt(degree[joined.row] * degree[joined.col])
    # those that coincide share a vertex, which has their mean
    member = sparse.csr_array((np.ones(count), (np.arange(count), graph.vertex)), shape=(count, vertices))
    size = np.asarray(member.sum(axis=0)).ravel()
    return Adjacency(_tensor((member / size).T), _tensor(member @ joined))


def _tensor(matrix: Any) -> Tensor:
    found = sparse.coo_array(matrix)
    place = torch.from_numpy(np.stack([found.row, found.col]).astype(np.int64))
    values = torch.from_numpy(found.data.astype(np.float32))
    return torch.sparse_coo_tensor(place, values, found.shape, check_invariants=False).coalesce()


def _standard(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return category vectors of one common scale, whatever method made them."""
    centred = vectors - vectors.mean(axis=0)
    return np.asarray(centred / max(float(centred.std()), 1e-6), np.float32)
