from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse

from mmgr.errors import LabelError
from mmgr.evaluate import Units

Make = Callable[..., Units]


def test_a_unit_has_the_weighted_mean_of_its_regions_vectors(units: Make) -> None:
    two = _two_over_three(units)
    vectors = np.array([[1.0, 10.0], [3.0, 20.0], [5.0, 30.0]])
    np.testing.assert_allclose(two.features(vectors), [[2.5, 17.5], [5.0, 30.0]])


def test_unknown_vectors_are_left_out_and_the_rest_renormalised(units: Make) -> None:
    two = _two_over_three(units)
    vectors = np.array([[np.nan, np.nan], [3.0, 20.0], [np.nan, np.nan]])
    np.testing.assert_allclose(two.features(vectors), [[3.0, 20.0], [np.nan, np.nan]])


def test_a_part_of_a_vector_may_be_unknown_alone(units: Make) -> None:
    vectors = np.array([[1.0, np.nan], [3.0, 20.0], [5.0, np.nan]])
    np.testing.assert_allclose(_two_over_three(units).features(vectors), [[2.5, 20.0], [5.0, np.nan]])


def test_vectors_of_other_regions_are_refused(units: Make) -> None:
    with pytest.raises(ValueError, match="vectors of 4 regions for units over 3"):
        _two_over_three(units).features(np.zeros((4, 2)))


def test_amounts_are_scored_on_the_log_scale_and_come_back(units: Make) -> None:
    some = units(4, kind="polygon_total")
    np.testing.assert_allclose(some.target, np.log(1 + some.values))
    np.testing.assert_allclose(some.untransform(some.target), some.values)
    assert some.untransform(np.array([-3.0]))[0] == 0
    assert np.isfinite(some.untransform(np.array([1e9]))[0])
    assert some.scale == "log1p"


def test_rates_stay_as_they_are(units: Make) -> None:
    some = units(4, kind="polygon_rate")
    np.testing.assert_array_equal(some.target, some.values)
    assert some.untransform(np.array([-3.0]))[0] == -3


def test_units_that_share_a_region_are_linked(units: Make) -> None:
    two = replace(_two_over_three(units), weights=sparse.csr_array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]))
    assert two.linked.toarray().all()
    np.testing.assert_array_equal(_two_over_three(units).linked.toarray(), np.eye(2, dtype=bool))


def test_too_few_units_and_one_value_are_refused(units: Make) -> None:
    with pytest.raises(LabelError, match="here: only 9 labelled units"):
        units(3).checked(where="here")
    with pytest.raises(LabelError, match=r"a label with one value \(7\): nothing to learn"):
        units(4, values=np.full(16, 7.0)).checked(where="here")


def test_values_without_a_logarithm_are_refused_with_the_lowest(units: Make) -> None:
    rates = np.linspace(-4.0, 11.0, 16)
    message = r"here: `transform: log1p` needs values above -1, but 4 of 16 regions .* \(the lowest is -4\); set"
    with pytest.raises(LabelError, match=message):
        units(4, values=rates, kind="polygon_rate", transform="log1p").checked(where="here")
    assert np.isfinite(units(4, values=rates, kind="polygon_rate").checked(where="here").target).all()
    near = units(4, values=np.linspace(-0.9, 3, 16), kind="polygon_rate", transform="log1p").checked(where="here")
    assert np.isfinite(near.target).all()


def test_infinite_values_are_refused(units: Make) -> None:
    values = np.where(np.arange(16) < 3, np.inf, np.arange(16.0))
    with pytest.raises(LabelError, match="here: the label is infinite in 3 of 16 regions"):
        units(4, values=values, kind="raster_mean").checked(where="here")


def test_facts_are_plain_values(units: Make) -> None:
    facts = units(4, values=np.arange(16.0), unit="people/km2").facts()
    assert facts["units"] == 16
    assert facts["groups"] == {"east": 8, "west": 8}
    assert facts["label"] == {"lowest": 0.0, "median": 7.5, "highest": 15.0, "unit": "people/km2"}


def test_columns_of_unlike_lengths_are_refused(units: Make) -> None:
    with pytest.raises(ValueError, match="16 units, but columns of lengths"):
        replace(units(4), coverage=np.ones(3))


def _two_over_three(units: Make) -> Units:
    """Two units: a quarter of region 0 and three of region 1; and region 2."""
    four = units(2)
    return replace(
        four,
        ids=four.ids[:2],
        geometry=four.geometry.iloc[:2],
        centres=four.centres[:2],
        group=four.group[:2],
        values=four.values[:2],
        weights=sparse.csr_array([[0.25, 0.75, 0.0], [0.0, 0.0, 1.0]]),
        coverage=four.coverage[:2],
    )
