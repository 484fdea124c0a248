"""What a training would be refused for, found in the configuration before images are read."""

from __future__ import annotations

from mmgr.config import Config
from mmgr.console import quiet


def check(config: Config) -> None:
    """See that the training's recipe and image encoder can be used, before hours are spent on what it reads.

    An encoder whose weights the `timm` hub is asked for is not looked at: that may be a download.

    Raises
    ------
    ConfigError
        If the recipe needs POIs and the configuration names none, or there is no such encoder for views of its size.
    InputError, ArtefactError
        If the file of weights is missing, is no safetensors file, or is of another architecture or of other bands.
    """
    if config.images is None or config.pretrain.bundle is not None:
        return
    from mmgr.learn.encoders import image_encoder  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.pretrain import needs_pois  # noqa: PLC0415
    from mmgr.learn.recipes import resolve  # noqa: PLC0415

    recipe = resolve(config.pretrain)
    if recipe.uses_pois and config.pois is None:
        raise needs_pois(recipe, "the configuration names")
    if recipe.weights == "pretrained":
        return
    with quiet():  # the stage tells it all again
        image_encoder(
            recipe.encoder,
            weights=recipe.weights,
            bands=len(config.images.bands),
            crop=recipe.crop,
            weights_bands=recipe.weights_bands,
        )
