"""Recipes: named, complete sets of training choices. Nothing about training is decided elsewhere."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mmgr.config import Count, Fraction, Positive, Pretrain
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER

NotNegative = Annotated[float, Field(ge=0)]


class Choices(BaseModel):
    """A part of a recipe; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Augmentation(Choices):
    """How two views are made of one patch; the defaults are the paper's."""

    area: tuple[Fraction, Fraction] = (0.2, 1.0)
    """Smallest and largest part of the patch that a random resized crop keeps."""
    ratio: tuple[Positive, Positive] = (3 / 4, 4 / 3)
    """Narrowest and widest crop (width over height)."""
    jitter: Fraction = 0.8
    """Probability of colour jitter."""
    brightness: Fraction = 0.4
    """Brightness is multiplied by a factor within ``1 - b .. 1 + b``."""
    contrast: Fraction = 0.4
    saturation: Fraction = 0.4
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    """The hue turns by up to this part of the colour circle."""
    gray: Fraction = 0.2
    """Probability that a view loses its colours."""
    horizontal_flip: Fraction = 0.5
    """Probability of a left-right flip."""
    vertical_flip: Fraction = 0.0
    """Probability of an up-down flip; an aerial image has no up."""
    quarter_turns: bool = False
    """Whether views turn by 0, 90, 180 or 270 degrees."""


def _of_timm(name: str) -> str:
    """Return the name of a model without that of the hub."""
    return re.sub("^hf[-_]hub:timm/", "", name)


class Recipe(Choices):
    """Every choice of one training; the defaults are those of `mmgr`, ours."""

    name: str = "mmgr"

    # the model
    encoder: str = SHIPPED_ENCODER
    """Any `timm` model; `hf-hub:timm/` before its name means the same."""
    weights: str = SHIPPED
    """`random`, `shipped` (with the package, of one encoder), `pretrained` (asks the `timm` hub), or the path of a
    safetensors file."""
    weights_bands: tuple[Count, ...] | None = None
    """Which bands of a file's first layer are those of the images, counted from 1."""
    crop: Annotated[int, Field(ge=16, le=1024)] = 112
    """Edge of a view in pixels."""
    image_hidden: Count | None = None
    """Hidden units of the image head; by default as many as the encoder's features, as in the paper."""
    band_mean: tuple[float, ...] | None = None
    """Mean of each band that the encoder's weights expect, of values 0 .. 1; by default those that `timm` states
    for pretrained weights and files, and the views' own for random ones."""
    band_std: tuple[Positive, ...] | None = None
    """Spread of each band, likewise."""
    poi_encoder: Literal["set2set", "mean", "attention"] = "set2set"
    """How a region's set of POIs is read."""
    poi_steps: Count = 5
    """Steps of Set2Set."""
    poi_heads: Count = 4
    """Queries of attention."""
    poi_positions: bool = False
    """Whether the POI encoder reads where POIs lie in the patch."""
    pois_around: bool = True
    """Whether images meet the POIs around their region, too, where it is known where POIs lie: the POI head reads them
    beside those inside, and the side task predicts them. Most patches hold few POIs or none."""
    poi_hidden: Count = 256
    """Hidden units of the POI head."""
    projection: Count = 128
    """Dimensions in which images and POIs meet."""
    density_features: bool = True
    """Whether log densities of POIs stand beside the POI encoder's readout in the embedding."""

    # how regions are described afterwards; nothing of it is trained
    true_size: bool = True
    """Whether whole patches are embedded so large that things have the size that they have, in the mean, in views:
    a crop that is resized to a view is magnified. Otherwise patches are resized to `crop`."""
    feature_maps: bool = True
    """Whether the means and spreads of the maps of the encoder's stages stand beside its features: what a contrast
    taught the last stage to ignore, such as how much of a patch is built on, the first ones still tell."""
    image_components: Count | None = 128
    """Principal components that the image vectors become, in columns of equal weight; none leaves them as they are."""
    group_means: Fraction = 0.5
    """Part that is kept of how the mean of each group's image vectors, such as a city's, differs from that of all."""
    image_scales: tuple[Positive, ...] = (1.0,)
    """Standard deviations, in edges of a region, of the weights by distance under which neighbours' image
    vectors are averaged; none leaves the surroundings out."""
    surrounding_components: Count = 32
    """Principal components of the image vectors that are averaged."""
    even_pois: bool = True
    """Whether the POI part becomes principal components in columns of equal weight, too: of what the POI encoder says
    and of log densities of categories, first levels and all, squashed so that no odd region decides everything."""
    poi_context: bool = True
    """Whether the POIs around a region, at the scales of `pois.context`, stand beside those in it."""

    # the losses
    intra_weight: Fraction = 0.5
    """Weight (lambda) of the intra-modal loss; the inter-modal one gets the rest."""
    temperature: Positive = 0.2
    """Temperature of the intra-modal loss."""
    inter_temperature: Positive = 0.2
    """Temperature of the inter-modal loss, its start where it is learned."""
    learn_temperature: bool = False
    """Whether the inter-modal temperature is learned; weights decay, it does not."""
    negatives: Literal["joint", "cross"] = "cross"
    """Of an image with its POIs: `joint`, all other 2 (B - 1) vectors of both modalities (the paper);
    `cross`, the vectors of the other modality only, in both directions."""
    both_views_meet_pois: bool = True
    """Whether the second view meets the POIs too; in the paper the first one alone does."""
    mask_same_unit: bool = True
    """Whether regions whose POI counts come from one polygon, or whose POIs are identical, are no negatives
    of each other: such POIs cannot tell them apart. Polygons of labels have no part in this. Regions whose POIs around
    are known (``pois_around``) are told apart by those, and stay negatives."""
    mask_near: Positive | None = None
    """Regions whose centres are nearer than this (m) are no negatives of each other, in either loss."""
    mask_alike: Annotated[float, Field(gt=0, le=1)] | None = None
    """Regions whose POIs are at least this alike are no negatives of each other: the cosine of logs of their counts,
    weighted by rarity."""
    counts_weight: NotNegative = 0.5
    """Weight of the side task that predicts the POIs from the image: those around the region, or the log densities
    of those inside where none around are known."""

    # the views
    augmentation: Augmentation = Augmentation(
        brightness=0.2, contrast=0.2, saturation=0.2, hue=0.03, gray=0.0, vertical_flip=0.5, quarter_turns=True
    )
    """Weaker in colours than the paper's: of one place at one date, colours and shadows say what it is."""
    dates_as_views: bool = True
    """Whether the two views come from two dates where a region has several."""
    crop_pois: bool = False
    """Whether a view meets only the POIs inside its own crop; by default it meets all of its region."""
    views_together: bool = True
    """Whether the encoder sees both views in one pass, so that its batch norms know the batch by all of its views; the
    published code passes them one after the other."""

    # the optimiser
    optimiser: Literal["adam", "adamw"] = "adamw"
    learning_rate: Positive = 1e-3
    weight_decay: NotNegative = 1e-4
    schedule: Literal["constant", "steps", "dips", "cosine"] = "cosine"
    warmup: Fraction = 0.1
    """Part of the training in which the learning rate rises from 0; for `cosine` alone."""
    drops: tuple[Fraction, ...] = ()
    """Parts of the training after which the learning rate falls to a tenth: for good with `steps`; with `dips` in the
    one epoch that ends there, as in the published code."""
    epochs: Annotated[int, Field(ge=0)] = 20
    held_out: Annotated[float, Field(ge=0, le=0.5)] = 0.05
    """Part of the regions that training does not see, to measure retrieval on; none where they would be few."""
    batch_size: Annotated[int, Field(ge=2)] = 64
    """Regions a step; a set that is smaller is one batch."""
    last_batch: Literal["keep", "drop"] = "keep"
    """What becomes of an epoch's last batch where it is short; to drop it, as the published code does, leaves regions
    out of each epoch, and trains nothing on a set smaller than a batch."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` is bfloat16 where the processor computes with it."""
    compile: bool = False
    """Whether the image encoder's training steps are compiled; the last digits of the weights differ from without."""

    @field_validator("encoder")
    @classmethod
    def _is_a_name_of_timm(cls, value: str) -> str:
        return _of_timm(value)

    @model_validator(mode="after")
    def _bands_have_both(self) -> Recipe:
        lengths = [None if values is None else len(values) for values in (self.band_mean, self.band_std)]
        if lengths[0] != lengths[1]:
            raise ValueError("`band_mean` and `band_std` go together, one value of each for each band")
        return self

    @model_validator(mode="after")
    def _learns_something(self) -> Recipe:
        if list(self.drops) != sorted(self.drops):
            raise ValueError("the drops of the learning rate must be in order")
        return self

    @property
    def uses_pois(self) -> bool:
        """Whether any loss needs POIs."""
        return self.intra_weight < 1 or self.counts_weight > 0

    @property
    def whole_edge(self) -> int:
        """Edge in pixels of whole patches at embedding.

        Of a crop of the part ``a`` of a patch, even between ``low`` and ``high``, a view magnifies lengths by
        ``a^(-1/2)``, in the mean by ``2 / (sqrt(low) + sqrt(high))``: 1.38 by default. Encoders that are shown things
        smaller than they were trained on lose much of what they learned (Touvron et al. 2019).
        """
        if not self.true_size:
            return self.crop
        low, high = self.augmentation.area
        return round(self.crop * 2 / (math.sqrt(low) + math.sqrt(high)))

    @property
    def uses_places(self) -> bool:
        """Whether it matters where POIs lie."""
        return self.uses_pois and (self.poi_positions or self.crop_pois)

    def learning_rate_at(self, progress: float) -> float:
        """Return the learning rate at a part of the training, ``0 <= progress < 1``.

        A pure function, so that a drop persists and a resumed run continues where it was.
        """
        if self.schedule == "steps":
            return self.learning_rate * 0.1 ** sum(progress >= drop for drop in self.drops)
        if self.schedule == "dips":
            epoch = int(progress * self.epochs) + 1
            return self.learning_rate * 0.1 ** sum(epoch == round(drop * self.epochs) for drop in self.drops)
        if self.schedule == "cosine":
            if progress < self.warmup:
                return self.learning_rate * progress / self.warmup
            rest = (progress - self.warmup) / (1 - self.warmup)
            return self.learning_rate * 0.5 * (1 + math.cos(math.pi * rest))
        return self.learning_rate


_PUBLISHED = Recipe(
    name="mmgr-2023",
    encoder="resnet50",
    weights="random",
    crop=224,
    temperature=0.5,
    inter_temperature=0.5,
    negatives="joint",
    both_views_meet_pois=False,
    mask_same_unit=False,
    pois_around=False,
    counts_weight=0.0,
    density_features=False,
    true_size=False,
    feature_maps=False,
    image_components=None,
    group_means=1.0,
    image_scales=(),
    even_pois=False,
    poi_context=False,
    augmentation=Augmentation(),
    dates_as_views=False,
    views_together=False,
    held_out=0.0,
    optimiser="adam",
    learning_rate=1e-2,
    weight_decay=0.0,
    schedule="steps",
    drops=(90 / 120, 110 / 120),
    epochs=120,
    batch_size=128,
)

RECIPES: dict[str, Recipe] = {
    # ours, the default; what its choices earn stands in docs/results/ablation.md
    "mmgr": Recipe(),
    # the published choices; what its code did not mean is repaired: drops of the learning rate persist,
    # the last batch is kept, small sets train. Its two Adams are one: Adam treats each weight alone.
    # Two things differ that it does not choose: random ResNets begin as timm's, the last batch norm of each block at 0
    # (torchvision's begin at 1), and a processor with bfloat16 computes in it unless `precision` says `fp32`.
    "mmgr-2023": _PUBLISHED,
    # with two things that its code did not mean, to compare: the learning rate falls for single epochs only, and short
    # last batches are dropped. Left out are the others that change what is learned: with more than one process its
    # positives are other regions, here a region's own at any number; a region without POIs is an ordinary pair there
    # in the middle of a batch, and breaks the loss at its end, while here it has no part in inter-modal pairs.
    "mmgr-2023-as-published": _PUBLISHED.model_copy(
        update={"name": "mmgr-2023-as-published", "schedule": "dips", "last_batch": "drop"}
    ),
    # images alone, with our optimiser and views
    "simclr": Recipe(
        name="simclr",
        intra_weight=1.0,
        counts_weight=0.0,
        pois_around=False,
        density_features=False,
        feature_maps=False,
        image_components=None,
        group_means=1.0,
        image_scales=(),
        even_pois=False,
        poi_context=False,
    ),
}


def resolve(settings: Pretrain) -> Recipe:
    """Return the recipe that a configuration names, with the configuration's own choices laid over it."""
    recipe = RECIPES[settings.recipe]
    encoder, weights = _start(settings, recipe)
    changes: dict[str, Any] = {
        "encoder": encoder,
        "weights": weights,
        "weights_bands": settings.weights_bands,
        "crop": settings.crop,
        "band_mean": settings.band_mean,
        "band_std": settings.band_std,
        "poi_encoder": settings.poi_encoder,
        "poi_positions": settings.poi_positions,
        "crop_pois": settings.crop_pois,
        "epochs": settings.epochs,
        "batch_size": settings.batch_size,
        "learning_rate": settings.learning_rate,
        "weight_decay": settings.weight_decay,
        "temperature": settings.temperature,
        "inter_temperature": settings.temperature,
        "learn_temperature": settings.learn_temperature,
        "negatives": settings.negatives,
        "intra_weight": settings.intra_weight,
        "counts_weight": settings.counts_weight,
        "mask_near": settings.mask_near,
        "mask_alike": settings.mask_alike,
        "precision": settings.precision,
        "compile": settings.compile,
        "held_out": settings.held_out,
    }
    chosen = {key: value for key, value in changes.items() if value is not None}
    # validated anew, which model_copy would not do
    return Recipe.model_validate(recipe.model_dump() | chosen)


def _start(settings: Pretrain, recipe: Recipe) -> tuple[str, str]:
    """Return the encoder and the weights that training begins with; what is named decides what is not."""
    if settings.weights is None:
        encoder = settings.encoder or recipe.encoder
        architecture = _of_timm(encoder).partition(".")[0]  # without the tag of its weights
        return encoder, recipe.weights if architecture == recipe.encoder else "random"
    usual = SHIPPED_ENCODER if settings.weights == SHIPPED else recipe.encoder
    return settings.encoder or usual, str(settings.weights)
