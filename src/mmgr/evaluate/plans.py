"""The folds of a task under each kind of split that the configuration asks for."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmgr.config import Evaluate
from mmgr.console import log
from mmgr.errors import SplitError
from mmgr.evaluate.blocks import Blocks, make_blocks
from mmgr.evaluate.names import names_of
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
from mmgr.evaluate.unseen import warn_of_unseen

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
    """Number of each unit's block or group, on which probes tune; without them, they make blocks of their own."""
    chosen_by: str = ""
    """How the edge of a block was chosen: `given`, `variogram` or `extent`; empty without blocks."""
    protocol: Protocol | None = None
    """The published protocol that this split belongs to; it has a probe of its own."""

    @property
    def keeps_buffer(self) -> bool:
        """Whether `evaluate.buffer` has a say in these folds."""
        return self.protocol is None and self.kind != "random"

    @property
    def repeats_itself(self) -> bool:
        """Whether all repetitions have the same folds."""
        return self.kind in {"groups", "column"}

    @property
    def distinct_folds(self) -> Folds:
        """The folds of all repetitions, or of one where all have the same."""
        return [fold for folds in self.folds[: 1 if self.repeats_itself else None] for fold in folds]

    def target(self, units: Units) -> NDArray[np.float64]:
        """Return the labels as they are fitted and scored, shape ``(u,)`` or ``(u, k)``.

        A published protocol scores the label as it is, whatever scale the task has: its scores stand beside published
        ones.
        """
        return units.target if self.protocol is None else units.values

    def scale(self, units: Units) -> str:
        """Return the name of the scale of :meth:`target`."""
        return units.scale if self.protocol is None else "as given"

    def untransform(self, units: Units, predicted: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return predictions of :meth:`target` on the label's own scale; an amount is never below 0."""
        if self.protocol is None:
            return units.untransform(predicted)
        values = np.asarray(predicted, np.float64)
        return np.maximum(values, 0.0) if units.task.is_amount else values

    def inner_seed(self, seed: int, repeat: int) -> int:
        """Return the seed of a repetition's inner folds, which are the same where its folds are."""
        return seed if self.repeats_itself else seed + repeat

    def inner(self, units: Units, train: Rows, seed: int) -> Inner:
        """Return the inner folds of some training units."""
        return inner_blocks(units, train, self.groups, seed, apart=not self.optimistic)


def check_splits(units: Units, settings: Evaluate, *, edge: float, seed: int) -> list[SplitPlan]:
    """Make the folds of all splits of a task, as :func:`mmgr.evaluate.score_features` uses them.

    Raises
    ------
    SplitError
        If a split cannot be made of these units, or there is none.
    """
    plans = [_plan(kind, units, settings, edge=edge, seed=seed) for kind in _kinds(units, settings)]
    if settings.protocol is not None:
        plans.append(_published(settings.protocol, units))
    if not plans:
        raise SplitError(f"task {units.task.name}: there is neither a split nor a protocol; name one in `splits`.")
    for plan in plans:
        warn_of_unseen(units, plan.kind, plan.distinct_folds)
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
        groups = None if units.sources is None else units.cells
        splitters = [
            RandomFolds(len(units), folds=settings.folds, seed=s, cells=groups, linked=units.linked) for s in seeds
        ]
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
        return np.asarray(np.unique(names_of(among), return_inverse=True)[1], np.int64)
    try:
        return block_of(units.anchors, choose_block(units.anchors, edge=edge, folds=2))
    except SplitError:
        return None


def inner_blocks(units: Units, rows: Rows, groups: Rows | None, seed: int, *, apart: bool = True) -> Inner:
    """Return the inner folds on which a probe of some units tunes.

    Parameters
    ----------
    units, rows
        The labelled units, and those that the probe is fitted on.
    groups
        Block or group of each unit, shape ``(u,)``.
    seed
        Of the groups' order.
    apart
        Whether units that are all of one group, or of none, are divided into blocks of their own; otherwise they are
        dealt at random, as those that are predicted next to known ones.
    """
    own = None if groups is None else groups[rows]
    if apart and (own is None or len(np.unique(own)) < 2):
        own = _blocks_within(units, rows)
    return inner_folds(own, units=len(rows), seed=seed, linked=units.linked[rows][:, rows])


def _blocks_within(units: Units, rows: Rows) -> Rows | None:
    """Return the block of each of some units, in blocks chosen for them; None where they do not fill two."""
    anchors = units.anchors[rows]
    try:
        edge = math.sqrt(float(np.median(units.geometry.area)))
        return block_of(anchors, choose_block(anchors, edge=edge, folds=2))
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
    shared, tested = _on_both_sides(units, [fold for repetition in folds for fold in repetition])
    if shared:
        log.warning(
            "%s, protocol %s: %d of %d tested units share a region, label cell or label polygon with a training unit; "
            "its split stays as published, so read its scores as optimistic",
            units.task.name,
            name,
            shared,
            tested,
        )
    return SplitPlan(name, folds, None, 0.0, protocol.optimistic or shared > 0, protocol=protocol)


def _on_both_sides(units: Units, folds: Folds) -> tuple[int, int]:
    """Count the tested units that are linked with a training unit of their fold, and all tested units."""
    linked = units.linked.astype(np.int32)
    shared = tested = 0
    for train, test in folds:
        trained = np.zeros(len(units), np.int32)
        trained[train] = 1
        shared += int((linked[test] @ trained > 0).sum())
        tested += len(test)
    return shared, tested


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
