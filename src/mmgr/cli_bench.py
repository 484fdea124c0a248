"""The commands that measure: parse, call, print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmgr.files import write_json

bench = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Json = Annotated[Path | None, typer.Option("--json", dir_okay=False, help="File to write all that was measured to.")]
Encoder = Annotated[str, typer.Option("--encoder", help="Any timm model.")]
Crop = Annotated[int, typer.Option("--crop", min=16, help="Edge of a view in pixels.")]
Pixels = Annotated[int, typer.Option("--pixels", help="Edge of a stored patch, 16 to 256.")]
Rounds = Annotated[int, typer.Option("--rounds", min=1, help="Turns; results are medians over them.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]


@bench.command("categories")
def categories_command(
    pois: Annotated[int, typer.Option("--pois", help="POIs of the made city.")],
    categories: Annotated[int, typer.Option("--categories", help="Categories of its POIs.")] = 200,
    seed: Annotated[int, typer.Option("--seed", help="Of the city, the walks and the vectors.")] = 0,
    json: Json = None,
) -> None:
    """Learn category vectors end to end: graph, walks with co-occurrence, fit."""
    from mmgr.bench import bench_categories  # noqa: PLC0415 - each command imports what it needs

    _print_measurements(bench_categories(pois, categories=categories, seed=seed), json)


@bench.command("build")
def build_command(
    edge: Annotated[int, typer.Option("--edge", help="Patches along the edge of the made mosaics.")] = 24,
    pixels: Pixels = 256,
    rounds: Rounds = 5,
    json: Json = None,
) -> None:
    """Cut patches of tiled and of striped mosaics, beside plain reads of the same windows."""
    from mmgr.bench.build import bench_build  # noqa: PLC0415

    _print_measurements(bench_build(edge=edge, pixels=pixels, rounds=rounds), json)


@bench.command("pretrain")
def pretrain_command(
    encoder: Encoder = "resnet50",
    crop: Crop = 224,
    batch: Annotated[int, typer.Option("--batch", min=2, help="Regions a step.")] = 32,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of a round that are timed.")] = 4,
    rounds: Rounds = 3,
    pixels: Pixels = 256,
    device: Device = "auto",
    *,
    compile_encoder: Annotated[bool, typer.Option("--compile", help="Compile the image encoder.")] = False,
    reference_steps: Annotated[
        int, typer.Option("--reference-steps", min=0, help="The same, of the published way; 0 leaves it out.")
    ] = 1,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Processes that make its views.")] = 6,
    json: Json = None,
) -> None:
    """Train on real patches, beside the bare step on random tensors, the reader alone and the published way."""
    from mmgr.bench.pretrain import bench_pretrain  # noqa: PLC0415

    measured = bench_pretrain(
        encoder=encoder,
        crop=crop,
        batch=batch,
        steps=steps,
        rounds=rounds,
        pixels=pixels,
        device=device,
        compile_encoder=compile_encoder,
        reference_steps=reference_steps,
        workers=workers,
    )
    _print_measurements(measured, json)


@bench.command("embed")
def embed_command(
    encoder: Encoder = "resnet50",
    crop: Crop = 224,
    regions: Annotated[
        int, typer.Option("--regions", min=2, help="Regions that are embedded in each turn; for a GPU some thousands.")
    ] = 192,
    rounds: Rounds = 3,
    pixels: Pixels = 256,
    device: Device = "auto",
    json: Json = None,
) -> None:
    """Embed real patches, beside the bare forward pass on random tensors, and in 8 bits (extra `onnx`)."""
    from mmgr.bench.embed import bench_embed  # noqa: PLC0415

    measured = bench_embed(encoder=encoder, crop=crop, regions=regions, rounds=rounds, pixels=pixels, device=device)
    _print_measurements(measured, json)


def _print_measurements(measured: dict[str, Any], path: Path | None) -> None:
    """Print the numbers, and write all that was measured if a file is named."""
    numbers = {name.replace("_", " "): value for name, value in measured.items() if isinstance(value, int | float)}
    width = max(map(len, numbers))
    for name, value in numbers.items():
        typer.echo(f"{name:<{width}}  {value:>16,}")
    if path is not None:
        write_json(path, measured)
