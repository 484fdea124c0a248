"""One typed, checked schema of a run: YAML in, precise errors out."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from mmgr.errors import ConfigError
from mmgr.files import existing_file

Positive = Annotated[float, Field(gt=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]

CADENCE = re.compile(r"(?P<number>[1-9]\d*) (?P<unit>min|steps)")
"""What `pretrain.checkpoint_every` looks like."""
FOLDER = "folder"
"""The value of `regions.group` that takes the name of the images' folder."""


class Section(BaseModel):
    """A part of the configuration; a key that it does not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Images(Section):
    """Where the imagery is and how its values become 8-bit patches."""

    path: Path
    """A GeoTIFF, COG or VRT, or a folder of them (searched with its sub-folders)."""
    bands: tuple[Count, ...] = (1, 2, 3)
    """Bands to read, counted from 1."""
    stretch: tuple[float, float] | None = None
    """Values that become 0 and 255; by default 8-bit images stay as they are and others are
    stretched between the 2nd and 98th percentile of a sample."""
    nodata: float | None = None
    """A value that means "no image here", where the files do not say so themselves."""
    date: str | None = None
    """A regular expression whose first group is the date in a file's name; by default the first
    year or date found there. Images of different dates are views of the same region."""

    @field_validator("date")
    @classmethod
    def _date_has_a_group(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from error
            if groups < 1:
                raise ValueError("needs one group in parentheses that catches the date, such as '_(\\d{4})_'")
        return value


class Regions(Section):
    """The units that get a vector."""

    kind: Literal["grid", "footprints", "polygons", "samples"] = "grid"
    """`grid`: squares over the images, or over the POIs where there are no images; `footprints`: one region per
    image place, or per polygon of `path`, with the patch cut on the image's own pixels; `polygons`: any polygons of
    `path`; `samples`: one region per PNG of `images.path`, as the published research code keeps them, with the place of
    the polygon of `path` whose `id` is the PNG's name."""
    size: Positive | None = None
    """Edge of a grid cell, or of samples without a place; not used by the other kinds."""
    unit: Literal["metres", "pixels"] = "metres"
    """What `size` counts."""
    path: Path | None = None
    """Polygons, for `footprints` (optional) and `polygons`."""
    id: str | None = None
    """Column of `path` that names each region."""
    group: str | None = None
    """Column of `path` that names each region's group, such as its city; `folder` takes the name
    of the folder that the image lies in."""
    crs: str | None = None
    """A projected CRS in metres for all distances; by default the images' own, or the UTM zone of the images, or
    without them of the polygons or POIs."""
    pixels: Annotated[int, Field(ge=16, le=2048)] = 128
    """Edge of a stored patch in pixels; the image is resampled where it differs."""
    min_valid: Fraction = 0.5
    """A patch of which a smaller part has image is left out."""

    @model_validator(mode="after")
    def _complete(self) -> Regions:
        if self.kind == "grid" and self.size is None:
            raise ValueError("a grid needs `size`, the edge of a cell")
        if self.kind == "polygons" and self.path is None:
            raise ValueError("regions of kind polygons need `path`")
        return self


class PointSource(Section):
    """POIs as points: CSV, GeoJSON, GeoPackage, GeoParquet."""

    kind: Literal["points"] = "points"
    path: Path
    """The file."""
    layer: str | None = None
    """Layer of a file that has several."""
    first_level: str
    """Column of the (first-level) category."""
    second_level: str | None = None
    """Column of the finer category, if there is one."""
    x: str | None = None
    """Column of the longitude or easting, for a CSV."""
    y: str | None = None
    """Column of the latitude or northing, for a CSV."""
    crs: str | None = None
    """CRS of `x` and `y`, or of a file that does not name its own; EPSG:4326 for a CSV if not given."""
    area: Path | None = None
    """Polygons inside which the POIs are complete; by default the box around the points. A region
    inside it that holds no POI has none; a region outside it has unknown POIs."""


class CountSource(Section):
    """POIs as counts: polygons with one column a category."""

    kind: Literal["counts"]
    path: Path
    """The file."""
    layer: str | None = None
    """Layer of a file that has several."""
    id: str | None = None
    """Column that names each polygon."""
    columns: str | tuple[str, ...]
    """The count columns: a list, or a prefix ending in `*` such as `poi_*`."""
    first_levels: dict[str, str] = {}
    """First-level category of a column; a column not named here is its own."""
    crs: str | None = None
    """CRS of a file that does not name its own."""


def _source_kind(value: Any) -> str:
    """Return the kind of a POI source; points where it is not said."""
    kind = value.get("kind", "points") if isinstance(value, dict) else getattr(value, "kind", None)
    return str(kind)


PoiSource = Annotated[
    Annotated[PointSource, Tag("points")] | Annotated[CountSource, Tag("counts")],
    Discriminator(_source_kind, custom_error_type="source_kind", custom_error_message="`kind` is `points` or `counts`"),
]


class Pois(Section):
    """Where the POIs are."""

    sources: tuple[PoiSource, ...] = ()
    """One or several files, of points or of counts; required, unless there are `vectors`."""
    vectors: Path | None = None
    """For regions of kind `samples`: a folder of one `.tensor` file a PNG, with a vector a POI. Equal vectors are one
    category."""
    edges: Path | None = None
    """A folder of the edges between these POIs, which are checked and left behind."""
    radius: Positive | None = None
    """Points within this distance (m) of a region's centre belong to it too; by default only those inside."""
    context: Literal["auto"] | tuple[Positive, ...] = "auto"
    """A region's vector also tells of the points around its centre, weighted by a Gaussian of each of these standard
    deviations (m); an empty list leaves that out. `auto`: up to four, doubling from the distance between POIs (or half
    a region) up to a sixteenth of the extent of a group."""
    outside: Literal["keep", "drop"] = "keep"
    """What becomes of points far outside the regions: beyond the box around all regions by more than 10 km, the box's
    own diagonal or `radius`, whichever is largest. `mmgr build` counts and names them; only `drop` leaves them out.
    One that is kept stretches the box in which its source's POIs count as known, and tells the category vectors."""

    @model_validator(mode="after")
    def _has_pois(self) -> Pois:
        if bool(self.sources) == (self.vectors is not None):
            raise ValueError("name `sources`, files of points or counts; or `vectors`, for regions of kind samples")
        return self


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
    `mmgr-2023-as-published` also what its code did not mean, to compare."""
    bundle: Path | None = None
    """A bundle to use as it is, instead of a training: of `mmgr import-checkpoint`, or of another run."""
    encoder: str | None = None
    """Any `timm` model; `resnet18` by default, `resnet50` as published."""
    weights: Path | Literal["random", "pretrained"] = "random"
    """`pretrained` asks the `timm` hub for the weights of the encoder's name (with a tag such as
    `resnet50.a1_in1k`, those of the tag); a path reads a safetensors file with the names of `timm`, of torchvision or
    of torchgeo. Weights for three bands become those of other images by `timm`'s convention."""
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
    temperature: Positive | None = None
    """Divides the similarities in the losses."""
    intra_weight: Fraction | None = None
    """Weight of the intra-modal loss; the inter-modal one gets the rest."""
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


class Embed(Section):
    """How the trained model describes regions."""

    engine: Literal["torch", "onnx"] = "torch"
    """What the image encoder runs on. `onnx`: ONNX Runtime in 8-bit integers, on the CPU, for nearly the same vectors
    in less time (`mmgr bench embed` measures both); needs `pip install 'mmgr[onnx]'`."""


LabelKind = Literal["number", "class", "shares"]
"""What a label is: a number, one of several classes, or shares of classes that sum to 1."""

_LOSSES: dict[LabelKind, tuple[str, ...]] = {
    "number": ("squared", "absolute"),
    "class": ("cross_entropy",),
    "shares": ("kl",),
}
_METRICS: dict[LabelKind, tuple[str, ...]] = {
    "number": ("r2", "rmse", "mae"),
    "class": ("macro_f1", "accuracy"),
    "shares": ("l1", "kl", "cosine", "chebyshev", "canberra"),
}


class Task(Section):
    """A label, where it comes from and what a region's or polygon's value means."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    """Names columns, files and titles."""
    path: Path
    """Polygons, a raster, or points."""
    kind: Literal[
        "polygon_total",
        "polygon_rate",
        "polygon_class",
        "polygon_shares",
        "raster_sum",
        "raster_mean",
        "raster_class",
        "raster_shares",
        "point_class",
        "point_shares",
    ]
    """`polygon_total` and `raster_sum` are amounts (people): shared out by area, and a density per
    km2 unless `density` is false. `polygon_rate` and `raster_mean` are averaged by area. `*_class` is the class of
    most of a region's area or points; `*_shares` is a distribution: the share of each class in a region's area or
    points, or of each of several `columns` of polygons."""
    column: str | None = None
    """Column of the polygons or points that holds the value or the name of the class."""
    columns: str | tuple[str, ...] | None = None
    """For `polygon_shares`, in place of `column`: one column a class, with shares or amounts; a list, or a prefix
    ending in `*`."""
    classes: dict[str, str] | None = None
    """Names of the classes by their value in the file, such as `{10: trees, 50: built}`; values not named here are no
    label. By default every value is a class."""
    layer: str | None = None
    """Layer of a file that has several."""
    id: str | None = None
    """Column that names each polygon."""
    x: str | None = None
    """Column of the longitude or easting, for points in a CSV."""
    y: str | None = None
    """Column of the latitude or northing, for points in a CSV."""
    crs: str | None = None
    """CRS of a file that does not name its own."""
    band: Count = 1
    """Band of the raster."""
    density: bool | None = None
    """Divide amounts by area; on by default for totals and sums."""
    unit: str = ""
    """Unit of the values, for titles, such as `people/km2`."""
    units: Literal["auto", "regions", "polygons"] = "auto"
    """What is one sample: each region, or each label polygon with the area-weighted mean of its
    regions' vectors. `auto`: polygons where they are larger than the regions."""
    transform: Literal["auto", "log1p", "none"] = "auto"
    """Scale on which probes are fitted and scored; `auto` is log1p for amounts."""
    loss: Literal["auto", "squared", "absolute", "cross_entropy", "kl"] = "auto"
    """What the probes `mlp` and `boosting` minimise, and the linear ones for classes and shares: `squared` (the
    default) or `absolute` errors of numbers, `cross_entropy` of classes, `kl` of shares. Other probes have a loss of
    their own."""
    metrics: tuple[str, ...] | None = None
    """What is reported, the one that methods are compared by first. Of numbers `r2`, `rmse`, `mae`; of classes
    `macro_f1`, `accuracy`; of shares `l1`, `kl`, `cosine`, `chebyshev`, `canberra`; by default all, in this order."""
    groups: tuple[str, ...] | None = None
    """Only regions of these groups."""
    min_cover: Fraction = 0.5
    """A region of which labels cover a smaller part has no label."""
    min_points: Count = 1
    """A region with fewer labelled points has no label."""

    @field_validator("classes", mode="before")
    @classmethod
    def _keys_are_text(cls, value: Any) -> Any:
        return {str(key): name for key, name in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _complete(self) -> Task:
        source = self.kind.split("_", maxsplit=1)[0]
        if self.kind == "polygon_shares":
            if (self.column is None) == (self.columns is None):
                raise ValueError(
                    f"task {self.name}: shares from polygons need either `column`, the name of each polygon's class, "
                    "or `columns`, one a class"
                )
        elif source != "raster" and self.column is None:
            raise ValueError(f"task {self.name}: labels from {source}s need `column`")
        if source != "polygon" and self.units == "polygons":
            raise ValueError(f"task {self.name}: labels from a {source} file belong to regions, not polygons")
        if self.label != "number" and (self.transform == "log1p" or self.density is not None):
            raise ValueError(f"task {self.name}: `transform` and `density` are of numbers, not of classes or shares")
        return self

    @model_validator(mode="after")
    def _loss_and_metrics_fit(self) -> Task:
        for key, given, known in (
            ("loss", (self.loss,) if self.loss != "auto" else (), _LOSSES[self.label]),
            ("metrics", self.metrics or (), _METRICS[self.label]),
        ):
            strange = [name for name in given if name not in known]
            if strange:
                raise ValueError(
                    f"task {self.name}: `{key}` of a {self.kind} is {' or '.join(known)}, not {', '.join(strange)}"
                )
        return self

    @property
    def title(self) -> str:
        """The name as people read it."""
        return self.name.replace("_", " ")

    @property
    def label(self) -> LabelKind:
        """What a label is."""
        ending = self.kind.rsplit("_", maxsplit=1)[-1]
        return "class" if ending == "class" else "shares" if ending == "shares" else "number"

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What is reported, the one that methods are compared by first."""
        return self.metrics or _METRICS[self.label]

    @property
    def is_amount(self) -> bool:
        """Whether the label adds up over area (people), rather than being a rate."""
        return self.kind in {"polygon_total", "raster_sum"}

    @property
    def is_density(self) -> bool:
        """Whether values are divided by area."""
        return self.is_amount if self.density is None else self.density

    @property
    def uses_log(self) -> bool:
        """Whether probes are fitted and scored on ``log(1 + y)``."""
        return self.is_amount if self.transform == "auto" else self.transform == "log1p"


class Evaluate(Section):
    """How the embeddings are scored."""

    splits: tuple[Literal["blocks", "groups", "random", "column"], ...] | None = None
    """By default spatial blocks, and leave-one-group-out where regions have groups. `random` is optimistic: neighbours
    of test units are trained on. `column` takes the folds of `column`."""
    column: str | None = None
    """Column with the name of each fold, for the split `column`: of the label polygons, else of the regions' file.
    Where its values are `train`, `test` and perhaps `validation`, the test units are tested once; a unit without a
    value is always trained on."""
    protocol: Literal["cityrep", "cityrep-trees", "regiondcl", "regiondcl-blocks"] | None = None
    """A published protocol, scored beside the splits, with its own probe and seeds; see `mmgr.evaluate.protocols`."""
    folds: Annotated[int, Field(ge=2)] = 5
    """Parts of spatial blocks and of random folds."""
    block: Positive | None = None
    """Edge of a spatial block in metres; by default the range of the label's variogram, or one chosen from the extent
    where there is no range or it leaves fewer than two blocks a fold."""
    block_shape: Literal["square", "h3"] = "square"
    """`h3`: hexagons of the H3 resolution whose area is nearest to that of a square block (extra `mmgr[h3]`)."""
    buffer: Annotated[float, Field(ge=0)] | None = None
    """Training units nearer than this (m) to a test unit are left out; one region's edge by default."""
    probes: Annotated[
        tuple[Literal["ridge", "logistic", "softmax", "mlp", "forest", "boosting", "knn"], ...], Field(min_length=1)
    ] = ("ridge", "mlp")
    """Small models on the vectors. `ridge`: linear, which is `logistic` regression for classes and `softmax` regression
    for shares, whichever of the three is named; `mlp`: the two layers of the paper; `forest`: random forest;
    `boosting`: gradient boosted trees; `knn`: nearest neighbours. What they tune is chosen on spatial blocks of the
    training units."""
    seeds: Count = 3
    """Repetitions with other folds and other starts of the probe."""
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Shares of the training units with which the first probe is scored too, under the first split, such as
    `[0.01, 0.05, 0.1, 0.25, 0.5, 1]`: how many labels are needed."""
    fraction_by: Literal["units", "blocks"] = "units"
    """What is drawn from the training part of each fold, larger shares on top of smaller ones: single units, as where
    places are surveyed here and there, or whole blocks, as where districts are."""
    intervals: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.8, 0.9)
    """Levels of prediction intervals. How often each held is measured on held-out places; predictions everywhere carry
    the highest. An empty list leaves intervals out."""

    @model_validator(mode="after")
    def _column_is_named(self) -> Evaluate:
        if self.splits is not None and "column" in self.splits and self.column is None:
            raise ValueError("the split `column` needs `column`, the name of the column that holds the folds")
        return self


class Finetune(Section):
    """Fine-tuning of the image encoder on labels, scored beside the probes under their folds.

    It trains one encoder a fold, which takes its time: `mmgr finetune` does it, and `mmgr run` only where this section
    is there; `finetune: {}` is enough.
    """

    tasks: tuple[str, ...] | None = None
    """Names of the tasks; all by default."""
    blocks: Count | None = None
    """How many of the encoder's last blocks are trained; all by default."""
    epochs: Count = 20
    """At most as many; the best on a fifth of the training blocks is taken, the probe that it starts from included."""
    patience: Count = 5
    """It stops after so many epochs without a better one."""
    batch_size: Annotated[int, Field(ge=2)] = 32
    """Labelled units a step."""
    learning_rate: Positive = 1e-3
    """Of the linear head."""
    encoder_rate: Annotated[float, Field(gt=0, le=1)] = 0.3
    """The encoder's last block learns at this part of the head's rate,"""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 0.75
    """and each block before it at this part of the rate of the next."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """Of the encoder's filters and matrices (AdamW)."""
    pois: bool = True
    """Whether the head sees the POI part of the embedding, which stays as it is, beside the image's features."""
    seeds: Count = 1
    """How many of the probes' repetitions are done."""


class Config(Section):
    """A whole run."""

    name: str = "city"
    """Title of the report."""
    output: Path = Path("output")
    """The folder that all stages write to."""
    seed: int = 0
    """Of everything random."""
    images: Images | None = None
    """Imagery; without it, nothing is trained, and a region's vector is made of its POIs' categories alone."""
    regions: Regions
    """The units that get a vector."""
    pois: Pois | None = None
    """Points of interest; without them, images alone are learned from."""
    categories: Categories = Categories()
    """Category vectors."""
    pretrain: Pretrain = Pretrain()
    """Pre-training."""
    embed: Embed = Embed()
    """Embedding."""
    tasks: tuple[Task, ...] = ()
    """What is mapped, with its labels."""
    evaluate: Evaluate = Evaluate()
    """Scores."""
    finetune: Finetune | None = None
    """Fine-tuning as a stage of `mmgr run`; off by default."""
    notes: tuple[str, ...] = ()
    """Sentences that the report repeats: what the data cannot show."""
    attribution: tuple[str, ...] = ()
    """Lines that the report repeats: whom to credit for the data."""

    @model_validator(mode="after")
    def _has_something_to_learn_from(self) -> Config:
        if self.images is not None:
            return self
        if self.pois is None:
            raise ValueError("there is nothing to learn from: name `images`, `pois`, or both")
        if self.regions.kind == "footprints" and self.regions.path is None:
            raise ValueError(
                "regions of kind footprints are outlines of images: without `images`, name polygons as "
                "`regions.path`, or choose the kind grid or polygons"
            )
        if self.regions.kind == "grid" and self.regions.unit == "pixels":
            raise ValueError("`regions.size` in pixels is that of images: without `images`, give it in metres")
        if self.regions.group == FOLDER:
            raise ValueError("`regions.group: folder` names folders of images: without `images`, name a column")
        return self

    @model_validator(mode="after")
    def _samples_go_together(self) -> Config:
        samples = self.regions.kind == "samples"
        if samples and self.images is None:
            raise ValueError("regions of kind samples need `images.path`, the folder of their PNGs")
        if samples and self.regions.path is not None and self.regions.id is None:
            raise ValueError("regions of kind samples need `regions.id`, the column of `path` with the PNGs' names")
        if self.pois is not None and samples != (self.pois.vectors is not None):
            raise ValueError("`pois.vectors` and regions of kind samples go together")
        return self

    @property
    def build_inputs(self) -> dict[str, Path]:
        """Files that the region store is made from, by the name of their setting."""
        found = {} if self.images is None else {"images.path": self.images.path}
        if self.regions.path:
            found["regions.path"] = self.regions.path
        if self.pois and self.pois.vectors:
            found["pois.vectors"] = self.pois.vectors
        if self.pois and self.pois.edges:
            found["pois.edges"] = self.pois.edges
        for number, source in enumerate(self.pois.sources if self.pois else ()):
            found[f"pois.sources[{number}].path"] = source.path
            if isinstance(source, PointSource) and source.area:
                found[f"pois.sources[{number}].area"] = source.area
        return found

    @model_validator(mode="after")
    def _can_be_fine_tuned(self) -> Config:
        if self.finetune is None:
            return self
        if self.images is None:
            raise ValueError("`finetune` is of the image encoder: there is none without `images`")
        known = [task.name for task in self.tasks]
        for name in self.finetune.tasks or ():
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known) or 'none'}"
                raise ValueError(f"`finetune.tasks`: there is no task {name!r}; {hint}")
        return self

    @model_validator(mode="after")
    def _tasks_have_names_of_their_own(self) -> Config:
        names = [task.name for task in self.tasks]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two tasks are called {name}; give each a name of its own")
        return self


def load_config(path: str | Path) -> Config:
    """Read and check a configuration; paths in it are relative to its folder.

    Raises
    ------
    ConfigError
        Names every fault with its line, the value, and the nearest known key.
    """
    path = existing_file(Path(path), what="configuration")
    try:
        return parse_config(path.read_text(encoding="utf-8"), path)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text: {error}") from error


def parse_config(text: str, path: Path) -> Config:
    """Check a configuration's text; paths in it are relative to the folder of ``path``.

    Raises
    ------
    ConfigError
        Names every fault with its line, the value, and the nearest known key.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        raw = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path} holds no configuration; `mmgr init` writes one.")
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults = "\n".join(f"  {_fault(path, node, fault)}" for fault in error.errors())
        raise ConfigError(f"{path} cannot be used:\n{faults}") from None
    return config.model_copy(update=_absolute_paths(config, path.resolve().parent))


def dump_config(config: Config) -> str:
    """Write a configuration as YAML, without what is at its default."""
    return yaml.safe_dump(
        config.model_dump(mode="json", exclude_defaults=True), sort_keys=False, allow_unicode=True, width=100
    )


def _absolute_paths(section: BaseModel, folder: Path) -> dict[str, Any]:
    """Return the fields of a section that hold paths, made absolute."""
    return {name: _absolute(getattr(section, name), folder) for name in type(section).model_fields}


def _absolute(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return Path(os.path.normpath(folder / value.expanduser()))
    if isinstance(value, BaseModel):
        return value.model_copy(update=_absolute_paths(value, folder))
    if isinstance(value, tuple):
        return tuple(_absolute(item, folder) for item in value)
    return value


def _fault(path: Path, node: Any, fault: Any) -> str:
    place = [part for part in fault["loc"] if part not in {"points", "counts"}]
    line = _line_of(node, place)
    where = f"{path.name}:{line}: " if line else ""
    key = ".".join(str(part) for part in place)
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(str(place[-1]), _known_keys(fault["loc"][:-1]), n=1)
        hint = f"; did you mean `{near[0]}`?" if near else f"; known are {', '.join(_known_keys(fault['loc'][:-1]))}"
        return f"{where}unknown key `{key}`{hint}"
    if fault["type"] == "missing":
        return f"{where}`{key}` is missing"
    message = fault["msg"].removeprefix("Value error, ")
    value = fault["input"]
    shown = f" (got {value!r})" if not isinstance(value, dict | list) else ""
    return f"{where}{f'`{key}`: ' if key else ''}{message}{shown}"


def _line_of(node: Any, place: list[Any]) -> int | None:
    """Find the line of a key in the YAML tree, or of the nearest part above it."""
    line = None
    for part in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
        else:
            break
    return line


def _known_keys(place: tuple[Any, ...]) -> list[str]:
    """Return the keys that the section at ``place`` knows."""
    sections: dict[str, type[BaseModel]] = {
        "images": Images,
        "regions": Regions,
        "pois": Pois,
        "points": PointSource,
        "counts": CountSource,
        "categories": Categories,
        "pretrain": Pretrain,
        "embed": Embed,
        "tasks": Task,
        "evaluate": Evaluate,
        "finetune": Finetune,
    }
    named = [sections[part] for part in place if part in sections]
    return sorted((named[-1] if named else Config).model_fields)
