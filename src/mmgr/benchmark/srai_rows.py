"""Rows by `srai`, a library of region embedders, where it is installed: its counts, and its Hex2Vec.

Of srai are used its `IntersectionJoiner`, `AdjacencyNeighbourhood`, `CountEmbedder` and `Hex2VecEmbedder`; everything
that it would fetch from the network comes from the run instead.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from importlib import import_module
from io import StringIO
from itertools import pairwise
from typing import Any

import geopandas as gpd
import numpy as np
import torch

from mmgr.benchmark.rows import Context, LeftOut, Made, filled

EPOCHS = 5
"""Of Hex2Vec."""
SIZES = [150, 75, 50]
"""Its layers, as published."""


def counts(context: Context) -> Made:
    """Return srai's counts of each category in each region."""
    srai = _srai()
    regions, features, joint = _tables(context, srai)
    with _calm():
        found = srai["embedders"].CountEmbedder().transform(regions, features, joint)
    return Made(_ordered(context, found))


def hex2vec(context: Context) -> Made:
    """Train srai's Hex2Vec (Wozniak and Szymanski 2021) on adjacent regions."""
    srai = _srai()
    regions, features, joint = _tables(context, srai)
    near = srai["neighbourhoods"].AdjacencyNeighbourhood(regions)
    _check_neighbours(regions, near)
    embedder = _in_order(srai["embedders"].Hex2VecEmbedder)(encoder_sizes=SIZES)
    settings = {
        "max_epochs": EPOCHS, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "accelerator": "cpu", "default_root_dir": context.folder,
    }  # fmt: skip
    before = np.random.get_state()  # noqa: NPY002 - Hex2Vec draws from the global generators
    with _calm(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        np.random.seed(context.seed % 2**32)  # noqa: NPY002
        try:
            found = embedder.fit_transform(regions, features, joint, near, trainer_kwargs=settings)
        finally:
            np.random.set_state(before)  # noqa: NPY002
    categories = features.nunique().iloc[0]
    widths = [int(categories), *SIZES]
    count = sum((a + 1) * b for a, b in pairwise(widths))
    return Made(_ordered(context, found), count, f"{EPOCHS} epochs of Adam 0.001, batch 32")


def _srai() -> dict[str, Any]:
    """Import the parts of srai, or say what to install."""
    try:
        return {name: import_module(f"srai.{name}") for name in ("embedders", "joiners", "neighbourhoods")}
    except ImportError as error:
        raise LeftOut(f"srai cannot be imported ({error}): pip install 'mmgr[srai]'") from None


def _tables(context: Context, srai: dict[str, Any]) -> tuple[gpd.GeoDataFrame, gpd.GeoDataFrame, gpd.GeoDataFrame]:
    """Return regions, POIs and their pairs under the names of columns and indices that srai knows."""
    _ = context.centres  # left out where there are none
    points, taxonomy = context.points, context.tables.taxonomy
    names = np.array(taxonomy.names, object)[points["category"].to_numpy()]
    # numbers instead of names: srai keeps them in sets, and the order of a set of text differs from process to process
    regions = context.store.regions[["geometry"]].to_crs(4326).reset_index(drop=True).rename_axis("region_id")
    places = points.geometry.to_crs(4326).to_numpy()
    features = gpd.GeoDataFrame({"poi": names}, geometry=places, crs=4326).rename_axis("feature_id")
    with _calm():
        joint = srai["joiners"].IntersectionJoiner().transform(regions, features)
    if not len(joint):
        raise LeftOut("no region holds a POI that is a point")
    return regions, features, joint


def _in_order(kind: Any) -> Any:
    """Return an embedder whose table of counts has the regions' order; a join leaves it to chance."""

    class InOrder(kind):  # type: ignore[misc] # srai is not there when types are checked
        def _get_raw_counts(self, regions_gdf: Any, features_gdf: Any, joint_gdf: Any) -> Any:
            found = super()._get_raw_counts(regions_gdf, features_gdf, joint_gdf)
            return found.loc[regions_gdf.index, sorted(found.columns)]

    return InOrder


def _check_neighbours(regions: gpd.GeoDataFrame, near: Any) -> None:
    """Leave the row out where Hex2Vec would find no neighbour, or look for a distant region without end."""
    # its negatives are drawn until one is more than two borders away
    widest = max(len(near.get_neighbours_up_to_distance(name, 2, include_center=True)) for name in regions.index)
    if widest >= len(regions):
        raise LeftOut("all regions are within two borders of some region: there are no distant ones to contrast with")
    if not any(near.get_neighbours(name) for name in regions.index):
        raise LeftOut("no two regions share a border; Hex2Vec learns from those that do")


def _ordered(context: Context, found: Any) -> np.ndarray:
    vectors = found.loc[range(len(context.store))].to_numpy(np.float32)
    return filled(vectors, context.store.bags.known)


@contextmanager
def _calm() -> Iterator[None]:
    """Keep another library's warnings, bars and log lines off the console while the block runs."""
    noisy = [logging.getLogger(name) for name in ("pytorch_lightning", "lightning.pytorch")]
    levels = [logger.level for logger in noisy]
    with warnings.catch_warnings(), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        for logger in noisy:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(noisy, levels, strict=True):
                logger.setLevel(level)
