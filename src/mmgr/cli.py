"""The command line: parse, call, print."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mmgr.cli_bench import bench
from mmgr.console import console, log, show_log
from mmgr.errors import ConfigError, MmgrError
from mmgr.files import is_no_room

if TYPE_CHECKING:
    from mmgr.run import Run

EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_SET_ASIDE, EXIT_NAMED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Maps of how a city works, learned without labels from very-high-resolution images and POIs.",
    epilog="Exit codes: 0 done, 2 bad input (one message says what to do), 3 done but some images were set aside, "
    "4 an audit named a leak.",
)

ConfigPath = Annotated[
    Path, typer.Argument(metavar="CITY.YAML", help="The run's configuration; `mmgr init` writes one.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would run and why; write nothing.")]
Devices = Annotated[
    int, typer.Option("--devices", min=1, help="Processes that train together: a GPU each, or a part of the cores.")
]
Nodes = Annotated[
    int,
    typer.Option("--nodes", min=1, help="Machines that do; each gets this command, MASTER_ADDR and NODE_RANK."),
]
Force = Annotated[bool, typer.Option("--force", help="Run even if everything is up to date.")]


def _show_version(asked: bool) -> None:  # noqa: FBT001 - as Typer calls it
    if asked:
        typer.echo(f"mmgr {version_of('mmgr')}")
        raise typer.Exit


@app.callback()
def options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; may stand anywhere.")] = False,  # noqa: ARG001 - read in main
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors and results only.")] = False,
    version: Annotated[  # noqa: ARG001 - done where it is read
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Set up what all commands share."""
    if not quiet:
        show_log()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", help="Folder for the results.")] = Path("mmgr-demo"),
    *,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Do the main job on the real sample that ships with the package (a few minutes)."""
    from mmgr.demo import prepare_demo  # noqa: PLC0415 - each command imports what it needs

    _do(prepare_demo(folder), "run", dry_run=dry_run, force=force)


@app.command("init")
def init_command(
    images: Annotated[
        Path | None, typer.Option("--images", help="GeoTIFF, COG or VRT, or a folder of them; optional with POIs.")
    ] = None,
    pois: Annotated[
        Path | None, typer.Option("--pois", help="Points with a category, or polygons with counts.")
    ] = None,
    labels: Annotated[
        list[Path] | None, typer.Option("--labels", help="Polygons, rasters or points to map; may be repeated.")
    ] = None,
    config: Annotated[Path, typer.Option("--config", help="Where to write the configuration.")] = Path("city.yaml"),
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a configuration that is there.")] = False,
) -> None:
    """Look at your files and write a commented city.yaml."""
    from mmgr.propose import init  # noqa: PLC0415

    init(images=images, pois=pois, labels=labels or [], path=config, force=force)
    typer.echo(config.read_text(encoding="utf-8"))
    typer.echo(f"Wrote {config}. Look it through, then: mmgr run {config}")


def _add_stage(name: str, what: str) -> None:
    """Add the command of one stage, or of all."""

    def stage(config: ConfigPath, *, dry_run: DryRun = False, force: Force = False) -> None:
        _do(config, name, dry_run=dry_run, force=force)

    def run(config: ConfigPath, *, devices: Devices = 1, dry_run: DryRun = False, force: Force = False) -> None:
        _do(config, name, dry_run=dry_run, force=force, devices=devices)

    def pretrain(
        config: ConfigPath, *, devices: Devices = 1, nodes: Nodes = 1, dry_run: DryRun = False, force: Force = False
    ) -> None:
        _do(config, name, dry_run=dry_run, force=force, devices=devices, nodes=nodes)

    app.command(name, help=what)({"run": run, "pretrain": pretrain}.get(name, stage))


for _name, _what in {
    "run": "Do all stages that are not up to date.",
    "build": "Cut patches and join them with POIs in a region store.",
    "categories": "Learn the vectors of POI categories.",
    "pretrain": "Train the encoders without labels; goes on from the last checkpoint after a kill.",
    "embed": "Compute one vector per region.",
    "evaluate": "Score the vectors beside baselines, on the same spatial folds.",
    "map": "Draw the predictions and the embeddings.",
    "report": "Write one self-contained HTML page.",
}.items():
    _add_stage(_name, _what)


@app.command("finetune")
def finetune_command(
    config: ConfigPath,
    task: Annotated[str | None, typer.Option("--task", help="One task; all by default.")] = None,
    blocks: Annotated[
        int | None, typer.Option("--blocks", min=1, help="How many of the encoder's last blocks; by default all.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", min=1, help="At most as many.")] = None,
    *,
    dry_run: DryRun = False,
    force: Force = False,
) -> None:
    """Train the image encoder on labels, and score it beside the probes, on their folds."""
    from mmgr.run import Run  # noqa: PLC0415

    run = Run(config)
    if dry_run:
        _print_plan(run.with_finetune(task=task, blocks=blocks, epochs=epochs), "finetune")
        return
    typer.echo(run.finetune(task=task, blocks=blocks, epochs=epochs, force=force).to_text())


@app.command("benchmark")
def benchmark_command(
    config: ConfigPath,
    rows: Annotated[
        list[str] | None,
        typer.Option("--rows", help="Rows to make, by commas or repeated; `module:NAME` is one of your own."),
    ] = None,
    skip: Annotated[list[str] | None, typer.Option("--skip", help="Rows to leave out.")] = None,
    probe: Annotated[
        Literal["ridge", "logistic", "softmax", "mlp", "forest", "boosting", "knn", "kernel"],
        typer.Option("--probe", help="The small model of all rows."),
    ] = "ridge",
    *,
    force: Force = False,
) -> None:
    """Score other methods beside ours: same regions, same folds, same probe; goes on after a kill."""
    from mmgr.benchmark.table import to_markdown  # noqa: PLC0415
    from mmgr.run import Run  # noqa: PLC0415

    run = Run(config)
    words = {name: [w.strip() for v in given or () for w in v.split(",")] for name, given in (("r", rows), ("s", skip))}
    found = run.benchmark(rows=words["r"], skip=words["s"], probe=probe, force=force)
    typer.echo(to_markdown(found))
    typer.echo(f"Wrote {run.layout.benchmark}")


@app.command("export")
def export_command(
    config: ConfigPath,
    form: Annotated[
        Literal["geotiff", "parquet", "csv"],
        typer.Option("--format", help="geotiff: a band a dimension, a file a group; or one table with ids."),
    ] = "geotiff",
    part: Annotated[
        Literal["embeddings", "image", "poi", "random"], typer.Option("--part", help="Which vectors.")
    ] = "embeddings",
    folder: Annotated[
        Path | None, typer.Option("--output", file_okay=False, help="Folder to write to; by default output/export.")
    ] = None,
    resolution: Annotated[
        float | None, typer.Option("--resolution", help="Metres of a cell, for a geotiff of regions that form no grid.")
    ] = None,
) -> None:
    """Write the vectors as images or a table that other people's evaluators read."""
    from mmgr.run import Run  # noqa: PLC0415

    for path in Run(config).export(folder, form=form, part=part, resolution=resolution):
        typer.echo(str(path))


@app.command(
    "audit", epilog="Exit codes: 0 every path passes or has a note only, 4 at least one is named, 2 bad input."
)
def audit_command(
    config: Annotated[
        Path | None, typer.Argument(metavar="[CITY.YAML]", help="Audit this run's splits; it must have been built.")
    ] = None,
    splits: Annotated[
        Path | None,
        typer.Option(
            "--splits", dir_okay=False, help="Audit anybody's: CSV, JSON, GeoJSON, GeoPackage or (Geo)Parquet."
        ),
    ] = None,
    geometry: Annotated[
        Path | None, typer.Option("--geometry", dir_okay=False, help="File with the outline or place of each id.")
    ] = None,
    fold: Annotated[str | None, typer.Option("--fold", help="Column of train/val/test or of fold numbers.")] = None,
    name: Annotated[str | None, typer.Option("--id", help="Column that names each unit.")] = None,
    x: Annotated[str | None, typer.Option("--x", help="Column of the longitude or easting.")] = None,
    y: Annotated[str | None, typer.Option("--y", help="Column of the latitude or northing.")] = None,
    crs: Annotated[str | None, typer.Option("--crs", help="CRS of these columns; degrees by default.")] = None,
    label: Annotated[str | None, typer.Option("--label", help="Column of the label, for its variogram.")] = None,
    window: Annotated[
        float | None, typer.Option("--window", help="Metres of an image's edge, where places are points.")
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print all findings with their numbers as JSON.")] = False,
) -> None:
    """Name each path by which a test place may have leaked into training: of a run, or of a file of splits."""
    if (config is None) == (splits is None):
        raise ConfigError("`mmgr audit` takes either a configuration or `--splits FILE`.")
    if splits is None:
        from mmgr.run import Run  # noqa: PLC0415

        found = Run(str(config)).audit()
    else:
        from mmgr.evaluate.audit import Columns, audit_split, read_split  # noqa: PLC0415

        columns = Columns(id=name, fold=fold, x=x, y=y, label=label, crs=crs)
        found = audit_split(read_split(splits, geometry=geometry, columns=columns), window=window)
    typer.echo(json.dumps(found.to_json(), indent=2, ensure_ascii=False) if as_json else found.to_text())
    if found.named:
        raise typer.Exit(EXIT_NAMED)


@app.command("import-reference")
def import_reference_command(
    folder: Annotated[Path, typer.Argument(help="Holds folders of PNGs, POI vectors and edges (.tensor).")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", file_okay=False, help="Folder of the run; gets city.yaml. By default <folder>-mmgr here."
        ),
    ] = None,
    geometry: Annotated[
        Path | None,
        typer.Option("--geometry", dir_okay=False, help="Polygons of the regions; without, they have no place."),
    ] = None,
    id_column: Annotated[str | None, typer.Option("--id", help="Column of the PNGs' names without .png.")] = None,
    *,
    force: Annotated[bool, typer.Option("--force", help="Replace a city.yaml that is there.")] = False,
) -> None:
    """Turn samples of the published research code into a region store and category vectors."""
    from mmgr.reference.city import import_reference  # noqa: PLC0415

    if output is None:
        output = _own_folder(f"{folder.resolve().name}-mmgr", force=force)
    import_reference(folder, output, geometry=geometry, id_column=id_column, force=force)
    config = output / "city.yaml"
    typer.echo(f"Wrote {config}. Look it through, then: mmgr pretrain {config} && mmgr embed {config}")


@app.command("import-checkpoint")
def import_checkpoint_command(
    file: Annotated[Path, typer.Argument(help="State dict of an image encoder: torch.save or safetensors.")],
    output: Annotated[
        Path | None,
        typer.Option("--output", file_okay=False, help="Folder of the bundle; by default <file>-bundle here."),
    ] = None,
    encoder: Annotated[
        str | None, typer.Option("--encoder", help="The timm model; by default the ResNet that the shapes tell.")
    ] = None,
    crop: Annotated[
        int, typer.Option("--crop", min=16, max=1024, help="Edge in pixels of what the encoder sees.")
    ] = 224,
) -> None:
    """Turn a ResNet of the research code, or of torchvision, into a bundle that `pretrain.bundle` names."""
    from mmgr.reference.checkpoint import import_checkpoint  # noqa: PLC0415

    if output is None:
        output = _own_folder(f"{file.stem}-bundle")
    import_checkpoint(file, output, encoder=encoder, crop=crop)
    typer.echo(f"Wrote {output}. To use it instead of a training, set `bundle: {output}` under `pretrain`.")


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A region store, bundle, embeddings, categories or output folder.")],
) -> None:
    """Describe an artefact in a few lines."""
    from mmgr.info import describe  # noqa: PLC0415

    facts = describe(path)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        typer.echo(f"{name:<{width}}  {value}")


@app.command()
def synth(
    folder: Annotated[Path, typer.Argument(help="A new folder for images, POIs, labels, city.yaml and the truth.")],
    regions: Annotated[int, typer.Option("--regions", help="Regions of all cities together.")],
    cities: Annotated[int, typer.Option("--cities", help="Cities that share them.")] = 1,
    layout: Annotated[
        str, typer.Option("--layout", help="contiguous: mosaics; scattered: one image for each place.")
    ] = "contiguous",
    pixels: Annotated[int, typer.Option("--pixels", help="Edge of a region in pixels, a multiple of 16.")] = 128,
    metres_per_pixel: Annotated[float, typer.Option("--metres-per-pixel", help="Edge of a pixel.")] = 1.0,
    dates: Annotated[int, typer.Option("--dates", help="Images of each place, of further seasons and suns.")] = 1,
    noise: Annotated[
        float, typer.Option("--noise", help="Of the labels, in parts of their signal: R2 is at most 1/(1 + noise^2).")
    ] = 0.3,
    dirt: Annotated[
        float, typer.Option("--dirt", help="Part of the POIs that is double, unnamed, and (a tenth of it) far away.")
    ] = 0.0,
    vectors: Annotated[
        str, typer.Option("--vectors", help="Format of points and polygons: geojson, or parquet for many.")
    ] = "geojson",
    seed: Annotated[int, typer.Option("--seed", help="Of everything; one seed gives one city.")] = 0,
) -> None:
    """Make a city of which the truth is known, as the files that a user has."""
    from mmgr.synth import Dirt, Settings, write_city  # noqa: PLC0415

    settings = Settings(
        regions=regions,
        cities=cities,
        layout=layout,
        pixels=pixels,
        metres_per_pixel=metres_per_pixel,
        dates=dates,
        noise=noise,
        dirt=Dirt(duplicates=dirt, outside=dirt / 10, unnamed=dirt),
        seed=seed,
    )
    made = write_city(folder, settings, vectors=vectors)
    typer.echo(f"Made {len(made.truth):,} regions of {settings.edge:g} m in {folder}; what is true: truth.parquet")
    best = ", ".join(f"{name} {value:.3f}" for name, value in made.ceilings().items())
    shares = ", ".join(f"{name} {value:.3f}" for name, value in made.function_at_best().items())
    typer.echo(f"R2 at best: {best}; of the shares together {shares}")
    typer.echo(f"Next: mmgr run {folder / 'city.yaml'}")


app.add_typer(bench, name="bench", help="Measure what a stage costs on this machine, on made inputs.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; a user's mistake ends in one message, not in a traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    try:
        app([word for word in words if word != "--debug"], prog_name="mmgr")
    except MmgrError as error:
        _fail(str(error), EXIT_BAD_INPUT, debug=debug)
    except (KeyboardInterrupt, SystemExit) as stop:
        # Typer makes an exit of a Ctrl-C, without a word
        if isinstance(stop, SystemExit) and stop.code != EXIT_INTERRUPTED:
            raise
        _fail("interrupted; the same command goes on from here.", EXIT_INTERRUPTED, debug=debug)
    except Exception as error:  # noqa: BLE001 - the last line before the user
        if is_no_room(error):
            _fail(f"no room left on the disk: {error}", EXIT_BAD_INPUT, debug=debug)
        what = f"{type(error).__name__}: {error}"
        _fail(f"unexpected {what}\nThis is a fault of MMGR: --debug shows where.", EXIT_UNEXPECTED, debug=debug)


def _fail(message: str, code: int, *, debug: bool) -> None:
    if debug:
        traceback.print_exc()
    console.print(f"error: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


def _own_folder(name: str, *, force: bool = False) -> Path:
    """Return a folder that nobody named, in the current one; what lies in it is not to be lost or mixed up."""
    path = Path(name)
    if not force and path.is_dir() and any(path.iterdir()):
        raise ConfigError(f"{path} is there already, and not empty; name a folder: `--output`.")
    return path


def _do(config: Path, verb: str, *, dry_run: bool, force: bool, devices: int = 1, nodes: int = 1) -> None:
    """Do one stage or all, and say what was written."""
    from mmgr.processes import Processes  # noqa: PLC0415
    from mmgr.run import Run  # noqa: PLC0415

    run = Run(config, processes=Processes.here(devices, nodes))
    if dry_run:
        _print_plan(run, verb)
        return
    if verb == "run":
        run.all(force=force)
    else:
        run.do(verb, force=force)
    if verb in {"run", "evaluate"}:
        _print_scores(run)
    if verb == "run":
        for note in run.config.notes:
            typer.echo(f"note: {note}")
    if verb in {"run", "report"}:
        _print_paths(run)
    if verb in {"run", "build"} and run.set_aside:
        count = len(run.set_aside)
        log.warning("%d image%s set aside: %s", count, " was" if count == 1 else "s were", run.layout.set_aside)
        raise typer.Exit(EXIT_SET_ASIDE)


def _print_plan(run: Run, verb: str) -> None:
    for status in run.plan():
        if verb in {"run", status.stage}:
            typer.echo(f"{status.stage:<10}  {'up to date' if status.up_to_date else 'would run'}  ({status.reason})")


def _print_scores(run: Run) -> None:
    path = run.layout.evaluation / "summary.txt"
    if path.is_file():
        typer.echo(path.read_text(encoding="utf-8"))


def _print_paths(run: Run) -> None:
    layout = run.layout
    written = [
        ("report", layout.report),
        ("embeddings", layout.embeddings / "embeddings.parquet"),
        ("predictions", layout.evaluation / "predictions.parquet"),
        ("maps", layout.maps),
        ("model", layout.bundle),
        ("regions", layout.regions),
    ]
    for name, path in written:
        if path.exists():
            typer.echo(f"{name:<12}{path}")
