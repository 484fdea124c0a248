"""Vectors of category names, by a sentence-transformers model that lies on this machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from sklearn.decomposition import PCA

from mmgr.console import log
from mmgr.errors import InputError
from mmgr.files import nearest_files
from mmgr.taxonomy import Taxonomy

_PICKLES = "pytorch_model*.bin"
"""Weights of the torch backend; a `.bin` under another name belongs to another one, such as OpenVINO's."""
_REMEDY = "Download the model's whole folder (again), or write it with SentenceTransformer.save."


def text_vectors(taxonomy: Taxonomy, model: str | Path, *, dimensions: int | None = None) -> NDArray[np.float64]:
    """Encode the categories' names, shape ``(n, dimensions)``.

    Nothing is fetched, no code in the folder is run, and weights are read from safetensors only.

    Parameters
    ----------
    taxonomy
        The categories; ``shopping/department_store`` is encoded as "shopping department store".
    model
        Folder of a sentence-transformers model.
    dimensions
        Reduce to as many principal components, or to as many as there are; None keeps the model's own,
        and so does one category alone.

    Raises
    ------
    InputError
        If sentence-transformers is not installed, or the folder is missing or holds no such model.
    """
    encoder = _load(Path(model).expanduser())
    with _one_thread():
        found = encoder.encode(sentences(taxonomy), show_progress_bar=False, convert_to_numpy=True)
    vectors = np.asarray(found, np.float64)
    # one category has no direction in which it differs from another
    if dimensions is None or dimensions == vectors.shape[1] or len(vectors) == 1:
        return vectors
    components = min(dimensions, *vectors.shape)
    if components < dimensions:
        log.warning("%d categories of %d dimensions have only %d principal components", *vectors.shape, components)
    return np.asarray(PCA(components, svd_solver="full").fit_transform(vectors))


def sentences(taxonomy: Taxonomy) -> list[str]:
    """Return one phrase a category: both levels' words, once where they are the same."""
    return [
        " ".join(" ".join(dict.fromkeys(pair)).replace("_", " ").split())
        for pair in zip(taxonomy.first, taxonomy.second, strict=True)
    ]


def _load(folder: Path) -> Any:
    """Load a model onto the CPU, after checks that spare the reader a library's traceback."""
    if find_spec("sentence_transformers") is None:
        raise InputError("vectors of category names need sentence-transformers; pip install 'mmgr[text]'.")
    if folder.is_file():
        raise InputError(f"model: {folder} is a file; name the folder of a sentence-transformers model. {_REMEDY}")
    if not folder.is_dir():
        near = nearest_files(folder)
        raise InputError(f"model: {folder} is no folder; names of models elsewhere are not fetched. {near}".strip())
    _check_parts(folder)
    with _offline():
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - an extra that loads slowly

        try:
            return SentenceTransformer(
                str(folder), device="cpu", local_files_only=True, model_kwargs={"use_safetensors": True}
            )
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
            installed = version("sentence-transformers")
            raise InputError(
                f"{folder} holds no sentence-transformers model that can be read: {str(error).rstrip('.')}. Its files "
                f"may be torn, or of a newer release than {installed}, which is installed. {_REMEDY}"
            ) from error


def _check_parts(folder: Path) -> None:
    """Refuse folders that are no model, would run code of their own, or hold pickles where weights belong."""
    listed = folder / "modules.json"
    if not listed.is_file():
        raise InputError(f"{folder} holds no sentence-transformers model: it has no modules.json. {_REMEDY}")
    try:
        modules = json.loads(listed.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{listed} is not valid JSON ({error}). {_REMEDY}") from error
    try:
        parts = [(str(module["type"]), folder / module["path"]) for module in modules]
    except (TypeError, KeyError) as error:
        raise InputError(f"{listed} lists no modules of sentence-transformers. {_REMEDY}") from error
    foreign = [kind for kind, _ in parts if not kind.startswith("sentence_transformers.")]
    if foreign:
        raise InputError(f"{folder} asks for code of its own ({foreign[0]}), which is not run; choose another model.")
    for kind, part in parts:
        _refuse_pickles(kind, part)


def _refuse_pickles(kind: str, part: Path) -> None:
    """Refuse a module whose weights are pickles alone; what other backends left beside them is never opened."""
    # these two keep modules of their own in folders that modules.json does not list
    nested = kind.rsplit(".", 1)[-1] in {"Router", "Asym"}
    for pickle in sorted(part.rglob(_PICKLES) if nested else part.glob(_PICKLES)):
        # only transformers reads weights in pieces, and it is told to take safetensors
        whole = pickle.name == "pytorch_model.bin"
        instead = ["model.safetensors"] if whole else ["model.safetensors", "model.safetensors.index.json"]
        if not any((pickle.parent / name).is_file() for name in instead):
            raise InputError(f"{pickle} is a pickle, which is not read; save the model again as safetensors.")


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the libraries of the model from asking their hub about it, and from drawing bars of their own."""
    from huggingface_hub import constants  # noqa: PLC0415 - comes with the extra
    from transformers.utils import logging as bars  # noqa: PLC0415 - comes with the extra

    before, drawn = constants.HF_HUB_OFFLINE, bars.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    bars.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if drawn:
            bars.enable_progress_bar()


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Add the same numbers in the same order on every machine."""
    import torch  # noqa: PLC0415 - comes with the model

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
