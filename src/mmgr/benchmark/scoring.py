"""Score rows on the same folds with the same probe; predictions that were made before are read."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.benchmark.concatenation import NAME, Concatenated, predict_concatenated
from mmgr.config import Evaluate, Task
from mmgr.console import log, track
from mmgr.evaluate import Scores, Units, check_splits
from mmgr.evaluate.parts import Widths
from mmgr.evaluate.plans import SplitPlan
from mmgr.evaluate.probes import ProbeName, probe_names
from mmgr.evaluate.scores import compare
from mmgr.evaluate.trials import Trial, make_trial, predict_held_out
from mmgr.files import read_json, settings_hash, write_aside, write_json


@dataclass(frozen=True, slots=True)
class Scored:
    """The vectors of a row that was made."""

    name: str
    vectors: NDArray[np.float32]
    """Shape ``(n, d)``."""
    parts: Widths = ()
    """Columns of each of its parts, which the probe weighs."""

    @property
    def key(self) -> str:
        """A hash of the vectors and their parts: of others nothing is read that was predicted before."""
        shape = f"{self.vectors.shape} {self.vectors.dtype} {self.parts} ".encode()
        return hashlib.sha256(shape + np.ascontiguousarray(self.vectors).tobytes()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores rows of one run, and keeps held-out predictions in a folder."""

    folder: Path
    settings: Evaluate
    probe: ProbeName
    edge: float
    """Edge of a region in metres."""
    seed: int

    def score(
        self, task: Task, units: Units, rows: Sequence[Scored], groups: Sequence[Sequence[str]], main: str
    ) -> tuple[Scores, dict[str, list[dict[str, int]]]]:
        """Score all rows of a task.

        Parameters
        ----------
        task, units
            The task and its labelled units.
        rows
            What is scored.
        groups
            Names of the rows of images and of POIs of which the best are concatenated; none where that is not asked
            for.
        main
            The row that is compared with the others.

        Returns
        -------
        Scores with differences, and by split how often the concatenation chose each row.
        """
        tables = {row.name: units.inputs(row.vectors) for row in rows}
        keys = {row.name: row.key for row in rows}
        widths = {row.name: row.parts for row in rows}
        base = {
            "task": task.model_dump(mode="json"),
            "units": read_from_files(units),
            "settings": self.settings.model_dump(mode="json"),
            "probe": self.probe,
            "seed": self.seed,
        }
        trials: list[Trial] = []
        found, chosen = [], {}
        for plan in check_splits(units, self.settings, edge=self.edge, seed=self.seed):
            # the linear probe has another name for each kind of label
            linear = probe_names((self.probe,), task.label)[0]
            name = linear if plan.protocol is None else plan.protocol.name
            own = []
            for row, X in track(tables.items(), f"scores {task.name}", total=len(tables)):
                predicted = self._row(base | {"split": plan.kind, "row": keys[row]}, units, X, plan, widths[row])
                own.append(make_trial(units, plan, row, name, predicted))
            if len(groups) > 1 and plan.protocol is None:
                parts = [{row: tables[row] for row in group} for group in groups]
                both = self._both(base | {"split": plan.kind, "rows": [[keys[n] for n in g] for g in groups]},
                                  units, parts, plan)  # fmt: skip
                own.append(make_trial(units, plan, NAME, name, both.predicted))
                chosen[plan.kind] = [dict(counter.most_common()) for counter in both.chosen]
            trials += own
            found += compare(plan, own, main)
        return Scores(tuple(trial.score for trial in trials), differences=tuple(found)), chosen

    def _row(
        self, identity: Mapping[str, Any], units: Units, X: NDArray[np.float32], plan: SplitPlan, parts: Widths
    ) -> NDArray[np.float64]:
        path = self.folder / f"{settings_hash({**identity, 'parts': parts})}.npy"
        if path.is_file():
            return np.asarray(np.load(path, allow_pickle=False), np.float64)
        predicted = predict_held_out(units, X, plan, self.probe, self.seed, parts=parts)
        _save(path, predicted)
        return predicted

    def _both(
        self,
        identity: Mapping[str, Any],
        units: Units,
        groups: Sequence[Mapping[str, NDArray[np.float32]]],
        plan: SplitPlan,
    ) -> Concatenated:
        path = self.folder / f"{settings_hash({**identity, 'parts': 'weighed'})}.npy"
        if path.is_file() and path.with_suffix(".json").is_file():
            chosen = [Counter(counts) for counts in read_json(path.with_suffix(".json"))]
            return Concatenated(np.asarray(np.load(path, allow_pickle=False), np.float64), chosen)
        log.info("%s, split %s: choosing the best rows inside the training folds", units.task.name, plan.kind)
        found = predict_concatenated(units, groups, plan, self.probe, self.seed)
        write_json(path.with_suffix(".json"), [dict(counter) for counter in found.chosen])
        _save(path, found.predicted)
        return found


def read_from_files(units: Units) -> str:
    """Hash what predictions depend on of a task's units, from whichever files it was read.

    A label has parts in several files (a shapefile's values, a raster's tiles, a column of folds in the regions'
    file), so that no file's own hash says whether it is the same.
    """
    sparse = [units.weights] if units.sources is None else [units.weights, units.sources]
    named = [units.group, *([] if units.own_folds is None else [units.own_folds]), np.array(units.classes)]
    arrays = [units.values, units.centres, *(column.astype(str) for column in named)]
    arrays += [part for matrix in sparse for part in (matrix.indptr, matrix.indices, matrix.data)]
    digest = hashlib.blake2b(digest_size=16)
    for array in arrays:
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def _save(path: Path, values: NDArray[np.float64]) -> None:
    with write_aside(path) as aside:
        np.save(aside, values)
