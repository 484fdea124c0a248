"""The image encoder in 8-bit integers, by ONNX Runtime: faster on CPUs, and nearly the same vectors.

Weights and activations become integers by static quantisation: each channel of weights has a scale of its own, and
activations have the range that they take on some images of the store, always the same ones. What that costs is
measured on other images each time. Where it is too much, the first layers stay in float32: their errors grow through
all others, and depthwise convolutions, of which each channel has a range of its own, make large ones (Sheng et al.
2018, A quantization-friendly separable convolution for MobileNets, EMC2). If that does not help, it is refused.
"""

from __future__ import annotations

import contextlib
import logging
import math
import platform
import tempfile
import warnings
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.learn.edges import first_line
from mmgr.learn.embed import ImageEncoder, whole_views
from mmgr.learn.feature_maps import WithMaps
from mmgr.learn.model import MultiModalModel
from mmgr.learn.recipes import Recipe
from mmgr.store import RegionStore

LEAST_COSINE = 0.99
"""Vectors of which more than one in a hundred are less similar to those in float32 are refused."""
IN_FLOAT = (0.0, 1 / 6, 1 / 3, 2 / 3)
"""Parts of the layers with weights, from the first on, that stay in float32; the first that is good enough is taken."""
SAMPLE = 128
"""Regions, evenly spread over the store, that the ranges of activations and what they cost are found on, half each."""
_BATCH = 8
_WITH_WEIGHTS = {"Conv", "Gemm", "MatMul"}


def quantised_encoder(model: MultiModalModel, store: RegionStore, recipe: Recipe) -> ImageEncoder:
    """Return the model's image encoder in 8-bit integers, for the CPU.

    Parameters
    ----------
    model
        Its image encoder is copied.
    store
        Gives the images that ranges are found on; at least one region has an image.
    recipe
        Decides on the size of views.

    Raises
    ------
    ConfigError
        If ONNX Runtime is not installed, or it cannot take this encoder, or vectors change too much.
    """
    check_onnx()
    encoder = EncoderInFloat32(model)
    views = _sample_views(store, model.whole_edge)
    known, new = (views[::2], views[1::2]) if len(views) > 1 else (views, views)
    low = math.nan
    with tempfile.TemporaryDirectory(prefix="mmgr-onnx-") as name:
        folder = Path(name)
        with _told(recipe):
            prepared = _export(encoder, known, folder)
        for part in IN_FLOAT:
            with _told(recipe):
                first, layers = _first_nodes(prepared, part)
                encode = _Session(_quantise(prepared, known, folder, first))
            found = cosines(encode, encoder, new)
            low = float(np.percentile(found, 1))
            log.info(
                "8-bit encoder%s: cosine similarity to float32 is %.5f in the median, %.5f at the 1st percentile, on "
                "%d images", f", {layers} in float32" if first else "", np.median(found), low, len(found),
            )  # fmt: skip
            if low >= LEAST_COSINE:
                return encode
    raise ConfigError(
        f"embed.engine: in 8 bits {recipe.encoder} gives other vectors than in float32, with its first {layers} in "
        f"float32, too: of {len(found)} images the cosine similarity is {low:.3f} at the 1st percentile, and "
        f"{LEAST_COSINE} is asked for; set `embed.engine: torch`."
    )


def check_onnx() -> None:
    """Refuse where ONNX Runtime is not installed, or what exports and quantises models for it.

    Raises
    ------
    ConfigError
        Names the extra.
    """
    try:
        import onnx  # noqa: F401, PLC0415 - an extra
        import onnxruntime  # noqa: F401, PLC0415
        import onnxscript  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigError(
            f"embed.engine: onnx needs a library that is not installed ({error.name}); "
            "run `pip install 'mmgr[onnx]'`, or set `embed.engine: torch`."
        ) from error


def cosines(encode: ImageEncoder, encoder: nn.Module, views: Tensor) -> NDArray[np.float32]:
    """Return how similar features are to those of the encoder in float32, shape ``(B,)``."""
    found = []
    for some in torch.split(views, _BATCH):
        with torch.inference_mode():
            wanted = encoder(some).numpy()
        given = encode(some)
        lengths = np.linalg.norm(given, axis=1) * np.linalg.norm(wanted, axis=1)
        found.append((given * wanted).sum(1) / np.maximum(lengths, 1e-12))
    return np.concatenate(found)


class EncoderInFloat32(nn.Module):
    """A copy of what describes a model's images, with the scale that it wants views on: what an engine has to match."""

    def __init__(self, model: MultiModalModel) -> None:
        super().__init__()
        encoder = deepcopy(model.image_encoder).cpu().to(memory_format=torch.contiguous_format)
        self.encoder = WithMaps(encoder) if model.pools_maps else encoder
        self.factor: Tensor
        self.summand: Tensor
        self.register_buffer("factor", model.view_factor.detach().cpu().clone())
        self.register_buffer("summand", model.view_summand.detach().cpu().clone())
        self.eval()

    def forward(self, views: Tensor) -> Tensor:
        """Do as :meth:`mmgr.learn.model.MultiModalModel.describe_images`, shape ``(B, C, H, W)`` to ``(B, D)``."""
        features: Tensor = self.encoder(torch.addcmul(self.summand, self.factor, views))
        return features


class _Session:
    """A session of ONNX Runtime as an image encoder."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._input = session.get_inputs()[0].name

    def __call__(self, views: Tensor) -> NDArray[np.float32]:
        features: NDArray[np.float32] = self._session.run(None, {self._input: views.numpy()})[0]
        return features


def _sample_views(store: RegionStore, edge: int) -> Tensor:
    """Return views of evenly spread regions, the first date of each, shape ``(n, C, edge, edge)``."""
    seen = np.flatnonzero(store.views > 0)
    rows = seen[np.unique(np.linspace(0, len(seen) - 1, min(SAMPLE, len(seen))).round().astype(int))]
    return whole_views(torch.from_numpy(np.stack([patches[0] for patches in store.patches(rows)])), edge)


def _export(encoder: nn.Module, views: Tensor, folder: Path) -> Path:
    """Export an encoder, ready to be quantised."""
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415 - an extra

    plain, prepared = folder / "plain.onnx", folder / "prepared.onnx"
    torch.onnx.export(
        encoder,
        (views[:1].repeat(2, 1, 1, 1),),
        str(plain),
        input_names=["views"],
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    return prepared


def _first_nodes(model: Path, part: float) -> tuple[list[str], str]:
    """Return the names of all nodes before the layers that are to be quantised, and how many layers are among them."""
    import onnx  # noqa: PLC0415 - an extra

    nodes = onnx.load(str(model)).graph.node  # in an order in which they can be computed
    layers = [number for number, node in enumerate(nodes) if node.op_type in _WITH_WEIGHTS]
    count = round(part * len(layers))
    first = [node.name for node in nodes[: layers[count]]] if count else []
    return first, f"{count} of {len(layers)} layers"


def _quantise(model: Path, views: Tensor, folder: Path, in_float: list[str]) -> Any:
    """Quantise an exported encoder but for some nodes, and open it."""
    import onnxruntime as ort  # noqa: PLC0415 - an extra
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static  # noqa: PLC0415

    small = str(folder / "small.onnx")

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # no types here
        def __init__(self) -> None:
            self._batches = ({"views": some.numpy()} for some in torch.split(views, _BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            return next(self._batches, None)

    quantize_static(
        str(model),
        small,
        Reader(),
        nodes_to_exclude=in_float,
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        # without instructions for products of 8 bits, sums of two overflow 16 bits unless weights have 7
        reduce_range=not _multiplies_bytes(),
    )
    options = ort.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # threads that wait by spinning stand still where cores are shared
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(small, options, providers=["CPUExecutionProvider"])


@contextlib.contextmanager
def _told(recipe: Recipe) -> Iterator[None]:
    """Turn what the exporter and the runtime raise, which is what they like, into one message."""
    try:
        with _quiet():
            yield
    except Exception as error:
        raise ConfigError(
            f"embed.engine: ONNX Runtime cannot take {recipe.encoder} ({first_line(error)}); set `embed.engine: torch`."
        ) from error


def _multiplies_bytes() -> bool:
    """Say whether the processor multiplies bytes without overflow: VNNI, or any ARM."""
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text(encoding="utf-8").split() if cpu.is_file() else []
    return platform.machine() in {"aarch64", "arm64"} or not {"avx512_vnni", "avx_vnni"}.isdisjoint(flags)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling how it gets on, and from its advice."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
