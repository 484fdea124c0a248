"""Audit: look at every path on which a test place may have had a part in what is scored."""

from __future__ import annotations

from mmgr.actions.finetune import fine_tuning_findings
from mmgr.config import Config
from mmgr.console import quiet
from mmgr.embeddings import read_embeddings, read_provenance
from mmgr.evaluate import check_splits, task_units
from mmgr.evaluate.audit import Audit, Keys, Reach, Scored, audit_run
from mmgr.layout import Layout
from mmgr.store import RegionStore


def audit(config: Config, layout: Layout) -> Audit:
    """Audit the splits of all tasks, as they are or will be scored.

    Parameters
    ----------
    config
        The run's configuration.
    layout
        Of its output folder: the region store must be there; embeddings are compared if they are, and what
        fine-tuning found of itself is added.
    """
    store = RegionStore(layout.regions)
    path = layout.embeddings / "embeddings.parquet"
    vectors = read_embeddings(path) if path.is_file() else None
    reach = Reach.of(read_provenance(path)) if path.is_file() else None
    tasks = []
    with quiet():  # scoring tells it all
        for task in config.tasks:
            units = task_units(config, task, store.regions)
            plans = check_splits(units, config.evaluate, edge=store.info.edge, seed=config.seed)
            tasks.append(Scored(units, tuple(plans)))
    keys = Keys.of(store, None if vectors is None or len(vectors) != len(store) else vectors)
    return audit_run(config, store, tasks, keys, reach).extended(fine_tuning_findings(config, layout))
