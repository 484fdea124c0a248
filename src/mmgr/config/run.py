"""A whole run."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from pydantic import model_validator

from mmgr.config.base import Section
from mmgr.config.inputs import FOLDER, Images, PointSource, Pois, Regions
from mmgr.config.learning import Categories, Embed, Pretrain
from mmgr.config.names import check_task_names
from mmgr.config.scoring import Evaluate, Finetune, Task


class Config(Section):
    """A whole run."""

    name: str = "city"
    """Title of the report."""
    output: Path = Path("output")
    """The folder that all stages write to. Each replaces its own folder there as a whole; a folder of that name that
    holds files of somebody else, such as POIs of yours in `pois/`, is refused before anything runs."""
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
        check_task_names([task.name for task in self.tasks])
        return self
