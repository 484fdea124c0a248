"""Pretrain: the region store and category vectors become a bundle."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmgr.categories import CategoryVectors
from mmgr.categories.beside import with_second_vectors
from mmgr.config import Config, Evaluate
from mmgr.console import log, quiet
from mmgr.errors import OtherTrainingError
from mmgr.files import clear_asides, read_json, remove_tree, write_aside
from mmgr.layout import Layout
from mmgr.pois import PoiTables
from mmgr.processes import ALONE, Processes
from mmgr.store import RegionStore

if TYPE_CHECKING:
    from mmgr.evaluate import Units
    from mmgr.learn.label_probe import LabelProbe, Vectors


def act(config: Config, layout: Layout, processes: Processes = ALONE) -> None:
    """Train from the newest checkpoint of the same settings, or from the start; write the bundle.

    Without images there is nothing to train, and no bundle. Where several machines train together, the first one
    writes, and the others only take part.
    """
    if not processes.leads and (config.images is None or config.pretrain.bundle is not None):
        return
    if config.images is None:
        log.info("no images in the configuration: nothing to train")
        _check_nothing_is_lost(layout)
        for folder in (layout.bundle, layout.pretrain):
            remove_tree(folder)  # of an earlier configuration
        return
    if config.pretrain.bundle is not None:
        _check_nothing_is_lost(layout)
        _copy(config.pretrain.bundle, layout)
        return
    _train(config, layout, processes)


def _copy(source: Path, layout: Layout) -> None:
    """Put a bundle in the place of a trained one, once it is sure that it fits the store."""
    from mmgr.bundle import check_bundle, load_bundle  # noqa: PLC0415 - torch loads slowly

    bundle = load_bundle(source)
    check_bundle(bundle, RegionStore(layout.regions))
    log.info("%s is used as it is: %s, %s", source, bundle.recipe.name, bundle.recipe.encoder)
    clear_asides(layout.bundle)
    with write_aside(layout.bundle) as aside:
        aside.mkdir()
        for name in ("manifest.json", *bundle.manifest["files"]):
            shutil.copyfile(source / name, aside / name)
    remove_tree(layout.pretrain)  # of a training whose bundle this replaces


def _train(config: Config, layout: Layout, processes: Processes) -> None:
    from mmgr.bundle import PatchSize, save_bundle  # noqa: PLC0415 - torch loads slowly, and a run without images needs none
    from mmgr.learn.pretrain import pretrain  # noqa: PLC0415
    from mmgr.learn.recipes import resolve  # noqa: PLC0415
    from mmgr.learn.resume import training_hash  # noqa: PLC0415

    store = RegionStore(layout.regions)
    recipe = resolve(config.pretrain)
    vectors = CategoryVectors.load(layout.categories) if config.pois else None
    if vectors is not None and config.pretrain.poi_text is not None:
        vectors = with_second_vectors(vectors, config.pretrain.poi_text)
    train = partial(
        pretrain,
        store,
        vectors,
        recipe,
        folder=layout.pretrain,
        seed=config.seed,
        around=pois_around(config, layout, store) if recipe.uses_pois and recipe.pois_around else None,
        device=config.pretrain.device,
        checkpoint_every=config.pretrain.checkpoint_every,
        tensorboard=config.pretrain.tensorboard,
        probe=_label_probe(config, store),
        processes=processes,
    )
    try:
        model = train()
    except OtherTrainingError as error:
        if not _is_bundled(layout):
            raise
        log.info("the training that made %s is replaced: %s", layout.bundle, str(error).partition("\n")[2].strip())
        remove_tree(layout.pretrain)
        model = train()
    if not processes.leads:
        return
    clear_asides(layout.bundle)
    made = {**store.info.provenance, "seed": config.seed, "training": training_hash(layout.pretrain)}
    save_bundle(layout.bundle, model, recipe, store.info.taxonomy, made, PatchSize.of(store))


def pois_around(config: Config, layout: Layout, store: RegionStore) -> NDArray[np.float32] | None:
    """Return the vectors of the points around regions, NaN where unknown; None where nothing is known.

    What counts of polygons say of the surroundings has no part in training: it is much the same all over a quarter.
    """
    from mmgr.contexts.around import points_around  # noqa: PLC0415 - numba loads slowly

    if config.pois is None or not config.pois.context:
        return None
    found = points_around(PoiTables.load(layout.pois), store.regions, config.pois.context)
    if not found.vectors.shape[1]:
        return None
    return np.where(found.known[:, None], found.vectors, np.float32(np.nan))


def _is_bundled(layout: Layout) -> bool:
    """Say whether the training in the folder is done and its model saved: another may take its place."""
    from mmgr.learn.resume import training_hash  # noqa: PLC0415 - as above

    manifest = layout.bundle / "manifest.json"
    training = training_hash(layout.pretrain)
    return manifest.is_file() and read_json(manifest).get("provenance", {}).get("training") == training


def _check_nothing_is_lost(layout: Layout) -> None:
    """Refuse to forget an unfinished training because the configuration trains nothing any more."""
    if not layout.pretrain.is_dir():
        return
    from mmgr.learn.checkpoints import checkpoints  # noqa: PLC0415 - as above

    found = checkpoints(layout.pretrain / "checkpoints")
    if found and not _is_bundled(layout):
        raise OtherTrainingError(
            f"{layout.pretrain} holds a training of which {found[0][0]} are done, and the configuration trains nothing "
            "any more. To go on with it, undo what changed; to keep it, set another `output`; to forget it, add "
            "`--force`."
        )


def _label_probe(config: Config, store: RegionStore) -> LabelProbe | None:
    """Make the look at labels that the configuration asks for: ridge under the first split and seed of `evaluate`.

    Under spatial blocks where `evaluate` has a published protocol and no split.
    """
    if config.pretrain.probe_every is None or not config.tasks:
        return None
    from mmgr.evaluate import check_splits, task_units  # noqa: PLC0415 - a run that does not ask for it needs none
    from mmgr.learn.label_probe import LabelProbe  # noqa: PLC0415

    # a published protocol has a probe and seeds of its own, for which no epoch waits
    asked = config.evaluate.model_copy(update={"protocol": None, "splits": config.evaluate.splits or None})
    one = {"probes": ("ridge",), "seeds": 1}
    tasks = []
    with quiet():  # the stage `evaluate` tells it all
        for task in config.tasks:
            units = task_units(config, task, store.regions)
            first = check_splits(units, asked, edge=store.info.edge, seed=config.seed)[0].kind
            tasks.append((units, asked.model_copy(update={**one, "splits": (first,)})))
    labelled = np.unique(np.concatenate([units.weights.indices for units, _ in tasks]))
    score = partial(_score, tasks, store.info.edge, config.seed)
    return LabelProbe(config.pretrain.probe_every, labelled.astype(np.int64), score)


def _score(
    tasks: Sequence[tuple[Units, Evaluate]], edge: float, seed: int, image: Vectors, both: Vectors
) -> dict[str, float]:
    """Score features on labels; a function of the module, which a process that trains may be sent."""
    from mmgr.evaluate import score_features  # noqa: PLC0415 - as above

    found: dict[str, float] = {}
    for units, settings in tasks:
        name = f"{units.task.metric_names[0]}_{units.task.name}"
        sets = {f"{name}_image": image}
        if both.shape[1] > image.shape[1]:
            sets[name] = both
        parts = {name: (image.shape[1], both.shape[1] - image.shape[1])} if name in sets else {}
        with quiet():
            scores = score_features(units, sets, settings, edge=edge, seed=seed, parts=parts)
        found |= {record.features: record.value for record in scores.records}
    return found
