"""Made cities as a whole: places, tracts, POIs."""

from __future__ import annotations

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from mmgr.synth import Dirt, Settings, make_city
from mmgr.synth.city import FACTORS, make_one_city
from mmgr.synth.labels import LABELS
from mmgr.synth.poi_process import CATEGORIES, make_points


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 5).flatmap(lambda cities: st.tuples(st.just(cities), st.integers(4 * cities, 120))),
    st.sampled_from(["contiguous", "scattered"]),
)
def test_there_are_as_many_regions_as_asked_and_none_overlap(cities: tuple[int, int], layout: str) -> None:
    made = make_city(Settings(regions=cities[1], cities=cities[0], layout=layout, pixels=32))
    truth = made.truth
    assert len(truth) == cities[1]
    assert truth.index.is_unique
    assert truth["city"].nunique() == cities[0]
    assert truth["city"].value_counts().max() - truth["city"].value_counts().min() <= 1
    assert_allclose(truth.area, made.settings.edge**2)
    assert_allclose(shapely.union_all(truth.geometry.to_numpy()).area, truth.area.sum())


def test_tracts_hold_what_their_regions_hold() -> None:
    made = make_city(Settings(regions=130, cities=2, tract=4))
    tracts, best = made.tracts()
    km2 = made.settings.edge**2 / 1e6
    inside = gpd.sjoin(made.truth.set_geometry(made.truth.centroid), tracts[["tract", "geometry"]])
    assert len(inside) == 130, "each region lies in one tract"
    totals = inside.groupby("tract")[["population_noisy", "economy_noisy"]].sum() * km2
    shares = inside.groupby("tract")["green_noisy"].mean()
    tracts = tracts.set_index("tract").loc[totals.index]
    assert_allclose(tracts[["population", "economy"]], totals)
    assert_allclose(tracts["green"], shares)
    assert_allclose(tracts.area.sum(), made.truth.area.sum())
    assert best["population"] > made.ceilings()["population"], "noise averages out"


def test_tracts_of_scattered_places_reach_beyond_them() -> None:
    made = make_city(Settings(regions=64, layout="scattered", tract=2))
    tracts, _ = made.tracts()
    assert len(gpd.sjoin(made.truth.set_geometry(made.truth.centroid), tracts)) == 64
    assert tracts.area.sum() > 6 * made.truth.area.sum()
    density = tracts["population"] / (tracts.area / 1e6)
    assert made.truth["population"].min() / 3 < density.median() < made.truth["population"].max() * 3


def test_factors_differ_between_cities_and_have_known_spread() -> None:
    made = make_city(Settings(regions=4000, cities=40, layout="scattered", pixels=32))
    means = np.array([city.fields.means[:3] for city in made.cities])
    assert 0.25 < means.std(axis=0).min() < means.std(axis=0).max() < 0.55
    within = made.truth[list(FACTORS)] - means[made.truth["city"].str.removeprefix("city_").astype(int) - 1]
    assert_allclose(within.var(), 0.97, atol=0.15)
    assert np.abs(np.corrcoef(within.to_numpy().T) - np.eye(3)).max() < 0.1


class TestPois:
    def test_there_are_as_many_as_expected_where_they_are_expected(self) -> None:
        made = make_city(Settings(regions=900, seed=3))
        points = made.pois()
        inside = gpd.sjoin(points, made.truth[["geometry"]].reset_index(), predicate="within")
        count = inside.groupby("region_id").size().reindex(made.truth.index, fill_value=0)
        expected = made.truth["pois_per_km2"] * made.settings.edge**2 / 1e6
        assert abs(count.sum() / expected.sum() - 1) < 0.1
        assert np.corrcoef(np.log1p(count), np.log(expected))[0, 1] > 0.6
        assert (count == 0).any()

    def test_names_come_with_their_first_level_by_rank(self) -> None:
        points = make_city(Settings(regions=400)).pois()
        assert all(
            second in CATEGORIES[first] for first, second in zip(points.category, points.subcategory, strict=True)
        )
        food = points.loc[points.category == "food", "subcategory"].value_counts()
        ratio = food[CATEGORIES["food"][0]] / food[CATEGORIES["food"][3]]
        assert 3 < ratio < 5.3, "Zipf: the first is four times as frequent as the fourth"

    @pytest.mark.parametrize(("factor", "same"), [("built", True), ("human", False), ("shared", False)])
    def test_they_know_nothing_of_what_only_images_show(self, factor: str, *, same: bool) -> None:
        city = make_one_city(Settings(regions=4), 1, (800.0, 800.0))
        means = city.fields.means.copy()
        means[FACTORS.index(factor)] += 1
        other = replace(city, fields=replace(city.fields, means=means))
        here, there = (np.vstack([points.xy for points in make_points(one)]) for one in (city, other))
        assert np.array_equal(here, there) == same

    def test_dirt_is_what_was_asked_for(self) -> None:
        wanted = Settings(regions=900, dirt=Dirt(duplicates=0.2, outside=0.05, unnamed=0.1))
        clean, dirty = make_city(replace(wanted, dirt=Dirt())).pois(), make_city(wanted).pois()
        assert abs((len(dirty) / len(clean) - 1) - 0.2) < 0.03
        first = dirty.iloc[: len(clean)]
        assert abs(first["subcategory"].isna().mean() - 0.1) < 0.02
        outline = make_city(wanted).sites[0].outline
        far = first.distance(outline) > 20_000
        assert abs(far.mean() - 0.05) < 0.015
        assert not (clean.distance(outline) > 0).any()


def test_labels_with_and_without_noise_stand_side_by_side() -> None:
    truth = make_city(Settings(regions=50, noise=0.0)).truth
    for name in LABELS:
        assert_allclose(truth[name], truth[f"{name}_noisy"])
