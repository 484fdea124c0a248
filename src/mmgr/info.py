"""Describe any artefact in a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from pyproj import CRS

from mmgr.errors import InputError
from mmgr.files import nearest_files, read_json
from mmgr.layout import Layout
from mmgr.lonlat import lonlat_bounds, places_of
from mmgr.store import RegionStore

Facts = list[tuple[str, str]]

_FREQUENT = 8
"""The most frequent categories are named, with"""
_NEAREST = 4
"""as many of their nearest."""


def describe(path: str | Path) -> Facts:
    """Return what an artefact is, as pairs of a name and a value.

    Parameters
    ----------
    path
        A region store, bundle, folder of category vectors, GeoParquet file of ours, or a run's
        output folder.

    Raises
    ------
    InputError
        If there is nothing, or nothing of ours.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path} does not exist. {nearest_files(path)}".strip())
    if path.is_dir():
        if (path / "manifest.json").is_file():
            return _bundle(path)
        if (path / "vectors.safetensors").is_file():
            return _categories(path)
        if (path / "stages").is_dir():
            return _output(Layout(path))
        if (path / "_versions").is_dir():
            return _store(path)
    elif path.suffix == ".parquet":
        return _table(path)
    raise InputError(
        f"{path} is no artefact of MMGR: neither a region store, a bundle, category vectors, embeddings, "
        "predictions nor an output folder."
    )


def _store(path: Path) -> Facts:
    store = RegionStore(path)
    regions, info = store.regions, store.info
    groups = regions["group"].value_counts()
    extent = "none: these regions have no place"
    if info.crs:
        west, south, east, north = lonlat_bounds(places_of(regions.geometry.to_numpy(), CRS.from_user_input(info.crs)))
        extent = f"{west:.4f} to {east:.4f} E, {south:.4f} to {north:.4f} N; CRS {info.crs}"
    facts = [
        ("region store", str(path)),
        ("regions", f"{len(store):,}" + (f" of {info.edge:.1f} m" if info.edge else ", of unknown size")),
        ("extent", extent),
        ("patches", _patches(store)),
    ]
    if groups.index.any():
        facts.append(("groups", ", ".join(f"{name or '(none)'} {count}" for name, count in groups.items())))
    if len(info.taxonomy):
        known = regions["pois"].notna().sum()
        facts.append(("POIs", f"known in {known:,} regions, present in {(regions['pois'] > 0).sum():,}"))
        facts.append(("categories", f"{len(info.taxonomy)} in {len(set(info.taxonomy.first))} first levels"))
    facts.append(("written by", f"MMGR {info.provenance.get('software', '?')}, schema {info.schema_version}"))
    return facts


def _patches(store: RegionStore) -> str:
    info = store.info
    if not info.bands:
        return "none: the run has no images"
    return f"{info.pixels} x {info.pixels} pixels, {info.bands} bands; {_spread(store.regions['views'])} dates"


def _bundle(path: Path) -> Facts:
    from mmgr.bundle import load_bundle  # noqa: PLC0415 - torch loads slowly

    bundle = load_bundle(path)
    weights = sum(parameter.numel() for parameter in bundle.model.parameters())
    recipe = bundle.recipe
    return [
        ("bundle", str(path)),
        ("recipe", f"{recipe.name}: {recipe.encoder}, {recipe.epochs} epochs, batch {recipe.batch_size}"),
        ("parameters", f"{weights / 1e6:.1f} million"),
        *([("trained on", f"patches of {bundle.patches}")] if bundle.patches else []),
        ("categories", str(len(bundle.taxonomy))),
        ("hashes", "checked"),
        ("written by", f"MMGR {bundle.manifest.get('software', '?')}, schema {bundle.manifest.get('schema_version')}"),
    ]


def _categories(path: Path) -> Facts:
    from mmgr.categories.vectors import SCHEMA_VERSION, CategoryVectors  # noqa: PLC0415 - numba loads slowly

    vectors = CategoryVectors.load(path)
    taxonomy, made = vectors.taxonomy, vectors.provenance
    rows = vectors.by_frequency[:_FREQUENT]
    nearest, similarity = vectors.neighbours(_NEAREST)
    return [
        ("category vectors", str(path)),
        ("method", f"{made.get('method', '?')}, seed {made.get('seed', '?')}"),
        ("categories", f"{len(taxonomy)} in {len(set(taxonomy.first))} first levels"),
        ("dimensions", str(vectors.vectors.shape[1])),
        ("most frequent", ", ".join(f"{taxonomy.names[row]} ({vectors.frequency[row]:,.0f})" for row in rows)),
        # one-hot and TF-IDF vectors of two categories are at right angles: none is near
        *(
            (f"near {taxonomy.names[row]}", ", ".join(taxonomy.names[other] for other in nearest[row]))
            for row in rows
            if (similarity[row] > 0).any()
        ),
        ("written by", f"MMGR {made.get('software', '?')}, schema {SCHEMA_VERSION}"),
    ]


def _table(path: Path) -> Facts:
    try:
        file = pq.ParquetFile(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is not a Parquet file that can be read: {error}") from error
    facts = [("table", str(path)), ("rows", f"{file.metadata.num_rows:,}")]
    schema = file.schema_arrow
    metadata = schema.metadata or {}
    if b"geo" in metadata:
        geo = json.loads(metadata[b"geo"])
        crs = geo["columns"][geo["primary_column"]].get("crs") or {}
        facts.append(("geometry", f"GeoParquet, {crs.get('name', 'OGC:CRS84')}"))
    facts.append(("columns", ", ".join(f"{field.name} ({field.type})" for field in schema)))
    if "embedding" in schema.names and file.metadata.num_rows:
        first = file.read_row_group(0, columns=["embedding"])["embedding"][0].as_py()
        facts.append(("dimensions", str(len(first))))
    if b"mmgr" in metadata:
        facts += [(key, str(value)) for key, value in json.loads(metadata[b"mmgr"]).items()]
    return facts


def _output(layout: Layout) -> Facts:
    facts = [("output folder", str(layout.folder))]
    for path in sorted((layout.folder / "stages").glob("*.json"), key=lambda p: read_json(p)["finished"]):
        record = read_json(path)
        seconds, memory = record["seconds"], record["peak_rss_mb"]
        facts.append((record["stage"], f"finished {record['finished']}, {seconds:.1f} s, at most {memory:,} MB"))
    return facts


def _spread(values: np.ndarray) -> str:
    low, high = int(np.min(values)), int(np.max(values))
    return str(low) if low == high else f"{low} to {high}"
