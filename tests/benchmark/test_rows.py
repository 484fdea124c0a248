"""Each row that ships is made twice from the made city."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmgr.benchmark import Context, LeftOut, Made
from mmgr.benchmark.known import BUILT_IN
from mmgr.benchmark.poi_rows import mean_vectors
from mmgr.benchmark.rows import filled
from mmgr.run import Run
from mmgr.store import PoiBags

ROWS = {row.name: row for row in BUILT_IN}
ELSEWHERE = {"srai-counts", "hex2vec", "pretrained-encoder"}
LEARNED = {"simclr", "byol", "tile2vec", "pg-simclr", "hgi-like", "mmgr-2023", "mmgr"}


@pytest.mark.parametrize("name", [name for name in ROWS if name not in ELSEWHERE])
def test_a_row_gives_each_region_a_finite_vector_and_the_same_again(
    name: str, context: Callable[[str], Context]
) -> None:
    made = []
    for attempt in ("one", "two"):
        found = ROWS[name].make(context(attempt))
        made.append(found if isinstance(found, Made) else Made(found))
    assert made[0].vectors.shape[0] == 36
    assert made[0].vectors.shape[1] >= 1
    assert np.isfinite(made[0].vectors).all()
    np.testing.assert_array_equal(made[0].vectors, made[1].vectors)
    assert np.ptp(made[0].vectors, axis=0).max() > 0
    assert (made[0].parameters > 0) == (name in LEARNED | {"random-encoder"})


@pytest.mark.parametrize("name", ["byol", "tile2vec", "pg-simclr"])
def test_training_moves_the_encoder(name: str, context: Callable[[str], Context]) -> None:
    trained, random = (ROWS[row].make(context(row)) for row in (name, "random-encoder"))
    assert isinstance(trained, Made)
    assert isinstance(random, Made)
    assert np.abs(trained.vectors - random.vectors).max() > 1e-4


def test_a_row_of_weights_says_that_none_are_named(context: Callable[[str], Context]) -> None:
    with pytest.raises(LeftOut, match=r"pretrain\.weights"):
        ROWS["pretrained-encoder"].make(context("row"))


@pytest.mark.parametrize("name", ["srai-counts", "hex2vec"])
def test_rows_of_srai_run_or_say_what_to_install(name: str, context: Callable[[str], Context]) -> None:
    try:
        found, again = (ROWS[name].make(context(folder)) for folder in ("one", "two"))
    except LeftOut as reason:
        assert "pip install 'mmgr[srai]'" in str(reason)  # noqa: PT017 - either is right
        return
    assert isinstance(found, Made)
    assert isinstance(again, Made)
    assert np.isfinite(found.vectors).all()
    np.testing.assert_array_equal(found.vectors, again.vectors)
    if name == "srai-counts":
        own = context(name)
        expected = own.store.bags.counts(len(own.store.info.taxonomy))
        assert sorted(found.vectors.sum(0)) == sorted(expected.sum(0))


def test_what_a_run_lacks_is_named(run: Run) -> None:
    without_images = run.config.model_copy(update={"images": None})
    without_pois = run.config.model_copy(update={"pois": None})
    assert ROWS["simclr"].lacks(without_images) == "images"
    assert ROWS["pg-simclr"].lacks(without_pois) == "POIs"
    assert not ROWS["mmgr"].lacks(without_images)
    assert ROWS["mmgr"].lacks(without_pois) == "POIs"
    assert not ROWS["colour-texture"].lacks(without_pois)


def test_means_weigh_pois_by_their_count_and_fill_what_is_unknown() -> None:
    bags = PoiBags(
        starts=np.array([0, 2, 2, 2]),
        category=np.array([0, 1], np.int32),
        count=np.array([3, 1], np.float32),
        offset=np.zeros((2, 2), np.float32),
        area_km2=np.array([1, 1, 0], np.float32),
        unit=np.full(3, "", object),
    )
    found = mean_vectors(bags, np.array([[4.0, 0.0], [0.0, 8.0]], np.float32))
    np.testing.assert_allclose(found, [[3, 2], [0, 0], [1.5, 1]])


def test_filling_leaves_the_given_vectors_alone() -> None:
    given = np.array([[1.0], [np.nan]])
    np.testing.assert_array_equal(filled(given, np.array([True, False])), [[1], [1]])
    assert np.isnan(given[1, 0])
    np.testing.assert_array_equal(filled(given, np.array([False, False])), [[0], [0]])
