"""The finding about what was learned without labels from regions that are tested later."""

from __future__ import annotations

from collections.abc import Iterator

from mmgr.config import Config
from mmgr.evaluate.audit.records import Finding
from mmgr.learn.recipes import resolve
from mmgr.learn.shipped import SHIPPED

_LEARNED = {"skip-gram": "walks between POIs", "place2vec": "pairs of near POIs", "tf-idf": "counts of POIs"}
"""What category vectors are learned from, by method."""


def transductive(config: Config) -> Finding:
    """Say what was learned without labels from regions that are tested later."""
    seen, unknown = [*_seen(config)], [*_unknown(config)]
    numbers = {"transductive": bool(seen), "unknown": bool(unknown)}
    parts = []
    if seen:
        parts.append(
            f"Transductive, which is allowed: {'; '.join(seen)}. No label was seen. A region added later was not seen."
        )
    parts += unknown
    if not parts:
        text = "Nothing was learned from the regions before the labels."
        return Finding("pre-training", "pass", text, numbers=numbers)
    return Finding("pre-training", "note", " ".join(parts), numbers=numbers)


def _seen(config: Config) -> Iterator[str]:
    """Yield what has seen all regions."""
    pretrain = config.pretrain
    if config.images is not None and pretrain.bundle is None and pretrain.epochs != 0:
        yield "encoders saw the images" + (" and POIs" if config.pois else "") + " of all regions"
    if config.pois is not None and config.categories.method in _LEARNED:
        yield f"category vectors were learned from {_LEARNED[config.categories.method]} everywhere"
    if _fitted_on_all(config):
        yield "scales, means and principal components of the vectors are those of all regions"


def _unknown(config: Config) -> Iterator[str]:
    """Yield what cannot be told from the configuration, as sentences."""
    pretrain = config.pretrain
    if config.images is None:
        return
    if pretrain.bundle is not None:
        yield _not_known(f"the bundle {pretrain.bundle.name}")
        yield "Its recipe may describe regions by scales and principal components of all of them."
    elif resolve(pretrain).weights not in {"random", SHIPPED}:  # ImageNet is of no place
        yield _not_known("the weights that training began with")


def _not_known(what: str) -> str:
    return f"What {what} had seen is not to be known from here: these places, or even labels of them?"


def _fitted_on_all(config: Config) -> bool:
    """Say whether `mmgr embed` scales vectors, or turns them into components, by all regions.

    What the recipe of a bundle asks for is not to be seen in the configuration.
    """
    if config.images is None:
        return True
    if config.pretrain.bundle is not None:
        return False
    recipe = resolve(config.pretrain)
    of_images = recipe.image_components is not None or bool(recipe.image_scales) or recipe.group_means != 1
    return of_images or (config.pois is not None and (recipe.even_pois or recipe.poi_context))
