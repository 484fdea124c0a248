"""Report: everything that the run made becomes one page."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import yaml

from mmgr.actions.evaluate import IMAGE, MAIN, POI
from mmgr.actions.finetune import fine_tuned, fine_tuning_findings
from mmgr.categories import CategoryVectors
from mmgr.config import Config
from mmgr.embeddings import read_embeddings, read_provenance
from mmgr.evaluate import Results, Scores
from mmgr.evaluate.audit import Audit
from mmgr.evaluate.probes import PROBE_TITLES, probe_names
from mmgr.files import read_json
from mmgr.layout import Layout
from mmgr.maps.colours import embedding_colours
from mmgr.maps.explorer import MOST_THUMBNAILS, Explorer, Layer
from mmgr.maps.neighbours import choose_examples, nearest_neighbours
from mmgr.maps.predictions import prediction_layers
from mmgr.maps.report import Alike, Example, MapImage, ReportContent, write_report
from mmgr.store import RegionStore

EXAMPLES, ALIKE = 6, 5
"""Regions shown with those most like them, and how many."""
_LEARNED_FROM = {
    MAIN: "images and points of interest",
    IMAGE: "images alone",
    POI: "points of interest alone",
}

_HOW_SURE = {
    "number": "Upper minus lower end of each prediction's interval: the wider, the less is known.",
    "class": "How many classes are possible: the more, the less is known. Where no class passed, all are possible.",
    "shares": "Upper minus lower end of the widest interval of a class's share: the wider, the less is known.",
}


def act(config: Config, layout: Layout) -> None:
    """Gather what the earlier stages wrote, and write the page."""
    store = RegionStore(layout.regions)
    evaluation = layout.evaluation
    results = Results.read(evaluation / "scores.json")
    tuned = fine_tuned(config, layout)
    scores = Scores.joined([results.scores, tuned]).to_frame()
    with_images, with_pois = ((layout.embeddings / f"{part}.parquet").is_file() for part in ("image", "poi"))
    main = MAIN if with_images and with_pois else IMAGE if with_images else POI
    write_report(
        layout.report,
        ReportContent(
            title=config.name,
            regions=len(store),
            learned_from=_LEARNED_FROM[main],
            facts=_facts(config, layout, store),
            notes=config.notes,
            scores=scores,
            curves=pd.DataFrame([score.flat() for score in results.scores.curves]),
            differences=pd.DataFrame([asdict(difference) for difference in results.scores.differences]),
            main_features=main,
            # what labels have trained is shown beside, and is no baseline of what they have not
            baselines=tuple(name for name in dict.fromkeys(results.scores.to_frame()["features"]) if name != main),
            predictions=pd.read_parquet(evaluation / "held_out.parquet"),
            units={task.name: task.unit for task in config.tasks},
            intervals=results.intervals,
            applicability=results.applicability,
            audit=_audit(config, layout) if results.scores.records else None,
            monitor=pd.read_csv(layout.monitor) if layout.monitor.is_file() else None,
            maps=_maps(config, layout),
            explorer=_explorer(config, layout, store),
            neighbours=_examples(config, layout, store) if with_images else (),
            category_figure=layout.categories / "categories.png" if with_pois else None,
            category_neighbours=_category_neighbours(layout) if with_pois else (),
            coverage=_coverage(store, read_json(evaluation / "coverage.json")),
            set_aside=[(entry["path"], entry["reason"]) for entry in read_json(layout.set_aside)],
            attribution=config.attribution,
            provenance=_provenance(config, layout, store),
        ),
    )


def _audit(config: Config, layout: Layout) -> Audit:
    found = Audit.from_json(read_json(layout.evaluation / "audit.json"))
    return found.extended(fine_tuning_findings(config, layout))


def _facts(config: Config, layout: Layout, store: RegionStore) -> list[tuple[str, str]]:
    groups = [name for name in store.regions["group"].unique() if name]
    facts = [
        ("Regions", f"{len(store):,} of {store.info.edge:.0f} m" + (f" in {len(groups)} groups" if groups else "")),
    ]
    if store.info.bands:
        facts.append(("Patches", f"{int(store.views.sum()):,} of {store.info.pixels} x {store.info.pixels} pixels"))
    if len(store.info.taxonomy):
        told = read_provenance(layout.embeddings / "embeddings.parquet").get("poi_categories")
        facts.append(("POI categories", told or str(len(store.info.taxonomy))))
    if store.info.bands:
        recipe = yaml.safe_load((layout.bundle / "config.yaml").read_text(encoding="utf-8"))["recipe"]
        facts += [("Encoder", recipe["encoder"]), ("Recipe", recipe["name"])]
    facts.append(("Tasks", ", ".join(task.title for task in config.tasks) or "none"))
    return facts


def _maps(config: Config, layout: Layout) -> list[MapImage]:
    shown = []
    coverage = read_json(layout.evaluation / "coverage.json")
    for task in config.tasks:
        (probe,) = probe_names(config.evaluate.probes[:1], task.label)
        groups = len(coverage[task.name]["offsets"])
        seen = f"the vectors, with an offset for each of {groups} groups" if groups else "the vectors"
        caption = f"{PROBE_TITLES[probe]} on {seen}, fitted on all labelled units, predicted for every region."
        title = f"Predicted {task.title}"
        shown.append(MapImage(title, caption, layout.maps / f"{task.name}.png"))
        if task.label != "number":
            what = "probability" if task.label == "class" else "share"
            shares = f"The predicted {what} of each class."
            shown.append(MapImage(f"{title}: shares", shares, layout.maps / f"{task.name}_shares.png"))
        width = layout.maps / f"{task.name}_interval.png"
        if width.is_file():
            caption = _HOW_SURE[task.label]
            shown.append(MapImage(f"How sure: {task.title}", caption, width))
    caption = "Three principal components of the vectors as red, green and blue."
    return [*shown, MapImage("Embeddings", caption, layout.maps / "embeddings.png")]


def _explorer(config: Config, layout: Layout, store: RegionStore) -> Explorer:
    predictions = gpd.read_parquet(layout.evaluation / "predictions.parquet")
    colours = embedding_colours(read_embeddings(layout.embeddings / "embeddings.parquet"))
    layers = [
        layer for task in config.tasks for layer in prediction_layers(predictions, task, config.evaluate.intervals)
    ]
    thumbnails: list[Any] = []
    if store.info.bands and len(store) <= MOST_THUMBNAILS:
        thumbnails = [views[-1][..., :3] if len(views) else None for batch in store.iterate() for views in batch]
    return Explorer(store.regions, [*layers, Layer("Embeddings", colours)], thumbnails)


def _examples(config: Config, layout: Layout, store: RegionStore) -> list[Example]:
    vectors = read_embeddings(layout.embeddings / "image.parquet")
    regions = store.regions
    seen = regions["views"].to_numpy() > 0
    rows = choose_examples(vectors, EXAMPLES, config.seed, preferred=seen)
    centres = np.stack([regions.geometry.centroid.x, regions.geometry.centroid.y], axis=1)
    apart = 2 * store.info.edge
    found, similarity = nearest_neighbours(
        vectors - vectors.mean(axis=0), rows, ALIKE, centres=centres, min_distance=apart, candidates=seen
    )
    ids = regions.index.to_numpy()

    def patch(row: int) -> Any:
        views = store.patches([row])[0]
        return views[-1][..., :3] if len(views) else None

    return [
        Example(
            str(ids[row]),
            patch(row),
            [Alike(str(ids[i]), float(s), patch(i)) for i, s in zip(near, alike, strict=True) if i >= 0],
        )
        for row, near, alike in zip(rows, found, similarity, strict=True)
    ]


def _category_neighbours(layout: Layout) -> list[tuple[str, list[str]]]:
    vectors = CategoryVectors.load(layout.categories)
    names = vectors.taxonomy.names
    nearest, _ = vectors.neighbours(min(4, len(names) - 1))
    return [(name, [names[number] for number in row]) for name, row in zip(names, nearest, strict=True)]


def _coverage(store: RegionStore, coverage: dict[str, Any]) -> list[tuple[str, str]]:
    regions = store.regions
    rows = []
    if len(store.info.taxonomy):
        known, present = regions["pois"].notna().sum(), (regions["pois"] > 0).sum()
        rows.append(("POIs", f"known in {known:,} of {len(regions):,} regions, at least one in {present:,}"))
    return [*rows, *((task, labelled_sentence(facts)) for task, facts in coverage.items())]


def labelled_sentence(facts: Mapping[str, Any]) -> str:
    """Say how many regions or polygons have a label and from what, given :meth:`mmgr.evaluate.Units.facts`."""
    if facts["kind"] == "polygons":
        share = facts["coverage"]
        return (
            f"{facts['units']:,} label polygons, for which {facts['regions_used']:,} of {facts['regions']:,} "
            f"regions stand; these cover {share['area']:.1%} of their area ({share['median']:.1%} in the median)"
        )
    start = f"{facts['units']:,} of {facts['regions']:,} regions have a label"
    if "points" in facts:
        points = facts["points"]
        return (
            f"{start}, from {points['lowest']:,.0f} to {points['highest']:,.0f} points each "
            f"({points['median']:,.10g} in the median)"
        )
    share = facts["coverage"]
    return (
        f"{start}, from {share['area']:.1%} of their area ({share['lowest']:.0%} to {share['highest']:.0%} of a region)"
    )


def _provenance(config: Config, layout: Layout, store: RegionStore) -> dict[str, Any]:
    stages = {}
    for path in sorted((layout.folder / "stages").glob("*.json"), key=lambda p: read_json(p)["finished"]):
        record = read_json(path)
        stages[record["stage"]] = (
            f"{record['seconds']:.1f} s, at most {record['peak_rss_mb']:,} MB, key {record['key']}"
        )
    libraries = ("torch", "timm", "rasterio", "geopandas", "scikit-learn", "numpy")
    return {
        "software": f"MMGR {version('mmgr')}",
        "seed": config.seed,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "libraries": {name: version(name) for name in libraries},
        "region store": {"CRS": store.info.crs, "schema version": store.info.schema_version},
        "stages": stages,
        "configuration": layout.config.read_text(encoding="utf-8"),
    }
