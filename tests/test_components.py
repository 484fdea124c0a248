"""Principal components, and columns of equal weight."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from mmgr import components
from mmgr.components import Components, evenly, of_unit_variance


def sample(rows: int, columns: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.normal(size=(rows, columns)) @ random.normal(size=(columns, columns)) + 3).astype(np.float32)


@pytest.mark.parametrize(("rows", "columns"), [(60, 8), (8, 60), (9, 9)])
@pytest.mark.parametrize("scaled", [False, True])
def test_components_are_those_of_scikit_learn(rows: int, columns: int, *, scaled: bool) -> None:
    values = sample(rows, columns)
    found = Components.of(values, 5, scaled=scaled)(values)
    wanted = PCA(5).fit_transform(StandardScaler().fit_transform(values) if scaled else values)
    assert np.allclose(abs(found), abs(wanted), atol=1e-3, rtol=1e-3)
    others = sample(4, columns, seed=1)
    assert Components.of(values, 5, scaled=scaled)(others).shape == (4, 5)


def test_there_are_no_more_components_than_the_rows_span() -> None:
    values = sample(6, 40)
    assert len(Components.of(values, 99)) == 5
    values[:, 7:] = 1.0
    assert len(Components.of(values, 99, scaled=True)) == 5
    assert len(Components.of(np.ones((6, 4), np.float32), 3, scaled=True)) == 0
    assert Components.of(np.zeros((0, 4), np.float32), 3)(np.ones((2, 4), np.float32)).shape == (2, 0)


def test_a_constant_column_gives_nothing_to_others_either() -> None:
    values = sample(30, 4)
    values[:, 2] = 5.0
    fitted = Components.of(values, 4, scaled=True)
    odd = values.copy()
    odd[:, 2] = 1e6
    assert (fitted(odd) == fitted(values)).all()


@pytest.mark.parametrize("count", [1, 2, 5, 8, 33])
def test_columns_have_the_same_variance_and_rows_their_distances(count: int) -> None:
    values = Components.of(sample(200, 40), count)(sample(200, 40))
    found = evenly(values)
    assert found.shape[1] == {1: 1, 2: 2, 5: 8, 8: 8, 33: 64}[count]
    assert np.allclose(found.var(0), 1, atol=1e-3)
    ratio = np.linalg.norm(found[1:] - found[0], axis=1) / np.linalg.norm(values[1:] - values[0], axis=1)
    assert np.allclose(ratio, ratio[0], rtol=1e-3)
    # so whoever scales the columns finds the components as large as they were
    assert np.allclose(StandardScaler().fit_transform(found), found - found.mean(0), atol=5e-3)


def test_rows_do_not_depend_on_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sample(50, 6)
    fitted = Components.of(values, 4)
    whole = evenly(fitted(values))
    monkeypatch.setattr(components, "PART", 7)
    assert np.allclose(evenly(fitted(values)), whole, atol=1e-6)


def test_many_rows_are_sampled_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    values = sample(90, 5)
    monkeypatch.setattr(components, "MOST_ROWS", 10)
    some = values[np.linspace(0, 89, 10).round().astype(int)]
    assert np.array_equal(Components.of(values, 3).axes, Components.of(some, 3).axes)


def test_nothing_stays_nothing() -> None:
    assert evenly(np.zeros((4, 0), np.float32)).shape == (4, 0)
    assert (evenly(np.zeros((4, 3), np.float32)) == 0).all()
    assert of_unit_variance(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert (of_unit_variance(np.full((4, 3), 2, np.float32)) == 2).all()
