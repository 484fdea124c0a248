"""The stages of a run, as verbs: the same from Python and from the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import geopandas as gpd
from pydantic import ValidationError

from mmgr.config import Config, Finetune, dump_config, load_config
from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.files import check_place, exclusive, explained_writes, read_json, remove_tree, settings_hash, write_text
from mmgr.layout import Layout
from mmgr.processes import ALONE, Processes
from mmgr.stages import Ledger, Stage, Status
from mmgr.store import RegionStore

if TYPE_CHECKING:
    from mmgr.actions.export import Format, Part
    from mmgr.benchmark.results import Benchmark
    from mmgr.bundle import Bundle
    from mmgr.categories import CategoryVectors
    from mmgr.evaluate import Scores
    from mmgr.evaluate.audit import Audit
    from mmgr.evaluate.probes import ProbeName

STAGES = ("build", "categories", "pretrain", "embed", "evaluate", "map", "report")
"""The stages in order; each is a method of :class:`Run` and a command."""
OPTIONAL = "finetune"
"""A stage after `evaluate` where the configuration has its section; its command and method need none."""
_WATCHERS = {"checkpoint_every", "tensorboard", "probe_every"}


class Run:
    """A run of one configuration, stage by stage.

    Each verb does its stage if it is not up to date, and returns what the stage made. A stage
    reads only what earlier stages wrote.

    Parameters
    ----------
    config
        A configuration, or the path of one.
    processes
        That train together; nothing else depends on them, and a result is up to date whatever their number.

    Raises
    ------
    ConfigError
        If the configuration cannot be used.
    """

    def __init__(self, config: Config | str | Path, *, processes: Processes = ALONE) -> None:
        self.processes = processes
        self.config = config if isinstance(config, Config) else load_config(config)
        self.name = "city.yaml" if isinstance(config, Config) else str(config)
        self.layout = Layout(self.config.output)
        self.ledger = self._ledger()

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages that `all` does, in order."""
        return STAGES if self.config.finetune is None else (*STAGES[:5], OPTIONAL, *STAGES[5:])

    # the verbs

    def build(self, *, force: bool = False) -> RegionStore:
        """Join imagery, regions and POIs in a region store."""
        self.do("build", force=force)
        return RegionStore(self.layout.regions)

    def categories(self, *, force: bool = False) -> CategoryVectors | None:
        """Learn the vectors of POI categories; none without POIs."""
        self.do("categories", force=force)
        from mmgr.categories import CategoryVectors  # noqa: PLC0415 - numba loads slowly

        return CategoryVectors.load(self.layout.categories) if self.config.pois else None

    def pretrain(self, *, force: bool = False) -> Bundle | None:
        """Train the encoders without labels; none without images."""
        self.do("pretrain", force=force)
        from mmgr.bundle import load_bundle  # noqa: PLC0415 - torch loads slowly

        return load_bundle(self.layout.bundle) if self.config.images else None

    def embed(self, *, force: bool = False) -> gpd.GeoDataFrame:
        """Compute one vector per region, in the column ``embedding``."""
        self.do("embed", force=force)
        return gpd.read_parquet(self.layout.embeddings / "embeddings.parquet")

    def evaluate(self, *, force: bool = False) -> Scores:
        """Score the embeddings beside baselines on the same folds, and predict everywhere."""
        self.do("evaluate", force=force)
        from mmgr.evaluate import Results  # noqa: PLC0415 - scikit-learn loads slowly

        return Results.read(self.layout.evaluation / "scores.json").scores

    def finetune(
        self, *, task: str | None = None, blocks: int | None = None, epochs: int | None = None, force: bool = False
    ) -> Scores:
        """Fine-tune the image encoder on labels, under the folds of the probes.

        Parameters
        ----------
        task
            Name of one task; by default those of the configuration's section, or all.
        blocks, epochs
            Replace those of the configuration's section.
        force
            Whether it is done again where nothing changed.

        Returns
        -------
        The scores of fine-tuned encoders, of all tasks that have any; the report shows them beside the probes'.
        """
        self.with_finetune(task=task, blocks=blocks, epochs=epochs).do(OPTIONAL, force=force)
        self.ledger = self._ledger()  # the report's key is of these scores too
        return import_module("mmgr.actions.finetune").fine_tuned(self.config, self.layout)  # type: ignore[no-any-return]

    def with_finetune(self, *, task: str | None = None, blocks: int | None = None, epochs: int | None = None) -> Run:
        """Return this run with fine-tuning as one of its stages; see :meth:`finetune`.

        Raises
        ------
        ConfigError
            If there is no such task, or there are no images.
        """
        given = {"tasks": None if task is None else (task,), "blocks": blocks, "epochs": epochs}
        section = (self.config.finetune or Finetune()).model_dump() | {k: v for k, v in given.items() if v is not None}
        try:
            run = Run(Config.model_validate(self.config.model_dump() | {"finetune": section}))
        except ValidationError as error:
            faults = "; ".join(str(fault["msg"]).removeprefix("Value error, ") for fault in error.errors())
            raise ConfigError(f"{self.name} cannot be fine-tuned so: {faults}") from None
        run.name = self.name
        return run

    def benchmark(
        self,
        *,
        rows: Sequence[str] = (),
        skip: Sequence[str] = (),
        probe: ProbeName = "ridge",
        force: bool = False,
    ) -> Benchmark:
        """Score other methods beside ours: same regions, same folds, same probe.

        Regions and category vectors are made first where they are not up to date; a killed benchmark goes on.

        Parameters
        ----------
        rows, skip
            Names of rows to make and to leave out; all by default. `module:NAME` names a row of one's own.
        probe
            The small model on the vectors; by default a linear one.
        force
            Whether rows are made again that are there.

        Raises
        ------
        ConfigError
            If there is no such row.
        """
        from mmgr.benchmark.known import choose_rows  # noqa: PLC0415 - only this verb needs it

        chosen, concatenated = choose_rows(rows, skip)
        self.ledger.key("evaluate")  # files that are missing are found before anything runs
        with exclusive(self.layout.folder):
            for stage in ("build", "categories"):
                self._do(stage, force=False)
            shared = {"regions": self.ledger.key("build"), "categories": self.ledger.key("categories")}
            shared["seed"] = str(self.config.seed)
            shared["context"] = str(self.config.pois.context if self.config.pois else "")
            # a bundle of these settings needs no second training; only where it is the run's, and up to date
            record = self.ledger.record("pretrain") if self.ledger.status("pretrain").up_to_date else None
            with explained_writes(self.layout.folder):
                found: Benchmark = import_module("mmgr.actions.benchmark").act(
                    self.config,
                    self.layout,
                    chosen,
                    shared=shared,
                    concatenated=concatenated,
                    probe=probe,
                    force=force,
                    trained=None if record is None else float(record["seconds"]),
                )
        return found

    def map(self, *, force: bool = False) -> list[Path]:
        """Draw the predictions and the embeddings; returns the files."""
        self.do("map", force=force)
        return sorted(self.layout.maps.iterdir())

    def report(self, *, force: bool = False) -> Path:
        """Write one self-contained HTML page; returns its path."""
        self.do("report", force=force)
        return self.layout.report

    def audit(self) -> Audit:
        """Look at every path on which a test place may have had a part in what is scored."""
        self.ledger.require("categories", config=self.name, asked="audit")
        found: Audit = import_module("mmgr.actions.audit").audit(self.config, self.layout)
        return found

    def export(
        self,
        folder: str | Path | None = None,
        *,
        form: Format = "geotiff",
        part: Part = "embeddings",
        resolution: float | None = None,
    ) -> list[Path]:
        """Write the embeddings for other tools; returns the files. See :func:`mmgr.actions.export.export`.

        Parameters
        ----------
        folder
            Where; by default `export` in the output folder.
        form, part, resolution
            What is written: `geotiff`, `parquet` or `csv` of `embeddings`, `image`, `poi` or `random`, in cells of
            so many metres where regions form no grid.
        """
        self.ledger.require("evaluate", config=self.name, asked="export")
        target = self.layout.export if folder is None else Path(folder)
        files = import_module("mmgr.actions.export").export(
            self.layout, target, form=form, part=part, resolution=resolution
        )
        return list(files)

    def all(self, *, force: bool = False) -> Path:
        """Do all stages that are not up to date; returns the report's path.

        Files that are missing, and recipes and weights that cannot be trained, are found before anything runs,
        labels that cannot be used before the training.
        """
        if self.processes.nodes > 1:
            raise ConfigError("several machines train together in `pretrain`; run the other stages on one of them.")
        self.ledger.key(STAGES[-1])
        if force or not self.ledger.status("pretrain").up_to_date:
            import_module("mmgr.actions.foresight").check(self.config)
        for stage in self.stages:
            if force or not self.ledger.status(stage).up_to_date:
                self.ledger.stages[stage].check_replaced()
        with exclusive(self.layout.folder):
            for stage in self.stages:
                if stage == "pretrain" and (force or not self.ledger.status(stage).up_to_date):
                    import_module("mmgr.actions.evaluate").check(self.config, self.layout)
                self._do(stage, force=force)
        return self.layout.report

    def do(self, stage: str, *, force: bool = False) -> None:
        """Do one stage by its name, unless it is up to date.

        Raises
        ------
        ArtefactError
            If a stage before it is not up to date.
        BusyError
            If another process writes to the output folder.
        """
        if stage == "pretrain" and not self.processes.leads:
            self._take_part(force=force)
            return
        with exclusive(self.layout.folder):
            self._do(stage, force=force)

    def plan(self) -> list[Status]:
        """Say for each stage whether it would run, and why; nothing is written.

        Raises
        ------
        StorageError
            If one would run, and the output folder cannot be made or written.
        """
        statuses: dict[str, Status] = {}
        for name in self.stages:
            status = self.ledger.status(name)
            waits = [earlier for earlier in self.ledger.stages[name].after if not statuses[earlier].up_to_date]
            if waits and status.up_to_date:
                status = Status(name, up_to_date=False, reason=f"`{waits[0]}` runs before it")
            statuses[name] = status
        # results that are up to date may lie where nobody writes any more
        if not all(status.up_to_date for status in statuses.values()):
            check_place(self.layout.folder)
        return list(statuses.values())

    @property
    def set_aside(self) -> list[dict[str, str]]:
        """Images that could not be read: ``path`` and ``reason``."""
        return list(read_json(self.layout.set_aside)) if self.layout.set_aside.is_file() else []

    def _ledger(self) -> Ledger:
        return Ledger(self.layout.folder, {stage.name: stage for stage in _stages(self.config, self.layout)})

    def _do(self, name: str, *, force: bool) -> None:
        stage = self.ledger.stages[name]
        self.ledger.require(name, config=self.name)
        if not force and self.ledger.status(name).up_to_date:
            log.info("%-10s  up to date", name)
            return
        stage.check_replaced()
        for path in stage.unfinished if force else ():
            remove_tree(path)
        log.info("%-10s  %s", name, stage.title)
        with explained_writes(self.layout.folder), self.ledger.recorded(name) as record:
            write_text(self.layout.config, dump_config(self.config))
            options = {}
            if name == "pretrain":
                options = {"processes": self.processes}
                record["processes"] = self.processes.total
            import_module(f"mmgr.actions.{name}").act(self.config, self.layout, **options)
        log.info("%-10s  done in %.1f s", name, record["seconds"])

    def _take_part(self, *, force: bool) -> None:
        """Train for the first machine, which holds the folder and writes."""
        self.ledger.require("pretrain", config=self.name)
        if not force and self.ledger.status("pretrain").up_to_date:
            log.info("%-10s  up to date", "pretrain")
            return
        log.info("%-10s  takes part as machine %d of %d", "pretrain", self.processes.node, self.processes.nodes)
        import_module("mmgr.actions.pretrain").act(self.config, self.layout, processes=self.processes)


def _fine_tuned(config: Config, layout: Layout) -> dict[str, str]:
    """Return a hash of what each task was fine-tuned with, by its name; tasks that were not are left out."""
    paths = {task.name: layout.finetune / task.name / "run.json" for task in config.tasks}
    return {name: settings_hash(read_json(path)) for name, path in paths.items() if path.is_file()}


def _stages(config: Config, layout: Layout) -> Iterator[Stage]:
    """Yield each stage with what its result depends on and what it leaves."""
    shown = config.model_dump(mode="json")
    yield Stage(
        name="build",
        title="cut patches and join them with POIs" if config.images else "join regions with POIs",
        after=(),
        settings={key: shown[key] for key in ("images", "regions", "pois")},
        inputs=config.build_inputs,
        outputs=(layout.regions, layout.set_aside),
        unfinished=(layout.unfinished_regions,),
        replaced={
            layout.regions: ("_versions", "_transactions"),
            # a user may have a table `pois.parquet`, too
            layout.pois: ("taxonomy.json", "poi_sources.json", "poi_units.parquet", "neighbours.json"),
        },
    )
    yield Stage(
        name="categories",
        title="learn the vectors of POI categories",
        after=("build",),
        settings={"categories": shown["categories"], "seed": config.seed},
        inputs={"categories.model": config.categories.model} if config.categories.model else {},
        outputs=(layout.categories,),
        replaced={layout.categories: ("taxonomy.json", "neighbours.json", "vectors.safetensors")},
    )
    files = {f"pretrain.{key}": getattr(config.pretrain, key) for key in ("bundle", "weights", "poi_text")}
    yield Stage(
        name="pretrain",
        title="train the encoders without labels",
        after=("build", "categories"),
        # what watches the training decides nothing of its result
        settings={
            "pretrain": {key: value for key, value in shown["pretrain"].items() if key not in _WATCHERS},
            "seed": config.seed,
        },
        inputs={name: path for name, path in files.items() if isinstance(path, Path)},
        outputs=(layout.bundle,) if config.images else (),
        unfinished=(layout.pretrain,),
        replaced={
            layout.pretrain: ("run.json", "checkpoints", "monitor.csv"),
            layout.bundle: ("manifest.json", "taxonomy.json"),
        },
    )
    yield Stage(
        name="embed",
        title="compute one vector per region",
        after=("build", "pretrain"),
        settings={"seed": config.seed, "embed": shown["embed"]},
        inputs={},
        outputs=(layout.embeddings,),
        replaced={layout.embeddings: tuple(f"{part}.parquet" for part in ("embeddings", "image", "poi", "random"))},
    )
    yield from _stages_on_labels(config, layout)


def _stages_on_labels(config: Config, layout: Layout) -> Iterator[Stage]:
    """Yield the stages that come after the embeddings."""
    shown = config.model_dump(mode="json")
    yield Stage(
        name="evaluate",
        title="score the vectors beside baselines",
        after=("build", "embed"),
        settings={"tasks": shown["tasks"], "evaluate": shown["evaluate"], "seed": config.seed},
        inputs={f"tasks.{task.name}.path": task.path for task in config.tasks},
        outputs=(layout.evaluation,),
        replaced={layout.evaluation: ("scores.json", "coverage.json", "audit.json")},
    )
    if config.finetune is not None:
        chosen = config.finetune.tasks or tuple(task.name for task in config.tasks)
        yield Stage(
            name="finetune",
            title="fine-tune the image encoder on labels",
            after=("build", "pretrain", "embed"),
            settings={key: shown[key] for key in ("finetune", "tasks", "evaluate", "seed")},
            inputs={f"tasks.{task.name}.path": task.path for task in config.tasks if task.name in chosen},
            outputs=(layout.finetune,),
            unfinished=(layout.finetune / "unfinished", *(layout.finetune / name for name in chosen)),
            replaced={layout.finetune / name: ("run.json", "scores.json", "audit.json") for name in chosen},
        )
    yield Stage(
        name="map",
        title="draw the predictions and the embeddings",
        after=("build", "embed", "evaluate"),
        settings={},
        inputs={},
        outputs=(layout.maps,),
        replaced={layout.maps: ("embeddings.png", "embeddings.parquet")},
    )
    yield Stage(
        name="report",
        title="write the report",
        after=STAGES[:-1] if config.finetune is None else (*STAGES[:-1], OPTIONAL),
        settings={
            **{key: shown[key] for key in ("name", "notes", "attribution")},
            # what `mmgr finetune` did without a section of its own is shown, too
            "finetune": _fine_tuned(config, layout) if config.finetune is None else {},
        },
        inputs={},
        outputs=(layout.report,),
    )
