from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from learn_samples import Vectors, make_bags, small_recipe
from torch import Tensor

from mmgr.errors import ConfigError
from mmgr.learn.devices import choose_device, uses_bfloat16
from mmgr.learn.feature_maps import chosen_maps
from mmgr.learn.losses import cross_modal, nt_xent
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.poi_batch import PoiBatch

SIZE = 6


def batch() -> tuple[tuple[Tensor, Tensor], PoiBatch, Tensor]:
    generator = torch.Generator().manual_seed(0)
    views = torch.randn(2, SIZE, 3, 32, 32, generator=generator)
    return (views[0], views[1]), PoiBatch.from_bags(make_bags(SIZE), 6), torch.zeros(SIZE, SIZE, dtype=torch.bool)


def make(vectors: Vectors, name: str = "mmgr", **changes: object) -> MultiModalModel:
    return seeded_model(small_recipe(name, **changes), vectors.vectors, 3, seed=0)


def test_the_published_loss_is_the_papers_sum(vectors: Vectors) -> None:
    model = make(vectors, "mmgr-2023", intra_weight=0.3).train()
    views, pois, alike = batch()
    found = model.losses(views, pois, alike)
    # one view after the other, so that each is normalised by its own mean and spread
    z = torch.cat([model.image_head(model.image_encoder(view)) for view in views])
    u = model.poi_head(model.encode_pois(pois))
    intra = nt_xent(z[:SIZE], z[SIZE:], temperature=0.5).loss
    inter = nt_xent(z[:SIZE], u, temperature=0.5, present=pois.present).loss
    assert float(found.total.detach()) == pytest.approx(float((0.3 * intra + 0.7 * inter).detach()), abs=1e-6)
    assert math.isnan(float(found.counts))


def test_our_loss_lets_both_views_meet_the_pois_and_adds_the_side_task(vectors: Vectors) -> None:
    model = make(vectors, counts_weight=0.25).train()
    model.standardise_densities(make_bags(SIZE))
    views, pois, alike = batch()
    alike[1, 2] = alike[2, 1] = True
    found = model.losses(views, pois, alike)
    features = model.image_encoder(torch.cat(views))
    z, u = model.image_head(features), model.poi_head(model.encode_pois(pois))
    inter = [
        cross_modal(z[k], u, temperature=0.2, not_negative=alike, present=pois.present).loss
        for k in (slice(SIZE), slice(SIZE, None))
    ]
    target = ((pois.log_density - model.density_mean) / model.density_spread)[pois.known]
    predicted = model.counts_head(features).view(2, SIZE, 6)[:, pois.known]
    counts = (predicted - target).square().mean()
    wanted = 0.5 * nt_xent(z[:SIZE], z[SIZE:], temperature=0.2).loss + 0.25 * sum(inter) + 0.25 * counts
    assert float(found.total.detach()) == pytest.approx(float(wanted.detach()), abs=1e-5)
    # predicting the mean scores 1 in each category that varies
    varies = (pois.log_density[pois.known].std(0) > 0).float().mean()
    assert float(found.counts_chance) == pytest.approx(float(varies), abs=1e-4)


def test_each_view_meets_the_pois_that_it_sees(vectors: Vectors) -> None:
    model = make(vectors, counts_weight=0.0).train()
    views, pois, alike = batch()
    second = PoiBatch.from_bags(make_bags(SIZE, seed=7), 6)
    # one region's POIs lie outside the second view
    gone = second.owner == 1
    second = replace(
        second,
        category=second.category[~gone],
        count=second.count[~gone],
        owner=second.owner[~gone],
        place=second.place[~gone],
        present=second.present & (torch.arange(SIZE) != 1),
    )
    found = model.losses(views, pois, alike, seen=(pois, second))
    z1, z2 = model.image_head(model.image_encoder(torch.cat(views))).chunk(2)
    inter = []
    for z, some in ((z1, pois), (z2, second)):
        u = model.poi_head(model.encode_pois(some))
        inter.append(cross_modal(z, u, temperature=0.2, not_negative=alike, present=some.present))
    assert float(found.inter) == pytest.approx(float(sum(part.loss for part in inter).detach() / 2), abs=1e-6)
    assert float(found.inter) != pytest.approx(float(model.losses(views, pois, alike).inter), abs=1e-4)


def test_a_batch_without_any_poi_trains_on_images_alone(vectors: Vectors) -> None:
    model = make(vectors).train()
    views, _, alike = batch()
    nothing = make_bags(SIZE)
    pois = PoiBatch.from_bags(
        replace(nothing, count=np.zeros_like(nothing.count), area_km2=np.zeros(SIZE, np.float32)), 6
    )
    found = model.losses(views, pois, alike)
    found.total.backward()
    assert float(found.total.detach()) == pytest.approx(0.5 * float(found.intra))
    assert (float(found.inter), float(found.counts)) == (0, 0)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


AROUND = 5


def surrounded_batch() -> tuple[tuple[torch.Tensor, torch.Tensor], PoiBatch, torch.Tensor]:
    """As `batch`, with what lies around all regions but one."""
    views, _, alike = batch()
    around = np.random.default_rng(3).normal(size=(SIZE, AROUND)).astype(np.float32)
    around[2] = np.nan
    return views, PoiBatch.from_bags(make_bags(SIZE), 6, around=around), alike


def test_images_meet_the_pois_around_too(vectors: Vectors) -> None:
    model = seeded_model(small_recipe(), vectors.vectors, 3, 0, AROUND).train()
    views, pois, alike = surrounded_batch()
    # a region without POIs inside is present all the same, and one of which nothing around is known if it has some
    bare = PoiBatch.from_bags(make_bags(SIZE), 6)
    assert pois.present.tolist() == [bool(bare.present[2]) if row == 2 else True for row in range(SIZE)]
    assert pois.around[2].abs().sum() == 0
    found = model.losses(views, pois, alike)
    z1, z2 = model.image_head(model.image_encoder(torch.cat(views))).chunk(2)
    u = model.poi_head(torch.cat([model.encode_pois(pois), pois.around], 1))
    inter = [cross_modal(z, u, temperature=0.2, not_negative=alike, present=pois.present).loss for z in (z1, z2)]
    assert float(found.inter) == pytest.approx(float(sum(inter).detach() / 2), abs=1e-6)
    elsewhere = replace(pois, around=pois.around.roll(1, 0))
    assert float(model.losses(views, elsewhere, alike).inter) != pytest.approx(float(found.inter), abs=1e-4)


def test_the_side_task_predicts_what_lies_around_or_else_inside(vectors: Vectors) -> None:
    model = seeded_model(small_recipe(), vectors.vectors, 3, 0, AROUND).train()
    model.standardise_densities(make_bags(SIZE))
    views, pois, alike = surrounded_batch()
    found = model.losses(views, pois, alike)
    features = model.image_encoder(torch.cat(views))
    assert model.counts_head is not None
    predicted = model.counts_head(features).view(2, SIZE, 6 + AROUND)
    inside = (pois.log_density - model.density_mean) / model.density_spread
    errors, chances = [], []
    for row in range(SIZE):
        if row == 2:
            if pois.known[row]:
                errors.append((predicted[:, row, :6] - inside[row]).square().mean())
                chances.append(inside[row].square().mean())
        else:
            errors.append((predicted[:, row, 6:] - pois.around[row]).square().mean())
            chances.append(pois.around[row].square().mean())
    assert float(found.counts) == pytest.approx(float(torch.stack(errors).mean().detach()), rel=1e-5)
    assert float(found.counts_chance) == pytest.approx(float(torch.stack(chances).mean()), rel=1e-5)


def test_a_published_recipe_asks_nothing_of_what_lies_around(vectors: Vectors) -> None:
    model = seeded_model(small_recipe("mmgr-2023"), vectors.vectors, 3, 0, AROUND)
    assert model.around == 0
    views, pois, alike = surrounded_batch()
    assert model.losses(views, pois, alike).inter.isfinite()


def test_images_are_described_by_all_stages_of_the_encoder(vectors: Vectors) -> None:
    model = make(vectors).eval()
    views = batch()[0][0]
    with torch.no_grad():
        found, features = model.describe_images(views), model.encode_images(views)
        last, maps = model.image_encoder.forward_intermediates(views)
    assert torch.allclose(found[:, : features.shape[1]], features, atol=1e-5)
    assert torch.allclose(model.image_encoder.forward_head(last, pre_logits=True), features, atol=1e-5)
    by_hand = [part for some in maps[-4:] for part in (some.mean((2, 3)), some.std((2, 3), correction=0))]
    assert torch.allclose(found[:, features.shape[1] :], torch.cat(by_hand, 1), atol=1e-5)
    plain = make(vectors, feature_maps=False).eval()
    assert plain.describe_images(views).shape == features.shape


@pytest.mark.parametrize(("count", "chosen"), [(3, [0, 1, 2]), (5, [1, 2, 3, 4]), (12, [2, 5, 8, 11])])
def test_the_last_maps_of_a_few_or_even_ones_of_many_are_pooled(count: int, chosen: list[int]) -> None:
    assert chosen_maps(count) == chosen


def test_simclr_has_no_poi_branch_and_needs_no_vectors() -> None:
    model = seeded_model(small_recipe("simclr"), None, 3, seed=0)
    assert not [name for name, _ in model.named_parameters() if "poi" in name or "count" in name]
    assert (model.categories, model.poi_features, model.category_vectors) == (0, 0, None)
    views, pois, alike = batch()
    found = model.losses(views, pois, alike)
    assert float(found.total.detach()) == pytest.approx(float(found.intra))
    assert math.isnan(float(found.inter))


def test_a_learned_temperature_is_a_parameter_with_a_floor(vectors: Vectors) -> None:
    fixed, learned = make(vectors), make(vectors, learn_temperature=True)
    views, pois, alike = batch()
    for model in (fixed, learned):
        model.losses(views, pois, alike).total.backward()
    assert fixed.log_temperature.grad is None
    assert learned.log_temperature.grad.abs() > 0
    learned.log_temperature.data.fill_(-100)
    assert float(learned.temperature.detach()) == pytest.approx(0.01)


def test_poi_features_keep_how_many_pois_there_are(vectors: Vectors) -> None:
    model = make(vectors).eval()
    bags = make_bags(SIZE)
    few, many = (PoiBatch.from_bags(replace(bags, count=np.full_like(bags.count, n)), 6) for n in (1, 50))
    with torch.no_grad():
        a, b = model.describe_pois(few), model.describe_pois(many)
    readout = model.poi_encoder.features
    assert a.shape == (SIZE, model.poi_features) == (SIZE, 16 + 8)
    assert torch.allclose(a[:, :readout], b[:, :readout], atol=1e-6)
    assert not torch.allclose(a[few.present & few.known, readout:], b[few.present & few.known, readout:])
    by_hand = np.log1p(np.nan_to_num(replace(bags, count=np.ones_like(bags.count)).densities(6))) @ vectors.vectors
    assert np.allclose(a[:, readout:], by_hand, atol=1e-5)


def test_heads_have_the_papers_sizes(vectors: Vectors) -> None:
    model = make(vectors, "mmgr-2023")
    assert [tuple(w.shape) for w in model.image_head.parameters() if w.ndim == 2] == [(96, 96), (128, 96)]
    assert [tuple(w.shape) for w in model.poi_head.parameters() if w.ndim == 2] == [(256, 16), (128, 256)]


def test_bfloat16_encoders_give_nearly_the_same_losses_in_float32(vectors: Vectors) -> None:
    views, pois, alike = batch()
    losses = []
    for precision in ("fp32", "bf16"):
        model = make(vectors, precision=precision).eval()
        assert uses_bfloat16(model.recipe, torch.device("cpu")) == (precision == "bf16")
        features = model.encode_images(views[0])
        assert features.dtype == torch.float32
        losses.append(float(model.losses(views, pois, alike).total.detach()))
    assert losses[0] == pytest.approx(losses[1], abs=0.05)
    assert losses[0] != losses[1]


def test_first_weights_depend_on_the_seed_and_not_on_the_global_state(vectors: Vectors) -> None:
    state = torch.get_rng_state()
    one = make(vectors)
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    two, other = make(vectors), seeded_model(small_recipe(), vectors.vectors, 3, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
    assert not torch.equal(one.image_head[0].weight, other.image_head[0].weight)


def test_an_unknown_device_is_one_clear_error() -> None:
    assert choose_device("cpu").type == "cpu"
    for name in ("gpu0", "cuda:99"):
        with pytest.raises(ConfigError, match=rf"pretrain\.device: '{name}'"):
            choose_device(name)


def test_a_gpu_is_chosen_without_being_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: pytest.fail("a GPU is touched"))
    assert [str(choose_device(name)) for name in ("auto", "cuda", "cuda:1")] == ["cuda", "cuda", "cuda:1"]
    with pytest.raises(ConfigError, match=r"pretrain\.device: 'cuda:2' is not a device of this machine"):
        choose_device("cuda:2")
