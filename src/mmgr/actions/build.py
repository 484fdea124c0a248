"""Build: imagery, regions and POIs become a region store."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import geopandas as gpd
from threadpoolctl import threadpool_limits

from mmgr.config import Config
from mmgr.console import log, track
from mmgr.errors import RegionError
from mmgr.files import read_json, settings_hash, write_aside, write_json
from mmgr.imagery import Imagery, cut_patches, store_crs
from mmgr.layout import Layout
from mmgr.pois import PoiTables, check_overlap, make_bags, read_pois, settle_outside
from mmgr.regions import make_regions, region_edge
from mmgr.stages import input_fingerprint
from mmgr.store import Patches, PoiBags, StoreInfo, stored_ids, write_store
from mmgr.taxonomy import Taxonomy


def act(config: Config, layout: Layout) -> None:
    """Write the region store, the clean POI tables and the list of images set aside."""
    imagery = Imagery.open(config.images)
    crs = store_crs(imagery, config.regions.crs)
    regions = make_regions(config.regions, imagery, crs)
    edge = region_edge(regions)
    bags, taxonomy = PoiBags.empty(len(regions)), Taxonomy((), ())
    if config.pois:
        tables = read_pois(config.pois, crs=crs)
        check_overlap(tables, regions)
        tables = settle_outside(tables, regions, config.pois)
        bags, taxonomy = make_bags(tables, regions, radius=config.pois.radius), tables.taxonomy
        _save_tables(tables, layout.pois)
    else:
        shutil.rmtree(layout.pois, ignore_errors=True)
    info = StoreInfo(
        crs=crs.to_string(),
        pixels=config.regions.pixels,
        bands=len(config.images.bands),
        edge=edge,
        taxonomy=taxonomy,
        provenance={
            "software": version("mmgr"),
            "name": config.name,
            "seed": config.seed,
            "settings": {
                "images": config.images.model_dump(mode="json"),
                "regions": config.regions.model_dump(mode="json"),
            },
            "inputs": {"images.path": input_fingerprint(config.images.path, what="images.path")},
        },
    )
    _write(config, layout, imagery=imagery, regions=regions, bags=bags, info=info)


def _save_tables(tables: PoiTables, folder: Path) -> None:
    with write_aside(folder) as aside:
        tables.save(aside)


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
    _finish(layout, imagery)
    log.info("%d regions of %.0f m in %s", written, info.edge, info.crs)


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
            noted = _note_set_aside(unfinished, imagery)
        yield item
    _note_set_aside(unfinished, imagery)


def _note_set_aside(unfinished: Path, imagery: Imagery) -> int:
    path = unfinished / "set_aside.json"
    listed = {entry["path"]: entry["reason"] for entry in (read_json(path) if path.is_file() else [])}
    listed |= {str(entry.path): entry.reason for entry in imagery.set_aside}
    write_json(path, [{"path": name, "reason": reason} for name, reason in sorted(listed.items())])
    return len(imagery.set_aside)


def _finish(layout: Layout, imagery: Imagery) -> None:
    _note_set_aside(layout.unfinished_regions, imagery)
    with write_aside(layout.regions) as aside:
        (layout.unfinished_regions / "regions.lance").rename(aside)
    (layout.unfinished_regions / "set_aside.json").replace(layout.set_aside)
    shutil.rmtree(layout.unfinished_regions)
    for entry in read_json(layout.set_aside):
        log.warning("set aside: %s: %s", entry["path"], entry["reason"])
