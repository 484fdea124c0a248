"""Benchmark: the region store becomes vectors by many methods, and these one table on the same folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmgr.benchmark.cache import Outcome, made_before, make_row, row_key, vectors_of
from mmgr.benchmark.known import MAIN
from mmgr.benchmark.results import Benchmark
from mmgr.benchmark.rows import Context, Row
from mmgr.benchmark.scoring import Scored, Scorer
from mmgr.benchmark.settings import common_recipe
from mmgr.config import Config
from mmgr.console import log, quiet
from mmgr.evaluate import Scores, Units, check_splits, task_units
from mmgr.evaluate.probes import ProbeName
from mmgr.files import remove_tree, write_text
from mmgr.layout import Layout
from mmgr.store import RegionStore


def act(
    config: Config,
    layout: Layout,
    rows: Sequence[Row],
    *,
    shared: Mapping[str, Any],
    concatenated: bool = True,
    probe: ProbeName = "ridge",
    force: bool = False,
    trained: float | None = None,
) -> Benchmark:
    """Make the rows that are not there yet, score all, and write table and figure.

    Parameters
    ----------
    config, layout
        The run; its regions, POIs and category vectors are there.
    rows
        What is made, in this order.
    shared
        What all rows' vectors depend on, for their keys.
    concatenated
        Whether the best of images and of POIs are scored side by side, too.
    probe
        The small model. A linear one asks what vectors hold, and little of what a probe makes of it.
    force
        Whether rows are made again that are there.
    trained
        Seconds that the run's own training took, where its bundle is up to date: the row of that recipe takes it.

    Raises
    ------
    LabelError, SplitError
        If labels or splits cannot be made; before any row is.
    """
    store = RegionStore(layout.regions)
    units = {task.name: task_units(config, task, store.regions) for task in config.tasks}
    scorer = Scorer(
        folder=layout.benchmark / "predictions",
        settings=config.evaluate.model_copy(update={"probes": (probe,), "fractions": ()}),
        probe=probe,
        edge=store.info.edge,
        seed=config.seed,
    )
    _check_splits(scorer, units)
    outcomes = _make(config, layout, rows, shared=shared, force=force, seconds=trained)
    made = [outcome for outcome in outcomes if outcome.state == "made"]
    scores, chosen = _score(config, layout, made, units, scorer, concatenated=concatenated)
    of_training = {row.name for row in rows if row.trained} & {row.name for row in made}
    settings = _settings(config) if of_training and config.images is not None else {}
    found = Benchmark(config.name, MAIN, settings, outcomes, scores, chosen)
    _write(found, layout)
    return found


def _make(
    config: Config,
    layout: Layout,
    rows: Sequence[Row],
    *,
    shared: Mapping[str, Any],
    force: bool,
    seconds: float | None,
) -> list[Outcome]:
    pretrain = config.pretrain.model_dump(mode="json", exclude={"tensorboard", "probe_every", "checkpoint_every"})
    trained = {"pretrain": pretrain, "embed": config.embed.model_dump(mode="json")}
    outcomes = []
    for number, row in enumerate(rows, start=1):
        key = row_key(row, shared, trained)
        folder, work = layout.benchmark / "rows" / row.name, layout.benchmark / "work" / row.name
        if force:
            remove_tree(work)
        outcome = None if force else made_before(folder, key)
        if outcome is None:
            log.info("row %d of %d  %s: %s", number, len(rows), row.name, row.title)
            outcome = make_row(row, Context(config, layout, work, seconds), folder, key)
            told = outcome.reason if outcome.state != "made" else f"{outcome.dimensions} dimensions"
            log.info("%-18s  %s (%s) in %.1f s", row.name, outcome.state, told, outcome.seconds)
        else:
            log.info("row %d of %d  %s is there", number, len(rows), row.name)
        outcomes.append(outcome)
    return outcomes


def _score(
    config: Config,
    layout: Layout,
    made: Sequence[Outcome],
    units: Mapping[str, Units],
    scorer: Scorer,
    *,
    concatenated: bool,
) -> tuple[Scores, dict[str, Any]]:
    scored = [Scored(row.name, vectors_of(layout.benchmark / "rows" / row.name), row.parts) for row in made]
    of_kind = [[row.name for row in made if row.kind == kind] for kind in ("image", "poi")]
    groups = of_kind if concatenated and all(of_kind) else []
    found, chosen = [], {}
    for task in config.tasks if scored else ():
        scores, choice = scorer.score(task, units[task.name], scored, groups, MAIN)
        found.append(scores)
        if choice:
            chosen[task.name] = choice
    return Scores.joined(found), chosen


def _check_splits(scorer: Scorer, units: Mapping[str, Units]) -> None:
    with quiet():  # scoring tells it all again
        for own in units.values():
            check_splits(own, scorer.settings, edge=scorer.edge, seed=scorer.seed)


def _settings(config: Config) -> dict[str, Any]:
    names = ("encoder", "weights", "crop", "epochs", "batch_size", "optimiser", "learning_rate", "weight_decay",
             "schedule", "temperature")  # fmt: skip
    recipe = common_recipe(config.pretrain)
    return {name: getattr(recipe, name) for name in names} | {"seed": config.seed}


def _write(found: Benchmark, layout: Layout) -> None:
    from mmgr.benchmark.figure import benchmark_figure  # noqa: PLC0415 - matplotlib loads slowly
    from mmgr.benchmark.table import to_markdown  # noqa: PLC0415 - as above
    from mmgr.maps.style import write_png  # noqa: PLC0415 - as above

    write_text(layout.benchmark / "benchmark.md", to_markdown(found))
    picture = benchmark_figure(found)
    if picture is not None:
        write_png(layout.benchmark / "benchmark.png", picture)
    found.write(layout.benchmark / "benchmark.json")
