"""Trainings that kill their own process at a chosen point; a test starts them, and goes on from what they left."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from learn_samples import TAXONOMY, Vectors, small_recipe

from mmgr import bundle, files
from mmgr.actions import pretrain as action
from mmgr.config import Config
from mmgr.layout import Layout
from mmgr.learn import checkpoints
from mmgr.learn.monitor import Monitor
from mmgr.learn.pretrain import pretrain
from mmgr.learn.training import Training
from mmgr.store import RegionStore

EPOCHS = 4
STEPS = 3
"""Steps an epoch of 20 regions in batches of 8."""


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at_the_nth(
    number: int,
    function: Callable[..., Any],
    before: Callable[..., None],
    *,
    when: Callable[..., bool] = lambda *_: True,
) -> Callable[..., Any]:
    """Wrap a function so that its nth call that counts ends in ``before`` and in a kill."""
    calls = 0

    def wrapped(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += bool(when(*arguments))
        if calls == number:
            before(*arguments)
            die()
        return function(*arguments, **options)

    return wrapped


def nothing(*_: Any) -> None:
    pass


def half(save: Callable[..., None]) -> Callable[..., None]:
    """Return what writes the first half of a file."""

    def write(content: Any, path: Path) -> None:
        save(content, path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    return write


def is_checkpoint(_: Path, path: Path) -> bool:
    return path.suffix == ".ckpt"


def is_bundle(_: Path, path: Path) -> bool:
    return path.name == "bundle"


def in_the_middle_of_an_epoch() -> None:
    Training.training_step = at_the_nth(2 * STEPS + 2, Training.training_step, nothing)


def after_the_gradient() -> None:
    Training.on_before_optimizer_step = at_the_nth(STEPS + 3, Training.on_before_optimizer_step, nothing)


def while_a_checkpoint_is_written() -> None:
    checkpoints.torch.save = at_the_nth(3, torch.save, half(torch.save))


def before_a_checkpoint_has_its_name() -> None:
    files._move_into_place = at_the_nth(3, files._move_into_place, nothing, when=is_checkpoint)


def while_old_checkpoints_are_removed() -> None:
    Path.unlink = at_the_nth(1, Path.unlink, Path.unlink, when=lambda path, *_: path.suffix == ".ckpt")


def between_checkpoint_and_monitor() -> None:
    Monitor.write = at_the_nth(3, Monitor.write, nothing)


def between_the_last_checkpoint_and_the_monitor() -> None:
    Monitor.write = at_the_nth(EPOCHS, Monitor.write, nothing)


POINTS = [
    in_the_middle_of_an_epoch,
    after_the_gradient,
    while_a_checkpoint_is_written,
    before_a_checkpoint_has_its_name,
    while_old_checkpoints_are_removed,
    between_checkpoint_and_monitor,
    between_the_last_checkpoint_and_the_monitor,
]


def train(store: Path, folder: Path, vectors: np.ndarray[Any, Any], every: str, held_out: float = 0.05) -> Any:
    """Train; with a part of the regions held out, the monitor is written for TensorBoard too."""
    torch.set_num_threads(1)
    some = Vectors(TAXONOMY, vectors)
    recipe = small_recipe(epochs=EPOCHS, held_out=held_out)
    watched = {"tensorboard": held_out > 0.05, "checkpoint_every": every}
    return pretrain(RegionStore(store), some, recipe, folder=folder, seed=3, device="cpu", **watched)


def train_and_die(point: Callable[[], None], *arguments: Any) -> None:
    point()
    train(*arguments)


def while_the_bundle_is_written() -> None:
    bundle.save_file = at_the_nth(1, bundle.save_file, half(bundle.save_file))


def before_the_bundle_has_its_name() -> None:
    files._move_into_place = at_the_nth(1, files._move_into_place, nothing, when=is_bundle)


def while_the_old_bundle_is_aside() -> None:
    def step_aside(aside: Path, path: Path) -> None:
        path.rename(aside.parent / "replaced")

    files._move_into_place = at_the_nth(1, files._move_into_place, step_aside, when=is_bundle)


BUNDLE_POINTS = [while_the_bundle_is_written, before_the_bundle_has_its_name, while_the_old_bundle_is_aside]


def act(folder: Path, **pretrain: Any) -> None:
    """Do the stage in an output folder that holds a region store."""
    torch.set_num_threads(1)
    small = {"recipe": "simclr", "encoder": "test_resnet", "crop": 32, "batch_size": 8, "epochs": 2, "device": "cpu"}
    config = Config.model_validate(
        {"output": folder, "images": {"path": "x"}, "regions": {"size": 500}, "pretrain": small | pretrain}
    )
    action.act(config, Layout(folder))


def act_and_die(point: Callable[[], None], folder: Path) -> None:
    point()
    act(folder)


def killed(function: Callable[..., None], *arguments: Any) -> bool:
    """Run a function in a process of its own, and say whether it was killed."""
    # a fork of a process that has imported all, and has no threads yet
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kills"])
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join(120)
    return process.exitcode == -signal.SIGKILL
