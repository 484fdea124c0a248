"""Pre-training: what is trained where, in this process or in several that share each batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed

from mmgr.console import log, quiet
from mmgr.errors import ArtefactError, ConfigError
from mmgr.learn.checkpoints import Cadence
from mmgr.learn.choices import announce
from mmgr.learn.data import Batches
from mmgr.learn.devices import choose_device, uses_bfloat16
from mmgr.learn.events import check_tensorboard
from mmgr.learn.held_out import describe_held_out
from mmgr.learn.label_probe import LabelProbe
from mmgr.learn.model import MultiModalModel, seeded_model
from mmgr.learn.parallel import check_agreement, check_devices, device_of, share_statistics
from mmgr.learn.recipes import Recipe
from mmgr.learn.resume import claim, identity
from mmgr.learn.together import NOBODY_ELSE, Member, borrowed, lent, run_together
from mmgr.learn.training import Training
from mmgr.processes import ALONE, Processes
from mmgr.store import RegionStore

if TYPE_CHECKING:  # Numba, which fits category vectors, loads slowly
    from mmgr.categories import CategoryVectors


def pretrain(
    store: RegionStore,
    vectors: CategoryVectors | None,
    recipe: Recipe,
    *,
    folder: Path,
    seed: int,
    around: NDArray[np.float32] | None = None,
    device: str = "auto",
    checkpoint_every: str = "15 min",
    tensorboard: bool = False,
    probe: LabelProbe | None = None,
    processes: Processes = ALONE,
) -> MultiModalModel:
    """Train the encoders without labels, or go on from the newest intact checkpoint in ``folder``.

    Parameters
    ----------
    store
        Regions with patches and POIs.
    vectors
        Category vectors of the store's taxonomy; may be None for a recipe without POIs.
    recipe
        Every choice.
    folder
        Gets ``run.json`` (what is trained), ``checkpoints/``, ``monitor.csv`` and, if asked for, ``tensorboard/``.
    seed
        Decides everything random.
    around
        Vectors of the POIs around each region, shape ``(n, A)``, NaN where unknown; a recipe with ``pois_around`` lets
        images meet them, too.
    device
        `auto`, `cpu`, `cuda`, `cuda:1`.
    checkpoint_every
        Minutes or steps between checkpoints inside an epoch: `15 min`, `500 steps`. Each epoch's end has one too.
    tensorboard
        Whether the monitor is written as an event file, too.
    probe
        Scores the frozen features on labels every few epochs. What is trained does not depend on it; but whoever
        chooses epochs by it selects on labels.
    processes
        That share each batch, equal to one process but for rounding. This one starts those of its machine and waits;
        on another machine than the first it takes part in what the first one writes. A training may go on with
        another number of them.

    Returns
    -------
    The trained model, in evaluation mode, on the CPU.

    Raises
    ------
    ConfigError
        If the recipe needs POIs and the store has none, the encoder cannot see crops or whole patches, TensorBoard is
        asked for and not installed, or there are fewer GPUs than processes.
    OtherTrainingError
        If ``folder`` holds checkpoints of another training.
    ArtefactError
        If the store has too few regions, or one that is not what was written.
    MmgrError
        If the loss or its gradient is no longer finite; names the batch's regions.
    """
    if tensorboard:
        check_tensorboard()
    place = choose_device(device)
    check_devices(place, processes)
    table = _category_table(store, vectors, recipe)
    options: dict[str, Any] = {
        "folder": folder,
        "seed": seed,
        "around": around if recipe.uses_pois and recipe.pois_around else None,
        "checkpoint_every": checkpoint_every,
        "tensorboard": tensorboard,
        "probe": probe,
    }
    training = _begun(store, table, recipe, **options)
    # what cannot be embedded is not trained
    log.debug("whole patches are embedded at %d pixels", training.model.whole_edge)
    if processes.leads:
        claim(folder, identity(store, table, recipe, seed, options["around"], bfloat16=uses_bfloat16(recipe, place)))
        training.resume()
    announce(recipe, len(training.batches.rows), training.batches.steps)
    if recipe.epochs and training.batches.steps:
        log.info("%s", describe_held_out(training.batches))
        # a machine that did not come would leave the others waiting, though nothing may be left to do
        together = processes.nodes > 1 or (processes.total > 1 and not training.is_done)
        if together:
            backend = "nccl" if place.type == "cuda" else "gloo"
            del training  # workers have models of their own
            with lent(options["around"]) as path:
                arguments = (store.path, table, recipe, place, options | {"around": path})
                run_together(_take_part, arguments, processes, backend=backend)
            with quiet():  # it was told before
                training = _begun(store, table, recipe, **options)
            training.resume()
        if not (together and training.is_done):
            training.run(place)
        log.info("pre-training ended: %s", training.monitor.sentence())
    return training.model.cpu().eval()


def needs_pois(recipe: Recipe, who: str) -> ConfigError:
    """Return the error of a recipe that needs POIs; ``who`` has none, as the beginning of a clause."""
    return ConfigError(
        f"the recipe {recipe.name} contrasts images with POIs, but {who} none; add `pois`, or set "
        "`pretrain.recipe: simclr`, which learns from images alone."
    )


def _begun(
    store: RegionStore,
    table: NDArray[np.float32] | None,
    recipe: Recipe,
    *,
    folder: Path,
    seed: int,
    around: NDArray[np.float32] | None,
    checkpoint_every: str,
    tensorboard: bool,
    probe: LabelProbe | None,
    member: Member = NOBODY_ELSE,
) -> Training:
    """Return a training at its start."""
    batches = Batches(store, recipe, seed, around=around, rank=member.rank, processes=member.processes.total)
    model = seeded_model(recipe, table, store.info.bands, seed, 0 if around is None else around.shape[1])
    model.standardise_densities(store.bags.take(np.setdiff1d(np.arange(len(store)), batches.held_out)))
    cadence = Cadence(checkpoint_every)
    return Training(model, batches, seed, folder, cadence, tensorboard=tensorboard, probe=probe, member=member)


def _take_part(
    member: Member,
    store: Path,
    table: NDArray[np.float32] | None,
    recipe: Recipe,
    place: torch.device,
    options: dict[str, Any],
) -> None:
    """Train as one of several processes."""
    device = device_of(member, place)
    opened = RegionStore(store)
    options |= {"around": borrowed(options["around"])}
    if member.processes.nodes > 1:
        bfloat16 = uses_bfloat16(recipe, device)
        wanted = identity(opened, table, recipe, options["seed"], options["around"], bfloat16=bfloat16)
        check_agreement(member, wanted)
    training = _begun(opened, table, recipe, member=member, **options)
    share_statistics(training.model, member, device)
    # the one that writes reads first, since it puts aside what a kill left torn
    if not member.writes:
        distributed.barrier()
    training.resume()
    if member.writes:
        distributed.barrier()
    training.run(device)


def _category_table(store: RegionStore, vectors: CategoryVectors | None, recipe: Recipe) -> NDArray[np.float32] | None:
    """Return the category vectors that the recipe needs, checked against the store."""
    if not recipe.uses_pois:
        return None
    if vectors is None or not store.bags.present.any():
        raise needs_pois(recipe, f"{store.path} has")
    if vectors.taxonomy != store.info.taxonomy:
        raise ArtefactError(
            f"the category vectors are of {len(vectors.taxonomy)} other categories than the "
            f"{len(store.info.taxonomy)} of {store.path}; run `mmgr categories` again."
        )
    return vectors.vectors
