"""A recipe as people read it: a table of all its choices, and what a configuration changed."""

from __future__ import annotations

import textwrap
from typing import Any

from mmgr.console import log
from mmgr.learn.recipes import RECIPES, Choices, Recipe

_WIDTH = 78
_COLUMNS = 2


def recipe_table(recipe: Recipe) -> str:
    """Return every choice of a recipe, in columns; those that differ from the recipe of its name stand first."""
    named = RECIPES.get(recipe.name)
    choices = {key: _shown(getattr(recipe, key)) for key in Recipe.model_fields if key != "name"}
    changed = [
        f"{key} {value} instead of {_shown(getattr(named, key))}"
        for key, value in choices.items()
        if named is not None and getattr(named, key) != getattr(recipe, key)
    ]
    told = _wrapped("changed", ", ".join(changed) or "nothing") if named else []
    long = {key: value for key, value in choices.items() if len(value) > _WIDTH // _COLUMNS - 24}
    short = [f"{key:<21} {value}" for key, value in choices.items() if key not in long]
    rows = -(-len(short) // _COLUMNS)
    width = _WIDTH // _COLUMNS
    table = ["  " + "".join(f"{cell:<{width}}" for cell in short[row::rows]).rstrip() for row in range(rows)]
    return "\n".join([*told, *table, *(line for key, value in long.items() for line in _wrapped(key, value))])


def announce(recipe: Recipe, regions: int, steps: int) -> None:
    """Tell the log what is trained on how many regions, in how many steps an epoch, and where that is unusual."""
    log.info("recipe %s on %d regions, %d steps an epoch\n%s", recipe.name, regions, steps, recipe_table(recipe))
    if steps == 0:
        log.warning(
            "nothing is trained: %d regions are fewer than a batch of %d, and the recipe drops short batches, as the "
            "published code does; set a smaller `pretrain.batch_size`, or `pretrain.recipe: mmgr-2023`",
            regions, recipe.batch_size,
        )  # fmt: skip
    elif regions < recipe.batch_size:
        log.info("fewer regions than a batch of %d: each step sees all of them", recipe.batch_size)


def _wrapped(key: str, value: str) -> list[str]:
    return textwrap.wrap(value, _WIDTH, initial_indent=f"  {key:<21} ", subsequent_indent=" " * 24)


def _shown(value: Any) -> str:
    if isinstance(value, Choices):
        return ", ".join(f"{key} {_shown(getattr(value, key))}" for key in type(value).model_fields)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    return "none" if value is None else str(value)
