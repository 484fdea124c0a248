"""Evaluate: embeddings and labels become scores beside baselines, and predictions everywhere."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config
from mmgr.console import log, quiet
from mmgr.embeddings import read_embeddings, read_provenance, write_geoparquet
from mmgr.evaluate import (
    IntervalScore,
    Results,
    Scores,
    Units,
    check_splits,
    judge_predictions,
    poi_density_features,
    predict_everywhere,
    score_features,
    task_units,
)
from mmgr.evaluate.audit import Keys, Reach, Scored, audit_run
from mmgr.evaluate.parts import Widths
from mmgr.files import write_aside, write_json
from mmgr.layout import Layout
from mmgr.maps.class_maps import dominant
from mmgr.store import RegionStore

MAIN = "[image, POI]"
IMAGE, POI, BESIDE = "image only", "POI only", "image + POI densities"
"""What the vectors are called where there are no POIs, or no images."""


def act(config: Config, layout: Layout) -> None:
    """Write scores, held-out predictions and predictions for all regions."""
    store = RegionStore(layout.regions)
    features = feature_sets(store, layout)
    main = main_features(features)
    parts = part_widths(layout, features)
    regions = store.regions
    predictions = regions[["group", "geometry"]].copy()
    all_scores: list[Scores] = []
    intervals: list[IntervalScore] = []
    applicability, coverage = [], {}
    scored: list[Scored] = []
    for task in config.tasks:
        units = task_units(config, task, regions)
        log.info("%s: %d labelled %s", task.name, len(units.values), units.kind)
        scores = score_features(
            units, features, config.evaluate, edge=store.info.edge, seed=config.seed, main=main, parts=parts
        )
        all_scores.append(scores)
        first = config.evaluate.probes[0]
        values = predict_everywhere(units, features[main], probe=first, seed=config.seed, parts=parts.get(main, ()))
        if task.groups is not None:
            values[~regions["group"].isin(task.groups).to_numpy()] = np.nan
        for name, column in prediction_columns(units, values).items():
            predictions[name] = column
        trust = judge_predictions(
            units,
            features[main],
            values,
            config.evaluate,
            edge=store.info.edge,
            seed=config.seed,
            features_name=main,
            parts=parts.get(main, ()),
        )
        for name, column in trust.columns().items():
            predictions[f"{task.name}_{name}"] = column if column.dtype.kind in "bO" else column.astype(np.float32)
        intervals += trust.scores
        if trust.applicability is not None:
            applicability.append(trust.applicability.facts(task.name))
        coverage[task.name] = units.facts()
        with quiet():  # scoring told of the same folds
            plans = check_splits(units, config.evaluate, edge=store.info.edge, seed=config.seed)
        scored.append(Scored(units, tuple(plans)))
    scores = Scores.joined(all_scores)
    reach = Reach.of(read_provenance(layout.embeddings / "embeddings.parquet"))
    audit = audit_run(config, store, scored, Keys.of(store, features[main]), reach)
    if audit.named:
        log.warning("the leakage audit names %d paths; the report and `mmgr audit` list them", len(audit.named))
    provenance = {"software": version("mmgr"), "name": config.name, "seed": config.seed, "features": main}
    with write_aside(layout.evaluation) as aside:
        aside.mkdir()
        Results(scores, intervals, applicability).write(aside / "scores.json")
        (aside / "scores.md").write_text(scores.to_markdown(), encoding="utf-8")
        (aside / "summary.txt").write_text(_summary(scores, intervals), encoding="utf-8")
        write_json(aside / "coverage.json", coverage)
        write_json(aside / "audit.json", audit.to_json())
        scores.held_out.to_parquet(aside / "held_out.parquet")
        write_geoparquet(aside / "predictions.parquet", predictions, provenance)


def _summary(scores: Scores, intervals: list[IntervalScore]) -> str:
    """Return the scores, and how often intervals held, as a terminal shows them."""
    held = "\n".join(f"{record.task}, {record.split}: {record.sentence}" for record in intervals)
    return f"{scores.to_text()}\n\n{held}" if held else scores.to_text()


def check(config: Config, layout: Layout) -> None:
    """See that all labels and splits can be made, before hours are spent on training.

    Raises
    ------
    LabelError, SplitError
        As the stage itself would.
    """
    store = RegionStore(layout.regions)
    with quiet():  # the stage tells it all again
        for task in config.tasks:
            check_splits(
                task_units(config, task, store.regions), config.evaluate, edge=store.info.edge, seed=config.seed
            )


def prediction_columns(units: Units, values: NDArray[np.float64]) -> dict[str, NDArray[Any]]:
    """Return a task's columns in the table of predictions.

    A number is one column, under the task's name. Of classes and shares, that column is the class with the largest
    share, and each share has a column ``<task>.<class>``.
    """
    name = units.task.name
    if not units.classes:
        return {name: values.astype(np.float32)}
    largest = dominant(values)
    named = np.array([*units.classes, None], object)[largest]
    shares = {f"{name}.{cls}": values[:, number].astype(np.float32) for number, cls in enumerate(units.classes)}
    return {name: named, **shares}


def main_features(features: Collection[str]) -> str:
    """Return the feature set that predictions and the report are about: the vectors of all that there is."""
    return next(name for name in (MAIN, IMAGE, POI) if name in features)


def feature_sets(store: RegionStore, layout: Layout) -> dict[str, NDArray[np.float32]]:
    """Return every set of features that is scored, by its name in the tables."""
    part = {path.stem: path for path in layout.embeddings.glob("*.parquet")}
    if "poi" not in part:
        return {IMAGE: read_embeddings(part["image"]), "random encoder": read_embeddings(part["random"])}
    poi = read_embeddings(part["poi"])
    densities = poi_density_features(store.bags, len(store.info.taxonomy))  # NaN where unknown
    if "image" not in part:
        return {POI: poi, "POI densities": densities}
    image = read_embeddings(part["image"])
    return {
        MAIN: read_embeddings(part["embeddings"]),
        IMAGE: image,
        POI: poi,
        BESIDE: np.hstack([image, densities]),
        "POI densities": densities,
        "random encoder": read_embeddings(part["random"]),
    }


def part_widths(layout: Layout, features: Mapping[str, NDArray[np.float32]]) -> dict[str, Widths]:
    """Return the numbers of columns that are of images and of POIs, of those feature sets that have both."""
    if MAIN not in features:
        return {}
    facts = read_provenance(layout.embeddings / "embeddings.parquet")
    image = int(facts["image_dimensions"])
    return {name: (image, features[name].shape[1] - image) for name in (MAIN, BESIDE)}
