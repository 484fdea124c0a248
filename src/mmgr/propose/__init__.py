"""Look at a user's files and write a commented configuration."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from pyproj import CRS

from mmgr.config import Config, load_config, parse_config
from mmgr.errors import ConfigError
from mmgr.files import check_place, write_text
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER
from mmgr.pois import check_overlap, known_shapes, read_pois, settle_outside
from mmgr.propose.columns import quoted
from mmgr.propose.images import ImageryFacts, images_section, look_at_images
from mmgr.propose.labels import task_entries
from mmgr.propose.pois import placed_pois_section
from mmgr.propose.regions import regions_over_pois
from mmgr.regions import make_regions_over

__all__ = ["init"]


def init(
    *,
    images: str | Path | None = None,
    pois: str | Path | None = None,
    labels: str | Path | Sequence[str | Path] = (),
    path: str | Path = "city.yaml",
    force: bool = False,
) -> Config:
    """Look at the files and write a commented configuration that `mmgr run` takes.

    Parameters
    ----------
    images
        A GeoTIFF, COG or VRT, or a folder of them; without, regions are a grid over the POIs.
    pois
        Points with a category, or polygons with counts; optional where there are images.
    labels
        Polygons, rasters, or points of classes, to map; none is fine.
    path
        Where the configuration goes; paths in it are relative to its folder.
    force
        Replace a configuration that is there.

    Returns
    -------
    The configuration, as read back from ``path``.

    Raises
    ------
    ConfigError
        If ``path`` is there already, or neither images nor POIs are given.
    InputError
        If a file is missing, empty, or of a form that cannot be used, or the POIs lie elsewhere.
    StorageError
        If the folder of ``path`` cannot be made or written.
    """
    path = Path(path)
    if images is None and pois is None:
        raise ConfigError("there is nothing to learn from: give images, POIs, or both (--images, --pois).")
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; remove it, choose another --config, or pass --force.")
    check_place(path.parent, instead="choose another --config")
    label_paths = [labels] if isinstance(labels, str | Path) else list(labels)
    facts = None if images is None else look_at_images(Path(images))
    name = path.resolve().parent.name
    lines = [
        "# Written by `mmgr init` from what the files say; look it through, then `mmgr run` it.",
        "# Paths are relative to this file.",
        f"name: {quoted(name)}",
        "output: output              # all results go here",
        "seed: 0",
        "",
    ]
    if images is not None and facts is not None:
        lines += [*images_section(facts, _shown(images, path)), ""]
    elif pois is not None:
        lines += [*regions_over_pois(Path(pois)), ""]
    if pois is not None:
        lines += [*placed_pois_section(Path(pois), _shown(pois, path)), ""]
    if facts is not None:
        lines += [*_pretrain_section(with_pois=pois is not None), ""]
    lines += _tasks_section([(Path(label), _shown(label, path)) for label in label_paths])
    text = "\n".join(lines) + "\n"
    if pois is not None:
        _check_pois(text, path, facts)
    write_text(path, text)
    return load_config(path)


def _check_pois(text: str, path: Path, facts: ImageryFacts | None) -> None:
    """Read the POIs as the run will, and see that they lie on the images, before anything is written."""
    config = parse_config(text, path)
    if config.pois is None:
        return
    if facts is None:
        crs = CRS.from_user_input(config.regions.crs)
        tables = read_pois(config.pois, crs=crs)
        settle_outside(tables, make_regions_over(known_shapes(tables), config.regions, crs), config.pois)
        return
    tables = read_pois(config.pois, crs=facts.crs)
    footprints = facts.imagery.footprints(facts.crs)
    check_overlap(tables, footprints)
    settle_outside(tables, footprints, config.pois)


def _tasks_section(labels: Sequence[tuple[Path, str]]) -> list[str]:
    """Write the lines of `tasks`, from each file of labels and the path that is shown."""
    if labels:
        return ["# What is to be mapped, from labels.", "tasks:", *task_entries(labels)]
    return [
        "# Without labels there are embeddings and their map, but no scores. For labels:",
        "# tasks:",
        "#   - {name: population, kind: polygon_total, path: census.gpkg, column: population}",
    ]


def _pretrain_section(*, with_pois: bool) -> list[str]:
    return [
        "pretrain:",
        "  recipe: mmgr              # contrasts views of an image, and images with POIs"
        if with_pois
        else "  recipe: simclr            # images alone: there are no POIs",
        f"  encoder: {SHIPPED_ENCODER}   # any timm model, such as resnet18",
        f"  weights: {SHIPPED}          # of ImageNet, with the package; or random; or pretrained: asks the timm hub",
        "  # epochs: 20",
    ]


def _shown(target: str | Path, config: Path) -> str:
    """Return a path as the configuration shows it: relative where it lies below, else absolute."""
    resolved = Path(target).resolve()
    folder = config.resolve().parent
    inside = resolved.is_relative_to(folder)
    return quoted(os.path.relpath(resolved, folder) if inside else str(resolved))
