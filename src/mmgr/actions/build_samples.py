"""Build from samples of the research code: PNGs and POI vectors become a region store and a table of categories."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np

from mmgr.config import Config
from mmgr.console import log, track
from mmgr.errors import RegionError
from mmgr.files import write_aside, write_json
from mmgr.layout import Layout
from mmgr.regions import crs_of_polygons, make_regions_over, region_edge
from mmgr.stages import input_fingerprint
from mmgr.store import Patches, PoiBags, StoreInfo, write_store
from mmgr.taxonomy import Taxonomy

if TYPE_CHECKING:
    from mmgr.reference.samples import Samples

_SHOWN = 5


def build_samples(config: Config, layout: Layout) -> None:
    """Write the region store and, with POIs, the category vectors that stand behind theirs.

    Samples say nothing of where they are. Their regions have a place only where polygons of the same ids are given,
    and a true area only then or where `regions.size` is; otherwise POIs are counted as if each region had 1 km2.
    """
    from mmgr.reference.samples import read_samples  # noqa: PLC0415 - torch loads slowly
    from mmgr.reference.table import bags_of, recover_categories  # noqa: PLC0415

    assert config.images is not None  # noqa: S101 - the configuration was checked
    pois = config.pois
    samples = read_samples(config.images.path, pois.vectors if pois else None, pois.edges if pois else None)
    regions = _regions(config, samples)
    size = config.regions.size
    placed = regions.crs is not None
    # where nobody knows the area, a density is a count
    nominal = 1.0 if size is None else (size / 1000) ** 2
    area = regions.area.to_numpy() / 1e6 if placed else np.full(len(regions), nominal)
    bags, taxonomy = PoiBags.empty(len(regions)), Taxonomy((), ())
    with write_aside(layout.pois) as aside:
        aside.mkdir()
        if samples.vectors:
            vectors, categories = recover_categories(samples.vectors)
            vectors.save(aside)
            bags, taxonomy = bags_of(categories, area.astype(np.float32)), vectors.taxonomy
    shown = config.model_dump(mode="json")
    info = StoreInfo(
        crs=regions.crs.to_string() if placed else "",
        pixels=config.regions.pixels,
        bands=3,
        edge=region_edge(regions) if placed else size or 0.0,
        taxonomy=taxonomy,
        provenance={
            "software": version("mmgr"),
            "name": config.name,
            "seed": config.seed,
            "places": "polygons" if placed else "none",
            "area": "polygons" if placed else "regions.size" if size else "1 km2 for each region, since none is known",
            "settings": {key: shown[key] for key in ("images", "regions", "pois")},
            "inputs": {name: input_fingerprint(path, what=name) for name, path in config.build_inputs.items()},
        },
    )
    shutil.rmtree(layout.unfinished_regions, ignore_errors=True)
    store = layout.unfinished_regions / "regions.lance"
    store.parent.mkdir(parents=True)
    write_store(store, regions=regions, patches=_patches(samples, config.regions.pixels), bags=bags, info=info)
    with write_aside(layout.regions) as aside:
        store.rename(aside)
    write_json(layout.set_aside, [])
    shutil.rmtree(layout.unfinished_regions)
    where = f"in {info.crs}" if placed else "without a place: to map them, name polygons of their ids as `regions.path`"
    log.info("%d regions %s", len(regions), where)


def _regions(config: Config, samples: Samples) -> gpd.GeoDataFrame:
    """Return the samples' regions, with the polygons of their ids where such are given."""
    settings = config.regions
    names = list(samples.names)
    if settings.path is None:
        frame = gpd.GeoDataFrame({"group": [""] * len(names)}, geometry=[None] * len(names), index=names)
        return frame.rename_axis("region_id")
    polygons = settings.model_copy(update={"kind": "polygons"})
    crs = crs_of_polygons(polygons)
    frame = make_regions_over(np.empty(0, object), polygons, crs)
    missing = [name for name in names if name not in frame.index]
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise RegionError(
            f"regions.path: {settings.path} has no polygon of the ids {', '.join(missing[:_SHOWN])}{more}; its column "
            f"`{settings.id}` has {len(frame)}, such as {', '.join(frame.index[:_SHOWN])}. Ids are the names of the "
            "images without their ending."
        )
    return frame.loc[names]


def _patches(samples: Samples, pixels: int) -> Iterator[Patches]:
    from mmgr.reference.samples import read_image  # noqa: PLC0415 - as above

    for row, path in enumerate(track(samples.images, "reading images")):
        yield Patches(row, ("",), read_image(path, pixels)[None])
