from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmgr.errors import MmgrError
from mmgr.evaluate import Units, predict_everywhere

Make = Callable[..., Units]


@pytest.mark.parametrize("probe", ["ridge", "mlp"])
def test_labelled_and_unlabelled_regions_are_predicted_on_the_labels_scale(units: Make, probe: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 8, 144)
    some = units(12, values=np.exp(truth))
    X = np.stack([truth, rng.normal(size=144)], axis=1).astype(np.float32)
    predicted = predict_everywhere(some, X, probe=probe, seed=0)
    assert predicted.shape == (144,)
    assert np.corrcoef(np.log1p(predicted), truth)[0, 1] > 0.95


def test_amounts_are_never_below_zero_and_unknown_regions_stay_unknown(units: Make) -> None:
    rng = np.random.default_rng(0)
    some = units(12, transform="none")
    X = rng.normal(0, 100, (144, 3)).astype(np.float32)
    X[7] = np.nan
    X[8, 0] = np.nan
    predicted = predict_everywhere(some, X)
    assert np.isnan(predicted[7])
    assert np.isfinite(np.delete(predicted, 7)).all()
    assert np.nanmin(predicted) >= 0


def test_features_that_are_unknown_everywhere_are_refused(units: Make) -> None:
    with pytest.raises(MmgrError, match=r"vectors of all 16 labelled units are unknown or not .*weights are finite"):
        predict_everywhere(units(4), np.full((16, 2), np.nan))
