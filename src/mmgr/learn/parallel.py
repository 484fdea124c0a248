"""What data-parallel training needs: a device for each process, shared statistics, and Lightning told of it all."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from timm.layers import convert_sync_batchnorm
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmgr.console import log
from mmgr.errors import ConfigError
from mmgr.learn.model import MultiModalModel
from mmgr.learn.together import Member
from mmgr.processes import Processes


def check_devices(device: torch.device, processes: Processes) -> None:
    """Check that this machine has a device for each of its processes.

    Raises
    ------
    ConfigError
        If it has not.
    """
    if processes.total == 1 or device.type == "cpu":
        return
    if device.type != "cuda" or device.index is not None:
        raise ConfigError(
            f"several processes train on `cpu`, or on `cuda` with a GPU each; pretrain.device is {str(device)!r}. Set "
            "CUDA_VISIBLE_DEVICES to choose among GPUs."
        )
    if processes.devices > torch.cuda.device_count():
        raise ConfigError(
            f"{processes.devices} processes need as many GPUs, and this machine has {torch.cuda.device_count()}; use "
            "fewer `--devices`, or set `pretrain.device: cpu`."
        )


def device_of(member: Member, device: torch.device) -> torch.device:
    """Return the device of one of several processes."""
    return torch.device("cuda", member.place) if device.type == "cuda" and member.processes.total > 1 else device


def trainer_options(member: Member, device: torch.device) -> dict[str, Any]:
    """Say where a :class:`lightning.pytorch.Trainer` trains, and with whom."""
    on_gpu = device.type == "cuda"
    # views have one size: a GPU tries once which of its convolutions is the fastest for it
    options = {"accelerator": "gpu" if on_gpu else device.type, "benchmark": on_gpu or None}
    if member.processes.total == 1:
        return options | {"devices": 1 if device.index is None else [device.index]}
    # a step may leave out weights, as those of a side task that no region of the batch has
    strategy = DDPStrategy(cluster_environment=LightningEnvironment(), find_unused_parameters=True)
    return options | {
        "devices": member.processes.devices,
        "num_nodes": member.processes.nodes,
        "strategy": strategy,
    }


def has_batch_norm(model: nn.Module) -> bool:
    """Say whether a model's output for a region depends on the others that it is given with."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def share_statistics(model: MultiModalModel, member: Member, device: torch.device) -> None:
    """Let batch norms see the whole batch, which PyTorch does on GPUs alone; elsewhere a warning says so."""
    if member.processes.total == 1 or not has_batch_norm(model):
        return
    if device.type == "cuda":
        model.image_encoder = convert_sync_batchnorm(model.image_encoder)
    elif member.writes:
        log.warning(
            "the encoder %s has batch norms, and on the CPU each process normalises its own regions alone: what is "
            "learned differs from one process's. Use an encoder without them (ConvNeXt, ViT), or one process, where "
            "that matters.",
            model.recipe.encoder,
        )


def check_agreement(member: Member, training: dict[str, Any]) -> None:
    """Check that all machines train the same.

    Raises
    ------
    ConfigError
        If a machine has other data, another configuration or other software than the first.
    """
    found: list[Any] = [None] * member.processes.total
    distributed.all_gather_object(found, training)
    differing = {
        f"machine {rank // member.processes.devices}: {key}"
        for rank, other in enumerate(found)
        for key in training
        if other[key] != found[0][key]
    }
    if differing:
        raise ConfigError(
            "all machines have to train the same on the same data, with one configuration and one `output` on a disk "
            f"that they share; the first machine differs from {', '.join(sorted(differing))}."
        )
