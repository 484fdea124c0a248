from __future__ import annotations

import csv
import re
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from learn_samples import TAXONOMY, Vectors, make_bags, make_store, small_recipe

from mmgr.errors import ArtefactError, ConfigError, MmgrError
from mmgr.learn import model as module
from mmgr.learn.checkpoints import Cadence, checkpoints
from mmgr.learn.data import Batches
from mmgr.learn.model import LossParts, MultiModalModel, seeded_model
from mmgr.learn.pretrain import pretrain
from mmgr.learn.training import Training
from mmgr.store import PoiBags, RegionStore
from mmgr.taxonomy import Taxonomy


def same_bits(one: MultiModalModel, two: MultiModalModel) -> bool:
    a, b = one.state_dict(), two.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "monitor.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return [{k: v for k, v in row.items() if k not in {"seconds", "regions_per_second"}} for row in rows]


def test_training_learns_and_leaves_what_it_should(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    recipe = small_recipe(epochs=40, batch_size=20, learning_rate=1e-2)
    model = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    rows = rows_of(tmp_path / "run")
    assert [int(row["epoch"]) for row in rows] == list(range(1, 41))
    assert float(rows[-1]["intra"]) < 0.9 * float(rows[-1]["intra_chance"])
    assert float(rows[-1]["inter"]) < 0.8 * float(rows[-1]["inter_chance"])
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert float(rows[0]["learning_rate"]) < float(rows[4]["learning_rate"]) > float(rows[-1]["learning_rate"])
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == ["checkpoints", "monitor.csv", "run.json"]
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("*.ckpt"))
    assert names == ["epoch-0039.ckpt", "epoch-0040.ckpt"]
    assert not model.training


@pytest.mark.parametrize("name", ["mmgr", "mmgr-2023", "mmgr-2023-as-published", "simclr"])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(
    tmp_path: Path, store: RegionStore, vectors: Vectors, name: str
) -> None:
    recipe = small_recipe(name, epochs=1)
    first, again, other = (
        pretrain(store, vectors, recipe, folder=tmp_path / folder, seed=seed, device="cpu")
        for folder, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    assert same_bits(first, again)
    assert not same_bits(first, other)


def test_dropout_is_resumed_too_and_a_torn_checkpoint_is_passed_over(
    tmp_path: Path, store: RegionStore, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    class Dropping(MultiModalModel):
        def encode_images(self, views: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.dropout(super().encode_images(views), 0.5, self.training)

    recipe = small_recipe(epochs=3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MultiModalModel", Dropping)
        straight = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
        newest = tmp_path / "run" / "checkpoints" / "epoch-0003.ckpt"
        content = bytearray(newest.read_bytes())
        content[len(content) // 2] ^= 1
        newest.write_bytes(content)
        aside = newest.parent / ".epoch-0004.ckpt.abc"
        aside.mkdir()
        torch.rand(7)
        resumed = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    assert "epoch-0003.ckpt is torn" in caplog.text
    assert not aside.exists()
    assert same_bits(straight, resumed)


def test_a_finished_training_is_not_done_again(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    recipe = small_recipe(epochs=2)
    first = pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu")
    rows = (tmp_path / "monitor.csv").read_text()
    assert same_bits(first, pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu"))
    assert (tmp_path / "monitor.csv").read_text() == rows


def test_another_training_in_the_folder_is_refused_with_the_difference(
    tmp_path: Path, store: RegionStore, vectors: Vectors
) -> None:
    folder = tmp_path / "run"
    pretrain(store, vectors, small_recipe(epochs=1), folder=folder, seed=0, device="cpu")
    with pytest.raises(ArtefactError) as error:
        pretrain(store, vectors, small_recipe(epochs=1, learning_rate=0.5), folder=folder, seed=7, device="cpu")
    message, *differences = str(error.value).splitlines()
    assert message.startswith(
        f"{folder} holds another training, of which 1 epoch of 1 are done. To go on with it, undo"
    )
    assert "add `--force` (`force=True` from Python)" in message
    assert differences == [
        "  recipe.learning_rate: 0.001 there, 0.5 now",
        "  seed: 0 there, 7 now",
    ]
    other = make_store(tmp_path / "other.lance", 9)
    with pytest.raises(ArtefactError, match=r"\n  store: \w+ there, \w+ now$"):
        pretrain(other, vectors, small_recipe(epochs=1), folder=folder, seed=0, device="cpu")


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_a_loss_that_is_not_finite_stops_with_the_regions(
    tmp_path: Path, store: RegionStore, vectors: Vectors, value: float
) -> None:
    bad = replace(vectors, vectors=np.full_like(vectors.vectors, value))
    with pytest.raises(MmgrError, match=r"loss is nan in epoch 1, step 1.*regions are r\d+, ") as error:
        pretrain(store, bad, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    named = re.findall(r"\br\d+\b", str(error.value))
    assert named == list(store.regions.index[Batches(store, small_recipe(), 0).order(0)[0]])
    assert not checkpoints(tmp_path / "checkpoints")


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_gradient_that_is_not_finite_stops_before_it_reaches_the_weights(
    tmp_path: Path, store: RegionStore, vectors: Vectors, value: str
) -> None:
    recipe = small_recipe(epochs=2)
    losses, calls = MultiModalModel.losses, 0

    def poisoned(self: MultiModalModel, *arguments: object) -> LossParts:
        nonlocal calls
        calls += 1
        parts = losses(self, *arguments)  # type: ignore[arg-type]
        weight = self.image_head[0].weight
        # 0, and of a slope that is infinite, or infinite times 0
        root = (weight - weight.detach()).sum().sqrt() if value == "inf" else (0 * weight).sum().sqrt()
        return replace(parts, total=parts.total + root) if calls == 5 else parts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MultiModalModel, "losses", poisoned)
        with pytest.raises(
            MmgrError, match=rf"loss is \d\.\d+, its gradient {value} in epoch 2, step 2\. .*regions are r"
        ):
            pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    resumed = pretrain(store, vectors, recipe, folder=tmp_path / "run", seed=0, device="cpu")
    assert same_bits(resumed, pretrain(store, vectors, recipe, folder=tmp_path / "straight", seed=0, device="cpu"))


def test_an_interrupt_ends_the_training_as_any_other_code(
    tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(MultiModalModel, "losses", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrain(store, vectors, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_recipe_with_pois_on_a_store_without_any_is_refused(
    tmp_path: Path, store: RegionStore, vectors: Vectors
) -> None:
    with pytest.raises(ConfigError, match=r"recipe mmgr contrasts.*set `pretrain\.recipe: simclr`"):
        pretrain(store, None, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    other = replace(vectors, taxonomy=Taxonomy(("a",), ("b",)))
    with pytest.raises(ArtefactError, match="other categories"):
        pretrain(store, other, small_recipe(), folder=tmp_path, seed=0, device="cpu")
    assert not (tmp_path / "run.json").exists()


def test_no_epochs_give_the_untrained_model(tmp_path: Path, store: RegionStore, vectors: Vectors) -> None:
    model = pretrain(store, vectors, small_recipe(epochs=0), folder=tmp_path, seed=0, device="cpu")
    assert same_bits(model, pretrain(store, vectors, small_recipe(epochs=0), folder=tmp_path, seed=0, device="cpu"))


def test_as_published_a_set_smaller_than_a_batch_trains_nothing_and_the_log_says_so(
    tmp_path: Path, store: RegionStore, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = small_recipe("mmgr-2023-as-published", batch_size=21)
    model = pretrain(store, vectors, recipe, folder=tmp_path, seed=0, device="cpu")
    assert "nothing is trained: 20 regions are fewer than a batch of 21" in caplog.text
    untrained = module.seeded_model(recipe, vectors.vectors, 3, 0)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), untrained.parameters(), strict=True))


def test_fewer_regions_than_a_batch_are_one_batch_and_the_log_says_so(
    tmp_path: Path, store: RegionStore, vectors: Vectors, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "mmgr")
    pretrain(store, vectors, small_recipe(batch_size=64, epochs=1), folder=tmp_path, seed=0, device="cpu")
    assert "fewer regions than a batch of 64" in caplog.text
    assert re.search(
        r"recipe mmgr on 20 regions, 1 steps an epoch\n  changed +encoder test_resnet instead", caplog.text
    )
    assert len(rows_of(tmp_path)) == 1


def test_two_regions_are_enough(tmp_path: Path, vectors: Vectors) -> None:
    tiny = make_store(tmp_path / "regions.lance", 2)
    assert len(TAXONOMY) == len(vectors.vectors)
    assert isinstance(make_bags(2), PoiBags)
    model = pretrain(tiny, vectors, small_recipe(), folder=tmp_path / "run", seed=0, device="cpu")
    assert all(value.isfinite().all() for value in model.state_dict().values())


@pytest.mark.parametrize("learned", [True, False])
def test_weights_decay_and_a_learned_temperature_does_not(
    tmp_path: Path,
    store: RegionStore,
    vectors: Vectors,
    learned: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    recipe = small_recipe(learn_temperature=learned, weight_decay=0.5, learning_rate=0.1)
    model = seeded_model(recipe, vectors.vectors, 3, seed=0)
    training = Training(model, Batches(store, recipe, 0), 0, tmp_path, Cadence("15 min"))
    before = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    assert ("log_temperature" in before) == learned
    optimiser = training.configure_optimizers()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    optimiser.step()
    for name, value in before.items():
        kept = 1.0 if name == "log_temperature" else 1 - 0.1 * 0.5
        assert torch.allclose(model.get_parameter(name), kept * value), name


def test_a_training_with_a_learned_temperature_goes_on_with_the_same_bits(
    tmp_path: Path, store: RegionStore, vectors: Vectors, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(learn_temperature=True, learning_rate=1e-2)
    straight = pretrain(store, vectors, recipe, folder=tmp_path / "a", seed=0, device="cpu")
    start = torch.tensor(recipe.inter_temperature).log()
    assert not torch.allclose(straight.log_temperature, start, atol=1e-3)

    step = Training.training_step

    def stopped(self: Training, batch: object, index: int) -> torch.Tensor:
        if batch.epoch:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        return step(self, batch, index)  # type: ignore[arg-type]

    monkeypatch.setattr(Training, "training_step", stopped)
    with pytest.raises(KeyboardInterrupt):
        pretrain(store, vectors, recipe, folder=tmp_path / "b", seed=0, device="cpu")
    monkeypatch.setattr(Training, "training_step", step)
    assert same_bits(straight, pretrain(store, vectors, recipe, folder=tmp_path / "b", seed=0, device="cpu"))
