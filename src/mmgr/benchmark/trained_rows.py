"""Rows that are trained: our recipes, by the code of `mmgr pretrain` and `mmgr embed`, and others' methods."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from mmgr.benchmark.rows import Context, Kind, Made, Row
from mmgr.benchmark.settings import departures, pretrain_of
from mmgr.embeddings import read_embeddings, read_provenance
from mmgr.files import remove_tree
from mmgr.layout import Layout


@dataclass(frozen=True)
class RowLayout(Layout):
    """Where a row's model and vectors lie; regions, POIs and category vectors are the run's."""

    run: Layout

    @property
    def regions(self) -> Path:
        """The run's region store."""
        return self.run.regions

    @property
    def pois(self) -> Path:
        """The run's POI tables."""
        return self.run.pois

    @property
    def categories(self) -> Path:
        """The run's category vectors."""
        return self.run.categories


def by_recipe(context: Context, recipe: str) -> Made:
    """Train by a recipe and return `[image, POI]`, as `mmgr pretrain` and `mmgr embed` make it.

    A killed training goes on from its last checkpoint. Where the run itself has trained so, its bundle is taken.
    """
    from mmgr.bundle import load_bundle  # noqa: PLC0415 - torch loads slowly

    mine = context.config.pretrain
    pretrain, before = pretrain_of(mine, recipe), 0.0
    if context.trained is not None and mine.bundle is None and recipe == mine.recipe:
        pretrain, before = pretrain.model_copy(update={"bundle": context.layout.bundle}), context.trained
        remove_tree(context.folder / "pretrain")  # begun before the run trained so
    start = time.perf_counter()
    config = context.config.model_copy(update={"pretrain": pretrain})
    layout = RowLayout(context.folder, context.layout)
    for stage in ("pretrain", "embed"):
        import_module(f"mmgr.actions.{stage}").act(config, layout)
    seconds = before + time.perf_counter() - start
    vectors = read_embeddings(layout.embeddings / "embeddings.parquet")
    if config.images is None:
        return Made(vectors, note="no images: POIs alone, nothing trained", seconds=seconds)
    count = sum(weight.numel() for weight in load_bundle(layout.bundle).model.parameters())
    image = int(read_provenance(layout.embeddings / "embeddings.parquet")["image_dimensions"])
    parts = (image, vectors.shape[1] - image) if image < vectors.shape[1] else ()
    return Made(vectors, count, departures(mine, recipe), seconds, parts)


def elsewhere(context: Context, module: str, name: str) -> Made:
    """Make a row by a function of a module that needs torch, which loads slowly."""
    made: Made = getattr(import_module(f"mmgr.benchmark.{module}"), name)(context)
    return made


def _recipe_row(name: str, kind: Kind, title: str, needs: Kind | None = None) -> Row:
    return Row(name, kind, partial(by_recipe, recipe=name), title, trained=True, needs=needs)


ROWS = (
    _recipe_row("simclr", "image", "SimCLR (Chen et al. 2020)"),
    Row("byol", "image", partial(elsewhere, module="byol", name="byol"), "BYOL (Grill et al. 2020)", trained=True),
    Row(
        "tile2vec",
        "image",
        partial(elsewhere, module="tile2vec", name="tile2vec"),
        "Tile2Vec (Jean et al. 2019): triplets of near and distant regions",
        trained=True,
    ),
    Row(
        "pg-simclr",
        "both",
        partial(elsewhere, module="pg_simclr", name="pg_simclr"),
        "PG-SimCLR (Xi et al. 2022): positives are regions with like POIs; image features alone",
        trained=True,
    ),
    Row(
        "hgi-like",
        "poi",
        partial(elsewhere, module="infomax", name="infomax"),
        "a small graph infomax over POIs, regions and city, after HGI (Huang et al. 2023)",
    ),
    _recipe_row("mmgr-2023", "both", "[image, POI] by the published choices (Bai et al. 2023), faults repaired"),
    _recipe_row("mmgr", "both", "[image, POI] by our recipe, with what lies around each region", needs="poi"),
)
"""The rows of this module; `mmgr` goes without images, too."""
