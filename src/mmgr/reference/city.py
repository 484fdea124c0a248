"""A folder of the research code's samples becomes a run: a configuration, a region store, category vectors."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
import yaml
from PIL import Image, UnidentifiedImageError

from mmgr.console import log
from mmgr.errors import ArtefactError, ConfigError, InputError
from mmgr.files import write_aside, write_text
from mmgr.learn.plain import read_plain
from mmgr.reference.samples import files_in
from mmgr.run import Run

_HEAD = """\
# Written by `mmgr import-reference`. The samples stay where they are.
#
#   mmgr pretrain city.yaml && mmgr embed city.yaml
#
"""
_NO_PLACES = """\
# The samples do not say where they are: to score and map them, name polygons whose ids are the images' names as
# `path` and `id` under `regions`.
"""
_LOOKED_AT = 100
"""Tensors of a folder that are looked at to find one that tells."""


def import_reference(
    folder: Path, output: Path, *, geometry: Path | None = None, id_column: str | None = None, force: bool = False
) -> Run:
    """Write `city.yaml` for a folder of samples, and build the region store and category vectors that it names.

    Parameters
    ----------
    folder
        Holds a folder of PNGs, one of POI vectors and one of edges, as `.tensor` files of the same names. Without
        POI vectors, images alone are imported.
    output
        The run's folder.
    geometry, id_column
        Polygons of the regions, and the column that has the images' names without their ending.
    force
        Replace a configuration that is there; it is put back where the import fails.

    Raises
    ------
    InputError
        If there is no folder of PNGs; or names each sample that cannot be used.
    ConfigError
        If a configuration is there already.
    """
    path = output / "city.yaml"
    if path.exists() and not force:
        raise ConfigError(f"{path} is there already; `--force` replaces it, or name another `--output`.")
    if (geometry is None) != (id_column is None):
        raise ConfigError("`--geometry` and `--id` go together: the polygons, and the column with the images' names.")
    found = find_folders(folder)
    pixels = _usual_size(found["images"])
    regions = {"kind": "samples", "pixels": pixels}
    if geometry is not None:
        regions |= {"path": str(geometry.resolve()), "id": id_column}
    with_pois = "vectors" in found
    config = {
        "name": folder.resolve().name,
        "output": ".",
        "images": {"path": str(found.pop("images"))},
        "regions": regions,
        **({"pois": {key: str(value) for key, value in found.items()}} if with_pois else {}),
        "pretrain": {"recipe": "mmgr-2023" if with_pois else "simclr"},
    }
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True, width=100)
    before = path.read_bytes() if path.exists() else None
    write_text(path, _HEAD + (_NO_PLACES if geometry is None else "") + text)
    try:
        run = Run(path)
        run.build()
        run.categories()
    except BaseException:  # an interruption, too, leaves what was there
        _put_back(path, before)
        raise
    return run


def _put_back(path: Path, content: bytes | None) -> None:
    """Give a file the content that it had; None where it was not there."""
    if content is None:
        path.unlink(missing_ok=True)
        return
    with write_aside(path) as aside:
        aside.write_bytes(content)


def find_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of images, POI vectors and edges below ``folder``; the last two may be missing.

    Tensors tell what they are: edges are whole numbers of shape ``(2, edges)``, vectors are not, but for those of two
    POIs, which may be whole numbers. Where most do not tell, since no region has an edge, the folder's name does, and
    where two folders seem to hold edges.

    Raises
    ------
    InputError
        If there is none of images, or several of one kind.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder.")
    kinds = _folders_by_kind(folder)
    for kind, paths in kinds.items():
        if len(paths) > 1:
            raise InputError(
                f"{folder} holds several folders of {kind}: {', '.join(path.name for path in paths)}. Keep one of each."
            )
    if not kinds["images"]:
        raise InputError(
            f"{folder} holds no folder of PNGs. It should have three: PNGs, a tensor of POI vectors for each, and a "
            "tensor of edges, of the same names (`a.png`, `a.tensor`, `a.tensor`)."
        )
    if kinds["edges"] and not kinds["vectors"]:
        raise InputError(f"{folder} holds edges in {kinds['edges'][0].name}, but no folder of POI vectors.")
    if not kinds["vectors"]:
        log.info("%s holds no POI vectors: images alone are imported", folder)
    return {kind: paths[0].resolve() for kind, paths in kinds.items() if paths}


def _folders_by_kind(folder: Path) -> dict[str, list[Path]]:
    """Return all folders of `images`, `vectors` and `edges`."""
    kinds: dict[str, list[Path]] = {"images": [], "vectors": [], "edges": []}
    for path in filter(Path.is_dir, files_in(folder)):
        endings = {file.suffix.lower() for file in files_in(path)}
        if ".png" in endings:
            kinds["images"].append(path)
        elif ".tensor" in endings and "weight" not in path.name.lower():  # weights of edges are not used
            kinds[_kind(path)].append(path)
    named = [path for path in kinds["edges"] if _is_named_edges(path)]
    if len(kinds["edges"]) == 2 and len(named) == 1 and not kinds["vectors"]:
        kinds["vectors"] = [path for path in kinds["edges"] if path not in named]
        kinds["edges"] = named
    return kinds


def _kind(folder: Path) -> str:
    """Say whether a folder of tensors has `edges` or `vectors`: what most of the tensors say that tell."""
    told: Counter[str] = Counter()
    for path in [path for path in files_in(folder) if path.suffix.lower() == ".tensor"][:_LOOKED_AT]:
        try:
            tensor = read_plain(path)
        except ArtefactError:
            continue  # named later, with all other faults
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 2 or not tensor.numel():
            continue
        if len(tensor) != 2:
            told["vectors"] += 1  # as many as the region has POIs
        elif not tensor.is_floating_point():
            told["edges"] += 1
    if told["edges"] == told["vectors"]:
        return "edges" if _is_named_edges(folder) else "vectors"
    return max(told, key=lambda kind: told[kind])


def _is_named_edges(folder: Path) -> bool:
    return "edge" in folder.name.lower()


def _usual_size(folder: Path) -> int:
    """Return the edge that most images have; those that cannot be read are named later, with all other faults."""
    sizes: Counter[int] = Counter()
    for path in files_in(folder):
        try:
            with Image.open(path) as image:
                sizes[image.width] += 1
        except (OSError, UnidentifiedImageError):
            continue
    return min(max(sizes.most_common(1)[0][0], 16), 2048) if sizes else 16
