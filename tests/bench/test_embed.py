"""The measurement of embedding, through the command line."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmgr import cli
from mmgr.learn.model import MultiModalModel


class _Noisy:
    """An encoder whose features are a little wrong."""

    def __init__(self, model: MultiModalModel) -> None:
        self._model = deepcopy(model).eval()

    def __call__(self, views: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: NDArray[np.float32] = self._model.describe_images(views).numpy()
        return features + np.random.default_rng(0).normal(0, 0.05 * features.std(), features.shape).astype(np.float32)


@pytest.mark.parametrize("extra", ["with", "without"])
def test_embedding_is_compared_with_its_bare_pass(extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = extra == "with"
    torch.set_num_threads(1)
    # the encoder in 8 bits has its own tests
    monkeypatch.setattr("mmgr.bench.embed.quantised_encoder", lambda model, *_: _Noisy(model))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: "onnxruntime" if installed else None)
    monkeypatch.setattr("mmgr.bench.embed.software", lambda *names: dict.fromkeys(names, "1"))
    path = tmp_path / "numbers.json"
    small = ("--encoder", "test_resnet", "--crop", "32", "--regions", "70", "--rounds", "1", "--pixels", "48")
    try:
        cli.main(["bench", "embed", *small, "--device", "cpu", "--json", str(path)])
    except SystemExit as stop:
        assert not stop.code  # noqa: PT017 - the command line ends in one always
    measured = json.loads(path.read_text())
    real, bare = measured["regions_per_second"], measured["bare_regions_per_second"]
    assert measured["ratio"] == pytest.approx(real / bare, abs=0.002)
    assert measured["cosine"]["torch"]["least"] > 0.999
    assert measured["weights"] == "random"
    assert measured["peak_rss_mb"] > 100
    if installed:
        assert measured["int8_gain"] == pytest.approx(measured["int8_regions_per_second"] / real, abs=0.002)
        assert 0.99 < measured["cosine"]["int8"]["1st_percentile"] <= measured["cosine"]["int8"]["median"] < 0.99999
        assert "onnxruntime" in measured["software"]
    else:
        assert "int8_gain" not in measured
        assert list(measured["cosine"]) == ["torch"]
