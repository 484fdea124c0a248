"""Rows that see images and are not trained: plain statistics, random weights, and those that training begins with."""

from __future__ import annotations

import numpy as np

from mmgr.benchmark.rows import Context, LeftOut, Made, Row, Vectors, filled
from mmgr.benchmark.texture import describe_patch, dimensions
from mmgr.console import track

PART = 256
"""Regions whose patches are in memory at a time."""


def colour_texture(context: Context) -> Vectors:
    """Describe each region by colours and texture; of several dates the mean."""
    store = context.store
    found = np.zeros((len(store), dimensions(store.info.bands)), np.float32)
    parts = track(store.iterate(PART), "colours and texture", total=-(-len(store) // PART))
    patches = (views for part in parts for views in part)
    for row, views in enumerate(patches):
        if len(views):
            found[row] = np.mean([describe_patch(view) for view in views], axis=0)
    return filled(found, store.views > 0)


def random_encoder(context: Context) -> Made:
    """Return the features of the encoder that is trained in other rows, with random weights."""
    from mmgr.learn.embed import embed, random_model  # noqa: PLC0415 - torch loads slowly

    model = random_model(context.recipe, None, context.store.info.bands, seed=context.seed)
    vectors = embed(model, context.store, context.recipe, device=context.device).image
    return Made(vectors, sum(weight.numel() for weight in model.image_encoder.parameters()))


def pretrained_encoder(context: Context) -> Made:
    """Return the features of the weights that training begins with, as they are."""
    weights = context.recipe.weights
    if weights == "random":
        raise LeftOut(
            "training begins with random weights: set `pretrain.weights` to `shipped`, to the path of a safetensors "
            "file, or to `pretrained`, which asks the hub of timm"
        )
    from mmgr.learn.embed import embed  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.model import seeded_model  # noqa: PLC0415

    model = seeded_model(context.recipe, None, context.store.info.bands, context.seed)
    vectors = embed(model, context.store, context.recipe, device=context.device).image
    count = sum(weight.numel() for weight in model.image_encoder.parameters())
    return Made(vectors, count, f"weights: {weights}; not trained here")


ROWS = (
    Row("colour-texture", "image", colour_texture, "means, spreads, percentiles, gradients and local binary patterns"),
    Row("random-encoder", "image", random_encoder, "the encoder before any training", trained=True),
    Row("pretrained-encoder", "image", pretrained_encoder, "the encoder as training begins", trained=True),
)
"""The rows of this module."""
