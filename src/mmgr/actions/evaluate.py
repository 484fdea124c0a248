"""Evaluate: embeddings and labels become scores beside baselines, and predictions everywhere."""

from __future__ import annotations

from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Config
from mmgr.console import log, quiet
from mmgr.embeddings import read_embeddings, write_geoparquet
from mmgr.evaluate import (
    Scores,
    check_splits,
    poi_density_features,
    predict_everywhere,
    read_units,
    score_features,
)
from mmgr.files import write_aside, write_json
from mmgr.layout import Layout
from mmgr.store import RegionStore

MAIN = "[image, POI]"
"""The feature set that predictions and the report are about; `image only` where there are no POIs."""


def act(config: Config, layout: Layout) -> None:
    """Write scores, held-out predictions and predictions for all regions."""
    store = RegionStore(layout.regions)
    features = feature_sets(store, layout)
    main = MAIN if MAIN in features else "image only"
    regions = store.regions
    predictions = regions[["group", "geometry"]].copy()
    all_scores, coverage = [], {}
    for task in config.tasks:
        units = read_units(task, regions)
        log.info("%s: %d labelled %s", task.name, len(units.values), units.kind)
        scores = score_features(units, features, config.evaluate, edge=store.info.edge, seed=config.seed, main=main)
        all_scores.append(scores)
        values = predict_everywhere(units, features[main], seed=config.seed)
        elsewhere = task.groups is not None and ~regions["group"].isin(task.groups).to_numpy()
        predictions[task.name] = np.where(elsewhere, np.nan, values).astype(np.float32)
        coverage[task.name] = units.facts()
    scores = Scores.joined(all_scores)
    provenance = {"software": version("mmgr"), "name": config.name, "seed": config.seed, "features": main}
    with write_aside(layout.evaluation) as aside:
        aside.mkdir()
        write_json(aside / "scores.json", scores.to_json())
        (aside / "scores.md").write_text(scores.to_markdown(), encoding="utf-8")
        (aside / "summary.txt").write_text(scores.to_text(), encoding="utf-8")
        write_json(aside / "coverage.json", coverage)
        scores.held_out.to_parquet(aside / "held_out.parquet")
        write_geoparquet(aside / "predictions.parquet", predictions, provenance)


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
            check_splits(read_units(task, store.regions), config.evaluate, edge=store.info.edge, seed=config.seed)


def feature_sets(store: RegionStore, layout: Layout) -> dict[str, NDArray[np.float32]]:
    """Return every set of features that is scored, by its name in the tables."""
    image = read_embeddings(layout.embeddings / "image.parquet")
    random = read_embeddings(layout.embeddings / "random.parquet")
    if not (layout.embeddings / "poi.parquet").is_file():
        return {"image only": image, "random encoder": random}
    densities = poi_density_features(store.bags, len(store.info.taxonomy))  # NaN where unknown
    return {
        MAIN: read_embeddings(layout.embeddings / "embeddings.parquet"),
        "image only": image,
        "POI only": read_embeddings(layout.embeddings / "poi.parquet"),
        "image + POI densities": np.hstack([image, densities]),
        "POI densities": densities,
        "random encoder": random,
    }
