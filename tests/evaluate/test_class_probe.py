"""Probes of classes take labels as scikit-learn hands them out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score

from mmgr.evaluate import ClassProbe, SpatialBlocks, make_probe


def streets(rows: int = 240) -> tuple[NDArray[np.float32], NDArray[np.str_], NDArray[np.float64]]:
    """Return features, the class that they tell, and places."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, 6)).astype(np.float32)
    names = np.array(["homes", "shops", "works"])
    score = X @ rng.normal(size=(6, 3)) * 3
    return X, names[score.argmax(axis=1)], rng.uniform(0, 3000, size=(rows, 2))


@pytest.mark.parametrize("name", ["logistic", "mlp", "forest", "boosting", "knn"])
def test_names_of_classes_are_learned_and_predicted(name: str) -> None:
    X, y, _ = streets()
    probe = ClassProbe(name).fit(X[:160], y[:160])  # type: ignore[arg-type]
    assert list(probe.classes_) == ["homes", "shops", "works"]
    assert probe.score(X[160:], y[160:]) > 0.6
    shares = probe.predict_proba(X[160:])
    assert np.allclose(shares.sum(axis=1), 1)
    assert (probe.classes_[shares.argmax(axis=1)] == probe.predict(X[160:])).all()


def test_whole_numbers_are_classes_not_amounts() -> None:
    X, y, _ = streets()
    numbers = np.searchsorted(["homes", "shops", "works"], y) * 5 - 3  # -3, 2, 7
    predicted = ClassProbe("knn").fit(X, numbers).predict(X)
    assert set(predicted) <= {-3, 2, 7}
    assert (predicted == numbers).mean() > 0.7


def test_it_lives_in_spatial_cross_validation_and_in_a_search() -> None:
    X, y, places = streets()
    found = cross_val_score(ClassProbe(), X, y, cv=SpatialBlocks(places, block=600), scoring="f1_macro")
    assert found.mean() > 0.6
    search = GridSearchCV(ClassProbe(), {"name": ["logistic", "knn"]}, cv=3).fit(X, y)
    assert search.best_params_ == {"name": "logistic"}
    assert clone(ClassProbe("mlp", random_state=3)).get_params() == {"name": "mlp", "random_state": 3, "parts": ()}


def test_one_class_alone_and_unknown_features() -> None:
    X, y, _ = streets()
    X[::5, 0] = np.nan
    assert (ClassProbe().fit(X, np.full(len(X), "homes")).predict(X[:4]) == "homes").all()
    assert ClassProbe().fit(X, y).score(X, y) > 0.6


def test_what_is_no_label_is_said() -> None:
    X, y, _ = streets()
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        ClassProbe().fit(X, X[:, 0].astype(float) + 0.5)
    with pytest.raises(NotFittedError):
        ClassProbe().predict(X)
    with pytest.raises(NotFittedError):
        make_probe("ridge", seed=0).predict(X)
    with pytest.raises(ValueError, match="names of classes, not numbers or shares; `ClassProbe` takes those"):
        make_probe("forest", seed=0, kind="class").fit(X, y)
    amounts = np.ones(len(X))
    amounts[3] = np.nan
    with pytest.raises(ValueError, match="1 of 240 labels are NaN or infinite"):
        make_probe("ridge", seed=0).fit(X, amounts)
