"""Fine-tune: the bundle and labels become scores of fine-tuned encoders, under the folds of the probes."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config, Finetune, Task
from mmgr.console import log, track
from mmgr.embeddings import read_embeddings
from mmgr.evaluate import Scores, SplitPlan, Units, check_splits, make_probe, score_predictions, task_units
from mmgr.evaluate.audit import Audit, Finding, Tuned, fine_tuning
from mmgr.files import make_folder, read_json, remove_tree, write_aside, write_json
from mmgr.layout import Layout
from mmgr.stages import input_fingerprint
from mmgr.store import RegionStore

if TYPE_CHECKING:
    from mmgr.learn.finetune import FineTuner, Start

IMAGE, BOTH = "image, fine-tuned", "[image, POI], fine-tuned"
"""What fine-tuned features are called in the tables."""
PROBE = "linear"
SCHEMA_VERSION = 3
"""Of a task's folder; one of another version is left out."""

Rows = NDArray[np.int64]


def act(config: Config, layout: Layout) -> None:
    """Write the scores of each task that is asked for, and is not up to date."""
    settings = config.finetune or Finetune()
    chosen = [task for task in config.tasks if settings.tasks is None or task.name in settings.tasks]
    if not chosen:
        log.info("no tasks in the configuration: nothing to fine-tune on")
        make_folder(layout.finetune)
    for task in chosen:
        wanted = {"finetune": settings.model_dump(mode="json", exclude={"tasks"}), **_identity(config, layout, task)}
        if _known(layout.finetune / task.name) == wanted:
            log.info("%s: fine-tuned already with these settings", task.name)
        else:
            _fine_tune(config, layout, task, settings, wanted)


def fine_tuned(config: Config, layout: Layout) -> Scores:
    """Return the scores of those tasks whose fine-tuning fits the present model, labels and folds."""
    folders, others = _folders(config, layout)
    for name in others:
        log.info("%s: fine-tuning was of another model, label or split and is left out", name)
    return Scores.joined(Scores.from_json(read_json(folder / "scores.json")) for folder in folders)


def fine_tuning_findings(config: Config, layout: Layout) -> list[Finding]:
    """Return what the leakage audit says of those scores."""
    folders, _ = _folders(config, layout)
    return [finding for folder in folders for finding in Audit.from_json(read_json(folder / "audit.json")).findings]


def _folders(config: Config, layout: Layout) -> tuple[list[Path], list[str]]:
    """Return the folders of tasks whose fine-tuning fits the present, and the names of tasks where it does not."""
    folders, others = [], []
    for task in config.tasks:
        known = _known(layout.finetune / task.name)
        if known is None:
            continue
        if {key: value for key, value in known.items() if key != "finetune"} == _identity(config, layout, task):
            folders.append(layout.finetune / task.name)
        else:
            others.append(task.name)
    return folders, others


def _known(folder: Path) -> dict[str, Any] | None:
    """Return what a task was fine-tuned with."""
    return dict(read_json(folder / "run.json")) if (folder / "run.json").is_file() else None


def _identity(config: Config, layout: Layout, task: Task) -> dict[str, Any]:
    """Describe by all that decides it what a task is fine-tuned on, and under which folds."""
    shown = config.model_dump(mode="json")
    return {
        "schema_version": SCHEMA_VERSION,
        "software": version("mmgr"),
        "embed": read_json(layout.folder / "stages" / "embed.json")["key"],  # of the store and the bundle too
        "task": task.model_dump(mode="json"),
        "labels": input_fingerprint(task.path, what=f"tasks.{task.name}.path"),
        "evaluate": shown["evaluate"],
        "seed": config.seed,
    }


def _fine_tune(config: Config, layout: Layout, task: Task, settings: Finetune, wanted: dict[str, Any]) -> None:
    from mmgr.bundle import load_bundle  # noqa: PLC0415 - torch loads slowly
    from mmgr.learn.finetune import FineTuner, Samples  # noqa: PLC0415

    store = RegionStore(layout.regions)
    units = task_units(config, task, store.regions)
    kept = layout.finetune / "unfinished" / task.name
    if _known(kept) != wanted:
        remove_tree(kept)
        write_json(kept / "run.json", wanted)
    poi = layout.embeddings / "poi.parquet"
    both = settings.pois and poi.is_file()
    pois = read_embeddings(poi) if both else np.zeros((len(store), 0), np.float32)
    model = load_bundle(layout.bundle).model
    samples = Samples(units.weights, units.target, beside=units.inputs(pois))
    tuner = FineTuner(model, store, samples, settings, device=config.pretrain.device)
    plans = check_splits(units, config.evaluate, edge=store.info.edge, seed=config.seed)
    plans = [plan for plan in plans if plan.protocol is None]  # a published protocol has a probe of its own
    found, findings = [], []
    for plan in plans:
        some = replace(plan, folds=plan.folds[: settings.seeds])
        predicted, done = _held_out(tuner, units, some, config.seed, kept)
        found.append(score_predictions(units, some, predicted, features=BOTH if both else IMAGE, probe=PROBE))
        findings.append(fine_tuning(units, some, done))
    scores = Scores.joined(found)
    with write_aside(layout.finetune / task.name) as aside:
        aside.mkdir()
        write_json(aside / "scores.json", scores.to_json())
        (aside / "scores.md").write_text(scores.to_markdown(), encoding="utf-8")
        scores.held_out.to_parquet(aside / "held_out.parquet")
        write_json(aside / "audit.json", Audit(task.name, tuple(findings)).to_json())
        write_json(aside / "run.json", wanted)
    remove_tree(kept)
    with contextlib.suppress(OSError):
        kept.parent.rmdir()  # unless another task was killed


def _held_out(
    tuner: FineTuner, units: Units, plan: SplitPlan, seed: int, kept: Path
) -> tuple[NDArray[np.float64], list[Tuned]]:
    """Predict every unit by an encoder that was tuned far from it; folds that a killed run has done are read.

    Returns
    -------
    Predictions, shape ``(seeds, u)`` or ``(seeds, u, k)``, and what was done in each fold.
    """
    predicted = np.full((len(plan.folds), *units.target.shape), np.nan)
    jobs = [(repeat, fold) for repeat, folds in enumerate(plan.folds) for fold in range(len(folds))]
    all_done = []
    for repeat, fold in track(jobs, f"fine-tunes {units.task.name}", total=len(jobs)):
        train, test = plan.folds[repeat][fold]
        path = kept / f"{plan.kind}-{repeat}-{fold}.json"
        if path.is_file():
            done = read_json(path)
        else:
            own = _seed(seed + repeat, plan.kind, fold)
            inner = plan.inner(units, train, own)
            fit, stop = (train[rows] for rows in inner[0]) if inner else (train, train[:0])
            columns = tuner.samples.beside.shape[1] - len(units.offsets)
            start = _start(units, plan, columns, plan.inner_seed(seed, repeat))
            result = tuner.fold(fit, stop, test, start=start, seed=own)
            done = {
                "learned": fit.tolist(),
                "chose": stop.tolist(),
                "predicted": result.predicted.tolist(),
                "epoch": result.epoch,
                "losses": result.losses,
            }
            write_json(path, done)
        predicted[repeat, test] = done["predicted"]
        learned, chose = (np.asarray(done[part], np.int64) for part in ("learned", "chose"))
        all_done.append(Tuned(learned, chose, test, int(done["epoch"])))
    epochs = ", ".join(str(done.epoch) for done in all_done)
    log.info("%s, split %s: epochs taken %s (0 is the probe)", units.task.name, plan.kind, epochs)
    return predicted, all_done


def _start(units: Units, plan: SplitPlan, pois: int, seed: int) -> Start:
    """Return what fits the linear probe of the kind of label, its penalty chosen on inner blocks as ever.

    After the image's features come ``pois`` columns of POIs, and the groups' offsets: the probe weighs them against
    each other.
    """

    def fit(
        rows: Rows, X: NDArray[np.float32], wanted: NDArray[np.float32]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        labels = wanted if units.classes else wanted[:, 0]
        parts = (X.shape[1] - len(units.offsets) - pois, pois) if pois else ()
        probe = make_probe("ridge", seed=seed, kind=units.task.label, parts=units.input_parts(parts, X.shape[1]))
        return probe.fit(X, labels, inner=plan.inner(units, rows, seed)).linear()

    return fit


def _seed(seed: int, kind: str, fold: int) -> int:
    """Return a seed of one fold's own."""
    digest = hashlib.blake2b(f"{seed} {kind} {fold}".encode(), digest_size=7).digest()
    return int.from_bytes(digest, "big")
