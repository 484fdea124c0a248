from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from mmgr.config import Finetune
from mmgr.errors import MmgrError
from mmgr.learn.embed import embed
from mmgr.learn.finetune import SHOWN, FineTuner, Samples, _shown
from mmgr.learn.learner import Learner
from mmgr.learn.model import MultiModalModel
from mmgr.store import RegionStore

REGIONS = 160
TRAIN, STOP, TEST = np.arange(96), np.arange(96, 120), np.arange(120, REGIONS)


def ridge(_: np.ndarray, X: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Start as a ridge regression of numbers."""
    found = RidgeCV(alphas=np.logspace(-2, 6, 17)).fit(X, wanted[:, 0])
    return found.coef_[:, None], np.atleast_1d(found.intercept_)


def samples_of(label: np.ndarray) -> Samples:
    return Samples(sparse.csr_array(sparse.eye_array(len(label))), label, np.zeros((len(label), 0), np.float32))


def r2(observed: np.ndarray, predicted: np.ndarray) -> float:
    return float(1 - np.mean((observed - predicted) ** 2) / observed.var())


def test_it_learns_what_frozen_features_do_not_show(
    hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
) -> None:
    store, label = hue
    before = {name: value.clone() for name, value in hue_model.state_dict().items()}
    state = torch.get_rng_state()
    settings = Finetune(epochs=15, patience=15, learning_rate=2e-3, encoder_rate=1.0)
    found = FineTuner(hue_model, store, samples_of(label), settings, device="cpu").fold(
        TRAIN, STOP, TEST, start=ridge, seed=0
    )
    features = embed(hue_model, store, hue_model.recipe, device="cpu").image
    rows = np.concatenate([TRAIN, STOP])
    scaler = StandardScaler().fit(features[rows])
    probe = RidgeCV(alphas=np.logspace(-2, 6, 17)).fit(scaler.transform(features[rows]), label[rows])
    untuned = probe.predict(scaler.transform(features[TEST]))
    assert found.epoch > 0
    assert len(found.losses) == 16
    assert found.losses[found.epoch] == min(found.losses)
    seen = TEST != 130  # of which there is no image
    tuned, frozen = (r2(label[TEST][seen], predicted[seen]) for predicted in (found.predicted, untuned))
    assert tuned > max(0.7, frozen + 0.1)
    assert all(torch.equal(value, before[name]) for name, value in hue_model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


class TestFold:
    FAST = Finetune(epochs=2, patience=2, learning_rate=1e-3, encoder_rate=1.0)

    def test_the_seed_decides_it_and_the_labels_of_those_predicted_do_not(
        self, hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
    ) -> None:
        store, label = hue
        train, stop, test = TRAIN[:32], STOP[:8], TEST[:12]
        tuner = FineTuner(hue_model, store, samples_of(label), self.FAST, device="cpu")
        first = tuner.fold(train, np.zeros(0, np.int64), test, start=ridge, seed=1)
        other = label.copy()
        other[test] = 1 - other[test]
        blind = FineTuner(hue_model, store, samples_of(other), self.FAST, device="cpu")
        assert np.array_equal(
            blind.fold(train, np.zeros(0, np.int64), test, start=ridge, seed=1).predicted, first.predicted
        )
        assert not np.array_equal(
            tuner.fold(train, np.zeros(0, np.int64), test, start=ridge, seed=2).predicted, first.predicted
        )
        assert first.epoch == 2, "without units that choose it, the last epoch is taken"
        assert first.losses == ()
        assert len(tuner.fold(train, stop, test, start=ridge, seed=1).losses) == 3

    def test_where_no_epoch_helps_the_probe_of_all_training_units_remains(
        self, hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
    ) -> None:
        store, label = hue
        settings = Finetune(epochs=9, patience=2, learning_rate=0.3, encoder_rate=1.0)
        found = FineTuner(hue_model, store, samples_of(label), settings, device="cpu").fold(
            TRAIN, STOP, TEST, start=ridge, seed=0
        )
        assert found.epoch == 0
        assert len(found.losses) == 3, "it stops after two epochs that are no better"
        features = embed(hue_model, store, hue_model.recipe, device="cpu").image.astype(np.float64)
        rows = np.concatenate([TRAIN, STOP])
        scaler = StandardScaler().fit(features[rows])
        y = (label[rows] - label[rows].mean()) / label[rows].std()
        probe = RidgeCV(alphas=np.logspace(-2, 6, 17)).fit(scaler.transform(features[rows]), y)
        seen = scaler.transform(features[rows])
        held = np.clip(scaler.transform(features[TEST]), seen.min(axis=0) - 2, seen.max(axis=0) + 2)
        expected = probe.predict(held) * label[rows].std() + label[rows].mean()
        expected[TEST == 130] = label[rows].mean()
        expected = np.clip(expected, label[rows].min(), label[rows].max())
        assert found.predicted == pytest.approx(expected, abs=1e-3)

    def test_predictions_keep_to_the_range_of_the_training_labels(
        self, hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
    ) -> None:
        store, label = hue
        middle = np.flatnonzero((label > 0.4) & (label < 0.6) & (np.arange(REGIONS) != 130))
        settings = Finetune(epochs=1, learning_rate=0.1, encoder_rate=1.0)
        tuner = FineTuner(hue_model, store, samples_of(label), settings, device="cpu")

        def steep(*inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            weights, intercepts = ridge(*inputs)
            return 20 * weights, intercepts

        predicted = tuner.fold(middle, middle[:0], np.arange(REGIONS), start=steep, seed=0).predicted
        assert label[middle].min() == predicted.min()
        assert predicted.max() <= label[middle].max()
        assert predicted[130] == pytest.approx(label[middle].mean()), "nothing is known of a unit without an image"

    def test_polygons_of_many_regions_are_learned_from(
        self, hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
    ) -> None:
        store, label = hue
        units = np.repeat(np.arange(20), 8)  # eight regions each
        weights = sparse.csr_array((np.full(REGIONS, 1 / 8), (units, np.arange(REGIONS))), shape=(20, REGIONS))
        beside = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
        beside[3] = np.nan
        samples = Samples(weights, weights @ label, beside)
        tuner = FineTuner(hue_model, store, samples, self.FAST, device="cpu")
        features = embed(hue_model, store, hue_model.recipe, device="cpu").image
        assert tuner.frozen[0] == pytest.approx(features[:8].mean(0), abs=1e-4)
        assert tuner.frozen[16] == pytest.approx(features[[128, 129, 131, 132, 133, 134, 135]].mean(0), abs=1e-4)
        found = tuner.fold(np.arange(12), np.arange(12, 15), np.arange(15, 20), start=ridge, seed=0)
        assert np.isfinite(found.predicted).all()

    def test_a_loss_that_is_not_finite_says_so(
        self, hue: tuple[RegionStore, np.ndarray], hue_model: MultiModalModel
    ) -> None:
        store, label = hue
        samples = samples_of(label)
        settings = Finetune(epochs=5, learning_rate=1e30, encoder_rate=1.0)
        with pytest.raises(MmgrError, match=r"loss of fine-tuning is (nan|inf) in epoch \d.*finetune\.learning_rate"):
            FineTuner(hue_model, store, samples, settings, device="cpu").fold(
                TRAIN[:40], TRAIN[:0], TEST, start=ridge, seed=0
            )
        # before a step, too: no unknown values of image features are taken for the training mean
        spoilt = copy.deepcopy(hue_model)
        with torch.no_grad():
            next(spoilt.image_encoder.parameters()).fill_(torch.nan)
        with pytest.raises(MmgrError, match=r"begins with are not finite.*`mmgr pretrain --force`"):
            FineTuner(spoilt, store, samples, settings, device="cpu").fold(
                TRAIN[:40], TRAIN[:0], TEST, start=ridge, seed=0
            )
        with pytest.raises(MmgrError, match="0 training units have an image"):
            FineTuner(hue_model, store, replace(samples), settings, device="cpu").fold(
                np.array([130]), TRAIN[:0], TEST, start=ridge, seed=0
            )

    @pytest.mark.parametrize("batch_size", [8, 40])
    def test_features_that_are_not_finite_are_not_the_training_mean(
        self,
        hue: tuple[RegionStore, np.ndarray],
        hue_model: MultiModalModel,
        monkeypatch: pytest.MonkeyPatch,
        batch_size: int,
    ) -> None:
        store, label = hue
        make = Learner.optimiser

        def spoiling(self: Learner, settings: Finetune) -> torch.optim.Optimizer:
            """Make an optimiser that spoils the encoder, as steps too large do."""

            def spoil(*_: object) -> None:
                with torch.no_grad():
                    next(self.model.image_encoder.parameters()).fill_(torch.nan)

            optimiser = make(self, settings)
            optimiser.register_step_post_hook(spoil)
            return optimiser

        monkeypatch.setattr(Learner, "optimiser", spoiling)
        # with one batch an epoch, whole units are seen before the next
        settings = Finetune(epochs=1, learning_rate=1e-3, encoder_rate=1.0, batch_size=batch_size)
        said = r"whole units in fine-tuning are not f" if batch_size == 40 else r"is nan in epoch 1, step 2: the enc"
        with pytest.raises(MmgrError, match=rf"{said}.*finetune\.learning_rate"):
            FineTuner(hue_model, store, samples_of(label), settings, device="cpu").fold(
                TRAIN[:40], TRAIN[:0], TEST, start=ridge, seed=0
            )


def test_a_unit_is_shown_by_a_few_of_its_regions_that_mean_the_same_on_average() -> None:
    share = np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.1])
    weights = sparse.csr_array(np.stack([np.append(share, 0), np.eye(7)[6]]))
    values = np.arange(7.0) ** 2
    random = np.random.default_rng(0)
    means = []
    for _ in range(4000):
        regions, shown = _shown(weights, random)
        assert len(regions) == SHOWN + 1
        assert shown.sum(axis=1) == pytest.approx([1, 1])
        assert shown[1].tolist() == [0] * SHOWN + [1]
        means.append((shown @ values[regions])[0])
    assert np.mean(means) == pytest.approx(share @ values[:6], abs=0.3)
    few = sparse.csr_array(np.array([[0.75, 0, 0.25]]))
    regions, shown = _shown(few, random)
    assert regions.tolist() == [0, 2]
    assert shown.tolist() == [[0.75, 0.25]]


class TestLearner:
    @staticmethod
    def learner(model: MultiModalModel) -> tuple[Learner, np.ndarray]:
        inputs = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
        inputs[4, 2] = np.nan
        learner = Learner(model, inputs, 1)
        with torch.no_grad():
            learner.head.weight.copy_(torch.arange(1.0, 7.0)[None])
            learner.head.bias.zero_()
        return learner, inputs

    def test_units_to_predict_are_held_near_the_range_of_those_learned_from(self, hue_model: MultiModalModel) -> None:
        learner, inputs = self.learner(hue_model)
        far = torch.full((1, 6), 1e3)
        bound = torch.from_numpy((np.nanmax(inputs, axis=0) + 2 * np.nanstd(inputs, axis=0))[None])
        expected = learner.head(learner.standardised(bound))
        assert torch.allclose(learner(far[:, :4], far[:, 4:]), expected)
        with torch.no_grad():
            free = learner.head(learner.standardised(torch.from_numpy(inputs)))
        assert torch.allclose(learner(torch.from_numpy(inputs[:, :4]), torch.from_numpy(inputs[:, 4:])), free)

    def test_what_is_learned_from_widens_the_range(self, hue_model: MultiModalModel) -> None:
        learner, _ = self.learner(hue_model)
        far = torch.full((1, 6), 50.0)
        before = learner(far[:, :4], far[:, 4:])
        learned = learner.learning(far[:, :4], far[:, 4:])
        assert learned.item() > 2 * before.item()
        assert torch.allclose(learner(far[:, :4], far[:, 4:]), learned)
        assert {"low", "high"} <= learner.snapshot().keys(), "an epoch that is taken brings its own"
