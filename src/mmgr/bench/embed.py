"""Embedding beside its bare forward pass on random tensors, and in 8 bits."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmgr.bench.machine import machine, software
from mmgr.bench.rates import Span, Stopwatch, in_turns, median_rate, median_ratio
from mmgr.bench.sample import PIXELS, category_table, sample_patches, sample_store
from mmgr.console import quiet
from mmgr.learn.devices import choose_device, uses_bfloat16
from mmgr.learn.embed import ImageEncoder, batch_for, embed, whole_views
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.quantised import EncoderInFloat32, cosines, quantised_encoder
from mmgr.learn.recipes import RECIPES, Recipe
from mmgr.learn.shipped import SHIPPED, SHIPPED_ENCODER
from mmgr.memory import kept_memory
from mmgr.stages import peak_rss_mb
from mmgr.store import RegionStore

_MET = 64
"""Images that the batch norms of random weights meet."""
_COMPARED = 128
"""Images that vectors are compared on."""


@kept_memory()  # over all turns: of a few regions, asking for memory would be much of a turn, as of a city it is not
def bench_embed(
    *,
    encoder: str = "resnet50",
    crop: int = 224,
    regions: int = 192,
    rounds: int = 3,
    pixels: int = PIXELS,
    device: str = "auto",
    seed: int = 0,
) -> dict[str, Any]:
    """Embed the regions of a store, in turns with the bare forward pass, and in 8 bits where that is installed.

    *Bare* is the image encoder's part alone: the same model, batch and precision on random views that lie in the
    device's memory. It leaves out what embedding does beside: patches are read, copied to the device, resized and
    normalised there; features are copied back; POIs are described; and of the recipe's features, components are kept.
    Those are found once, of 2,048 regions at most, and on one thread of the host, so that they weigh more in a small
    store.

    Weights are those that ship with the package, of their encoder; others' are random, which cost what trained ones
    do, and their batch norms have met real images before.

    Parameters
    ----------
    encoder, crop
        Of the recipe `mmgr`.
    regions
        How many; the first batch of each turn is counted too. A GPU needs some thousands, to have more than a few
        batches (:func:`mmgr.learn.embed.batch_for`).
    rounds
        Turns; results are medians over them.
    pixels
        Edge of a stored patch.
    device
        `auto`, `cpu`, `cuda`.
    seed
        Of weights and POIs.

    Returns
    -------
    ``regions_per_second``, ``bare_regions_per_second``, their ``ratio`` and ``cpu_ratio``; with the extra `onnx`, on a
    CPU, ``int8_regions_per_second``, ``int8_gain`` and ``int8_cpu_gain``; in ``cosine`` the similarity of each
    engine's vectors to those in float32, least, 1st percentile and median, on images that the store does not hold
    where the sample has others; and what was measured on what.

    Raises
    ------
    ConfigError
        If there is no such encoder or device.
    """
    place = choose_device(device)
    weights = SHIPPED if encoder == SHIPPED_ENCODER else "random"
    choices = {"encoder": encoder, "weights": weights, "crop": crop}
    recipe = Recipe.model_validate(RECIPES["mmgr"].model_dump() | choices)
    measured_on = machine()
    with tempfile.TemporaryDirectory(prefix="mmgr-bench-") as name, quiet():
        model = seeded_model(recipe, category_table(seed), 3, seed).eval()
        store = sample_store(Path(name), regions, pixels=pixels, seed=seed)
        if weights == "random":
            _meet_images(model, store)
        exact = EncoderInFloat32(model)
        # images that follow those of the store, as far as there are others
        others = np.roll(sample_patches(pixels), -regions, axis=0)[:_COMPARED]
        views = whole_views(torch.from_numpy(others), model.whole_edge)
        ways: dict[str, Callable[[], Span]] = {
            "real": partial(_embed, model, store, recipe, place, None),
            "bare": partial(_forward, model, place, regions),
        }
        in_turns(1, ways)
        engines: dict[str, ImageEncoder] = {"torch": lambda some: model.describe_images(some.to(place)).cpu().numpy()}
        if place.type == "cpu" and importlib.util.find_spec("onnxruntime") is not None:
            engines["int8"] = quantised_encoder(model, store, recipe)
            ways["int8"] = partial(_embed, model, store, recipe, place, engines["int8"])
        found = in_turns(rounds, ways)
        with torch.inference_mode():
            similar = {engine: cosines(encode, exact, views) for engine, encode in engines.items()}
    result: dict[str, Any] = {
        "regions_per_second": median_rate(found["real"]),
        "bare_regions_per_second": median_rate(found["bare"]),
        "ratio": median_ratio(found["real"], found["bare"]),
        "cpu_ratio": median_ratio(found["real"], found["bare"], cpu=True),
    }
    if "int8" in found:
        result |= _of_int8(found["int8"], found["real"])
    return result | {
        "peak_rss_mb": peak_rss_mb(),
        "encoder": encoder,
        "weights": weights,
        "crop": crop,
        "edge": model.whole_edge,
        "batch": batch_for(place),
        "regions": regions,
        "pixels": pixels,
        "rounds": rounds,
        "precision": "bf16" if uses_bfloat16(recipe, place) else "fp32",
        "device": str(place),
        "threads": torch.get_num_threads(),
        "cosine": {
            engine: {
                "least": round(float(values.min()), 6),
                "1st_percentile": round(float(np.percentile(values, 1)), 6),
                "median": round(float(np.median(values)), 6),
            }
            for engine, values in similar.items()
        },
        "rates": {name: [round(span.rate, 4) for span in spans] for name, spans in found.items()},
        "machine": measured_on | {"load_after": machine()["load"]},
        "software": software("torch", "timm", *(["onnxruntime"] if "int8" in found else [])),
    }


def _of_int8(int8: list[Span], real: list[Span]) -> dict[str, float]:
    """Return the rate in 8 bits, and its gain."""
    return {
        "int8_regions_per_second": median_rate(int8),
        "int8_gain": median_ratio(int8, real),
        "int8_cpu_gain": median_ratio(int8, real, cpu=True),
    }


def _meet_images(model: MultiModalModel, store: RegionStore) -> None:
    """Let batch norms find the statistics of real images, as training would."""
    model.train()
    with torch.no_grad():
        for rows in np.array_split(np.arange(min(len(store), _MET)), 4):
            if len(rows) > 1:
                patches = np.stack([dates[0] for dates in store.patches(rows)])
                model.image_encoder(whole_views(torch.from_numpy(patches), model.whole_edge))
    model.eval()


def _embed(
    model: MultiModalModel, store: RegionStore, recipe: Recipe, device: torch.device, encode: ImageEncoder | None
) -> Span:
    watch = Stopwatch(device)
    embed(model, store, recipe, device=str(device), encode=encode)
    return watch.stop(len(store))


def _forward(model: MultiModalModel, device: torch.device, regions: int) -> Span:
    model, batch = model.to(device).eval(), batch_for(device)
    views = torch.randn(min(batch, regions), model.bands, model.whole_edge, model.whole_edge, device=device)
    watch = Stopwatch(device)
    with torch.inference_mode():
        for start in range(0, regions, batch):
            model.describe_images(views[: regions - start])
    return watch.stop(regions)
