"""What is learned without labels, and how: category vectors, pre-training, embedding."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from mmgr.config.base import Count, Fraction, Positive, Section

CADENCE = re.compile(r"(?P<number>[1-9]\d*) (?P<unit>min|steps)")
"""What `pretrain.checkpoint_every` looks like."""


class Categories(Section):
    """How categories get their vectors."""

    method: Literal["skip-gram", "one-hot", "tf-idf", "place2vec", "text"] = "skip-gram"
    """`skip-gram`: learned from walks between POIs (Huang et al. 2022); `place2vec`: from each POI's
    nearest (Yan et al. 2017); `one-hot`: both levels, nothing learned; `tf-idf`: one-hot weighted by
    rarity over regions or polygons; `text`: of the categories' names, by a language model."""
    model: Path | None = None
    """Folder of a sentence-transformers model, for `text`; needs `pip install 'mmgr[text]'`."""
    dimensions: Annotated[int, Field(ge=2, le=1024)] | None = None
    """Length of a vector; by default 64 where it is learned, and the model's own for `text`, of which a
    smaller one takes the principal components. One-hot and TF-IDF have the length that they have."""
    walks: Count = 5
    """Walks from each POI."""
    length: Annotated[int, Field(ge=2)] = 10
    """POIs in a walk, the start included."""
    p: Positive = 0.5
    """Return parameter of the second-order walk."""
    q: Positive = 0.5
    """In-out parameter of the second-order walk."""
    region_decay: Fraction = 0.4
    """Weight of a step that leaves its region, or of an adjacent polygon where POIs are counts."""
    gap: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 25_000.0
    """Metres: POIs are of one city where a chain of them leads from one to the other, each nearer than this to the
    next; no context reaches from one city to another."""
    neighbours: Count = 10
    """Nearest POIs that are a POI's contexts, for `place2vec`."""
    power: Annotated[float, Field(ge=0, le=10)] = 1.0
    """A context weighs by its distance to the power of minus this, for `place2vec`."""
    negatives: Annotated[int, Field(ge=0)] = 5
    """Negative categories per context."""
    negatives_from: Literal["unmet", "frequency"] = "unmet"
    """Where `skip-gram` draws them: `unmet`, evenly from the categories that never co-occur with the target, as
    published; `frequency`, from all by frequency to the power of 3/4, as word2vec and `place2vec` do."""
    hierarchy: Annotated[float, Field(ge=0)] = 4e-6
    """Weight of the term that draws categories of one first level together, for `skip-gram`."""
    solver: Literal["cooccurrence", "minibatch"] = "cooccurrence"
    """`cooccurrence`: all pairs at once, on their counts; `minibatch`: batches of pairs, as published."""
    learning_rate: Positive | None = None
    """Step size of the optimiser; by default 0.01 for `cooccurrence` and the published 0.0005 for `minibatch`."""
    iterations: Count = 500
    """Steps of the optimiser, for `cooccurrence`."""
    epochs: Count = 100
    """How often each pair is seen, for `minibatch`."""
    batch_size: Count = 128
    """Pairs a step, for `minibatch`."""
    level_weights: tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]] = (1.0, 1.0)
    """Value of the one in the first level's part and in the second's, for `one-hot`."""

    @model_validator(mode="after")
    def _text_has_a_model(self) -> Categories:
        if self.method == "text" and self.model is None:
            raise ValueError("method text needs `model`, the folder of a sentence-transformers model")
        return self


class Pretrain(Section):
    """How the encoders are pre-trained (Bai et al. 2023)."""

    recipe: Literal["mmgr", "mmgr-2023", "mmgr-2023-as-published", "simclr"] = "mmgr"
    """A named, complete set of choices; what is set below replaces the recipe's. `mmgr-2023` has the published choices,
    `mmgr-2023-as-published` also two things that its code did not mean, to compare: the learning rate falls for single
    epochs, and short last batches are dropped. Not kept are positives that are other regions where several processes
    train, and regions without POIs as ordinary pairs."""
    bundle: Path | None = None
    """A bundle to use as it is, instead of a training: of `mmgr import-checkpoint`, or of another run, of another city
    too. POI categories are found by the names of both levels. One that the model does not know has the mean vector of
    its first level; where that is unknown too, its POIs are left out; the log names both. Columns of the recipe
    `mmgr` are components of the run's own regions: to ask a probe of one city in another, put both in one run."""
    encoder: str | None = None
    """Any `timm` model, as `timm` or the hub (`hf-hub:timm/...`) names it; by default `tf_efficientnet_lite0`,
    and `resnet50` as published."""
    weights: Path | Literal["random", "shipped", "pretrained"] | None = None
    """What training begins with. `shipped` are ImageNet weights of `tf_efficientnet_lite0` that come with the
    package and need no network: the default of `mmgr` and `simclr` with that encoder. `random` is the default of
    every other encoder, and as published. `pretrained` asks the `timm` hub for the weights of the encoder's name
    (with a tag such as `resnet50.a1_in1k`, those of the tag); a path reads a safetensors file with the names of
    `timm`, of torchvision or of torchgeo. Of torchvision's models these are ResNet, ResNeXt, DenseNet, ViT,
    ConvNeXt and Swin (both versions); VGG, EfficientNet, MobileNet and RegNet are built of other blocks in `timm`,
    and refused. Weights for three bands become those of other images by `timm`'s convention."""
    weights_bands: tuple[Count, ...] | None = None
    """Bands of the file's first layer that the images' bands are, counted from 1, where it has others: `[4, 3, 2]`
    are red, green and blue of weights for Sentinel-2's 13 bands."""
    band_mean: tuple[float, ...] | None = None
    """Mean of each band, of values 0 to 1, that the weights expect; by default what `timm` states for the encoder's
    name where weights are not random."""
    band_std: tuple[Positive, ...] | None = None
    """Spread of each band, likewise; goes with `band_mean`."""
    crop: Annotated[int, Field(ge=16, le=1024)] | None = None
    """Edge in pixels of the views that the encoder sees; 112 by default, 224 as published."""
    poi_encoder: Literal["set2set", "mean", "attention"] | None = None
    """How a region's set of POIs is read: `set2set` (the paper's), `mean`, or `attention` by learned queries."""
    poi_positions: bool | None = None
    """Whether the POI encoder reads where POIs lie in the patch, too; where that is unknown, as for counts, nothing
    is added."""
    poi_text: Path | None = None
    """A folder whose vectors stand beside the category vectors: a sentence-transformers model, which encodes the
    categories' names (needs `pip install 'mmgr[text]'`), or category vectors that `mmgr categories` wrote."""
    crop_pois: bool | None = None
    """Whether a view meets only the POIs inside its own crop, and an embedding those inside the patch, instead of all
    of the region's, `pois.radius` included; POIs of unknown place are in every crop."""
    epochs: Annotated[int, Field(ge=0)] | None = None
    """How often each region is seen."""
    batch_size: Annotated[int, Field(ge=2)] | None = None
    """Regions a step."""
    learning_rate: Positive | None = None
    """Step size of the optimiser."""
    weight_decay: Annotated[float, Field(ge=0)] | None = None
    """How strongly the optimiser draws weights towards 0; a learned temperature it leaves alone."""
    temperature: Positive | None = None
    """Divides the similarities in the losses."""
    learn_temperature: bool | None = None
    """Whether the temperature of the inter-modal loss is learned, from `temperature` on; no recipe does. It never falls
    below 0.01."""
    negatives: Literal["joint", "cross"] | None = None
    """What an image is told apart from when it meets its POIs: `joint`, all other images and POIs of the batch, as
    published; `cross`, the POIs alone, and POIs from the images, as in `mmgr`."""
    intra_weight: Fraction | None = None
    """Weight of the intra-modal loss; the inter-modal one gets the rest."""
    counts_weight: Annotated[float, Field(ge=0)] | None = None
    """Weight of the side task that predicts POIs from the image; 0 as published, where there is none."""
    mask_near: Positive | None = None
    """Regions whose centres are nearer than this (m) are not pushed apart."""
    mask_alike: Annotated[float, Field(gt=0, le=1)] | None = None
    """Images are not pushed away from the POIs of regions whose own are at least this alike (a cosine)."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """Of the encoders' arithmetic; `auto` is bfloat16 where the device has it."""
    held_out: Annotated[float, Field(ge=0, le=0.5)] | None = None
    """Part of the regions that training does not see, so that the monitor can measure on them whether what is
    learned holds elsewhere: 0.05 by default, at most 512 regions, and none where that is fewer than 32. They get
    vectors like all others."""
    tensorboard: bool = False
    """Whether the monitor is written for TensorBoard too, to `pretrain/tensorboard`; needs
    `pip install 'mmgr[tensorboard]'`. Turned on later, it takes effect with the next training."""
    probe_every: Count | None = None
    """After every so many epochs the monitor scores what the encoders give, without what `embed` adds of the
    surroundings, on each task's labels, by ridge under the folds of `evaluate`. Whoever chooses epochs, or anything
    else, by these columns selects on labels, and the scores of that run no longer tell of unseen places."""
    compile: bool = False
    """Whether the image encoder's training steps are compiled (`torch.compile`): a minute or more at the start, for
    faster steps. Needs a C++ compiler on a CPU, Triton on a GPU."""
    device: str = "auto"
    """`cpu`, `cuda`, or `auto`: a GPU where there is one."""
    checkpoint_every: str = "15 min"
    """How much of a long epoch a kill may cost: `15 min` of work or `500 steps`. Each epoch's end has a checkpoint
    too. The result does not depend on this."""

    @field_validator("checkpoint_every")
    @classmethod
    def _is_a_cadence(cls, value: str) -> str:
        if not CADENCE.fullmatch(value):
            raise ValueError("say how often as `15 min` or `500 steps`")
        return value

    @model_validator(mode="after")
    def _learns_a_temperature_that_there_is(self) -> Pretrain:
        alone = self.intra_weight == 1 or (self.recipe == "simclr" and self.intra_weight is None)
        if self.learn_temperature and alone:
            raise ValueError(
                "there is no inter-modal loss (its weight is 0) whose temperature `learn_temperature` means"
            )
        return self


class Embed(Section):
    """How the trained model describes regions."""

    engine: Literal["torch", "onnx"] = "torch"
    """What the image encoder runs on. `onnx`: ONNX Runtime in 8-bit integers, on the CPU, for nearly the same vectors
    in less time (`mmgr bench embed` measures both); first layers stay in float32 where vectors would change too much.
    Needs `pip install 'mmgr[onnx]'`."""
