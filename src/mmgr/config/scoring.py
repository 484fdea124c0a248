"""What is mapped and how well: tasks, evaluation, fine-tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from mmgr.config.base import Count, Crs, Fraction, Positive, Section
from mmgr.config.names import check_task_name

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

    name: str
    """Names columns, files and titles; none that a column of predictions has already, such as `group`."""
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
    crs: Crs | None = None
    """CRS of a file that does not name its own."""
    band: Count = 1
    """Band of the raster."""
    density: bool | None = None
    """Divide amounts by area; on by default for totals and sums."""
    unit: str = ""
    """Unit of the values, for titles, such as `people/km2`."""
    units: Literal["auto", "regions", "polygons"] = "auto"
    """What is one sample: each region, or each label polygon with the area-weighted mean of its
    regions' vectors. `auto`: polygons where they are larger than the regions, in the median by
    more than 1 %."""
    transform: Literal["auto", "log1p", "none"] = "auto"
    """Scale on which probes are fitted and scored. `auto` is log1p for totals and sums, and the label's own for rates
    and means, those of GDP or of densities included: name `log1p` there."""
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

    @field_validator("name")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        return check_task_name(value)

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
    """Column with the name of each fold, for the split `column`: of the label polygons or points, else of the regions'
    file. A region whose points are of several folds is left out. Where its values are `train`, `test` and perhaps
    `validation` (in any case, `dev` or `training` too), the test units are tested once; of true and false, those that
    are true. A unit without a value, or of fold -1, is always trained on."""
    protocol: Literal["cityrep", "cityrep-kernel", "cityrep-trees", "regiondcl", "regiondcl-blocks"] | None = None
    """A published protocol, scored beside the splits, with its own probe and seeds, on the label's own scale; see
    `mmgr.evaluate.protocols`."""
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
        tuple[Literal["ridge", "logistic", "softmax", "mlp", "forest", "boosting", "knn", "kernel"], ...],
        Field(min_length=1),
    ] = ("kernel", "ridge")
    """Small models on the vectors. `ridge`: linear, which is `logistic` regression for classes and `softmax` regression
    for shares, whichever of the three is named; `kernel`: the same regressions with a kernel that is three quarters
    Gaussian and one quarter linear; `mlp`: the two layers of the paper; `forest`: random forest; `boosting`: gradient
    boosted trees; `knn`: nearest neighbours. What they tune is chosen on spatial blocks of the training units. The
    first one makes the maps and their intervals."""
    group_offsets: bool = True
    """Whether probes and fine-tuning, of all rows alike, see which group of regions, such as a city, a unit is of: an
    offset for each group of at least 5 labelled units, as strong as inner blocks say. One group alone has none, nor
    have more than 50; published protocols go without."""
    seeds: Count = 3
    """Repetitions with other folds and other starts of the probe."""
    fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    """Shares of the training units with which the first probe is scored too, under the first split, such as
    `[0.01, 0.05, 0.1, 0.25, 0.5, 1]`: how many labels are needed."""
    fraction_by: Literal["units", "blocks"] = "units"
    """What is drawn from the training part of each fold, larger shares on top of smaller ones: single units, as where
    places are surveyed here and there, or whole blocks, as where districts are."""
    intervals: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.8, 0.9)
    """Levels of prediction intervals: of numbers, of the share of each class, and of sets of classes that are possible.
    How often each held is measured on held-out places; predictions everywhere carry the highest. An empty list leaves
    intervals out."""

    @model_validator(mode="after")
    def _has_folds(self) -> Evaluate:
        if self.splits == () and self.protocol is None:
            raise ValueError(
                "`splits` is empty, and there is no `protocol`: nothing would be scored; name a split, such as "
                "`splits: [blocks]`, or leave `splits` out"
            )
        return self

    @model_validator(mode="after")
    def _column_is_named(self) -> Evaluate:
        if self.splits is not None and "column" in self.splits and self.column is None:
            raise ValueError("the split `column` needs `column`, the name of the column that holds the folds")
        return self


class Finetune(Section):
    """Fine-tuning of the image encoder on labels of any kind, scored beside the probes under their folds.

    It trains one encoder a fold, which takes its time: `mmgr finetune` does it, and `mmgr run` only where this section
    is there; `finetune: {}` is enough.
    """

    tasks: tuple[str, ...] | None = None
    """Names of the tasks; all by default."""
    blocks: Count | None = None
    """How many of the encoder's last blocks are trained; all by default."""
    epochs: Count = 20
    """At most as many; the best on a fifth of the training blocks is taken, the probe that it starts from included: by
    the squared error of numbers, the divergence of classes and shares."""
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
