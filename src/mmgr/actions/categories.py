"""Categories: the clean POI tables become category vectors."""

from __future__ import annotations

from mmgr.categories import CategoryVectors, category_figure, fit_category_vectors
from mmgr.config import Config
from mmgr.console import log
from mmgr.files import write_aside
from mmgr.layout import Layout
from mmgr.pois import PoiTables
from mmgr.store import RegionStore


def act(config: Config, layout: Layout) -> None:
    """Write the vectors, their taxonomy and a picture; an empty folder without POIs."""
    with write_aside(layout.categories) as aside:
        aside.mkdir()
        if config.pois is None:
            log.info("no POIs in the configuration: no category vectors")
            return
        vectors = _imported(layout) if config.pois.vectors else _fitted(config, layout)
        vectors.save(aside)
        category_figure(vectors, aside / "categories.png")


def _imported(layout: Layout) -> CategoryVectors:
    """Return the vectors that came with the POIs: nothing is learned of their categories."""
    log.info("the categories have the vectors that their POIs came with")
    return CategoryVectors.load(layout.pois)


def _fitted(config: Config, layout: Layout) -> CategoryVectors:
    tables = PoiTables.load(layout.pois)
    cell = RegionStore(layout.regions).info.edge
    return fit_category_vectors(tables, config.categories, cell=cell, seed=config.seed)
