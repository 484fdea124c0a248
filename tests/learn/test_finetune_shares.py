"""Fine-tuning on classes and shares; numbers, and what all kinds have in common, are in ``test_finetune``."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from mmgr.config import Finetune
from mmgr.evaluate import kl_divergence, l1, make_probe
from mmgr.learn.embed import embed
from mmgr.learn.finetune import FineTuner, Samples
from mmgr.learn.model import MultiModalModel
from mmgr.store import RegionStore

REGIONS = 160
TRAIN, STOP, TEST = np.arange(96), np.arange(96, 120), np.arange(120, REGIONS)
SPOILT = Finetune(epochs=3, patience=1, learning_rate=1.0, encoder_rate=1.0)
"""Steps so wide that no epoch is better than the probe."""
FAST = Finetune(epochs=2, patience=2, learning_rate=1e-3, encoder_rate=1.0)


def shares_of(label: np.ndarray, kind: str) -> np.ndarray:
    """Make three classes of how blue a region is."""
    shares = np.exp(12 * np.stack([0.25 - label, np.zeros_like(label), label - 0.75], axis=1))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares if kind == "shares" else np.eye(3)[shares.argmax(axis=1)]


def samples_of(shares: np.ndarray, beside: np.ndarray | None = None) -> Samples:
    beside = np.zeros((len(shares), 0), np.float32) if beside is None else beside
    return Samples(sparse.csr_array(sparse.eye_array(len(shares))), shares, beside)


def probe(_: np.ndarray, X: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start as the softmax probe."""
    return make_probe("softmax", seed=0, kind="shares").fit(X, wanted).linear()


def test_it_learns_what_a_probe_of_a_random_encoder_does_not_show(
    hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
) -> None:
    store, label = hue
    shares = shares_of(label, "shares")
    test = TEST[TEST != 130]  # of which there is no image
    settings = Finetune(epochs=10, patience=10, batch_size=16, learning_rate=2e-3, encoder_rate=1.0)
    found = FineTuner(hue_model, store, samples_of(shares), settings, device="cpu").fold(
        TRAIN, STOP, test, start=probe, seed=0
    )
    features = embed(hue_model, store, hue_model.recipe, device="cpu").image
    rows = np.concatenate([TRAIN, STOP])
    frozen = make_probe("softmax", seed=0, kind="shares").fit(features[rows], shares[rows]).predict(features[test])
    assert found.epoch > 0
    assert found.losses[found.epoch] == min(found.losses)
    np.testing.assert_allclose(found.predicted.sum(axis=1), 1.0)
    blind = np.tile(shares[rows].mean(axis=0), (len(test), 1))
    tuned, untuned, mean = (l1(shares[test], one) for one in (found.predicted, frozen, blind))
    assert untuned < 0.6 * mean, "the probe is no straw man"
    assert tuned < 0.8 * untuned


@pytest.mark.parametrize("kind", ["class", "shares"])
def test_where_no_epoch_helps_the_softmax_probe_of_all_training_units_remains(
    hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel, kind: str
) -> None:
    store, label = hue
    shares = shares_of(label, kind)
    beside = np.random.default_rng(0).normal(2, 5, (REGIONS, 3)).astype(np.float32)
    beside[::7, 1] = np.nan
    beside[:, 2] = 4.0
    tuner = FineTuner(hue_model, store, samples_of(shares, beside), SPOILT, device="cpu")
    found = tuner.fold(TRAIN, STOP, TEST, start=probe, seed=0)
    assert found.epoch == 0
    assert len(found.losses) == 2, "it stops after one epoch that is no better"
    image = embed(hue_model, store, hue_model.recipe, device="cpu").image
    features = np.concatenate([image, beside], axis=1)

    def by_probe(rows: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        return make_probe("softmax", seed=0, kind="shares").fit(features[rows], shares[rows]).predict(features[wanted])

    expected = by_probe(np.concatenate([TRAIN, STOP]), TEST)
    expected[TEST == 130] = shares[:120].mean(axis=0)
    np.testing.assert_allclose(found.predicted, expected, atol=1e-3)
    # and what the first epoch is compared with is the probe of the units that it learns from
    assert found.losses[0] == pytest.approx(kl_divergence(shares[STOP], by_probe(TRAIN, STOP)), rel=1e-3)


def test_a_class_that_no_training_unit_has_is_thought_unlikely_and_breaks_nothing(
    hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
) -> None:
    store, label = hue
    shares = shares_of(label, "class")
    train, stop = TRAIN[shares[TRAIN, 2] == 0], STOP[:9]
    assert shares[stop, 2].any(), "one that chooses the epoch has it"
    tuner = FineTuner(hue_model, store, samples_of(shares), FAST, device="cpu")
    for apart in (stop, stop[:0]):
        found = tuner.fold(train, apart, TEST, start=probe, seed=0)
        assert np.isfinite(found.losses).all()
        assert np.isfinite(found.predicted).all()
        np.testing.assert_allclose(found.predicted.sum(axis=1), 1.0)
    assert found.epoch == 2
    assert found.predicted[:, 2].max() < 0.05
    alone = np.flatnonzero(shares[:, 1] == 1)[:8]
    found = tuner.fold(alone, alone[:0], TEST, start=probe, seed=0)
    assert found.predicted[:, 1].min() > 0.9, "where all are of one class, so are all others"


def test_units_of_many_regions_and_units_without_an_image(
    hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
) -> None:
    store, label = hue
    own = np.delete(np.arange(REGIONS), 130)[:152].reshape(19, 8)  # eight regions each, the last unit has no image
    weights = np.zeros((20, REGIONS))
    weights[np.arange(19)[:, None], own] = 1 / 8
    weights[19, 130] = 1.0
    shares = weights @ shares_of(label, "shares")
    beside = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    beside[3] = np.nan
    tuner = FineTuner(hue_model, store, Samples(sparse.csr_array(weights), shares, beside), FAST, device="cpu")
    for stop in (np.array([12, 13, 14]), np.zeros(0, np.int64)):
        found = tuner.fold(np.arange(12), stop, np.arange(15, 20), start=probe, seed=0)
        assert found.predicted.shape == (5, 3)
        np.testing.assert_allclose(found.predicted.sum(axis=1), 1.0)
        np.testing.assert_allclose(found.predicted[4], shares[np.append(np.arange(12), stop)].mean(axis=0))
        assert not np.allclose(found.predicted[:4], found.predicted[4], atol=1e-3)
