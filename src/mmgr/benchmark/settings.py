"""The settings that all trained rows share, so that what differs between rows is the method."""

from __future__ import annotations

from mmgr.config import Pretrain
from mmgr.learn.recipes import RECIPES, Recipe, resolve

SHARED = ("encoder", "crop", "epochs", "batch_size", "weights", "weights_bands", "band_mean", "band_std", "held_out")
"""Fields of a recipe that are the same for every trained row, the published ones too."""
ALWAYS = ("device", "precision", "checkpoint_every")
"""Settings that say where and how, not what."""


def pretrain_of(settings: Pretrain, recipe: str) -> Pretrain:
    """Return a configuration's pre-training with another recipe, and with no more of its own than all rows share.

    What else the configuration sets, such as a learning rate, belongs to the recipe that it names, and goes to that
    recipe's row and to rows that share its optimiser (see :func:`common_recipe`).
    """
    if recipe == settings.recipe:
        return settings.model_copy(update={"bundle": None, "tensorboard": False, "probe_every": None})
    mine = resolve(settings)
    shared = {name: getattr(mine, name) for name in SHARED}
    always = {name: getattr(settings, name) for name in ALWAYS}
    own = (
        {"learning_rate": settings.learning_rate, "temperature": settings.temperature}
        if {recipe, settings.recipe} <= _OURS
        else {}
    )
    return Pretrain.model_validate({"recipe": recipe, **shared, **always, **own})


def common_recipe(settings: Pretrain) -> Recipe:
    """Return the recipe of rows that are trained on images alone: `simclr` with what all rows share."""
    return resolve(pretrain_of(settings, "simclr"))


def departures(settings: Pretrain, recipe: str) -> str:
    """Say in which of the optimiser's choices a recipe departs from the common ones; empty if in none."""
    common, own = common_recipe(settings), resolve(pretrain_of(settings, recipe))
    names = ("optimiser", "learning_rate", "weight_decay", "schedule", "temperature")
    changed = [f"{name.replace('_', ' ')} {_shown(getattr(own, name))}" for name in names
               if getattr(own, name) != getattr(common, name)]  # fmt: skip
    return ", ".join(changed)


_OURS = {name for name, recipe in RECIPES.items() if recipe.optimiser == RECIPES["mmgr"].optimiser}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
