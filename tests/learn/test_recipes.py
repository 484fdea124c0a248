from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from mmgr.config import Pretrain
from mmgr.learn.choices import recipe_table
from mmgr.learn.recipes import RECIPES, Augmentation, Recipe, resolve


def test_the_published_learning_rate_drops_at_epochs_90_and_110_and_stays_low() -> None:
    recipe = RECIPES["mmgr-2023"]
    rates = [recipe.learning_rate_at((epoch + 0.5) / 120) for epoch in range(120)]
    assert rates == pytest.approx([1e-2] * 90 + [1e-3] * 20 + [1e-4] * 10)


def test_the_published_code_lowers_the_learning_rate_in_the_epochs_90_and_110_alone() -> None:
    recipe = RECIPES["mmgr-2023-as-published"]
    rates = [recipe.learning_rate_at((epoch + 0.5) / 120) for epoch in range(120)]
    assert rates == pytest.approx([1e-2] * 89 + [1e-3] + [1e-2] * 19 + [1e-3] + [1e-2] * 10)
    # the first and the last step of an epoch have its learning rate
    steps = 1000
    for epoch, rate in ((88, 1e-2), (89, 1e-3), (90, 1e-2), (108, 1e-2), (109, 1e-3), (110, 1e-2)):
        for step in (0, steps - 1):
            assert recipe.learning_rate_at((epoch * steps + step + 0.5) / (120 * steps)) == pytest.approx(rate)


def test_a_shorter_training_has_its_dips_at_the_same_parts() -> None:
    recipe = RECIPES["mmgr-2023-as-published"].model_copy(update={"epochs": 12})
    rates = [recipe.learning_rate_at((epoch + 0.5) / 12) for epoch in range(12)]
    assert rates == pytest.approx([1e-2] * 8 + [1e-3] + [1e-2] + [1e-3] + [1e-2])


def test_as_published_differs_from_its_repair_in_the_faults_alone() -> None:
    one, two = (RECIPES[name].model_dump() for name in ("mmgr-2023", "mmgr-2023-as-published"))
    assert {key: two[key] for key in one if one[key] != two[key]} == {
        "name": "mmgr-2023-as-published",
        "schedule": "dips",
        "last_batch": "drop",
    }


def test_two_adams_over_two_parts_are_one_over_both() -> None:
    """The published code has one for each encoder."""

    def weights(apart: bool) -> list[torch.Tensor]:  # noqa: FBT001 - a name for each case
        torch.manual_seed(0)
        parts = [torch.nn.Parameter(torch.randn(5)) for _ in range(2)]
        groups = [[part] for part in parts] if apart else [parts]
        optimisers = [torch.optim.Adam(group, lr=1e-2) for group in groups]
        for _ in range(5):
            for optimiser in optimisers:
                optimiser.zero_grad()
            (parts[0] * parts[1]).square().sum().backward()
            for optimiser in optimisers:
                optimiser.step()
        return parts  # type: ignore[return-value]

    assert all(torch.equal(one, two) for one, two in zip(weights(apart=True), weights(apart=False), strict=True))


def test_the_table_tells_every_choice_and_what_was_changed() -> None:
    recipe = resolve(Pretrain(recipe="mmgr-2023", encoder="resnet18", crop=224, epochs=3))
    table = recipe_table(recipe).splitlines()
    text = recipe_table(recipe).replace("\n", " ")
    told = "changed encoder resnet18 instead of resnet50, epochs 3 instead of 120"
    assert " ".join(text.split()).startswith(told)
    for key in Recipe.model_fields.keys() - {"name"}:
        assert f" {key} " in text, key
    for key in Augmentation.model_fields:
        assert f"{key} " in text, key
    assert "learning_rate         0.01" in text
    assert max(map(len, table)) <= 79, "a terminal of 80 columns shows it"
    assert recipe_table(RECIPES["mmgr"]).splitlines()[0].split() == ["changed", "nothing"]


def test_cosine_rises_over_the_warm_up_and_falls_to_nothing() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.2)
    assert [recipe.learning_rate_at(p) for p in (0.05, 0.1, 0.2, 0.6)] == pytest.approx([0.25, 0.5, 1.0, 0.5])
    assert recipe.learning_rate_at(0.9) == pytest.approx(0.5 * (1 + math.cos(math.pi * 0.875)))


def test_the_published_choices_are_those_of_the_paper() -> None:
    recipe = RECIPES["mmgr-2023"]
    assert (recipe.temperature, recipe.inter_temperature, recipe.intra_weight) == (0.5, 0.5, 0.5)
    assert (recipe.optimiser, recipe.learning_rate, recipe.batch_size, recipe.epochs) == ("adam", 1e-2, 128, 120)
    assert (recipe.negatives, recipe.both_views_meet_pois, recipe.counts_weight) == ("joint", False, 0)
    assert (recipe.encoder, recipe.crop, recipe.dates_as_views, recipe.views_together) == (
        "resnet50",
        224,
        False,
        False,
    )
    views = recipe.augmentation
    assert (views.area, views.jitter, views.gray, views.horizontal_flip) == ((0.2, 1.0), 0.8, 0.2, 0.5)
    assert (views.brightness, views.contrast, views.saturation, views.hue) == (0.4, 0.4, 0.4, 0.1)
    assert (views.vertical_flip, views.quarter_turns) == (0, False)


def test_only_simclr_does_without_pois() -> None:
    assert {name: recipe.uses_pois for name, recipe in RECIPES.items()} == {
        "mmgr": True,
        "mmgr-2023": True,
        "mmgr-2023-as-published": True,
        "simclr": False,
    }


def test_names_are_those_of_the_configuration() -> None:
    assert all(name == recipe.name == resolve(Pretrain(recipe=name)).name for name, recipe in RECIPES.items())


def test_the_configuration_lies_over_the_recipe() -> None:
    recipe = resolve(
        Pretrain(recipe="mmgr-2023", encoder="resnet50", epochs=3, temperature=0.1, weights=Path("w.safetensors"))
    )
    assert (recipe.encoder, recipe.epochs, recipe.weights) == ("resnet50", 3, "w.safetensors")
    assert recipe.temperature == recipe.inter_temperature == 0.1
    assert (recipe.batch_size, recipe.learning_rate) == (128, 1e-2)
    assert (recipe.mask_near, recipe.mask_alike) == (None, None)
    assert not recipe.learn_temperature
    chosen = resolve(Pretrain(learn_temperature=True, negatives="joint", counts_weight=0.0, weight_decay=0.05))
    assert (chosen.learn_temperature, chosen.negatives, chosen.counts_weight) == (True, "joint", 0)
    assert chosen.weight_decay == 0.05
    masked = resolve(Pretrain(mask_near=300, mask_alike=0.9))
    assert (masked.mask_near, masked.mask_alike) == (300, 0.9)


@pytest.mark.parametrize("choices", [{"recipe": "simclr"}, {"intra_weight": 1.0}])
def test_a_temperature_that_nothing_is_divided_by_cannot_be_learned(choices: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="no inter-modal loss"):
        Pretrain.model_validate(choices | {"learn_temperature": True})


def test_a_recipe_is_checked_and_frozen() -> None:
    with pytest.raises(ValidationError, match="in order"):
        Recipe(schedule="steps", drops=(0.9, 0.7))
    with pytest.raises(ValidationError, match="unknown_choice"):
        Recipe.model_validate({"unknown_choice": 1})
    with pytest.raises(ValidationError, match="frozen"):
        RECIPES["mmgr"].epochs = 3


def test_a_recipe_survives_json() -> None:
    for recipe in RECIPES.values():
        assert Recipe.model_validate(recipe.model_dump(mode="json")) == recipe
