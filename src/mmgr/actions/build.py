"""Build: imagery, regions and POIs become a region store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import geopandas as gpd
import numpy as np
from pyproj import CRS
from threadpoolctl import threadpool_limits

from mmgr.actions.build_samples import build_samples
from mmgr.config import Config
from mmgr.console import log, track
from mmgr.errors import RegionError
from mmgr.files import read_json, settings_hash, write_aside, write_json
from mmgr.imagery import Imagery, SetAside, cut_patches
from mmgr.layout import Layout
from mmgr.pois import (
    PoiTables,
    check_overlap,
    furthest_text,
    known_shapes,
    make_bags,
    poi_crs,
    read_pois,
    settle_outside,
)
from mmgr.regions import crs_of_polygons, crs_on_images, make_regions, make_regions_over, region_edge
from mmgr.stages import input_fingerprint
from mmgr.store import Patches, PoiBags, StoreInfo, stored_ids, write_store
from mmgr.taxonomy import Taxonomy


def act(config: Config, layout: Layout) -> None:
    """Write the region store, the clean POI tables and the list of images set aside."""
    if config.regions.kind == "samples":
        build_samples(config, layout)
        return
    imagery = None if config.images is None else Imagery.open(config.images)
    crs = _crs_without_images(config) if imagery is None else crs_on_images(config.regions, imagery)
    tables = None if config.pois is None else read_pois(config.pois, crs=crs)
    regions = _regions(config, imagery, tables, crs)
    bags, taxonomy = PoiBags.empty(len(regions)), Taxonomy((), ())
    if config.pois and tables:
        check_overlap(tables, regions)
        tables = settle_outside(tables, regions, config.pois)
        bags, taxonomy = make_bags(tables, regions, radius=config.pois.radius), tables.taxonomy
        _save_tables(tables, layout.pois)
    else:
        shutil.rmtree(layout.pois, ignore_errors=True)
    info = _info(config, regions, taxonomy)
    if imagery is None:
        _write_without_images(layout, regions=regions, bags=bags, info=info)
    else:
        _write(config, layout, imagery=imagery, regions=regions, bags=bags, info=info)


def _crs_without_images(config: Config) -> CRS:
    """Choose the CRS by the user's polygons; for a grid, by the POIs."""
    if config.regions.kind != "grid":
        return crs_of_polygons(config.regions)
    if config.pois is None:
        raise RegionError("a grid without images covers the POIs: name `pois`.")
    return poi_crs(config.pois, config.regions.crs)


def _regions(config: Config, imagery: Imagery | None, tables: PoiTables | None, crs: CRS) -> gpd.GeoDataFrame:
    if imagery is not None:
        return make_regions(config.regions, imagery, crs)
    if tables is None or config.regions.kind != "grid":
        return make_regions_over(np.empty(0, object), config.regions, crs)
    return make_regions_over(known_shapes(tables), config.regions, crs, hint=furthest_text(tables))


def _save_tables(tables: PoiTables, folder: Path) -> None:
    with write_aside(folder) as aside:
        tables.save(aside)


def _info(config: Config, regions: gpd.GeoDataFrame, taxonomy: Taxonomy) -> StoreInfo:
    """Describe the store; without images a patch has neither pixels nor bands."""
    shown = config.model_dump(mode="json")
    return StoreInfo(
        crs=regions.crs.to_string(),
        pixels=0 if config.images is None else config.regions.pixels,
        bands=0 if config.images is None else len(config.images.bands),
        edge=region_edge(regions),
        taxonomy=taxonomy,
        provenance={
            "software": version("mmgr"),
            "name": config.name,
            "seed": config.seed,
            "settings": {key: shown[key] for key in ("images", "regions", "pois")},
            "inputs": {name: input_fingerprint(path, what=name) for name, path in config.build_inputs.items()},
        },
    )


def _write(
    config: Config, layout: Layout, *, imagery: Imagery, regions: gpd.GeoDataFrame, bags: PoiBags, info: StoreInfo
) -> None:
    """Cut and store all patches, going on from where a killed build of the same settings stopped."""
    unfinished = layout.unfinished_regions
    mark = settings_hash([info.to_json(), list(regions.index)])
    done = _resume(unfinished, mark)
    if done:
        log.info("going on with an unfinished build: %d of %d regions are there", len(done), len(regions))
    patches = cut_patches(imagery, regions, pixels=config.regions.pixels, min_valid=config.regions.min_valid, skip=done)
    kept = _with_image(track(patches, "cutting patches", total=len(regions) - len(done)), bags, config)
    store_path = unfinished / "regions.lance"
    with threadpool_limits(1, user_api="blas"):  # a patch's products are so small that threads only wait
        write_store(store_path, regions=regions, patches=_noting(kept, imagery, unfinished), bags=bags, info=info)
    written = len(stored_ids(store_path))
    if not written:
        raise RegionError(
            f"no region has a patch of which {config.regions.min_valid:.0%} is image; "
            "lower `regions.min_valid`, or look at the list of images set aside."
        )
    if written < len(regions):
        log.info("%d of %d regions have too little image and are left out", len(regions) - written, len(regions))
    _finish(layout, imagery.set_aside)
    log.info("%d regions of %.0f m in %s", written, info.edge, info.crs)


def _write_without_images(layout: Layout, *, regions: gpd.GeoDataFrame, bags: PoiBags, info: StoreInfo) -> None:
    """Store the regions whose POIs are known: nothing else says anything of a region."""
    rows = np.flatnonzero(bags.known)
    if not len(rows):
        raise RegionError(
            f"no POIs are known in any of the {len(regions)} regions: no centre lies in a source's `area` or the box "
            "around its points, and no polygon of counts covers half a region."
        )
    if len(rows) < len(regions):
        log.info("%d of %d regions have unknown POIs and are left out", len(regions) - len(rows), len(regions))
    shutil.rmtree(layout.unfinished_regions, ignore_errors=True)
    layout.unfinished_regions.mkdir(parents=True)
    nothing = np.zeros((0, info.pixels, info.pixels, info.bands), np.uint8)
    patches = (Patches(int(row), (), nothing) for row in rows)
    path = layout.unfinished_regions / "regions.lance"
    write_store(path, regions=regions, patches=patches, bags=bags, info=info, batch=4096)
    _finish(layout, ())
    log.info("%d regions of %.0f m in %s, without images", len(rows), info.edge, info.crs)


def _resume(unfinished: Path, mark: str) -> set[str]:
    """Return the regions that an unfinished build of the same settings has stored."""
    mark_path = unfinished / "settings.json"
    if mark_path.is_file() and read_json(mark_path) == mark:
        return stored_ids(unfinished / "regions.lance")
    shutil.rmtree(unfinished, ignore_errors=True)
    write_json(mark_path, mark)
    return set()


def _with_image(patches: Iterator[Patches], bags: PoiBags, config: Config) -> Iterator[Patches]:
    """Leave out regions without image, save polygons that the user named and that have POIs."""
    present = bags.present
    for item in patches:
        if len(item.pixels) or (config.regions.kind == "polygons" and present[item.row]):
            yield item


def _noting(patches: Iterator[Patches], imagery: Imagery, unfinished: Path) -> Iterator[Patches]:
    """Write down each image that is set aside while patches are cut, so that a kill loses none."""
    noted = -1
    for item in patches:
        if len(imagery.set_aside) != noted:
            noted = _note_set_aside(unfinished, imagery.set_aside)
        yield item
    _note_set_aside(unfinished, imagery.set_aside)


def _note_set_aside(unfinished: Path, entries: Sequence[SetAside]) -> int:
    path = unfinished / "set_aside.json"
    listed = {entry["path"]: entry["reason"] for entry in (read_json(path) if path.is_file() else [])}
    listed |= {str(entry.path): entry.reason for entry in entries}
    write_json(path, [{"path": name, "reason": reason} for name, reason in sorted(listed.items())])
    return len(entries)


def _finish(layout: Layout, set_aside: Sequence[SetAside]) -> None:
    _note_set_aside(layout.unfinished_regions, set_aside)
    with write_aside(layout.regions) as aside:
        (layout.unfinished_regions / "regions.lance").rename(aside)
    (layout.unfinished_regions / "set_aside.json").replace(layout.set_aside)
    shutil.rmtree(layout.unfinished_regions)
    for entry in read_json(layout.set_aside):
        log.warning("set aside: %s: %s", entry["path"], entry["reason"])
