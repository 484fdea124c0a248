"""What the audit says of fine-tuned encoders: a label that had no right to a part is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from mmgr.config import Evaluate
from mmgr.evaluate import SplitPlan, Units, check_splits
from mmgr.evaluate.audit import Audit, Tuned, fine_tuning

Make = Callable[..., Units]


@pytest.fixture
def honest(units: Make) -> tuple[Units, SplitPlan, list[Tuned]]:
    """Folds as fine-tuning does them: the first inner fold chooses the epoch."""
    some = units()
    settings = Evaluate(seeds=1, folds=3, block=300.0, splits=("blocks",))
    (plan,) = check_splits(some, settings, edge=100.0, seed=0)
    done = []
    for train, test in plan.folds[0]:
        fit, stop = plan.inner(some, train, 0)[0]
        done.append(Tuned(train[fit], train[stop], test, epoch=len(done)))
    return some, plan, done


def test_labels_of_training_units_alone_pass(honest: tuple[Units, SplitPlan, list[Tuned]]) -> None:
    some, plan, done = honest
    found = fine_tuning(some, plan, done)
    assert (found.path, found.status, found.scope) == ("fine-tuning", "pass", "population, blocks")
    assert found.numbers["tested"] == 144
    assert found.numbers["shared"] == found.numbers["strays"] == 0
    assert found.numbers["chose"] == sum(len(fold.chose) for fold in done) > 0
    assert "whole blocks or groups, were kept apart and chose the epoch" in found.text
    assert "Epochs taken: 0 to 2, where 0 is the probe." in found.text
    audit = Audit("made", ()).extended([found])
    assert Audit.from_json(audit.to_json()).findings[0].text == found.text


def test_it_says_how_the_units_were_chosen_that_choose_the_epoch(
    honest: tuple[Units, SplitPlan, list[Tuned]],
) -> None:
    some, plan, done = honest
    mixed = [replace(f, learned=np.append(f.learned, f.chose[1:]), chose=f.chose[:1]) for f in done]
    assert "not in whole blocks, were kept apart" in fine_tuning(some, plan, mixed).text
    none = [replace(f, learned=np.append(f.learned, f.chose), chose=f.chose[:0]) for f in done]
    assert "No unit chose the epoch, the last was taken." in fine_tuning(some, plan, none).text


@pytest.mark.parametrize("part", ["learned", "chose"])
def test_a_test_unit_that_was_learned_from_or_chose_the_epoch_is_named(
    honest: tuple[Units, SplitPlan, list[Tuned]], part: str
) -> None:
    some, plan, (first, *others) = honest
    leak = replace(first, **{part: np.append(getattr(first, part), first.tested[:2])})
    found = fine_tuning(some, plan, [leak, *others])
    assert found.status == "named"
    assert (found.numbers["shared"], found.numbers["strays"]) == (2, 2)
    assert "2 of 144 (1%)" in found.text


def test_a_unit_of_the_buffer_and_a_region_on_both_sides_are_named(
    honest: tuple[Units, SplitPlan, list[Tuned]],
) -> None:
    some, plan, (first, *others) = honest
    (between, *_) = np.setdiff1d(np.arange(144), np.concatenate([*plan.folds[0][0]]))
    near = replace(first, learned=np.append(first.learned, between))
    found = fine_tuning(some, plan, [near, *others])
    assert (found.status, found.numbers["shared"], found.numbers["strays"]) == ("named", 0, 1)
    weights = some.weights.toarray()
    weights[first.tested[0], first.learned[0]] = 0.1
    found = fine_tuning(replace(some, weights=sparse.csr_array(weights)), plan, [first, *others])
    assert (found.status, found.numbers["shared"], found.numbers["strays"]) == ("named", 1, 0)
