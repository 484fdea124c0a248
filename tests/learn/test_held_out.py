from __future__ import annotations

import csv
import itertools
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import Vectors, small_recipe

from mmgr.learn import training as training_module
from mmgr.learn.data import LEAST_HELD_OUT, MOST_HELD_OUT, Batches, choose_held_out
from mmgr.learn.held_out import HeldOutMeasures, alignment, measure, uniformity
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.modes import evaluating
from mmgr.learn.pretrain import pretrain
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore

CPU = torch.device("cpu")


def kept_out(names: list[str], part: float = 0.1, seed: int = 0) -> set[str]:
    return {name for name, out in zip(names, choose_held_out(names, part, seed), strict=True) if out}


NAMES = [f"r{number}" for number in range(600)]


class TestChoice:
    def test_it_depends_on_names_and_seed_alone(self) -> None:
        chosen = kept_out(NAMES)
        assert len(chosen) == 60
        assert kept_out(NAMES[::-1]) == chosen
        assert kept_out(NAMES, seed=1) != chosen

    def test_more_regions_move_few_of_those_chosen(self) -> None:
        chosen = kept_out(NAMES)
        assert len(chosen & kept_out([*NAMES, *(f"s{number}" for number in range(60))])) >= 50

    def test_a_part_that_would_say_too_little_is_not_taken(self) -> None:
        assert len(kept_out(NAMES, part=LEAST_HELD_OUT / 600)) == LEAST_HELD_OUT
        assert kept_out(NAMES, part=(LEAST_HELD_OUT - 1) / 600) == set()
        assert kept_out(NAMES, part=0) == set()

    def test_a_part_is_never_more_than_it_needs(self) -> None:
        assert len(kept_out([str(number) for number in range(20_000)], part=0.05)) == MOST_HELD_OUT


def test_no_step_sees_a_held_out_region_and_yet_they_find_their_views(
    wide_store: RegionStore, vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    step = training_module.Training.training_step

    def watched(self: training_module.Training, batch: object, index: int) -> torch.Tensor:
        seen.update(batch.rows.tolist())  # type: ignore[attr-defined]
        return step(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(training_module.Training, "training_step", watched)
    recipe = small_recipe(held_out=0.5, epochs=15, batch_size=20, learning_rate=1e-2)
    pretrain(wide_store, vectors, recipe, folder=tmp_path, seed=0, device="cpu")
    held = set(Batches(wide_store, recipe, 0).held_out.tolist())
    assert len(held) == 39  # of 78 with an image
    assert not seen & held
    assert seen | held == set(np.flatnonzero(wide_store.views > 0).tolist())
    with (tmp_path / "monitor.csv").open(encoding="utf-8") as stream:
        last = {name: float(value) for name, value in list(csv.DictReader(stream))[-1].items()}
    assert last["held_out_view_retrieval"] > 4 * last["held_out_view_retrieval_chance"]  # 1 of 1,000 by chance
    # the sample's POIs have nothing to do with its images: what is learned of them holds nowhere else
    assert last["held_out_poi_retrieval"] < 5 * last["held_out_poi_retrieval_chance"]


def test_a_collapse_is_told_once_when_it_begins(
    store: RegionStore,
    vectors: Vectors,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training_module, "measure", lambda *_: HeldOutMeasures(uniformity=0.0))
    pretrain(store, vectors, small_recipe(epochs=3), folder=tmp_path, seed=0, device="cpu")
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("epoch 1: the image features have COLLAPSED (uniformity of held-out vectors 0.00)")


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (0.5, "held out of training to measure retrieval on: 39 of 78 regions"),
        (0.05, "no region is held out of training (0.05 of 78 is fewer than 32)"),
        (0.0, "no region is held out of training:"),
    ],
)
def test_the_log_says_how_many_are_held_out(
    wide_store: RegionStore, vectors: Vectors, tmp_path: Path, caplog: pytest.LogCaptureFixture, part: float, said: str
) -> None:
    caplog.set_level(logging.INFO, "mmgr")
    pretrain(wide_store, vectors, small_recipe(held_out=part, epochs=1), folder=tmp_path, seed=0, device="cpu")
    assert said in caplog.text


class TestMeasures:
    @pytest.fixture
    def batches(self, wide_store: RegionStore) -> Batches:
        return Batches(wide_store, self.recipe(), 0)

    @pytest.fixture
    def model(self, vectors: Vectors) -> MultiModalModel:
        return seeded_model(self.recipe(), vectors.vectors, 3, seed=0)

    @staticmethod
    def recipe() -> Recipe:
        return small_recipe(held_out=0.5)

    def test_all_held_out_regions_are_candidates_but_for_pois_that_are_the_same(
        self, model: MultiModalModel, batches: Batches
    ) -> None:
        assert measure(model, batches, CPU).held_out_view_retrieval_chance == pytest.approx(1 / 39)
        bags = batches.store.bags.take(batches.held_out)
        runs = [slice(start, end) for start, end in itertools.pairwise(bags.starts)]
        contents = [sorted(zip(bags.category[run], bags.count[run], strict=True)) for run in runs]
        same = np.array([[one == two for two in contents] for one in contents])
        present = bags.present
        candidates = [1 + sum(present[j] and not same[i, j] for j in range(39) if j != i) for i in range(39)]
        expected = np.mean([1 / count for i, count in enumerate(candidates) if present[i]])
        assert measure(model, batches, CPU).held_out_poi_retrieval_chance == pytest.approx(expected)

    def test_views_are_the_same_each_time_and_of_two_dates(self, model: MultiModalModel, batches: Batches) -> None:
        assert measure(model, batches, CPU) == measure(model, batches, CPU)
        first, again = list(batches.held_out_batches()), list(batches.held_out_batches())
        assert all(torch.equal(a.first, b.first) and torch.equal(a.second, b.second) for a, b in zip(first, again))  # noqa: B905
        rows = np.concatenate([batch.rows for batch in first])
        assert np.array_equal(rows, batches.held_out)
        differ = np.concatenate([(b.first != b.second).flatten(1).any(1).numpy() for b in first])
        assert np.array_equal(differ, batches.store.views[rows] > 1)

    def test_nothing_of_the_model_or_of_global_randomness_is_moved(
        self, model: MultiModalModel, batches: Batches
    ) -> None:
        model.train()
        model.poi_encoder.eval()  # somebody froze a part
        modes = {name: part.training for name, part in model.named_modules()}
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        state, numpy_state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002 - what is looked at
        measure(model, batches, CPU)
        assert {name: part.training for name, part in model.named_modules()} == modes
        assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), state)
        assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002

    def test_modes_come_back_after_an_error(self, model: MultiModalModel) -> None:
        model.train()
        with pytest.raises(ZeroDivisionError), evaluating(model):
            _ = 1 / 0
        with evaluating(model):
            inside = [model.image_encoder.training, torch.is_grad_enabled()]
        assert inside == [False, False]
        assert model.image_encoder.training
        assert torch.is_grad_enabled()

    def test_training_ends_with_the_same_bits_whether_it_is_watched_or_not(
        self, wide_store: RegionStore, vectors: Vectors, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        watched = pretrain(wide_store, vectors, self.recipe(), folder=tmp_path / "a", seed=0, device="cpu")
        monkeypatch.setattr(training_module, "measure", lambda *_: HeldOutMeasures())
        alone = pretrain(wide_store, vectors, self.recipe(), folder=tmp_path / "b", seed=0, device="cpu")
        assert all(torch.equal(value, alone.state_dict()[name]) for name, value in watched.state_dict().items())

    def test_without_pois_or_held_out_regions_there_is_nothing_to_say(self, wide_store: RegionStore) -> None:
        recipe = small_recipe("simclr", held_out=0.5)
        found = measure(seeded_model(recipe, None, 3, seed=0), Batches(wide_store, recipe, 0), CPU)
        assert math.isnan(found.held_out_poi_retrieval)
        assert found.held_out_view_retrieval > 0
        none = small_recipe("simclr")
        found = measure(seeded_model(none, None, 3, seed=0), Batches(wide_store, none, 0), CPU)
        assert math.isnan(found.held_out_view_retrieval)


def test_alignment_and_uniformity_are_those_of_the_paper() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 9, 5))
    unit_a, unit_b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))
    expected = np.mean([np.sum((p - q) ** 2) for p, q in zip(unit_a, unit_b, strict=True)])
    assert float(alignment(torch.from_numpy(a), torch.from_numpy(b))) == pytest.approx(expected, rel=1e-5)
    pairs = [math.exp(-2 * np.sum((unit_a[i] - unit_a[j]) ** 2)) for i in range(9) for j in range(9) if i != j]
    assert float(uniformity(torch.from_numpy(a))) == pytest.approx(math.log(np.mean(pairs)), rel=1e-9)
    assert float(uniformity(torch.ones(7, 3))) == pytest.approx(0, abs=1e-6)
    poles = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert float(uniformity(poles)) == pytest.approx(-8)
    assert float(alignment(poles, -poles)) == pytest.approx(4)
