"""Samples as the research code keeps them: a PNG, a tensor of POI vectors and one of edges for each region."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from mmgr.console import track
from mmgr.errors import ArtefactError, InputError
from mmgr.files import nearest_files
from mmgr.learn.plain import read_plain

_SHOWN = 20
_COLOURS = {"RGB", "RGBA", "P", "L", "LA"}
"""Modes of 8 bits that become red, green and blue without a choice."""


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of ``n`` regions, sorted by name."""

    names: tuple[str, ...]
    """The files' name without its ending: the region's id."""
    images: tuple[Path, ...]
    vectors: tuple[NDArray[np.float32], ...]
    """One vector a POI, shape ``(POIs, d)`` each; empty where the samples have no POIs."""


def read_samples(images: Path, vectors: Path | None = None, edges: Path | None = None) -> Samples:
    """Read and check all samples; nothing in a file of tensors is run.

    The edges are checked, since they tell of torn files, and left behind: a region's POIs are a set here, as
    they are for the research code's own POI encoder.

    Parameters
    ----------
    images
        Folder of square PNGs of 8 bits.
    vectors
        Folder of tensors of the same names, shape ``(POIs, d)``.
    edges
        Folder of tensors of the same names, shape ``(2, edges)``, whole numbers of POIs.

    Raises
    ------
    InputError
        Names each file that is missing, torn, of a wrong shape or wants to run code; or if no region has a POI.
    """
    faults: list[str] = []
    pictures = _files(images, ".png", "images", faults)
    for path in track(pictures.values(), "checking images"):
        _check_image(path, faults)
    tensors = {} if vectors is None else _files(vectors, ".tensor", "POI vectors", faults)
    links = {} if edges is None else _files(edges, ".tensor", "edges", faults)
    for folder, found in ((vectors, tensors), (edges, links)):
        if folder is not None:
            here, there = pictures.keys(), found.keys()
            faults += [f"{folder / name}.tensor is missing beside {pictures[name]}" for name in here - there]
            faults += [f"{images / name}.png is missing beside {found[name]}" for name in there - here]
    names = [name for name in pictures if name in tensors]
    points = {name: _vectors(tensors[name], faults) for name in track(names, "checking POIs")}
    whole = {name: values for name, values in points.items() if values is not None}
    for name in links.keys() & pictures.keys():
        _check_edges(links[name], len(whole[name]) if name in whole else None, faults)
    _check_dimensions(whole, tensors, faults)
    if vectors is not None and not faults and not any(map(len, whole.values())):
        raise InputError(
            f"no region has a POI: all {len(whole)} tensors in {vectors} are empty. Look how they were written; to "
            "import the images alone, move this folder and that of the edges elsewhere, or leave out `pois`."
        )
    if faults:
        shown = "\n".join(f"  {fault}" for fault in sorted(faults)[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(f"{images.parent} holds samples that cannot be used, {len(faults)} faults:\n{shown}{more}")
    return Samples(tuple(pictures), tuple(pictures.values()), tuple(whole.values()))


def read_image(path: Path, pixels: int) -> NDArray[np.uint8]:
    """Read an image of a sample as red, green and blue, shape ``(pixels, pixels, 3)``, resized if it has another edge.

    Raises
    ------
    InputError
        If it is torn.
    """
    try:
        with Image.open(path) as image:
            colours = image.convert("RGB")
    except OSError as error:
        raise InputError(f"{path} is torn: {error}") from error
    if colours.size != (pixels, pixels):
        colours = colours.resize((pixels, pixels), Image.Resampling.BILINEAR)
    return np.asarray(colours, np.uint8)


def files_in(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without hidden files, such as macOS leaves beside each (`._a.png`)."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _files(folder: Path, ending: str, what: str, faults: list[str]) -> dict[str, Path]:
    """Return the files of an ending by their names without it, sorted."""
    if not folder.is_dir():
        raise InputError(f"{what}: {folder} is no folder. {nearest_files(folder)}".strip())
    found: dict[str, Path] = {}
    for path in files_in(folder):
        if path.suffix.lower() != ending:
            continue
        if path.stem in found:
            faults.append(f"{path} has the name of {found[path.stem].name} but for the ending; rename or remove one")
        found.setdefault(path.stem, path)
    if not found:
        raise InputError(f"{what}: {folder} holds no file that ends in {ending}.")
    return found


def _check_image(path: Path, faults: list[str]) -> None:
    try:
        with Image.open(path) as image:
            width, height, mode = *image.size, image.mode
            image.verify()
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        faults.append(f"{path} is no PNG that can be read: {error}")
        return
    if mode not in _COLOURS:
        faults.append(f"{path} has pixels of mode {mode}; 8 bits a band are needed")
    if width != height:
        faults.append(f"{path} has {width} x {height} pixels; regions are square here")


def _vectors(path: Path, faults: list[str]) -> NDArray[np.float32] | None:
    """Read the vectors of a region's POIs; None where there is a fault."""
    tensor = _tensor(path, faults)
    if tensor is None:
        return None
    if not tensor.numel():
        return np.zeros((0, 0), np.float32)
    if tensor.ndim != 2 or tensor.is_complex():
        faults.append(f"{path} has shape {tuple(tensor.shape)}; one vector a POI is needed, shape (POIs, dimensions)")
        return None
    values = np.asarray(tensor.float().numpy(), np.float32)
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        faults.append(f"{path}: the vector of POI {int(finite.argmin())}, counted from 0, is not finite")
        return None
    return values


def _check_edges(path: Path, points: int | None, faults: list[str]) -> None:
    tensor = _tensor(path, faults)
    if tensor is None:
        return
    if tensor.ndim != 2 or tensor.shape[0] != 2:
        if tensor.numel():  # a region without edges may have a tensor of any shape
            faults.append(f"{path} has shape {tuple(tensor.shape)}; pairs of POIs are needed, shape (2, edges)")
        return
    if tensor.is_complex():
        faults.append(f"{path} holds complex numbers; edges are whole numbers of POIs")
        return
    odd = tensor[tensor != tensor.floor()] if tensor.is_floating_point() else tensor[:0]  # of NaN, too
    if odd.numel():
        faults.append(f"{path} names POI {odd[0].item():g}; edges are whole numbers of POIs, counted from 0")
        return
    outside = tensor[(tensor < 0) | (tensor >= points)] if points is not None else tensor[:0]
    if outside.numel():
        faults.append(f"{path} names POI {int(outside.max())}, and the region has {points}, counted from 0")


def _tensor(path: Path, faults: list[str]) -> torch.Tensor | None:
    try:
        value = read_plain(path)
    except ArtefactError as error:
        faults.append(str(error))
        return None
    if not isinstance(value, torch.Tensor):
        faults.append(f"{path} holds no tensor but a {type(value).__name__}")
        return None
    if value.layout != torch.strided or value.is_quantized or value.is_meta:
        kind = "sparse" if value.layout != torch.strided else "quantised" if value.is_quantized else "without values"
        faults.append(f"{path} holds a tensor that is {kind}; save a plain one, as of `to_dense()` or `dequantize()`")
        return None
    return value.detach()


def _check_dimensions(points: dict[str, NDArray[np.float32]], tensors: dict[str, Path], faults: list[str]) -> None:
    """Find the files whose vectors have another length than most have."""
    lengths = {name: values.shape[1] for name, values in points.items() if values.shape[1]}
    if not lengths:
        return
    usual = _most_frequent(lengths.values())
    faults += [
        f"{tensors[name]} has vectors of {length} dimensions, most have {usual}"
        for name, length in lengths.items()
        if length != usual
    ]


def _most_frequent(values: Iterable[int]) -> int:
    found, counts = np.unique(list(values), return_counts=True)
    return int(found[counts.argmax()])
