"""The folds of a task under each kind of split that the configuration asks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.blocks import Blocks, make_blocks
from mmgr.evaluate.protocols import Protocol, get_protocol
from mmgr.evaluate.splits import (
    LeaveOneGroupOut,
    OwnFolds,
    RandomFolds,
    SpatialBlocks,
    Splitter,
    block_of,
    choose_block,
    large_groups,
)
from mmgr.evaluate.tuning import Inner, Rows, inner_folds
from mmgr.evaluate.units import Units

Folds = list[tuple[Rows, Rows]]

_ENOUGH_GROUPS = 4
"""With fewer groups, a probe that is tried on an unseen one tunes on blocks."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """One kind of split, with its folds for each repetition."""

    kind: str
    folds: tuple[Folds, ...]
    """Rows to train on and rows to test on, of each fold of each repetition."""
    block: float | None
    """Edge of a block in metres."""
    buffer: float
    optimistic: bool
    groups: Rows | None = None
    """Number of each unit's block or group, on which probes tune; None where they tune on random units."""
    chosen_by: str = ""
    """How the edge of a block was chosen: `given`, `variogram` or `extent`; empty without blocks."""
    protocol: Protocol | None = None
    """The published protocol that this split belongs to; it has a probe of its own."""

    @property
    def repeats_itself(self) -> bool:
        """Whether all repetitions have the same folds."""
        return self.kind in {"groups", "column"}

    def inner_seed(self, seed: int, repeat: int) -> int:
        """Return the seed of a repetition's inner folds, which are the same where its folds are."""
        return seed if self.repeats_itself else seed + repeat

    def inner(self, units: Units, train: Rows, seed: int) -> Inner:
        """Return the inner folds of some training units."""
        return inner_folds(
            None if self.groups is None else self.groups[train],
            units=len(train),
            seed=seed,
            linked=units.linked[train][:, train],
        )


def check_splits(units: Units, settings: Evaluate, *, edge: float, seed: int) -> list[SplitPlan]:
    """Make the folds of all splits of a task, as :func:`mmgr.evaluate.score_features` uses them.

    Raises
    ------
    SplitError
        If a split cannot be made of these units.
    """
    plans = [_plan(kind, units, settings, edge=edge, seed=seed) for kind in _kinds(units, settings)]
    if settings.protocol is not None:
        plans.append(_published(settings.protocol, units))
    return plans


def _kinds(units: Units, settings: Evaluate) -> tuple[str, ...]:
    if settings.splits is not None:
        return settings.splits
    return ("blocks", "groups") if len(large_groups(units.group)) >= 2 else ("blocks",)


def _plan(kind: str, units: Units, settings: Evaluate, *, edge: float, seed: int) -> SplitPlan:
    buffer = edge if settings.buffer is None else settings.buffer
    try:
        try:
            plan = _folds(kind, units, settings, edge=edge, buffer=buffer, seed=seed)
        except SplitError:
            if settings.buffer is not None or kind != "blocks":
                raise
            plan = _folds(kind, units, settings, edge=edge, buffer=0.0, seed=seed)
            log.warning(
                "%s: a buffer of %g m leaves too little to train on in so small an area; none is kept, so read "
                "the scores as optimistic at the borders of blocks",
                units.task.name,
                buffer,
            )
    except SplitError as error:
        raise SplitError(f"task {units.task.name}, split {kind}: {error}") from error
    return plan


def _folds(kind: str, units: Units, settings: Evaluate, *, edge: float, buffer: float, seed: int) -> SplitPlan:
    blocks, groups = None, None
    splitters: list[Splitter]
    # units are as wide as a region: what lies between their borders is less than between their centres
    apart = (buffer + edge) * (1 - 1e-6) if buffer else 0.0
    seeds = range(seed, seed + settings.seeds)
    if kind == "blocks":
        blocks = make_blocks(units, settings, edge=edge)
        groups = blocks.number
        splitters = [
            SpatialBlocks(
                units.centres,
                block=blocks.size,
                folds=settings.folds,
                buffer=apart,
                seed=s,
                linked=units.linked,
                blocks=groups,
            )
            for s in seeds
        ]
    elif kind == "groups":
        one = LeaveOneGroupOut(units.group, units.centres, buffer=apart, linked=units.linked)
        splitters = [one] * settings.seeds
        groups = tuning_groups(units, edge=edge, among=units.group)
    elif kind == "column":
        if units.own_folds is None:
            raise SplitError("the units have no folds of their own; read them by `mmgr.evaluate.task_units`")
        own = OwnFolds(units.own_folds, units.centres, buffer=apart, linked=units.linked)
        splitters = [own] * settings.seeds
        groups = tuning_groups(units, edge=edge, among=units.own_folds)
    else:
        buffer = 0.0
        coarse = units.sources is not None
        splitters = [
            RandomFolds(
                len(units),
                folds=settings.folds,
                seed=s,
                cells=units.cells if coarse else None,
                linked=units.linked if coarse else None,
            )
            for s in seeds
        ]
        groups = units.cells if coarse else None
    plan = SplitPlan(
        kind,
        tuple(list(s.split()) for s in splitters),
        None if blocks is None else blocks.size,
        buffer,
        splitters[0].optimistic,
        groups,
        "" if blocks is None else blocks.chosen_by,
    )
    _log_plan(units, plan, blocks)
    return plan


def tuning_groups(units: Units, *, edge: float, among: np.ndarray | None = None) -> Rows | None:
    """Return the groups of units on which a probe tunes: the groups given if there are enough, else blocks.

    None where the units do not fill two blocks.
    """
    if among is not None and len(large_groups(among)) >= _ENOUGH_GROUPS:
        return np.asarray(np.unique(np.asarray(among, str), return_inverse=True)[1], np.int64)
    try:
        return block_of(units.anchors, choose_block(units.anchors, edge=edge, folds=2))
    except SplitError:
        return None


def _published(name: str, units: Units) -> SplitPlan:
    """Return the split of a published protocol, one part to test for each of its seeds."""
    protocol = get_protocol(name)
    try:
        protocol.probe(units.task.label, 0)
        folds = tuple([fold] for fold in protocol.splitter(units.centres).split())
    except (SplitError, ValueError) as error:
        raise SplitError(f"task {units.task.name}, protocol {name}: {error}") from error
    return SplitPlan(name, folds, None, 0.0, protocol.optimistic, protocol=protocol)


def _log_plan(units: Units, plan: SplitPlan, chosen: Blocks | None) -> None:
    blocks = "" if chosen is None else f"{chosen.number.max() + 1} blocks of {chosen.size:g} m ({chosen.why}), "
    left_out = np.mean([len(units) - len(train) - len(test) for train, test in plan.folds[0]])
    log.info(
        "%s, split %s: %s%d folds, buffer %g m (leaves out %.0f of %d units a fold)",
        units.task.name,
        plan.kind,
        blocks,
        len(plan.folds[0]),
        plan.buffer,
        left_out,
        len(units),
    )
