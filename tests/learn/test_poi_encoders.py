from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mmgr.learn.poi_encoders import WAVELENGTHS, PoiEncoder, place_code

CHANNELS = 6
POOLS = ("set2set", "mean", "attention")


def encoder(pool: str, *, positions: bool) -> PoiEncoder:
    torch.manual_seed(0)
    made = PoiEncoder(torch.randn(9, CHANNELS), pool=pool, steps=3, heads=4, positions=positions)  # type: ignore[arg-type]
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)  # what begins silent speaks
    return made


def bags() -> dict[str, Tensor]:
    """POIs of four regions, of which the third has none; one POI has no place."""
    place = torch.rand(9, 2, generator=torch.Generator().manual_seed(1))
    place[4] = torch.nan
    return {
        "category": torch.tensor([3, 1, 4, 1, 5, 8, 2, 6, 5]),
        "count": torch.tensor([1.0, 3, 2, 1, 7, 1, 1, 4, 2]),
        "owner": torch.tensor([0, 0, 1, 3, 3, 3, 1, 0, 3]),
        "place": place,
    }


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("pool", POOLS)
def test_a_set_has_no_order_and_its_counts_are_repetitions(pool: str, *, positions: bool) -> None:
    made, pois = encoder(pool, positions=positions), bags()
    found = made(regions=4, **pois)
    assert found.shape == (4, made.features)
    assert found.isfinite().all()
    order = torch.randperm(9)
    assert torch.allclose(found, made(regions=4, **{k: v[order] for k, v in pois.items()}), atol=1e-5)
    repeated = {k: v.repeat_interleave(pois["count"].long(), 0) for k, v in pois.items()}
    ones = torch.ones_like(repeated["count"])
    assert torch.allclose(found, made(regions=4, **repeated | {"count": ones}), atol=1e-5)


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("pool", POOLS)
def test_regions_without_pois_are_alike_and_no_error(pool: str, *, positions: bool) -> None:
    made, pois = encoder(pool, positions=positions), bags()
    nothing = made(regions=2, **{k: v[:0] for k, v in pois.items()})
    assert torch.allclose(nothing, made(regions=4, **pois)[2].expand(2, -1), atol=1e-6)
    if nothing.requires_grad:  # the mean of fixed vectors has nothing to learn
        nothing.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


@pytest.mark.parametrize("pool", POOLS)
def test_places_matter_where_they_are_read_and_nowhere_else(pool: str) -> None:
    pois = bags()
    moved = pois | {"place": 1 - pois["place"]}
    for positions in (False, True):
        made = encoder(pool, positions=positions)
        one, two = made(regions=4, **pois), made(regions=4, **moved)
        assert torch.equal(one, two) != positions
    with pytest.raises(ValueError, match="reads places"):
        made(pois["category"], pois["count"], pois["owner"], 4)


@pytest.mark.parametrize("pool", POOLS)
def test_an_encoder_with_places_begins_as_the_one_without(pool: str) -> None:
    torch.manual_seed(0)
    with_places = PoiEncoder(torch.randn(9, CHANNELS), pool=pool, positions=True)  # type: ignore[arg-type]
    without = PoiEncoder(with_places.vectors, pool=pool)  # type: ignore[arg-type]
    without.load_state_dict({k: v for k, v in with_places.state_dict().items() if "by_place" not in k})
    pois = bags()
    assert torch.equal(with_places(regions=4, **pois), without(regions=4, **pois))


def test_the_code_of_a_place_is_its_sines_and_cosines_about_the_centre() -> None:
    place = torch.tensor([[0.25, 1.5], [0.5, 0.5], [torch.nan, torch.nan]])
    code = place_code(place)
    angles = [2 * math.pi * offset / length for offset in (-0.25, 1.0) for length in WAVELENGTHS]
    assert code[0].tolist() == pytest.approx([*map(math.sin, angles), *map(math.cos, angles)], abs=1e-6)
    assert code[1].tolist() == [0.0] * 10 + [1.0] * 10
    assert not code[2].any()
    # no two places of a fine grid, far beyond the view, have one code
    side = torch.linspace(-3, 4, 60)
    many = place_code(torch.cartesian_prod(side, side))
    assert float(torch.pdist(many).min()) > 0.01


def test_category_vectors_are_not_trained() -> None:
    made = PoiEncoder(torch.randn(4, CHANNELS), positions=True)
    assert "vectors" in made.state_dict()
    assert all("vectors" not in name for name, _ in made.named_parameters())
